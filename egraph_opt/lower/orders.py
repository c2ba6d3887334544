# SPDX-License-Identifier: Apache-2.0
"""Orders of dimensions: intermediate values stand in the order in which the fewest tensors are copied.

A matrix product wants its operands and gives its result as a batch of matrices, plain or transposed; XLA copies what
stands otherwise, and elementwise work reads a tensor slowly whose dimensions run across those of its result. The
search takes a tensor and its transposition for one price, so the order of an intermediate is left open by it, and
chosen here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from egraph_opt.cost.work import einsum_work
from egraph_opt.ir import Builder, Graph, Spec
from egraph_opt.ir.spec import canonical
from egraph_opt.ir.types import itemsize
from egraph_opt.lower.order_groups import (
    Axes,
    Group,
    free_groups,
    read_through,
    reordered,
    reordered_attrs,
    reordered_type,
)

SWEEPS = 4
"""Passes over all groups at most, in each direction."""

PACKED = 0.5
"""Time to bring a byte into order inside a matrix product, as a share of that for one copied beforehand."""


def ordered(graph: Graph) -> Graph:
    """An equal Graph, or ``graph`` itself where nothing can be gained."""
    moves = _Orders(read_through(graph))
    return moves.rebuilt() if moves.improve() < _Orders(graph).copied() else graph


class _Orders:
    """The letters of all einsums of a Graph, in the orders chosen so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.specs: dict[int, Spec] = {}
        for number, node in enumerate(graph.nodes):
            if node.op == "einsum" and _is_plain(spec := Spec.parse(node.attr("spec"))):
                self.specs[number] = spec
        self.words = {number: [*spec.inputs, spec.output] for number, spec in self.specs.items()}
        self.groups = free_groups(graph, self.specs)

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
        """Bytes copied by all einsums [byte]."""
        return self._copied(self.specs)

    def _move(self, group: Group, backwards: bool) -> None:
        """Give one group the order that copies least."""
        wanted, natural = self._wanted(group), self._natural(group)
        prices: dict[Axes, float] = {}
        for axes in (*wanted, *natural, group.axes) if backwards else (*natural, *wanted, group.axes):
            if axes not in prices:
                self._put(group, axes)
                prices[axes] = self._copied(group.touched)
        self._put(group, min(prices, key=prices.__getitem__))

    def _put(self, group: Group, axes: Axes) -> None:
        """Write the values of a group in another order."""
        group.axes = axes
        for number in group.made:
            self.words[number][-1] = "".join(reordered(self.specs[number].output, axes))
        for reader, place in group.readers:
            self.words[reader][place] = "".join(reordered(self.specs[reader].inputs[place], axes))

    def _copied(self, numbers: Iterable[int]) -> float:
        """Bytes copied by some einsums [byte]."""
        return sum(_copied_by(self._spec(n), self.graph.nodes[n].type.dtype) for n in numbers)

    def _natural(self, group: Group) -> list[Axes]:
        """Orders in which the einsums of a group give their results."""
        found = []
        for number in group.made:
            *inputs, out = self.words[number]
            x, y = inputs[0], inputs[-1]
            if self.specs[number].summed and len(inputs) == 2:
                batch = [c for c in out if c in x and c in y]
                rows, columns = ([c for c in word if c in out and c not in batch] for word in (x, y))
                orders = [[*batch, *rows, *columns], [*batch, *columns, *rows]]
            else:
                orders = [
                    [*first, *(c for c in out if c not in first)] for word in (x, y) if (first := _kept(word, out))
                ]
            found += [tuple(self.specs[number].output.index(c) for c in order) for order in orders]
        return found

    def _wanted(self, group: Group) -> list[Axes]:
        """Orders in which the readers of a group take it as it is."""
        found = []
        for reader, place in group.readers:
            *inputs, result = self.words[reader]
            word = inputs[place]
            other = inputs[1 - place] if len(inputs) == 2 else result
            if self.specs[reader].summed and len(inputs) == 2 and set(other) != set(word):
                shared = [c for c in result if c in word and c in other]
                own = [c for c in result if c in word and c not in other]
                summed = [c for c in other if c in word and c not in result]
                orders = [[*shared, *own, *summed], [*shared, *summed, *own]]
            else:
                orders = [
                    [*first, *(c for c in word if c not in first)]
                    for first in (_kept(result, word), _kept(other, word))
                ]
            found += [tuple(self.specs[reader].inputs[place].index(c) for c in order) for order in orders]
        return found

    def _spec(self, number: int) -> str:
        *inputs, output = self.words[number]
        spec = self.specs[number]
        return canonical(inputs, output, spec.sizes, spec.scale)

    def rebuilt(self) -> Graph:
        """The Graph with its values in the chosen orders; transpositions that became idle are gone."""
        graph, builder = self.graph, Builder()
        names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
        axes = {n: group.axes for group in self.groups for n in group.members}
        place: list[int] = []
        for number, node in enumerate(graph.nodes):
            operands = [place[q] for q in node.operands]
            type = reordered_type(node.type, axes[number]) if number in axes else None
            if node.op == "input":
                place.append(builder.input(node.type, names[number]))
            elif number in self.words:
                spec = self._spec(number)
                if Spec.parse(spec).is_identity:
                    place.append(operands[0])
                else:
                    place.append(builder.add("einsum", operands, [("spec", spec)], type or node.type, node.sources))
            elif type is not None:
                place.append(builder.add(node.op, operands, reordered_attrs(node, axes[number]), type, node.sources))
            else:
                place.append(builder.copy(node, operands))
        roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
        return builder.build(*roots, graph.weak_outputs, graph.precision)


