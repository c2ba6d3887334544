# SPDX-License-Identifier: Apache-2.0
"""Which values of a Graph can stand in another order of dimensions, and which must be reordered together.

Products and convolutions read and give any order. Elementwise work, slices, concatenations and windows take whatever
order their operands have, so these share one. Everything else, and what a caller sees, keeps the order that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from networkx.utils import UnionFind

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.types import TensorType
from egraph_opt.lower.orders.nodes import Flexible
from egraph_opt.ops import Trait, all_ops

Axes = tuple[int, ...]


PER_DIMENSION = {
    "slice": ("start_indices", "limit_indices", "strides"),
    "pad": ("padding_config",),
    "shifted_window": ("window_dimensions", "window_strides", "padding", "window_dilation"),
}
"""Attributes that hold one value a dimension, of nodes that give their first operand's order to their result."""
for _name in ("sum", "max", "min"):
    PER_DIMENSION[f"reduce_window_{_name}"] = (
        "window_dimensions",
        "window_strides",
        "padding",
        "base_dilation",
        "window_dilation",
    )


@dataclass
class Group:
    """Values that stand in one order.

    Args:
        members: nodes, in the order of the Graph.
        made: those whose own order is free.
        readers: nodes of any order that read a member, and as which operand.
        axes: the chosen order: dimension ``i`` of each member is dimension ``axes[i]`` of the original.
    """

    members: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    readers: list[tuple[int, int]] = field(default_factory=list)
    axes: Axes = ()

    @property
    def touched(self) -> set[int]:
        """Nodes that copy more or less by the order."""
        return {*self.made, *(reader for reader, _ in self.readers)}


def free_groups(graph: Graph, free: Mapping[int, Flexible]) -> list[Group]:
    """The groups that may be reordered, in the order of the Graph.

    Args:
        graph: what is run.
        free: the nodes of any order.
    """
    together, fixed = _linked(graph, free)
    bound = {together[n] for n in fixed}
    groups: dict[int, Group] = {}
    for number, node in enumerate(graph.nodes):
        if (number in free or sharing(node)) and node.type.rank > 1 and together[number] not in bound:
            group = groups.setdefault(together[number], Group(axes=tuple(range(node.type.rank))))
            group.members.append(number)
            if number in free:
                group.made.append(number)
    for number, flexible in free.items():
        for place, q in enumerate(graph.nodes[number].operands[: len(flexible.words) - 1]):
            if reading := groups.get(together[q]):
                reading.readers.append((number, place))
    return list(groups.values())


def _linked(graph: Graph, free: Mapping[int, Flexible]) -> tuple[UnionFind[int], set[int]]:
    """Which values share an order, and those that keep theirs."""
    together: UnionFind[int] = UnionFind(range(len(graph.nodes)))
    fixed = {*graph.outputs, *graph.effects}
    for number, node in enumerate(graph.nodes):
        if number in free:
            fixed |= {*node.operands[len(free[number].words) - 1 :]}
            continue
        shared = sharing(node)
        together.union(number, *(q for q in shared if graph.nodes[q].type.rank))
        fixed |= {q for q in node.operands if q not in shared}
        if not shared:
            fixed.add(number)
    return together, fixed


def sharing(node: Node) -> tuple[int, ...]:
    """Operands whose order a node gives to its result."""
    if node.op in PER_DIMENSION or node.op == "shifted_conv":
        return node.operands[:1]
    if node.op in ("add", "concatenate"):
        return node.operands
    record = all_ops().get(node.op)
    return node.operands if record is not None and Trait.ELEMENTWISE in record.traits else ()


def reordered_type(type: TensorType, axes: Axes) -> TensorType:
    """The type of a reordered value."""
    return TensorType(reordered(type.shape, axes), type.dtype)


def reordered_attrs(node: Node, axes: Axes) -> tuple[tuple[str, Any], ...]:
    """The attributes of a reordered node that shares its operand's order."""
    if node.op == "concatenate":
        return (("dimension", axes.index(node.attr("dimension"))),)
    if node.op == "shifted_conv":
        spec = tuple(axes.index(axis) for axis in node.attr("lhs_spec"))
        return tuple((name, spec if name == "lhs_spec" else value) for name, value in node.attrs)
    names = PER_DIMENSION.get(node.op, ())
    return tuple((k, reordered(v, axes) if k in names and v is not None else v) for k, v in node.attrs)


def reordered(values: Any, axes: Axes) -> tuple[Any, ...]:
    """One value a dimension, in the new order."""
    return tuple(values[axis] for axis in axes)
