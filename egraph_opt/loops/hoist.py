# SPDX-License-Identifier: Apache-2.0
"""Factorisations and other routines that are the same in every trip stand before the loop.

XLA hoists products by itself, and the search weighs them; it leaves calls of libraries where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops.loop import CONTROL, Change, Loop, inlined, rewritten, sub_body
from egraph_opt.ops import Trait, get_op


def hoisted(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph with steady routines outside of its scans; None where there are none."""
    done = False

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        nonlocal done
        del number
        if node.op != "scan" or node.attr("length") < 2:
            return None
        loop = Loop.of(node, operands)
        found = _steady_routines(loop)
        if not found:
            return None
        done = True
        known = dict(zip(loop.const_inputs, loop.consts, strict=True))
        made = inlined(emitter, loop.body, known, found)
        inputs = [*loop.const_inputs, *found, *loop.carry_inputs, *loop.x_inputs]
        body = sub_body(loop.body, [[q] for q in inputs], loop.body.outputs, numerics, loop.body.effects)
        new, results = replace(loop, body=body, consts=(*loop.consts, *made)).emit(emitter)
        return Change(results, new)

    result = rewritten(graph, numerics, change)
    return result if done else None


def _steady_routines(loop: Loop) -> list[int]:
    """Values of routines that read constants of the loop alone; of routines with several results, each result."""
    body = loop.body
    steady: set[int] = set(loop.const_inputs)
    routines: set[int] = set()
    effects = set(body.effects)
    for number, node in enumerate(body.nodes):
        if node.op == "input" or number in effects or not all(q in steady for q in node.operands):
            continue
        steady.add(number)
        if node.operands and (_is_routine(node) or (node.op == "result" and node.operands[0] in routines)):
            routines.add(number)
    return sorted(n for n in routines if len(body.nodes[n].types) == 1)


def _is_routine(node: Node) -> bool:
    return node.op not in CONTROL and node.op != "einsum" and Trait.EXPENSIVE in get_op(node.op).traits
