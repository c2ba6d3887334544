# SPDX-License-Identifier: Apache-2.0
"""The destructive normaliser: one spelling for what is plainly equal, before and after the e-graph.

Every node is made again through the smart constructors of ``ir.emit``; in addition nested sums that nobody else reads
become one n-ary sum with its terms collected and sorted, so that the e-graph never needs to reorder sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import merge_sources
from egraph_opt.ir.spec import Scale
from egraph_opt.ir.spec_algebra import is_factor
from egraph_opt.ops import Trait, get_op


def normalise(graph: Graph, numerics: Numerics = Numerics.REASSOCIATE) -> Graph:
    """An equal Graph in normal form; dead nodes are gone.

    Args:
        graph: any Graph.
        numerics: class of the changes that are allowed.
    """
    emitter, place = emitted(graph, numerics)
    return emitter.build(
        [place[n] for n in graph.outputs],
        [place[n] for n in graph.effects],
        graph.weak_outputs,
        graph.precision,
    )


def emitted(graph: Graph, numerics: Numerics) -> tuple[Emitter, list[int]]:
    """The nodes of the normal form, and for each node of ``graph`` the one it became; -1 inside a sum."""
    emitter = Emitter(numerics)
    inside = _inside_sums(graph) if numerics >= Numerics.REASSOCIATE else {}
    place: list[int] = []
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
        elif number in inside:
            place.append(-1)
        elif node.op == "add" and numerics >= Numerics.REASSOCIATE:
            place.append(_sum(emitter, graph, number, inside, place))
        else:
            operands = [place[q] for q in node.operands]
            place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    return emitter, place


def _inside_sums(graph: Graph) -> dict[int, Scale]:
    """Nodes that only one sum reads, as a part of it: inner sums and multiples, with their factors in that sum."""
    uses = graph.use_counts()
    reader: dict[int, int] = {q: number for number, node in enumerate(graph.nodes) for q in node.operands}
    inside: dict[int, Scale] = {}
    for number in range(len(graph.nodes) - 1, -1, -1):
        outer = reader.get(number, -1)
        if uses[number] != 1 or outer < 0 or not (outer in inside or graph.nodes[outer].op == "add"):
            continue
        factor = 1 if graph.nodes[number].op == "add" else _factor(graph, number)
        scale = inside.get(outer, 1)
        if factor is not None and is_factor(factor) and is_factor(scale * factor):
            inside[number] = scale * factor
    return inside


def _sum(emitter: Emitter, graph: Graph, number: int, inside: Mapping[int, Scale], place: Sequence[int]) -> int:
    """The sum at ``number`` with inner sums opened, equal terms collected, terms in order of their nodes."""
    node = graph.nodes[number]
    sources = node.sources
    written: list[tuple[int, Scale]] = []
    stack: list[tuple[int, Scale]] = [(q, 1) for q in reversed(node.operands)]
    while stack:
        q, scale = stack.pop()
        if q in inside:
            sources = merge_sources(sources, graph.nodes[q].sources)
            stack += [(r, inside[q]) for r in reversed(graph.nodes[q].operands)]
        else:
            written.append((place[q], scale))
    terms: dict[int, Scale] = {}
    for q, scale in written:
        terms[q] = terms.get(q, 0) + scale
    if all(map(is_factor, terms.values())):
        written = sorted(terms.items())
    # Else x - x is zero for finite x only: what was written is kept.
    terms_of = [q if scale == 1 else emitter.scaled(q, scale, sources) for q, scale in written]
    return emitter.sum_of(terms_of, sources)


def _factor(graph: Graph, number: int) -> Scale | None:
    """The scale of a plain multiple (``2 x``) of a tensor."""
    node = graph.nodes[number]
    if node.op != "einsum" or len(node.operands) != 1:
        return None
    spec = Spec.parse(node.attr("spec"))
    return spec.scale if spec.inputs[0] == spec.output and spec.is_permutation else None
