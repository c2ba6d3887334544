# SPDX-License-Identifier: Apache-2.0
"""A Graph made ready for reordering: transpositions stand in the specs of their readers, and where an order is fixed.

Between values that may be reordered and those that may not an einsum is put that changes nothing yet; it becomes a
transposition where the gain on the one side is worth it, and vanishes elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from egraph_opt.ir import Builder, Graph, Spec
from egraph_opt.ir.spec import canonical, identity
from egraph_opt.lower.orders.groups import sharing
from egraph_opt.lower.orders.nodes import Flexible

LEAST_RANK = 3
"""Matrices keep their order at such places."""


def read_through(graph: Graph) -> Graph:
    """The Graph with each einsum reading what a transposition was made of."""

    def made(builder: Builder, number: int, operands: Sequence[int]) -> int:
        copy = builder.copy(graph.nodes[number], operands)
        return _straight(builder, copy) if graph.nodes[number].op == "einsum" else copy

    return copied(graph, made)


def with_edges(graph: Graph, free: Mapping[int, Flexible]) -> Graph:
    """The Graph with an einsum, so far an identity, wherever an order is fixed on one side.

    Args:
        graph: any graph.
        free: its nodes of any order.
    """
    soft = {n for n, node in enumerate(graph.nodes) if n in free or sharing(node)}

    def made(builder: Builder, number: int, operands: Sequence[int]) -> int:
        node = graph.nodes[number]
        places = len(free[number].words) - 1 if number in free else 0
        held = []
        for place, (old, q) in enumerate(zip(node.operands, operands, strict=True)):
            wants = place < places or old in sharing(node)
            edge = (wants and node.op != "einsum") if old not in soft else not wants
            held.append(_edge(builder, q) if edge else q)
        return builder.copy(node, held)

    return copied(graph, made, _edge)


def copied(
    graph: Graph,
    made: Callable[[Builder, int, Sequence[int]], int],
    shown: Callable[[Builder, int], int] = lambda builder, number: number,
) -> Graph:
    """The Graph made anew.

    Args:
        graph: any graph.
        made: appends what stands for a node, told its number and its operands; not asked for inputs.
        shown: appends what stands for an output, told the node made.
    """
    builder = Builder()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(builder.input(node.type, names[number]))
        else:
            place.append(made(builder, number, [place[q] for q in node.operands]))
    roots = [shown(builder, place[n]) for n in graph.outputs], [place[n] for n in graph.effects]
    return builder.build(*roots, graph.weak_outputs, graph.precision)


def _edge(builder: Builder, number: int) -> int:
    """A value, read in its order."""
    node = builder.node(number)
    if len(node.types) != 1 or node.type.rank < LEAST_RANK or node.op == "constant":
        return number
    return builder.add("einsum", [number], [("spec", identity(node.type.shape))], node.type, node.sources)


def _straight(builder: Builder, number: int) -> int:
    """An einsum with its operands' transpositions written into its spec."""
    node = builder.node(number)
    spec = Spec.parse(node.attr("spec"))
    words, operands = list(spec.inputs), list(node.operands)
    for place, q in enumerate(node.operands):
        inner = builder.node(q)
        if inner.op == "einsum" and (turn := Spec.parse(inner.attr("spec"))).is_permutation and turn.scale == 1:
            letters = dict(zip(turn.output, words[place], strict=True))
            words[place], operands[place] = "".join(letters[c] for c in turn.inputs[0]), inner.operands[0]
    if operands == list(node.operands):
        return number
    text = canonical(words, spec.output, spec.sizes, spec.scale)
    if Spec.parse(text).is_identity:
        return operands[0]
    return builder.add("einsum", operands, [("spec", text)], node.type, node.sources)
