# SPDX-License-Identifier: Apache-2.0
"""The destructive normaliser: one spelling for what is plainly equal, before and after the e-graph.

Every node is made again through the smart constructors of ``ir.emit``; in addition nested sums that nobody else reads
become one n-ary sum with its terms collected and sorted, so that the e-graph never needs to reorder sums.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import Scale
from egraph_opt.ir.spec_algebra import is_factor
from egraph_opt.ops import Trait, get_op


def normalise(graph: Graph, numerics: Numerics = Numerics.REASSOCIATE) -> Graph:
    """An equal Graph in normal form; dead nodes are gone.

    Args:
        graph: any Graph.
        numerics: class of the changes that are allowed.
    """
    emitter = Emitter(numerics)
    uses = graph.use_counts()
    place: list[int] = []
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
        elif node.op == "add" and numerics >= Numerics.REASSOCIATE:
            place.append(_sum(emitter, graph, number, uses, place))
        else:
            operands = [place[q] for q in node.operands]
            place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    return emitter.build(
        [place[n] for n in graph.outputs],
        [place[n] for n in graph.effects],
        graph.weak_outputs,
        graph.precision,
    )


def _sum(emitter: Emitter, graph: Graph, number: int, uses: Sequence[int], place: Sequence[int]) -> int:
    """The sum at ``number`` with inner sums opened, equal terms collected, terms in order of their nodes."""
    node = graph.nodes[number]
    terms: dict[int, Scale] = {}
    stack: list[tuple[int, Scale]] = [(q, 1) for q in reversed(node.operands)]
    while stack:
        q, scale = stack.pop()
        inner = graph.nodes[q]
        if inner.op == "add" and uses[q] == 1:
            stack += [(r, scale) for r in reversed(inner.operands)]
            continue
        factor = _factor(graph, q)
        if factor is not None and is_factor(factor) and is_factor(scale) and uses[q] == 1:
            stack.append((inner.operands[0], scale * factor))
            continue
        terms[place[q]] = terms.get(place[q], 0) + scale
    kept = [(q, scale) for q, scale in sorted(terms.items()) if scale != 0]
    if len(kept) < len(terms):  # x - x is zero for finite x only: keep what was written
        return emitter.sum_of([place[q] for q in node.operands], node.sources)
    scaled = [emitter.scaled(q, scale, node.sources) for q, scale in kept]
    return emitter.sum_of(scaled, node.sources)


def _factor(graph: Graph, number: int) -> Scale | None:
    """The scale of a plain multiple (``2 x``) of a tensor."""
    node = graph.nodes[number]
    if node.op != "einsum" or len(node.operands) != 1:
        return None
    spec = Spec.parse(node.attr("spec"))
    return spec.scale if spec.inputs[0] == spec.output and spec.is_permutation else None
