# SPDX-License-Identifier: Apache-2.0
"""Which pairs of terms the rules in force already make equal, found out by the engine.

A pair is derivable when both sides, loaded into one e-graph, end in one class. Laws accepted before count as well: they
run as rules on terms of the enumeration's sizes, and rewrite the terms of a pair before they are loaded.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from egraph_opt.engine import Limits, Rule, RuleSet, Saturation
from egraph_opt.errors import EngineError
from egraph_opt.ir.numerics import Numerics
from egraph_opt.normalise import normalise
from egraph_opt.rules.suggest.enumerate import SIZES, Pair
from egraph_opt.rules.suggest.rules import trial_rules
from egraph_opt.rules.suggest.terms import Dims, Operator, Term, to_graph

CHUNK = 40
VARIANTS = 16
LIMITS = Limits(seconds=4.0, nodes=4_000, iterations=8)
NORMAL_FORM = "normal-form"
SUMS = "sums"
Step = tuple[Term, Term]


class Derivations:
    """The rules in force and the laws accepted so far.

    Args:
        rules: before any is switched off.
        without: rules that are switched off; also ``normal-form``, what capture makes equal, and ``sums``, the
            collecting and factoring of sums between iterations.
        variables: of all terms that will be asked for.
    """

    def __init__(self, rules: RuleSet, without: Collection[str], variables: Mapping[str, Dims]) -> None:
        self._rules, self._variables = rules.without(without), variables
        self._normal = NORMAL_FORM not in without
        self._numerics = Numerics.EXACT if SUMS in without else Numerics.FINITE
        self._laws: defaultdict[Operator, list[Step]] = defaultdict(list)
        self._count = 0
        self._known: dict[Term, set[Term]] = {}
        self._trials: list[Rule] = []

    def accept(self, law: Pair) -> None:
        """From now on the law may be used."""
        self._trials += trial_rules(law, self._count)
        self._count += 1
        self._known.clear()
        for one, other in ((law.left, law.right), (law.right, law.left)):
            if one.operator is not None and other.variables().keys() <= one.variables().keys():
                self._laws[one.operator].append((one, other))

    def missing(self, pairs: Sequence[Pair], end: float) -> Iterator[Pair]:
        """Pairs that cannot be derived; laws that are accepted meanwhile count for the pairs after.

        Many pairs share one e-graph, which makes no two terms equal that are not. After every law that is accepted, the
        rest of a block is tried again.
        """
        for start in range(0, len(pairs), CHUNK):
            rest = list(pairs[start : start + CHUNK])
            known = -1
            while rest and time.perf_counter() < end:
                if known != self._count:
                    known = self._count
                    rest = self._missing(rest)
                if rest:
                    yield rest.pop(0)

    def _missing(self, pairs: Sequence[Pair]) -> list[Pair]:
        sides = [(self._variants(p.left), self._variants(p.right)) for p in pairs]
        waiting = [
            k for k, (left, right) in enumerate(sides) if left.isdisjoint(right) and not self._one_form(pairs[k])
        ]
        if not waiting:
            return []
        terms = list(dict.fromkeys(t for k in waiting for side in sides[k] for t in sorted(side, key=_code)))
        classes = dict(zip(terms, self._classes(terms), strict=True))

        def met(k: int) -> bool:
            left, right = ({classes[t] for t in side} for side in sides[k])
            return not left.isdisjoint(right)

        return [pairs[k] for k in waiting if not met(k)]

    def _one_form(self, pair: Pair) -> bool:
        """Whether capture makes both sides the same program."""
        if not self._normal:
            return False
        left, right = (normalise(to_graph([side], SIZES, self._variables)) for side in (pair.left, pair.right))
        return left == right

    def _classes(self, terms: Sequence[Term]) -> Sequence[int]:
        graph = to_graph(terms, SIZES, self._variables)
        if self._normal:
            graph = normalise(graph, self._numerics)
        rules = self._rules + RuleSet(tuple(self._trials))
        saturation = Saturation(graph, rules, LIMITS, numerics=self._numerics)
        try:
            saturation.run()
            return saturation.roots()
        except EngineError:
            return range(len(terms))  # nothing is known to be equal
        finally:
            saturation.close()

    def _variants(self, term: Term) -> set[Term]:
        """Terms that accepted laws make of a term: the smallest they come to, and a few around it."""
        known = self._known.get(term)
        if known is None:
            start = self._smallest(term)
            found = {start: None}
            waiting = [start]
            while waiting and len(found) < VARIANTS:
                for other in self._steps(waiting.pop(0)):
                    if other.size <= start.size and other not in found:
                        found[other] = None
                        waiting.append(other)
            self._known[term] = known = set(found)
        return known

    def _smallest(self, term: Term) -> Term:
        while True:
            smaller = next((other for other in self._steps(term) if other.size < term.size), None)
            if smaller is None:
                return term
            term = smaller

    def _steps(self, term: Term) -> Iterator[Term]:
        if term.operator is None:
            return
        for pattern, result in self._laws.get(term.operator, ()):
            table = match(pattern, term)
            if table is not None:
                yield result.replaced(table)
        for place, arg in enumerate(term.args):
            for other in self._steps(arg):
                yield Term(term.operator, (*term.args[:place], other, *term.args[place + 1 :]), term.dims)


def _code(term: Term) -> str:
    return term.code


def match(pattern: Term, term: Term) -> dict[str, Term] | None:
    """Terms for the variables of a pattern that make it the given term."""
    table: dict[str, Term] = {}
    stack = [(pattern, term)]
    while stack:
        one, other = stack.pop()
        if one.dims != other.dims:
            return None
        if one.operator is None:
            if table.setdefault(one.name, other) != other:
                return None
        elif one.operator is not other.operator:
            return None
        else:
            stack += zip(one.args, other.args, strict=True)
    return table
