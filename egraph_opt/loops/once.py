# SPDX-License-Identifier: Apache-2.0
"""A loop of one trip is its body."""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops.loop import Change, Loop, inlined, rewritten


def without_single_trips(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph with the bodies of loops of length one in their place; None where there are none."""
    found = [n for n in graph.nodes if n.op == "scan" and n.attr("length") == 1 and not n.attr("body").effects]
    return rewritten(graph, numerics, _once) if found else None


def _once(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
    del number
    if node.op != "scan" or node.attr("length") != 1 or node.attr("body").effects:
        return None
    loop = Loop.of(node, operands)
    known = dict(zip(loop.body.inputs, (*loop.consts, *loop.init), strict=False))
    for inner, x in zip(loop.x_inputs, loop.xs, strict=True):
        known[inner] = emitter.reshape(x, loop.body.nodes[inner].type.shape, loop.sources)
    results: list[int | None] = list(inlined(emitter, loop.body, known, loop.body.outputs))
    for k in range(len(loop.init), len(results)):
        y = results[k]
        assert y is not None, "every output is made"
        results[k] = emitter.reshape(y, (1, *emitter.type(y).shape), loop.sources)
    return Change(results)
