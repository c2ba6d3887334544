# SPDX-License-Identifier: Apache-2.0
"""Sums of inner products: elementwise products are added up before they are summed, so that one sum is left.

``sum(x * y, 1) + sum(u * v, 1)`` is as much arithmetic as ``sum(x * y + u * v, 1)``, but XLA runs the first as
two loops and two sums. Derivatives are full of them. The sum of a tensor that is stored anyway runs at the speed of
memory, and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from egraph_opt.ir import Builder, Graph, Node, Spec
from egraph_opt.ir.spec import Scale, canonical, identity
from egraph_opt.ir.types import TensorType
from egraph_opt.lower.plan import is_computed

DTYPES = ("float32", "float64")
"""Narrower types would round each elementwise product."""


@dataclass(frozen=True, slots=True)
class _Term:
    """A term of a sum: ``scale * sum(operands[0] * ...)``.

    Args:
        number: its node.
        operands: nodes, all of one shape.
        spec: of the sum alone.
        scale: factor of the term.
    """

    number: int
    operands: tuple[int, ...]
    spec: str
    scale: Scale


def joined(graph: Graph) -> Graph:
    """An equal Graph with such sums joined, or ``graph`` itself where there are none."""
    uses = graph.use_counts()
    sums: dict[int, list[_Term | int]] = {}
    for number, node in enumerate(graph.nodes):
        if node.op == "add" and node.type.dtype in DTYPES:
            terms = [_term(graph, q, uses) for q in _addends(graph, node, uses)]
            specs = [term.spec for term in terms if isinstance(term, _Term)]
            if any(specs.count(spec) > 1 for spec in specs):
                sums[number] = terms
    return _rebuilt(graph, sums) if sums else graph


def _addends(graph: Graph, node: Node, uses: list[int]) -> list[int]:
    """The terms of a sum, those of sums inside that nothing else reads included."""
    found: list[int] = []
    for q in node.operands:
        inner = graph.nodes[q]
        found += _addends(graph, inner, uses) if inner.op == "add" and uses[q] == 1 else [q]
    return found


def _term(graph: Graph, number: int, uses: list[int]) -> _Term | int:
    """A term that can be joined with others, or the number of its node."""
    inner, scale = number, 1.0
    while uses[inner] == 1 and graph.nodes[inner].op == "einsum":
        node = graph.nodes[inner]
        spec = Spec.parse(node.attr("spec"))
        if spec.is_permutation and spec.inputs[0] == spec.output:
            inner, scale = node.operands[0], scale * spec.scale
            continue
        words = {*spec.inputs}
        if len(words) > 1 or not spec.summed or spec.broadcast or not spec.has_distinct_output:
            break
        word = words.pop()
        if len(set(word)) != len(word) or not is_computed(graph, node.operands):
            break
        return _Term(number, node.operands, canonical([word], spec.output, spec.sizes), scale * spec.scale)
    return number


def _rebuilt(graph: Graph, sums: dict[int, list[_Term | int]]) -> Graph:
    """The Graph with some sums given by their terms."""
    builder = Builder()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(builder.input(node.type, names[number]))
        elif number in sums:
            place.append(_sum(graph, number, sums[number], builder, place))
        else:
            place.append(builder.copy(node, [place[q] for q in node.operands]))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return builder.build(*roots, graph.weak_outputs, graph.precision)


def _sum(graph: Graph, number: int, terms: list[_Term | int], builder: Builder, place: list[int]) -> int:
    """The sum with its inner products joined, each where the first of them stood."""
    node = graph.nodes[number]
    alike: dict[str, list[_Term]] = {}
    for term in terms:
        if isinstance(term, _Term):
            alike.setdefault(term.spec, []).append(term)
    total: list[int] = []
    for term in terms:
        if not isinstance(term, _Term):
            total.append(place[term])
            continue
        group = alike.pop(term.spec, [])
        if len(group) == 1:
            total.append(place[group[0].number])
        elif group:
            type = TensorType(Spec.parse(term.spec).shapes[0], node.type.dtype)
            parts = [_elementwise(one, type, builder, place) for one in group]
            wide = builder.add("add", parts, [], type, node.sources)
            total.append(builder.add("einsum", [wide], [("spec", term.spec)], node.type, node.sources))
    return total[0] if len(total) == 1 else builder.add("add", total, [], node.type, node.sources)


def _elementwise(term: _Term, type: TensorType, builder: Builder, place: list[int]) -> int:
    """The term before it is summed."""
    value, *others = (place[q] for q in term.operands)
    same = Spec.parse(identity(type.shape))
    for other in others:
        spec = canonical([same.output, same.output], same.output, same.sizes)
        value = builder.add("einsum", [value, other], [("spec", spec)], type)
    if term.scale == 1:
        return value
    return builder.add("einsum", [value], [("spec", identity(type.shape, term.scale))], type)
