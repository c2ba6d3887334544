# SPDX-License-Identifier: Apache-2.0
"""Laws that hold and that the rules in force do not derive: ``egraph-opt rules suggest``.

Small terms are enumerated, those with equal values are paired, pairs that the engine can derive are dropped, the rest
is tested more sharply. What is left is accepted one by one, the smallest and most general first, and counts as known
from then on, so that its instances and consequences are not suggested again.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from egraph_opt.cost import FlopCount
from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError
from egraph_opt.rules.suggest.check import Verdict, examine
from egraph_opt.rules.suggest.derive import NORMAL_FORM, SUMS, Derivations
from egraph_opt.rules.suggest.enumerate import Pair, enumerate_pairs
from egraph_opt.rules.suggest.general import is_elementwise, retyped
from egraph_opt.rules.suggest.operators import THEMES, Theme
from egraph_opt.rules.suggest.rules import law_text, mathematics
from egraph_opt.rules.suggest.terms import Dims, Term, to_graph
from egraph_opt.rules.suggest.verify import unverified, verify

NOMINAL = (64, 48, 40, 56, 72, 80, 88, 96, 104, 112)
"""Sizes at which costs are compared."""

PAYS = 0.99
ENUMERATION_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One law that the rules in force do not derive.

    Args:
        name: for the rule.
        law: in mathematics.
        left: source of the side to replace.
        right: source of what replaces it.
        shapes: of the variables.
        numerics: class of the replacement.
        cost_before: of the left side at a nominal size, transcendental functions weighted [flop].
        cost_after: of the right side [flop].
        points: how many assignments of values agreed.
        instances: how many instances of the rule passed ``rules check``; 0 where it cannot be written as a rule yet.
        theme: where it was found.
        rule: rule text, or the definition from two JAX functions where text would need sizes.
    """

    name: str
    law: str
    left: str
    right: str
    shapes: Mapping[str, Dims]
    numerics: str
    cost_before: float
    cost_after: float
    points: int
    instances: int
    theme: str
    rule: str

    @property
    def pays(self) -> bool:
        """Whether the right side is cheaper."""
        return self.cost_after < PAYS * self.cost_before

    @property
    def key(self) -> str:
        """Equal for laws that differ in the names of variables only."""
        table: dict[str, str] = {}
        names = "|".join(self.shapes)
        return re.sub(rf"\b({names})\b", lambda found: table.setdefault(found.group(), f"v{len(table)}"), self.law)

    def __str__(self) -> str:
        shapes = ", ".join(f"{name}[{','.join(dims)}]" for name, dims in self.shapes.items())
        saving = f"{self.cost_before:.3g} -> {self.cost_after:.3g} flop" if self.pays else "no cheaper either way"
        saving = "less memory traffic" if self.pays and self.cost_before < 1 else saving
        comment = f"{self.law}   {shapes}; {self.numerics}; {saving}; checked: {self.points} points"
        comment += f", {self.instances} instances" if self.instances else ", not as a rule"
        mark = ";;" if self.rule.startswith(";;") else "#"
        body = self.rule.partition("\n")[2] if mark == ";;" else self.rule
        return f"{mark} {comment}\n{body.rstrip()}\n"


