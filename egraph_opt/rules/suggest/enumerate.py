# SPDX-License-Identifier: Apache-2.0
"""All terms of a theme up to a size, smallest first; terms with equal values form a class.

Only the first term of a class is built upon, so the number of terms grows with the number of different functions, not
with the number of ways to write them. Every further term of a class is a candidate: it seems to equal the first.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.rules.suggest.operators import Theme, pick
from egraph_opt.rules.suggest.terms import Dims, Operator, Term
from egraph_opt.rules.suggest.values import Values, float_points, signature

SIZES: Mapping[str, int] = {"n": 3, "k": 5}
POINTS = 9
SEED = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """Two terms that seem equal, the smaller one on the right."""

    left: Term
    right: Term

    @property
    def key(self) -> tuple[str, str]:
        """Equal for pairs that differ in the names of variables only."""
        return _renamed(self.left, self.right)

    @property
    def order(self) -> tuple[int, int, int, str]:
        """Small and general pairs first."""
        leaves = [t.name for term in (self.left, self.right) for t in term.walk() if t.operator is None]
        names = len(self.variables())
        return self.left.size + self.right.size, len(leaves) - 2 * names, -names, self.left.code

    def variables(self) -> dict[str, Dims]:
        """Variables of both sides."""
        return self.left.variables() | self.right.variables()


def _renamed(left: Term, right: Term) -> tuple[str, str]:
    table: dict[str, str] = {}
    types = left.variables() | right.variables()

    def name(match: re.Match[str]) -> str:
        text = match.group()
        if text not in types:
            return text
        return table.setdefault(text, f"{len(table)}:{''.join(types[text])}")

    return re.sub(r"\w+(?![\w(<])", name, left.code), re.sub(r"\w+(?![\w(<])", name, right.code)


@dataclass(slots=True)
class Enumeration:
    """What an enumeration found.

    Args:
        pairs: candidates, one for all renamings of variables.
        terms: how many were evaluated.
        classes: how many of them differ.
        complete: whether all terms of the size were made within the time.
    """

    pairs: list[Pair]
    terms: int = 0
    classes: int = 0
    complete: bool = True


def enumerate_pairs(theme: Theme, seconds: float, variables: int | None = None) -> Enumeration:
    """Candidates of one theme.

    Args:
        theme: variables, operators and size.
        seconds: after so long no further terms are made [s].
        variables: how many variables of each type to use at most.
    """
    names = _chosen(theme.variables, variables)
    search = _Search(names, pick(theme.ops), seconds)
    for size in range(theme.size + 1):
        if not search.level(size):
            search.found.complete = False
            break
    search.found.classes = len(search.first)
    return search.found


def _chosen(variables: Mapping[str, Dims], most: int | None) -> dict[str, Dims]:
    count: defaultdict[Dims, int] = defaultdict(int)
    chosen = {}
    for name, dims in variables.items():
        count[dims] += 1
        if most is None or count[dims] <= most:
            chosen[name] = dims
    return chosen


class _Search:
    """The classes found so far."""

    def __init__(self, variables: Mapping[str, Dims], operators: Sequence[Operator], seconds: float) -> None:
        self._variables, self._operators = variables, operators
        self._values = Values(float_points(variables, SIZES, POINTS, SEED), SIZES)
        self._deadline = time.perf_counter() + seconds
        self._levels: list[dict[Dims, list[Term]]] = []
        self._seen: set[tuple[str, str]] = set()
        self.first: dict[bytes, Term] = {}
        self.found = Enumeration([])

    def level(self, size: int) -> bool:
        """Make all terms of one size; False when the time is up."""
        self._levels.append({})
        for term in self._terms(size):
            self._classify(term)
            if time.perf_counter() > self._deadline:
                return False
        return True

    def _classify(self, term: Term) -> None:
        self.found.terms += 1
        value = self._values(term, keep=False)
        mark = signature(term, value)
        if mark is None:
            return
        known = self.first.get(mark)
        if known is None:
            self.first[mark] = term
            self._values(term)
            self._levels[-1].setdefault(term.dims, []).append(term)
        elif known != term:
            pair = Pair(term, known)
            if pair.key not in self._seen:
                self._seen.add(pair.key)
                self.found.pairs.append(pair)

    def _terms(self, size: int) -> Iterator[Term]:
        if size == 0:
            yield from (Term(None, (), dims, name) for name, dims in self._variables.items())
            for operator in self._operators:
                if not operator.words:
                    yield from (Term(operator, (), dims) for dims in dict.fromkeys(self._variables.values()))
            return
        for operator in self._operators:
            if len(operator.words) == 1:
                for dims, terms in self._levels[size - 1].items():
                    result = operator.result([dims])
                    if result is not None:
                        yield from (Term(operator, (term,), result) for term in terms)
            elif len(operator.words) == 2:
                yield from self._binary(operator, size)

    def _binary(self, operator: Operator, size: int) -> Iterator[Term]:
        for first in range(size):
            for dims, terms in self._levels[first].items():
                for others, more in self._levels[size - 1 - first].items():
                    result = operator.result([dims, others])
                    if result is not None:
                        yield from (Term(operator, (x, y), result) for x in terms for y in more)