@lru_cache(maxsize=1 << 14)
def _copied_by(text: str, dtype: str) -> float:
    """Bytes that one einsum reads across or copies [byte]."""
    spec = Spec.parse(text)
    if len(spec.inputs) == 2 and spec.summed and set(spec.inputs[0]) != set(spec.inputs[1]):
        return einsum_work(text, dtype).copied + _packed(spec, itemsize(dtype))
    nbytes = itemsize(dtype)
    crossed = [word for word in spec.inputs if _kept(word, spec.output) != _kept(spec.output, word)]
    if len(spec.inputs) == 2 and spec.summed and not crossed and spec.inputs[0] != spec.inputs[1]:
        crossed = [spec.inputs[0]]
    return 2.0 * nbytes * sum(spec.count(word) for word in crossed)


def _packed(spec: Spec, nbytes: float) -> float:
    """Bytes that a matrix product of XLA:CPU brings into order itself (docs/decisions/einsum-spelling.md).

    The operand whose rows come first in the result wants what is summed last; the other one only where the first has it
    otherwise. Products with a vector read a matrix as it stands.
    """
    first, second = spec.inputs if _leads(spec) else spec.inputs[::-1]
    crossed: list[str] = []
    if not all(any(c not in other for c in word) for word, other in ((first, second), (second, first))):
        return 0.0
    if first[-1] not in spec.summed:
        crossed = [first, second] if second[-1] in spec.summed else [first]
    return PACKED * 2.0 * nbytes * sum(spec.count(word) for word in crossed)


def _leads(spec: Spec) -> bool:
    """Whether the first operand is the one whose rows come first in the result."""
    x, y = spec.inputs
    own = [c for c in spec.output if (c in x) != (c in y)]
    return not own or own[0] in x


def _kept(word: str, others: str) -> list[str]:
    """The letters of a word that another one has as well."""
    return [c for c in word if c in others]


def _is_plain(spec: Spec) -> bool:
    """A product in normal form, or one operand without diagonals."""
    if len(spec.inputs) == 2:
        return spec.is_pure
    return all(len(set(word)) == len(word) for word in (*spec.inputs, spec.output))