@dataclass(slots=True)
class Suggestions:
    """What a run found.

    Args:
        laws: those that pay first.
        terms: how many were evaluated.
        pairs: how many seemed equal.
        derived: how many of them the rules derive, or laws suggested before.
        refused: pairs that a sharper test told apart, with where.
        unfinished: themes that ran out of time.
    """

    laws: list[Suggestion] = field(default_factory=list)
    terms: int = 0
    pairs: int = 0
    derived: int = 0
    refused: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Everything as plain values."""
        return asdict(self)


def suggest(
    themes: Sequence[Theme] = tuple(THEMES.values()),
    rules: RuleSet | None = None,
    without: Sequence[str] = (),
    size: int | None = None,
    variables: int | None = None,
    budget: float = 300.0,
    check: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Suggestions:
    """Laws over the terms of some themes.

    Args:
        themes: variables and operators that are tried together.
        rules: in force; None for the shipped ones.
        without: rules that are switched off, ``product-*`` stands for several; ``normal-form`` and ``sums`` for what is
            known without rules.
        size: largest number of operators in a term, instead of the themes' own.
        variables: at most so many of each type.
        budget: seconds for all themes together [s].
        check: whether each law, written as a rule, must also pass ``rules check``.
        progress: told what comes next.

    Raises:
        ArgumentError: ``without`` names no rule.
    """
    chosen = rules or RuleSet.shipped()
    run = _Run(chosen, switched_off(chosen, without), variables, check)
    end = time.perf_counter() + budget
    for number, theme in enumerate(themes):
        share = max(end - time.perf_counter(), 0.5) / (len(themes) - number)
        progress(f"{theme.name}: terms of up to {size or theme.size} operations")
        run.theme(replace(theme, size=size or theme.size), share)
    run.found.laws.sort(key=lambda law: not law.pays)
    return run.found


def switched_off(rules: RuleSet, patterns: Sequence[str]) -> list[str]:
    """Names of rules that the patterns stand for.

    Raises:
        ArgumentError: a pattern stands for none.
    """
    known = [*(rule.name for rule in rules), NORMAL_FORM, SUMS]
    names = []
    for pattern in patterns:
        matching = fnmatch.filter(known, pattern)
        if not matching:
            raise ArgumentError(f"--without {pattern}: no such rule; see egraph-opt rules list, {NORMAL_FORM}, {SUMS}")
        names += matching
    return names


class _Run:
    """What is known while themes follow each other."""

    def __init__(self, rules: RuleSet, without: Sequence[str], variables: int | None, check: bool) -> None:
        self._rules, self._without, self._variables, self._check = rules, without, variables, check
        self._carried: list[Pair] = []
        self.found = Suggestions()

    def theme(self, theme: Theme, seconds: float) -> None:
        """Laws of one theme."""
        end = time.perf_counter() + seconds
        found = self.found
        enumeration = enumerate_pairs(theme, ENUMERATION_SHARE * seconds, self._variables)
        found.terms += enumeration.terms
        found.pairs += len(enumeration.pairs)
        derivations = Derivations(self._rules, self._without, theme.variables)
        for earlier in self._carried:
            for dims in dict.fromkeys(theme.variables.values()):
                derivations.accept(retyped(earlier, dims))
        count = 0
        for pair in derivations.missing(sorted(filter(_is_bound, enumeration.pairs), key=lambda pair: pair.order), end):
            verdict = examine(pair)
            count += 1
            if verdict.fault:
                found.refused.append(f"{law_text(pair)}: {verdict.fault}")
                continue
            derivations.accept(pair)
            if is_elementwise(pair):
                self._carried.append(pair)
            law, problem = _suggestion(verdict, theme.name, len(found.laws), self._check)
            if problem:
                found.refused.append(f"{law.law}: {problem}")
            elif all(law.key != other.key for other in found.laws):
                found.laws.append(law)
        found.derived += len(enumeration.pairs) - count
        if not enumeration.complete or time.perf_counter() > end:
            found.unfinished.append(theme.name)


def _is_bound(pair: Pair) -> bool:
    """Whether there are variables, and one side has all of them."""
    left, right = pair.left.variables().keys(), pair.right.variables().keys()
    return bool(left or right) and (left <= right or right <= left)


def _suggestion(verdict: Verdict, theme: str, number: int, check: bool) -> tuple[Suggestion, str]:
    """The law in the direction that saves, or towards the smaller term, and why it is none after all."""
    pair, numerics = verdict.pair, verdict.numerics
    cost = [_cost(side, pair) for side in (pair.left, pair.right)]
    left, right = pair.left.variables().keys(), pair.right.variables().keys()
    if not right <= left or (cost[0] < PAYS * cost[1] and left == right and pair.right.operator is not None):
        pair, numerics, cost = Pair(pair.right, pair.left), verdict.back, cost[::-1]
    name = f"{_name(pair.left)}-{number}"
    checked = verify(pair, name, numerics) if check else unverified(pair, name, numerics)
    law = Suggestion(
        name=name,
        law=law_text(pair),
        left=mathematics(pair.left),
        right=mathematics(pair.right),
        shapes=pair.variables(),
        numerics=checked.numerics.name.lower(),
        cost_before=cost[0],
        cost_after=cost[1],
        points=verdict.points,
        instances=checked.instances,
        theme=theme,
        rule=checked.text,
    )
    return law, checked.problem


def _cost(term: Term, pair: Pair) -> float:
    names = sorted({d.lower() for side in (pair.left, pair.right) for t in side.walk() for d in t.dims})
    return FlopCount().graph_seconds(to_graph([term], dict(zip(names, NOMINAL, strict=False)), pair.variables()))


def _name(term: Term) -> str:
    """Operators from the outside in, as words."""

    def heads(term: Term) -> Iterator[str]:
        if term.operator is not None:
            yield term.operator.name
            for arg in term.args:
                yield from heads(arg)

    return re.sub(r"[^a-z0-9]+", "-", "-of-".join(list(heads(term))[:3]))
