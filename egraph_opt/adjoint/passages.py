# SPDX-License-Identifier: Apache-2.0
"""Operations that do the same to every slice along some of their dimensions, and are linear in what they slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from egraph_opt.adjoint.terms import Term
from egraph_opt.ir import Graph, Node

CONV = "conv_general_dilated"

Attrs = Sequence[tuple[str, Any]]


class Passage(NamedTuple):
    """How an operation is passed.

    Args:
        linear: places of the operands that it is linear in, all together.
        free: dimensions of the result that may have another size, with the dimension of each linear operand.
        attrs: the attributes, given the new sizes of these dimensions.
    """

    linear: tuple[int, ...]
    free: Mapping[int, int]
    attrs: Callable[[Mapping[int, int]], Attrs]


def passage(graph: Graph, node: Node, term: Term) -> Passage | None:
    """How a sum passes an operation; None where it does not.

    Args:
        graph: holds the node.
        node: the operation.
        term: the sum; what it sums over decides between two ways.
    """
    if node.op == CONV:
        return _of_conv(node, term)
    if node.op == "concatenate":
        free = {d: d for d in range(len(node.type.shape)) if d != node.attr("dimension")}
        return Passage(tuple(range(len(node.operands))), free, lambda sizes: node.attrs) if free else None
    if node.op in ALONG:
        touched = ALONG[node.op](graph, node)
        free = {d: d for d in range(len(node.type.shape)) if d not in touched}
        return Passage((0,), free, lambda sizes: _resized(node, sizes)) if free else None
    return None


def _of_conv(node: Node, term: Term) -> Passage | None:
    """Directions are images of a batch, or filters of a kernel."""
    attrs = node.kwargs
    order = attrs["dimension_numbers"]
    if attrs["batch_group_count"] != 1:
        return None
    images, filters = order.out_spec[0], order.out_spec[1]
    if not set(term.word[images]) <= set(term.out):
        return Passage((0,), {images: order.lhs_spec[0]}, lambda sizes: node.attrs)
    if not set(term.word[filters]) <= set(term.out) and attrs["feature_group_count"] == 1:
        return Passage((1,), {filters: order.rhs_spec[0]}, lambda sizes: node.attrs)
    return None


def _resized(node: Node, sizes: Mapping[int, int]) -> Attrs:
    """The attributes of a slice with other sizes where nothing is cut."""
    if node.op != "slice":
        return node.attrs
    limits = tuple(sizes.get(d, n) for d, n in enumerate(node.attr("limit_indices")))
    return [(name, limits if name == "limit_indices" else value) for name, value in node.attrs]


def _cut(graph: Graph, node: Node) -> set[int]:
    before, after = graph.nodes[node.operands[0]].type.shape, node.type.shape
    return {d for d, (m, n) in enumerate(zip(before, after, strict=True)) if m != n}


def _padded(graph: Graph, node: Node) -> set[int]:
    value = graph.nodes[node.operands[1]]
    if value.op != "constant" or value.attr("value") != 0:
        return set(range(len(node.type.shape)))
    return {d for d, sides in enumerate(node.attr("padding_config")) if any(sides)}


def _axis(graph: Graph, node: Node) -> set[int]:
    del graph
    return {node.attr("axis")}


def _dimensions(graph: Graph, node: Node) -> set[int]:
    del graph
    return set(node.attr("dimensions"))


ALONG: dict[str, Callable[[Graph, Node], set[int]]] = {
    "slice": _cut,
    "pad": _padded,
    "rev": _dimensions,
    "cumsum": _axis,
}
"""Operations that are linear in the first operand, with the dimensions that they do not leave alone."""
