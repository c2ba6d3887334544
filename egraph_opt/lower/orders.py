# SPDX-License-Identifier: Apache-2.0
"""Orders of dimensions: intermediate products are made in the order in which the fewest tensors are copied.

A matrix product wants its operands and gives its result as a batch of matrices, plain or transposed; XLA copies what
stands otherwise. The search takes a product and its transposition for one price, so which order a tensor has is left
open by it; here it is chosen, for tensors of three dimensions and more that only products and transpositions read.
"""

from __future__ import annotations

from egraph_opt.cost.work import einsum_work
from egraph_opt.ir import Builder, Graph, Spec
from egraph_opt.ir.spec import canonical
from egraph_opt.ir.types import TensorType

SWEEPS = 4
"""Passes over all products at most, in each direction."""


def ordered(graph: Graph) -> Graph:
    """An equal Graph, or ``graph`` itself where nothing can be gained."""
    moves = _Orders(graph)
    return moves.rebuilt() if moves.improve() else graph


class _Orders:
    """The letters of all products and transpositions of a Graph, in the orders chosen so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.words: dict[int, list[str]] = {}
        for number, node in enumerate(graph.nodes):
            if node.op == "einsum" and (spec := Spec.parse(node.attr("spec"))) and _is_plain(spec):
                self.words[number] = [*spec.inputs, spec.output]
        self.readers: dict[int, list[tuple[int, int]]] = {}
        self.free = self._free()

    def _free(self) -> list[int]:
        """Products whose dimensions may stand in any order, in the order of the Graph."""
        kept = {*self.graph.outputs, *self.graph.effects}
        large = [n for n, words in self.words.items() if len(words) == 3 and len(words[-1]) > 2 and n not in kept]
        self.readers = {n: [] for n in large}
        for reader, node in enumerate(self.graph.nodes):
            for place, q in enumerate(node.operands):
                if q in self.readers:
                    self.readers[q].append((reader, place))
        return [n for n in large if all(reader in self.words for reader, _ in self.readers[n])]

    def improve(self) -> bool:
        """Choose orders; whether less is copied than before.

        Sweeps go backwards and forwards in turns. Of orders that copy alike the first takes what readers want and the
        second what a product gives, so that a copy wanders along a chain until it meets another one and both vanish.
        """
        start = least = sum(map(self._own, self.words)) if self.free else 0.0
        idle = 0
        for sweep in range(2 * SWEEPS):
            if idle == 2 or not least:
                break
            backwards = sweep % 2 == 0
            for number in reversed(self.free) if backwards else self.free:
                self._move(number, backwards)
            copied = sum(map(self._own, self.words))
            idle = 0 if copied < least else idle + 1
            least = copied
        return least < start

    def _move(self, number: int, backwards: bool) -> None:
        """Give one product the order that copies least."""
        old = self.words[number][-1]
        wanted, natural = self._wanted(number), self._natural(number)
        prices: dict[str, float] = {}
        for order in (*wanted, *natural, old) if backwards else (*natural, *wanted, old):
            if order not in prices:
                self._put(number, order)
                prices[order] = self._copied(number)
        self._put(number, min(prices, key=prices.__getitem__))

    def _put(self, number: int, order: str) -> None:
        """Write the result of a product in another order."""
        old = self.words[number][-1]
        axes = [old.index(c) for c in order]
        self.words[number][-1] = order
        for reader, place in self.readers[number]:
            word = self.words[reader][place]
            self.words[reader][place] = "".join(word[axis] for axis in axes)

    def _copied(self, number: int) -> float:
        """Bytes copied for a product and those who read it [byte]."""
        return sum(self._own(n) for n in {number, *(reader for reader, _ in self.readers[number])})

    def _own(self, number: int) -> float:
        node, (*inputs, output) = self.graph.nodes[number], self.words[number]
        if len(inputs) == 1:
            return 0.0 if inputs[0] == output else 2.0 * node.type.nbytes
        return einsum_work(self._spec(number), node.type.dtype).copied

    def _natural(self, number: int) -> list[str]:
        """Orders in which a product gives its result."""
        x, y, out = self.words[number]
        batch = [c for c in out if c in x and c in y]
        rows, columns = ([c for c in word if c in out and c not in batch] for word in (x, y))
        return ["".join(batch + rows + columns), "".join(batch + columns + rows)]

    def _wanted(self, number: int) -> list[str]:
        """Orders in which the readers of a product take it as it is."""
        found = []
        for reader, place in self.readers[number]:
            *inputs, result = self.words[reader]
            word = inputs[place]
            if len(inputs) == 1:
                orders = [result]
            else:
                other = inputs[1 - place]
                shared = [c for c in result if c in word and c in other]
                own = [c for c in result if c in word and c not in other]
                summed = [c for c in other if c in word and c not in result]
                orders = ["".join(shared + own + summed), "".join(shared + summed + own)]
            here = self.words[number][-1]
            found += ["".join(here[word.index(c)] for c in order) for order in orders]
        return found

    def _spec(self, number: int) -> str:
        *inputs, output = self.words[number]
        spec = Spec.parse(self.graph.nodes[number].attr("spec"))
        return canonical(inputs, output, spec.sizes, spec.scale)

    def rebuilt(self) -> Graph:
        """The Graph with products in the chosen orders; transpositions that became idle are gone."""
        graph, builder = self.graph, Builder()
        names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
        place: list[int] = []
        for number, node in enumerate(graph.nodes):
            operands = [place[q] for q in node.operands]
            if node.op == "input":
                place.append(builder.input(node.type, names[number]))
            elif number in self.words and self._idle(number):
                place.append(operands[0])
            elif number in self.words:
                spec = self._spec(number)
                type = TensorType(Spec.parse(spec).shape, node.type.dtype)
                place.append(builder.add("einsum", operands, [("spec", spec)], type, node.sources))
            else:
                place.append(builder.copy(node, operands))
        roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
        return builder.build(*roots, graph.weak_outputs, graph.precision)

    def _idle(self, number: int) -> bool:
        words = self.words[number]
        return len(words) == 2 and words[0] == words[1] and self.graph.nodes[number].operands[0] in self.readers


def _is_plain(spec: Spec) -> bool:
    """A product that is a matrix product, or a transposition."""
    if len(spec.inputs) == 1:
        return spec.is_permutation and spec.scale == 1
    return spec.is_pure and bool(spec.summed) and set(spec.inputs[0]) != set(spec.inputs[1])
