# SPDX-License-Identifier: Apache-2.0
"""Delta debugging on a Graph: the smallest program that still has a property.

Outputs are cut to one, subterms become inputs, nodes give way to an operand of the same type, and sizes go down, as
long as the property holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from egraph_opt.errors import EgraphOptError
from egraph_opt.ir import Builder, Graph, Node, Spec, TensorType
from egraph_opt.ops import get_op

Property = Callable[[Graph], bool]

TRIES = 400
"""Programs that are tried at most."""


def shrink(graph: Graph, places: Sequence[int], holds: Property) -> Graph:
    """A small graph for which ``holds``.

    Args:
        graph: where it holds.
        places: nodes whose terms should show it, likely ones.
        holds: the property; called at most ``TRIES`` times and once for each place.
    """
    terms = sorted((cut(graph, (place,)) for place in dict.fromkeys(places)), key=len)
    small = next((term for term in terms if holds(term)), None)
    small = small if small is not None else _fewer_outputs(graph, holds)
    tries = TRIES
    while tries > 0:
        for smaller in _smaller(small):
            tries -= 1
            if holds(smaller):
                small = smaller
                break
            if tries <= 0:
                break
        else:
            break
    return small


def cut(graph: Graph, outputs: Sequence[int], given: Mapping[int, int | None] | None = None) -> Graph:
    """The part of a graph that some nodes need; inputs that nothing reads are gone.

    Args:
        graph: the whole.
        outputs: nodes that become the outputs.
        given: nodes that become inputs (None), or give way to another, earlier node.
    """
    given = given or {}
    needed: set[int] = set()
    stack = list(outputs)
    while stack:
        number = stack.pop()
        if number not in needed:
            needed.add(number)
            other = given.get(number)
            stack += graph.nodes[number].operands if number not in given else [] if other is None else [other]
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    builder = Builder()
    place: dict[int, int] = {}
    for number in sorted(needed):
        node = graph.nodes[number]
        other = given.get(number)
        if other is not None:
            place[number] = place[other]
        elif node.op == "input" or number in given:
            place[number] = builder.input(node.type, _name(names.get(number, ""), builder))
        else:
            place[number] = builder.copy(node, [place[q] for q in node.operands])
    return builder.build([place[n] for n in outputs], precision=graph.precision)


def _name(wanted: str, builder: Builder) -> str:
    taken = set(builder.names)
    if wanted and wanted not in taken:
        return wanted
    return next(name for k in range(len(taken) + 1) if (name := f"t{k}") not in taken)


def _fewer_outputs(graph: Graph, holds: Property) -> Graph:
    """Halves of the outputs are left out, then quarters, and so on."""
    outputs = list(dict.fromkeys(graph.outputs))
    step = len(outputs) // 2
    while step:
        start = 0
        while start < len(outputs) and len(outputs) > 1:
            rest = outputs[:start] + outputs[start + step :]
            if rest and holds(cut(graph, rest)):
                outputs = rest
            else:
                start += step
        step //= 2
    return cut(graph, outputs)


def _smaller(graph: Graph) -> Iterator[Graph]:
    """Smaller graphs: fewer nodes first, then smaller dimensions."""
    inner = [n for n, node in enumerate(graph.nodes) if node.op != "input" and len(node.types) == 1]
    for number in reversed(inner):
        if number not in graph.outputs and graph.nodes[number].op != "constant":
            yield cut(graph, graph.outputs, {number: None})
    for number in reversed(inner):
        for operand in graph.nodes[number].operands:
            if graph.nodes[operand].types == graph.nodes[number].types:
                yield cut(graph, graph.outputs, {number: operand})
    yield from _resized(graph)


def _resized(graph: Graph) -> Iterator[Graph]:
    """All dimensions to 2, 3, 4, ..., distinct ones distinct; then one after another to 2."""
    sizes = sorted({n for node in graph.nodes for type in node.types for n in type.shape if n > 1})
    tables = [{n: k for k, n in enumerate(sizes, 2)}, *({n: 2} for n in sizes if n > 2)]
    for table in tables:
        if all(table.get(n, n) == n for n in sizes):
            continue
        smaller = _with_sizes(graph, table)
        if smaller is not None:
            yield smaller


def _with_sizes(graph: Graph, table: Mapping[int, int]) -> Graph | None:
    """The graph with every dimension renamed by size; None where some node does not allow it."""
    builder = Builder()
    place: list[int] = []
    names = dict(zip(graph.inputs, graph.names, strict=True))
    try:
        for number, node in enumerate(graph.nodes):
            if node.op == "input":
                place.append(builder.input(_resize(node.type, table), names[number]))
            else:
                operands = [place[q] for q in node.operands]
                place.append(builder.copy(_typed(node, table, [builder.type(q) for q in operands]), operands))
    except (EgraphOptError, ValueError, TypeError):
        return None
    return builder.build([place[n] for n in graph.outputs], precision=graph.precision)


def _typed(node: Node, table: Mapping[int, int], operands: Sequence[TensorType]) -> Node:
    """The node at other sizes, its result type inferred again."""
    attrs = node.attrs
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        sizes = {letter: table.get(n, n) for letter, n in spec.sizes.items()}
        attrs = (("spec", str(replace(spec, sizes=sizes))),)
    elif node.op == "reshape":
        attrs = (("shape", tuple(table.get(n, n) for n in node.attr("shape"))),)
    return replace(node, attrs=attrs, types=get_op(node.op).infer(operands, **dict(attrs)))


def _resize(type: TensorType, table: Mapping[int, int]) -> TensorType:
    return type.with_shape(tuple(table.get(n, n) for n in type.shape))
