# SPDX-License-Identifier: Apache-2.0
"""Common factors of sums of elementwise products: ``x a + x b = x (a + b)`` with ``x`` itself as ``x 1``.

Rules factor contractions; products of elements are too many to keep all their forms in an e-graph. Here one form is
chosen, greedily, where it saves work by what the nodes cost that nobody else needs. Nothing is multiplied out: a factor
that is a sum stays one, so no cancellation is lost that was written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import merge_sources
from egraph_opt.ir.spec import LETTERS, Scale, Spec, canonical
from egraph_opt.ir.spec_algebra import is_factor
from egraph_opt.ir.types import TensorType, is_floating
from egraph_opt.ops import Trait, get_op

FACTORED = "common-factors"
"""What reports call the pass."""

MOST_TERMS = 12
MOST_FACTORS = 8
LARGEST = 600
"""Terms of a sum, factors of a term and nodes of a program that are looked at."""

Places = tuple[int, ...]
Price = Callable[[Node, Sequence[TensorType]], float]
"""What one node costs, told it and the types of its operands."""


class Factor(NamedTuple):
    """A node as a factor of another one: ``places`` says at which dimensions of that its own stand."""

    node: int
    places: Places


Product = tuple[Factor, ...]
"""Sorted factors; none for one."""

Sum = dict[Product, Scale]


def factored(graph: Graph, numerics: Numerics, price: Price) -> Graph:
    """The graph with common factors of sums taken out where that is cheaper; the one given if nothing is.

    Args:
        graph: a program in normal form.
        numerics: class of the changes; below ``reassociate`` nothing is done.
        price: of single nodes.
    """
    if numerics < Numerics.REASSOCIATE or len(graph) > LARGEST or not any(node.op == "add" for node in graph.nodes):
        return graph
    return _Factoring(graph, numerics, price).run()


class _Factoring:
    """One walk over a program: ``place`` says what each node became, ``_needed`` what others will read."""

    def __init__(self, graph: Graph, numerics: Numerics, price: Price) -> None:
        self._graph, self._emitter, self._price = graph, Emitter(numerics), price
        self._place: list[int] = []
        self._prices: dict[int, float] = {}
        self._last = [0] * len(graph.nodes)
        for number, node in enumerate(graph.nodes):
            for q in node.operands:
                self._last[q] = number
        for n in (*graph.outputs, *graph.effects):
            self._last[n] = len(graph.nodes)

    def run(self) -> Graph:
        graph, emitter = self._graph, self._emitter
        names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
        found = False
        for number, node in enumerate(graph.nodes):
            if node.op == "input":
                self._place.append(emitter.input(node.type, names[number]))
                continue
            operands = [self._place[q] for q in node.operands]
            made = emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
            better = self._better(number, made) if node.op == "add" and is_floating(node.type.dtype) else None
            found |= better is not None
            self._place.append(made if better is None else better)
        if not found:
            return graph
        outputs, effects = ([self._place[n] for n in numbers] for numbers in (graph.outputs, graph.effects))
        return emitter.build(outputs, effects, graph.weak_outputs, graph.precision)

    def _better(self, number: int, made: int) -> int | None:
        """A cheaper form of a sum, all that later nodes read being there anyway."""
        needed = {self._place[q] for q in range(number) if self._last[q] > number}
        kept = self._ancestors(needed, set())
        closed = self._factors_of(made)
        best, found = self._cost(made, kept), None
        for opened in (False, True):
            terms = self._terms(made, closed if opened else closed | kept)
            if terms is None or not 1 < len(terms) <= MOST_TERMS:
                continue
            other = self._sum(terms, made)
            if other != made and (cost := self._cost(other, kept)) < best:
                best, found = cost, other
        if found is not None:
            self._hand_on_lines(made, found)
        return found

    def _hand_on_lines(self, old: int, new: int) -> None:
        """User lines of what a sum was made of go to the nodes that stand for it now and have none."""
        made = self._ancestors({new}, set())
        lines = merge_sources(*map(self._emitter.sources, sorted(self._ancestors({old}, made), reverse=True)))
        for n in made:
            node = self._emitter.nodes[n]
            if n == new or (node.operands and not self._emitter.sources(n)):
                self._emitter.note(n, lines)

    # What sums are made of.

    def _terms(self, number: int, closed: set[int]) -> Sum | None:
        """A node as a sum of products; sums that are ``closed`` are not opened. None where terms cancel."""
        shape = self._emitter.type(number).shape
        total: Sum = defaultdict(int)

        def read(n: int, places: Places, scale: Scale) -> None:
            node = self._emitter.nodes[n]
            if node.op == "add" and (n == number or n not in closed) and len(total) <= MOST_TERMS:
                for q in node.operands:
                    read(q, places, scale)
                return
            spec = _plain(node)
            if spec is not None and len(node.operands) == 1:
                inner = tuple(places[spec.output.index(c)] for c in spec.inputs[0])
                read(node.operands[0], inner, scale * spec.scale)
                return
            product, factor = self._product(n, places, len(shape))
            total[product] += scale * factor

        read(number, tuple(range(len(shape))), 1)
        return _collected(total)

    def _product(self, number: int, places: Places, rank: int) -> tuple[Product, Scale]:
        """A node as a product of others."""
        factors: list[Factor] = []
        scale: Scale = 1
        stack = [Factor(number, places)]
        while stack:
            top = stack.pop()
            node = self._emitter.nodes[top.node]
            spec = _plain(node)
            value = self._emitter.scalar_value(top.node)
            if isinstance(value, int | float) and is_factor(value):
                scale *= value
            elif spec is None or len(factors) + len(stack) >= MOST_FACTORS:
                factors.append(top)
            else:
                scale *= spec.scale
                for q, word in zip(node.operands, spec.inputs, strict=True):
                    stack.append(Factor(q, tuple(top.places[spec.output.index(c)] for c in word)))
        return tuple(sorted(factors)), scale

    def _factors_of(self, number: int) -> set[int]:
        """Sums that are factors of terms of a sum: opened as terms, they would no longer be common."""
        found: set[int] = set()
        stack = list(self._emitter.nodes[number].operands)
        while stack:
            node = self._emitter.nodes[stack.pop()]
            if node.op == "add" or (_plain(node) is not None and len(node.operands) == 1):
                stack += node.operands
            elif _plain(node) is not None:
                found |= self._ancestors(set(node.operands), set())
        return found

    # How they are written.

    def _sum(self, terms: Sum, like: int) -> int:
        """A node for a sum, common factors taken out."""
        type = self._emitter.type(like)
        places = tuple(range(len(type.shape)))
        made = self._written(terms, type.shape, type.dtype)
        return self._spread(made, places, type.shape)

    def _written(self, terms: Sum, shape: Sequence[int], dtype: str) -> Factor:
        """A sum as one factor, over as few dimensions as it has."""
        scales = {abs(scale) for scale in terms.values()}
        if len(scales) == 1 and scales != {1} and len(terms) > 1:
            (common,) = scales
            plain = self._written({p: 1 if s > 0 else -1 for p, s in terms.items()}, shape, dtype)
            return plain._replace(node=self._emitter.scaled(plain.node, common))
        if len(terms) == 1:
            ((product, scale),) = terms.items()
            return self._multiplied(product, scale, shape, dtype)
        best = self._common(terms, shape)
        if best is None:
            parts = [self._multiplied(product, scale, shape, dtype) for product, scale in terms.items()]
            return self._added(parts, shape)
        inner: Sum = {}
        left: Sum = {}
        for product, scale in terms.items():
            if best in product:
                rest = list(product)
                rest.remove(best)
                inner[tuple(rest)] = scale
            else:
                left[product] = scale
        total = self._written(self._opened(inner), shape, dtype)
        node = self._emitter.nodes[total.node]
        factor: Scale = 1
        spec = _plain(node)
        if spec is not None and len(node.operands) == 1 and spec.is_permutation and spec.inputs[0] == spec.output:
            total, factor = Factor(node.operands[0], total.places), spec.scale
        made = self._multiplied((best, total), factor, shape, dtype)
        if not left:
            return made
        return self._added([made, self._written(left, shape, dtype)], shape)

    def _opened(self, terms: Sum) -> Sum:
        """The sum with sums among its terms opened, where there are fewer terms then."""
        total: Sum = defaultdict(int)
        for product, scale in terms.items():
            if len(product) != 1 or self._emitter.nodes[product[0].node].op != "add":
                total[product] += scale
                continue
            (factor,) = product
            parts = self._terms(factor.node, set())
            if parts is None:
                return terms
            for inner, k in parts.items():
                moved = tuple(sorted(f._replace(places=tuple(factor.places[p] for p in f.places)) for f in inner))
                total[moved] += scale * k
        collected = _collected(total)
        return collected if collected and len(collected) < len(terms) else terms

    def _common(self, terms: Sum, shape: Sequence[int]) -> Factor | None:
        """The factor that saves most when it is taken out."""
        counts = Counter(factor for product in terms for factor in set(product))
        sizes = {factor: _count(factor.places, shape) for factor in counts}
        ranked = [(-(n - 1) * sizes[f], -sizes[f], f) for f, n in counts.items() if n > 1 and sizes[f] > 1]
        return min(ranked)[2] if ranked else None

    def _multiplied(self, product: Product, scale: Scale, shape: Sequence[int], dtype: str) -> Factor:
        """A product, the small factors first."""
        if not product:
            return Factor(self._emitter.constant(scale, dtype), ())
        first, *others = sorted(product, key=lambda f: (_count(f.places, shape), f.node, f.places))
        total = first
        for other in others:
            union = tuple(sorted({*total.places, *other.places}))
            words = ["".join(LETTERS[p] for p in places) for places in (total.places, other.places, union)]
            spec = canonical(words[:2], words[2], {LETTERS[p]: shape[p] for p in union})
            total = Factor(self._emitter.einsum(spec, [total.node, other.node]), union)
        return total if scale == 1 else total._replace(node=self._emitter.scaled(total.node, scale))

    def _added(self, parts: Sequence[Factor], shape: Sequence[int]) -> Factor:
        union = tuple(sorted({p for part in parts for p in part.places}))
        return Factor(self._emitter.sum_of(sorted(self._spread(part, union, shape) for part in parts)), union)

    def _spread(self, factor: Factor, union: Places, shape: Sequence[int]) -> int:
        """A factor over more dimensions."""
        word, output = ("".join(LETTERS[p] for p in places) for places in (factor.places, union))
        return self._emitter.einsum(canonical([word], output, {LETTERS[p]: shape[p] for p in union}), [factor.node])

    # What it costs.

    def _ancestors(self, roots: set[int], stop: set[int]) -> set[int]:
        seen: set[int] = set()
        stack = list(roots)
        while stack:
            n = stack.pop()
            if n not in seen and n not in stop:
                seen.add(n)
                stack += self._emitter.nodes[n].operands
        return seen

    def _cost(self, number: int, kept: set[int]) -> float:
        """Price of what a node needs beside what is kept."""
        total = 0.0
        for n in self._ancestors({number}, kept):
            if n not in self._prices:
                node = self._emitter.nodes[n]
                self._prices[n] = self._price(node, [self._emitter.nodes[q].types[0] for q in node.operands])
            total += self._prices[n]
        return total


def _collected(total: Sum) -> Sum | None:
    """The terms that are left; None where others than constants cancel: x - x is zero for finite x only."""
    left = {product: scale for product, scale in total.items() if product or scale != 0}
    return left if all(map(is_factor, left.values())) else None


def _plain(node: Node) -> Spec | None:
    """The spec of a product of elements, or of a transpose, broadcast or multiple; diagonals and sums are none."""
    if node.op != "einsum" or not is_floating(node.type.dtype):
        return None
    spec = Spec.parse(node.attr("spec"))
    distinct = all(len(set(word)) == len(word) for word in (*spec.inputs, spec.output))
    return spec if distinct and not spec.summed and is_factor(spec.scale) else None


def _count(places: Places, shape: Sequence[int]) -> int:
    total = 1
    for p in places:
        total *= shape[p]
    return total
