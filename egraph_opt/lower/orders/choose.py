# SPDX-License-Identifier: Apache-2.0
"""Orders of dimensions: intermediate values stand in the order in which the fewest tensors are copied.

A matrix product wants its operands and gives its result as a batch of matrices, plain or transposed; XLA copies what
stands otherwise, and elementwise work reads a tensor slowly whose dimensions run across those of its result. The
search takes a tensor and its transposition for one price, so the order of an intermediate is left open by it, and
chosen here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax

from egraph_opt.ir import Builder, Graph
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import TensorType
from egraph_opt.lower.orders.edges import copied, read_through, with_edges
from egraph_opt.lower.orders.groups import Axes, Group, free_groups, reordered, reordered_attrs, reordered_type
from egraph_opt.lower.orders.nodes import CONV, Convolution, Flexible, Units, flexible

SWEEPS = 4
"""Passes over all groups at most, in each direction."""


def ordered(graph: Graph) -> Graph:
    """An equal Graph, or ``graph`` itself where nothing can be gained.

    Convolutions count on CPUs only: elsewhere the layout of a tensor is not that of its dimensions.
    """
    convolutions = jax.default_backend() == "cpu" and any(node.op == CONV for node in graph.nodes)
    open_graph = read_through(graph)
    if convolutions:
        open_graph = with_edges(open_graph, _any_order(open_graph, convolutions))
    moves = _Orders(open_graph, convolutions)
    return moves.rebuilt() if moves.improve() < _Orders(graph, convolutions).copied() else graph


def _any_order(graph: Graph, convolutions: bool) -> dict[int, Flexible]:
    """The nodes of any order, by number."""
    found = {}
    for number, node in enumerate(graph.nodes):
        types = [graph.nodes[q].types[0] for q in node.operands[:1] if graph.nodes[q].types]
        one = flexible(node, types, convolutions=convolutions)
        if one is not None:
            found[number] = one
    return found


class _Orders:
    """The nodes of any order in a Graph, and the orders chosen so far."""

    def __init__(self, graph: Graph, convolutions: bool) -> None:
        self.graph = graph
        self.free = _any_order(graph, convolutions)
        self.groups = free_groups(graph, self.free)

    def improve(self) -> float:
        """Choose orders; the bytes that are copied then.

        Sweeps go backwards and forwards in turns. Of orders that copy alike the first takes what readers want and the
        second what a product gives, so that a copy wanders along a chain until it meets another one and both vanish.
        """
        least = self.copied()
        idle = 0
        for sweep in range(2 * SWEEPS):
            if idle == 2 or not least:
                break
            backwards = sweep % 2 == 0
            for group in reversed(self.groups) if backwards else self.groups:
                if self._copied(group.touched):
                    self._move(group, backwards)
            copied = self.copied()
            idle = 0 if copied < least else idle + 1
            least = copied
        return least

    def copied(self) -> float:
        """Bytes copied by all nodes [byte]."""
        return self._copied(self.free)

    def _copied(self, numbers: Iterable[int]) -> float:
        return sum(self.free[n].copied() for n in numbers)

    def _move(self, group: Group, backwards: bool) -> None:
        """Give one group the order that copies least."""
        wanted = [
            _axes(self.free[n].originals[place], order)
            for n, place in group.readers
            for order in self.free[n].wanted(place)
        ]
        natural = [_axes(self.free[n].originals[-1], order) for n in group.made for order in self.free[n].natural()]
        prices: dict[Axes, float] = {}
        for axes in (*wanted, *natural, group.axes) if backwards else (*natural, *wanted, group.axes):
            if axes not in prices:
                self._put(group, axes)
                prices[axes] = self._copied(group.touched)
        self._put(group, min(prices, key=prices.__getitem__))

    def _put(self, group: Group, axes: Axes) -> None:
        """Write the values of a group in another order."""
        group.axes = axes
        for number, place in (*((n, -1) for n in group.made), *group.readers):
            node = self.free[number]
            node.words[place] = "".join(reordered(node.originals[place], axes))

    def rebuilt(self) -> Graph:
        """The Graph with its values in the chosen orders; transpositions that became idle are gone."""
        axes = {n: group.axes for group in self.groups for n in group.members}

        def made(builder: Builder, number: int, operands: Sequence[int]) -> int:
            node = self.graph.nodes[number]
            type = reordered_type(node.type, axes[number]) if number in axes else None
            if number in self.free:
                return _emitted(builder, self.free[number], type or node.type, operands)
            if type is None:
                return builder.copy(node, operands)
            return builder.add(node.op, operands, reordered_attrs(node, axes[number]), type, node.sources)

        return copied(self.graph, made)


def _axes(original: str, order: str) -> Axes:
    """The order of a group in which a word reads so."""
    return tuple(original.index(c) for c in order)


def _emitted(builder: Builder, one: Flexible, type: TensorType, operands: Sequence[int]) -> int:
    """A node of any order in the one chosen."""
    sources = one.node.sources
    if isinstance(one, Convolution):
        return builder.add(CONV, operands, one.attrs(), type, sources)
    x = operands[0]
    if isinstance(one, Units):
        shape = builder.type(x).shape
        word, target = one.words
        order = [word.index(c) for c in target if c in word]
        units = [k for k, c in enumerate(word) if c not in target]
        if order != sorted(order):
            axes = (*units, *order)
            inner = TensorType(tuple(shape[k] for k in axes), type.dtype)
            x = builder.add("einsum", [x], [("spec", _permutation(shape, axes))], inner, sources)
        return (
            x
            if builder.type(x).shape == type.shape
            else builder.add("reshape", [x], [("shape", type.shape)], type, sources)
        )
    if one.is_idle:
        return x
    return builder.add("einsum", operands, [("spec", one.text)], type, sources)


def _permutation(shape: Sequence[int], axes: Axes) -> str:
    """Spec of a transposition."""
    word = LETTERS[: len(shape)]
    return canonical([word], "".join(word[axis] for axis in axes), dict(zip(word, shape, strict=True)))
