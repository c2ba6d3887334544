# SPDX-License-Identifier: Apache-2.0
"""Products that a result is linear in are avoided where their adjoint is there already: ``<a, L u> = <L' a, u>``.

A result is written as a sum of terms ``<a, n>``, at first ``<1, result>``. From the last node to the first, ``n`` is
replaced by what it is made of: its terms where it is a sum, one of its operands where it is a product, the other one
going to ``a``. Terms of one node are collected, so this is the backward sweep of differentiation, through the linear
part of the program alone. An expensive product is passed only where ``L' a`` is the value of a node that is computed
anyway, or costs much less than the product.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from egraph_opt.adjoint.merging import Merged, State
from egraph_opt.ir.spec import LETTERS, Spec, canonical
from egraph_opt.ir.walk import ancestors

CHEAPER = 8.0
"""An adjoint that is not there yet must cost so many times less than the product that it saves."""

Letters = tuple[int, ...]
Place = tuple[int, int]
"""Where an index of an adjoint stands: (0, dimension of the result) or (1, dimension of the node)."""


class Term(NamedTuple):
    """``<a, n>``: node, its indices, adjoint, its indices; what the result lacks is summed."""

    n: int
    w: Letters
    adjoint: int
    a: Letters


class Elimination:
    """One result as a sum of products with other nodes.

    Args:
        merged: the program; nodes are added to its emitter.
        live: nodes that it needs.
        result: a node to write differently.
        expensive: FLOP from which a product is worth avoiding [flop].
        prove: whether to keep all steps in ``merged.states``.

    After ``run``, ``avoided`` holds the expensive products that were passed, ``reused`` tells how many of their
    adjoints, expensive themselves, were there already, and ``weighted`` how many elementwise products were passed.
    """

    def __init__(self, merged: Merged, live: set[int], result: int, expensive: float, prove: bool = False) -> None:
        self._merged, self._live, self._result = merged, live, result
        self._emitter, self._expensive, self._prove = merged.emitter, expensive, prove
        self._above = self._users_of(result)
        # What others need is computed anyway.
        self._kept = ancestors(self._emitter, merged.roots, stop={result}) - {result}
        self._avoidable: dict[int, bool] = {}
        self._size: dict[int, int] = {}
        self._output = tuple(self._letter(n) for n in self._emitter.type(result).shape)
        self._pending: dict[int, dict[Letters, tuple[int, tuple[Place, ...]]]] = {}
        self._order: list[int] = []
        self._final: list[Term] = []
        self.avoided: set[int] = set()
        self.reused = self.weighted = 0

    def run(self) -> int | None:
        """The result written without some expensive products; None when none can be avoided."""
        if not self._is_avoidable(self._result):
            return None
        one = self._emitter.constant(1.0, self._emitter.type(self._result).dtype)
        self._push(Term(self._result, self._output, one, ()))
        while self._order:
            n = -heapq.heappop(self._order)
            for key, adjoint in list(self._pending[n].items()):
                before = self._state() if self._prove else []
                del self._pending[n][key]
                self._visit(self._term(n, key, *adjoint))
                if self._prove:
                    self._merged.states.append((before, self._state()))
            del self._pending[n]
        return self._merged.total(self._state()) if self.avoided else None

    def _visit(self, term: Term) -> None:
        """Replace one term by terms of what its node is made of, or keep it."""
        node = self._emitter.nodes[term.n]
        if not self._is_avoidable(term.n):
            self._finish(term)
        elif node.op == "add":
            for q in node.operands:
                self._push(term._replace(n=q))
        elif len(node.operands) == 1:
            self._pass_copy(term)
        else:
            self._pass_product(term)

    def _finish(self, term: Term) -> None:
        self._final.append(term)
        self._keep(term.n, term.adjoint)

    def _words(self, term: Term) -> tuple[Spec, list[Letters]]:
        """Spec of an einsum and the indices of its operands."""
        spec = Spec.parse(self._emitter.nodes[term.n].attr("spec"))
        name = dict(zip(spec.output, term.w, strict=True))
        for c, size in spec.sizes.items():
            if c not in name:
                name[c] = self._letter(size)
        return spec, [tuple(name[c] for c in word) for word in spec.inputs]

    def _pass_copy(self, term: Term) -> None:
        spec, (m,) = self._words(term)
        held = {*m, *self._output}
        adjoint, a = term.adjoint, tuple(c for c in term.a if c in held)
        if a != term.a:
            adjoint = self._einsum([term.a], a, [adjoint])
        factor = spec.scale
        for c in set(term.w) - held - set(term.a):
            factor *= self._size[c]  # a broadcast that is summed again
        if factor != 1:
            adjoint = self._emitter.scaled(adjoint, factor)
        self._push(Term(self._emitter.nodes[term.n].operands[0], m, adjoint, a))

    def _pass_product(self, term: Term) -> None:
        operands = self._emitter.nodes[term.n].operands
        spec, words = self._words(term)
        is_expensive = spec.flops >= self._expensive and self._is_expensive(term.n)
        # What was made last is the best to avoid: it needs the most.
        for k in sorted((0, 1), key=lambda k: (self._is_avoidable(operands[k]), operands[k]), reverse=True):
            if not is_expensive and not self._is_avoidable(operands[k]):
                continue
            held = {*words[k], *self._output}
            a = tuple(c for c in dict.fromkeys((*term.a, *words[1 - k])) if c in held)
            image = self._image(term, a, words[1 - k], operands[1 - k], spec.flops)
            if image is None:
                continue
            if is_expensive:
                self.avoided.add(term.n)
            self.weighted += not spec.summed
            self._keep(operands[1 - k], image)
            self._push(Term(operands[k], words[k], image, a))
            return
        self._finish(term)

    def _image(self, term: Term, a: Letters, word: Letters, other: int, flops: float) -> int | None:
        """The adjoint of an operand: that of the product times the other operand; None when it costs too much."""
        if self._count(a) > max(map(self._count, (word, term.w, term.a))):
            return None
        made = self._einsum([term.a, word], a, [term.adjoint, other])
        cost = self._count((*term.a, *word))
        is_cheap = cost == self._count(a) or 2 * cost * CHEAPER <= flops
        if made in self._live:
            if not self._is_apart(made):
                return None
            self.reused += not is_cheap
            return made
        if is_cheap:
            return made
        for found in self._merged.known.find(made):
            if found.number in self._live and self._is_apart(found.number):
                link = self._merged.known.link(found)
                if self._prove:
                    self._merged.equal.append((made, link))
                self.reused += 1
                return link
        return None

    def _is_apart(self, n: int) -> bool:
        """Whether a node needs neither the result nor what is avoided."""
        below = ancestors(self._emitter, [n])
        return below.isdisjoint(self.avoided) and below.isdisjoint(self._above)

    def _keep(self, *numbers: int) -> None:
        """These nodes are computed, whatever becomes of the rest."""
        new = ancestors(self._emitter, numbers, stop=self._kept) - self._kept
        if new:
            self._kept |= new
            self._avoidable.clear()

    def _is_expensive(self, n: int) -> bool:
        spec = Spec.parse(self._emitter.nodes[n].attr("spec"))
        return bool(spec.summed) and spec.flops > 4 * max(spec.count(spec.output), min(map(spec.count, spec.inputs)))

    def _is_avoidable(self, n: int) -> bool:
        """Whether a node is linear in an expensive product that nothing else needs so far."""
        known, stack = self._avoidable, [n]
        while stack:
            top = stack[-1]
            operands = self._linear_in(top)
            missing = [q for q in operands if q not in known]
            if top not in known and missing:
                stack += missing
                continue
            stack.pop()
            if top not in known:
                own = len(operands) == 2 and self._emitter.nodes[top].op == "einsum" and self._is_worth(top)
                known[top] = own or any(known[q] for q in operands)
        return known[n]

    def _is_worth(self, n: int) -> bool:
        return Spec.parse(self._emitter.nodes[n].attr("spec")).flops >= self._expensive and self._is_expensive(n)

    def _linear_in(self, n: int) -> Sequence[int]:
        """Operands that a node is linear in, none where it is kept."""
        node = self._emitter.nodes[n]
        if n in self._kept or node.op not in ("add", "einsum"):
            return ()
        if node.op == "einsum":
            spec = Spec.parse(node.attr("spec"))
            if any(len(set(word)) < len(word) for word in (*spec.inputs, spec.output)):
                return ()
        return node.operands

    def _users_of(self, n: int) -> set[int]:
        """The node and all live nodes that need it."""
        found = {n}
        for m in sorted(self._live):
            if m > n and not found.isdisjoint(self._emitter.nodes[m].operands):
                found.add(m)
        return found

    def _push(self, term: Term) -> None:
        """Add a term; two that stand alike to the result become one, their adjoints added."""
        key = tuple(c if c in self._output else -1 for c in term.w)
        if term.n not in self._pending:
            self._pending[term.n] = {}
            heapq.heappush(self._order, -term.n)
        group = self._pending[term.n]
        places = tuple((0, self._output.index(c)) if c in self._output else (1, term.w.index(c)) for c in term.a)
        if key not in group:
            group[key] = (term.adjoint, places)
            return
        both = sorted({*places, *group[key][1]})
        names = dict(zip(both, LETTERS, strict=False))
        shapes = self._emitter.type(self._result).shape, self._emitter.type(term.n).shape
        sizes = {names[p]: shapes[p[0]][p[1]] for p in both}
        parts = []
        for adjoint, held in (group[key], (term.adjoint, places)):
            spec = canonical(["".join(names[p] for p in held)], "".join(names[p] for p in both), sizes)
            parts.append(self._emitter.einsum(spec, [adjoint]))
        group[key] = (self._emitter.sum_of(sorted(parts)), tuple(both))

    def _term(self, n: int, key: Letters, adjoint: int, places: tuple[Place, ...]) -> Term:
        """A collected term with indices of its own."""
        shape = self._emitter.type(n).shape
        w = tuple(c if c >= 0 else self._letter(size) for c, size in zip(key, shape, strict=True))
        return Term(n, w, adjoint, tuple((self._output, w)[side][axis] for side, axis in places))

    def _state(self) -> State:
        """All terms as products; their sum is the result."""
        pending = [self._term(n, key, *x) for n, group in self._pending.items() for key, x in group.items()]
        return [(self._spec([t.a, t.w], self._output), (t.adjoint, t.n)) for t in (*self._final, *pending)]

    def _letter(self, size: int) -> int:
        self._size[len(self._size)] = size
        return len(self._size) - 1

    def _count(self, letters: Letters) -> int:
        total = 1
        for c in set(letters):
            total *= self._size[c]
        return total

    def _einsum(self, words: Sequence[Letters], output: Letters, operands: Sequence[int]) -> int:
        return self._emitter.einsum(self._spec(words, output), operands)

    def _spec(self, words: Sequence[Letters], output: Letters) -> str:
        names = dict(zip(dict.fromkeys([c for word in (*words, output) for c in word]), LETTERS, strict=False))
        texts = ["".join(names[c] for c in word) for word in (*words, output)]
        return canonical(texts[:-1], texts[-1], {name: self._size[c] for c, name in names.items()})
