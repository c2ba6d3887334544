# SPDX-License-Identifier: Apache-2.0
"""Congruence closure that remembers why: classes of equal terms and the equations that join any two of them.

A proof forest beside the union-find (Nieuwenhuis and Oliveras, "Proof-producing congruence closure", 2005).
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.explain.terms import Term, TermTable

Signature = tuple[str, str, tuple[int, ...], object]


class Congruence:
    """Classes of the terms of a table, which may grow.

    Args:
        table: the terms.
        only: terms to look at, operands first; all of the table, also those to come, without it.
    """

    def __init__(self, table: TermTable, only: Sequence[int] | None = None) -> None:
        self._table = table
        self._parent: dict[int, int] = {}
        self._members: dict[int, int] = {}
        self._uses: dict[int, list[int]] = {}
        self._known: dict[Signature, int] = {}
        self._because: dict[int, tuple[int, int] | None] = {}
        """Edge of the proof forest: the next term and the equation, -1 for equal operands."""
        self._grows = only is None
        for t in only or ():
            self._enter(t)

    def find(self, t: int) -> int:
        """The term that stands for the class of ``t``."""
        if t not in self._parent:
            self._catch_up()
        parent = self._parent
        while parent[t] != t:
            parent[t] = parent[parent[t]]
            t = parent[t]
        return t

    def merge(self, a: int, b: int, equation: int) -> None:
        """Equation number ``equation`` says that two terms are equal."""
        self._catch_up()
        self._merge([(a, b, equation)])

    def explain(self, *pairs: tuple[int, int]) -> list[int]:
        """Equations that join pairs of terms of one class, in the order in which they lead from one to the other."""
        found: dict[int, None] = {}
        seen: set[tuple[int, int]] = set()
        stack = list(reversed(pairs))
        while stack:
            pair = stack.pop()
            if pair[0] == pair[1] or pair in seen:
                continue
            seen.add(pair)
            steps = self._path(*pair)
            if len(steps) > 1:
                stack += [(x, y) for x, y, _ in reversed(steps)]
                continue
            x, y, equation = steps[0]
            if equation >= 0:
                found[equation] = None
            else:
                stack += list(zip(self._table.rows[x].args, self._table.rows[y].args, strict=True))[::-1]
        return list(found)

    def _catch_up(self) -> None:
        if self._grows:
            for t in range(len(self._parent), len(self._table.rows)):
                self._enter(t)

    def _enter(self, t: int) -> None:
        self._parent[t] = t
        self._members[t] = 1
        self._uses[t] = []
        self._because[t] = None
        for a in set(self._table.rows[t].args):
            self._uses[self.find(a)].append(t)
        twin = self._known.setdefault(self._signature(self._table.rows[t]), t)
        if twin != t:
            self._merge([(t, twin, -1)])

    def _merge(self, stack: list[tuple[int, int, int]]) -> None:
        while stack:
            a, b, equation = stack.pop()
            small, large = self.find(a), self.find(b)
            if small == large:
                continue
            if self._members[small] > self._members[large]:
                a, b, small, large = b, a, large, small
            self._reroot(a)
            self._because[a] = (b, equation)
            self._parent[small] = large
            self._members[large] += self._members[small]
            moved, self._uses[small] = self._uses[small], []
            self._uses[large] += moved
            for t in moved:
                twin = self._known.setdefault(self._signature(self._table.rows[t]), t)
                if twin != t:
                    stack.append((t, twin, -1))

    def _signature(self, term: Term) -> Signature:
        return term.op, term.attrs, tuple([self.find(a) for a in term.args]), term.types

    def _reroot(self, t: int) -> None:
        """Turn the edges from ``t`` to its root around."""
        last: tuple[int, int] | None = None
        place: int | None = t
        while place is not None:
            edge = self._because[place]
            self._because[place] = last
            if edge is None:
                return
            last = (place, edge[1])
            place = edge[0]

    def _path(self, a: int, b: int) -> Sequence[tuple[int, int, int]]:
        """Edges of the proof forest from one term to another."""
        up = {a: 0}
        steps: list[tuple[int, int, int]] = []
        t = a
        while (edge := self._because[t]) is not None:
            steps.append((t, edge[0], edge[1]))
            t = edge[0]
            up[t] = len(steps)
        down: list[tuple[int, int, int]] = []
        t = b
        while t not in up:
            edge = self._because[t]
            assert edge is not None, "the two terms are not in one class"
            down.append((edge[0], t, edge[1]))
            t = edge[0]
        return [*steps[: up[t]], *reversed(down)]
