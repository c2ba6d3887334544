# SPDX-License-Identifier: Apache-2.0
"""Which values of a Graph can stand in another order of dimensions, and which must be reordered together.

An einsum reads and gives any order. Elementwise work, slices and concatenations take whatever order their operands
have, so these share one. Everything else, and what a caller sees, keeps the order that it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from networkx.utils import UnionFind

from egraph_opt.ir import Builder, Graph, Node, Spec
from egraph_opt.ir.spec import canonical
from egraph_opt.ir.types import TensorType
from egraph_opt.ops import Trait, all_ops

Axes = tuple[int, ...]


@dataclass
class Group:
    """Values that stand in one order.

    Args:
        members: nodes, in the order of the Graph.
        made: those that are einsums.
        readers: einsums that read a member, and as which operand.
        axes: the chosen order: dimension ``i`` of each member is dimension ``axes[i]`` of the original.
    """

    members: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    readers: list[tuple[int, int]] = field(default_factory=list)
    axes: Axes = ()

    @property
    def touched(self) -> set[int]:
        """Einsums whose text depends on the order."""
        return {*self.made, *(reader for reader, _ in self.readers)}


def free_groups(graph: Graph, specs: dict[int, Spec]) -> list[Group]:
    """The groups that may be reordered, in the order of the Graph.

    Args:
        graph: what is run.
        specs: the einsums that may be reordered, by node.
    """
    together, fixed = _linked(graph, specs)
    bound = {together[n] for n in fixed}
    groups: dict[int, Group] = {}
    for number, node in enumerate(graph.nodes):
        if (number in specs or takes_any_order(node)) and node.type.rank > 1 and together[number] not in bound:
            group = groups.setdefault(together[number], Group(axes=tuple(range(node.type.rank))))
            group.members.append(number)
            if number in specs:
                group.made.append(number)
    for number in specs:
        for place, q in enumerate(graph.nodes[number].operands):
            if reading := groups.get(together[q]):
                reading.readers.append((number, place))
    return list(groups.values())


def _linked(graph: Graph, specs: dict[int, Spec]) -> tuple[UnionFind[int], set[int]]:
    """Which values share an order, and those that keep theirs."""
    together: UnionFind[int] = UnionFind(range(len(graph.nodes)))
    fixed = {*graph.outputs, *graph.effects}
    for number, node in enumerate(graph.nodes):
        if number in specs:
            continue
        if takes_any_order(node):
            together.union(number, *(q for q in node.operands if graph.nodes[q].type.rank))
        else:
            fixed |= {number, *node.operands}
    return together, fixed


def read_through(graph: Graph) -> Graph:
    """The Graph with each einsum reading what a transposition was made of."""
    builder = Builder()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(builder.input(node.type, names[number]))
            continue
        copy = builder.copy(node, [place[q] for q in node.operands])
        place.append(_straight(builder, copy) if node.op == "einsum" else copy)
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return builder.build(*roots, graph.weak_outputs, graph.precision)


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


def takes_any_order(node: Node) -> bool:
    """Whether a node other than an einsum gives its operands' order to its result."""
    if node.op in ("add", "slice", "concatenate"):
        return True
    record = all_ops().get(node.op)
    return record is not None and Trait.ELEMENTWISE in record.traits


def reordered_type(type: TensorType, axes: Axes) -> TensorType:
    """The type of a reordered value."""
    return TensorType(reordered(type.shape, axes), type.dtype)


def reordered_attrs(node: Node, axes: Axes) -> tuple[tuple[str, Any], ...]:
    """The attributes of a reordered node that is no einsum."""
    if node.op == "concatenate":
        return (("dimension", axes.index(node.attr("dimension"))),)
    if node.op == "slice":
        return tuple((name, None if value is None else reordered(value, axes)) for name, value in node.attrs)
    return node.attrs


def reordered(values: Any, axes: Axes) -> tuple[Any, ...]:
    """One value a dimension, in the new order."""
    return tuple(values[axis] for axis in axes)
