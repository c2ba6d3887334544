# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules check``: is a rule sound? Random instances of its left side, the real engine, exact judgement.

A rule passes when it fired in its trials and every term that it put into a class has the class's value, type included.
A rule that never fires fails: its trials say nothing.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from egraph_opt._compat import x64_enabled
from egraph_opt.engine.facts import FROZEN
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.engine.sexpr import Form
from egraph_opt.errors import EngineError, RuleError
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.admission import remember
from egraph_opt.rules.check.cases import Case, give_values
from egraph_opt.rules.check.counterexample import Counterexample, shrink
from egraph_opt.rules.check.drawing import Drawer
from egraph_opt.rules.check.draws import FINITE_STYLES, Style
from egraph_opt.rules.check.evaluate import EvaluationError, Reading
from egraph_opt.rules.check.faults import Fault, false_fact, find_faults, is_polynomial
from egraph_opt.rules.check.instances import Instance
from egraph_opt.rules.check.premises import Premises, constructors, literals, read_premises, unknown_heads
from egraph_opt.rules.check.profile import DTYPES
from egraph_opt.rules.check.trial import Outcome, saturate
from egraph_opt.rules.lint.body import body_faults

QUICK_TRIALS = 20
DEEP_TRIALS = 2000
BATCH = 100
"""Instances in one e-graph."""

DRAWS = 5
"""Times that each instance is given values, where instances are few: the e-graph is the same for all of them."""

TRIES = 400
"""Draws for one instance before it is said that there is none."""

SMALL_TRIES = 30
"""The same for a counterexample that is easy to read: what says its own sizes may have no smaller ones."""

ROUNDING = {"ConvertElementType", "ReducePrecision"}
TIES = tuple(
    1 + k * half + sign * half * 2.0**-18 for half in (2.0**-8, 2.0**-11, 2.0**-24) for k, sign in ((1, 1), (3, -1))
)
"""Numbers beside those half-way between two of bfloat16, float16 and float32: rounding twice shows there."""

PATIENCE = 6
"""Instances for each trial before it is said that the engine does not match them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check of one rule found.

    Args:
        rule: that was checked.
        trials: instances that were tried.
        matches: how often the rule matched in them.
        problem: why it is refused, in one line; "" when it passed.
        counterexample: an instance where it is wrong, if that is the problem.
    """

    rule: Rule
    trials: int
    matches: int
    problem: str = ""
    counterexample: Counterexample | None = None

    @property
    def passed(self) -> bool:
        """Whether the rule may be used."""
        return not self.problem

    def __str__(self) -> str:
        where = f"{self.rule.path}:{self.rule.line}: rule {self.rule.name!r}"
        if self.passed:
            return f"{where}: ok, {self.trials} instances, {self.matches} matches"
        return f"{where}: refused: {self.problem}"


def check_rules(
    rules: Iterable[Rule],
    trials: int = QUICK_TRIALS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Verdict]:
    """Check rules one by one; those that pass are remembered, and ``optimize`` takes them from then on.

    Args:
        rules: what to check.
        trials: instances for each.
        seed: of all random choices; each rule has its own stream, so leaving rules out changes nothing.
        progress: told which rule is next.
    """
    found = []
    for rule in rules:
        progress(f"checking {rule.name}")
        found.append(check_rule(rule, trials, seed))
    if trials >= QUICK_TRIALS:
        remember(verdict.rule for verdict in found if verdict.passed)
    return found


def check_rule(rule: Rule, trials: int = QUICK_TRIALS, seed: int = 0) -> Verdict:
    """Check one rule.

    Args:
        rule: what to check.
        trials: instances to try; the rule must match in as many as that, where it matches at all.
        seed: of all random choices.
    """
    start = zlib.crc32(f"{seed} {rule.name}".encode())
    run: _Run | None = None
    try:
        # Rules are about 64-bit types as well, whatever the process is set to.
        with x64_enabled():
            run = _Run(rule, random.Random(start), np.random.default_rng(start))
            return run.check(trials, seed)
    except (RuleError, EngineError) as error:
        # The engine speaks of text that the author never saw; what lint says is in the words of the rule.
        faults = body_faults("rule", Form(rule.facts), Form(rule.actions), Form(()), rule.ruleset, False)
        problem = faults[0][1] if faults else f"the engine does not take it: {error}"
        return Verdict(rule, run.tried if run else 0, run.matches if run else 0, problem)


class _Run:
    """The check of one rule."""

    def __init__(self, rule: Rule, rng: random.Random, values: np.random.Generator) -> None:
        self.rule, self._rng, self._values = rule, rng, values
        self.premises: Premises = read_premises(rule)
        self.helpers = helpers(rule)
        self.polynomial = is_polynomial(rule)
        self.dtypes = _dtypes(rule)
        self._drawer = Drawer(self.premises, rng, self.dtypes)
        self.near = _numbers(rule)
        self.numerics = Numerics.REASSOCIATE if self.premises.open_sums else Numerics.EXACT
        self.reading = Reading.BITS if rule.numerics is Numerics.EXACT else Reading.PLAIN
        self._draws = DRAWS
        self.tried = self.matches = 0
        self.judged = self.left_out = False
        self.against: Counter[str] = Counter()

    def check(self, trials: int, seed: int) -> Verdict:
        """Trials until there are enough or a fault is found."""
        self._draws = DRAWS if trials <= BATCH else 1
        while self.tried < trials or (self.matches < trials // 4 and self.tried < PATIENCE * trials):
            want = min(BATCH, max(trials - self.tried, trials // 2, 1))
            cases = self.cases(want)
            if not cases:
                break
            outcome = self.run(cases)
            self.tried += len(cases)
            self.matches += outcome.matches
            wrong = self.wrong(outcome)
            if wrong is not None:
                found = shrink(self, *wrong, seed)
                return Verdict(self.rule, self.tried, self.matches, found.problem, found)
        if not self.matches:
            return Verdict(self.rule, self.tried, 0, self._silence())
        if self.left_out and not self.judged:
            problem = f"nothing to judge by: its left side overflows or is NaN in all of {self.tried} instances"
            return Verdict(self.rule, self.tried, self.matches, problem)
        return Verdict(self.rule, self.tried, self.matches)

    def wrong(self, outcome: Outcome) -> tuple[Outcome, Fault] | None:
        """Something wrong in a batch, under the values that it has or under others."""
        for again in range(self._draws):
            if again:
                try:
                    outcome = outcome.with_cases([self.values(case.instance) for case in outcome.valuation.cases])
                except EvaluationError:
                    continue
            fault = self.fault(outcome)
            if fault is not None:
                return outcome, fault
        return None

    def values(self, instance: Instance) -> Case:
        """An instance with random values."""
        return give_values(instance, self.style(instance), self._values, self.reading, self.near)

    def cases(self, count: int, small: bool = False) -> list[Case]:
        """Instances with values."""
        instances, against = self._drawer.draw(count, count * (SMALL_TRIES if small else TRIES), small)
        self.against += against
        found = []
        for instance in instances:
            try:
                found.append(self.values(instance))
            except EvaluationError as error:
                self.against[str(error)] += 1
        return found

    def style(self, instance: Instance) -> Style:
        """What kind of values an instance gets."""
        if self.rule.numerics is Numerics.EXACT:
            return Style.SPECIAL if self._rng.random() < 0.7 else Style.PLAIN
        narrow = any(node.type.dtype in ("bfloat16", "float16") for node in instance.nodes)
        if self.polynomial and not narrow and self._rng.random() < 0.85:
            return Style.RING
        return self._rng.choice(FINITE_STYLES)

    def run(self, cases: Sequence[Case]) -> Outcome:
        """The rule on a batch."""
        return saturate(self.rule, self.helpers, cases, self.numerics)

    def fault(self, outcome: Outcome) -> Fault | None:
        """The first thing that is wrong."""
        found = next(find_faults(outcome, self.rule), None)
        self.judged |= outcome.valuation.judged
        self.left_out |= outcome.valuation.left_out
        if found is not None:
            return found
        cases = enumerate(outcome.valuation.cases)
        return next((fault for k, case in cases if (fault := false_fact(self.rule, k, case.instance))), None)

    def _silence(self) -> str:
        if self.tried:
            return f"never fired: the engine matched it in none of {self.tried} instances of its left side"
        strange = unknown_heads(self.rule)
        if strange:
            return f"{strange[0]!r} is no constructor, no fact and no attribute function"
        reason, times = self.against.most_common(1)[0] if self.against else ("there is nothing to match", 0)
        return f"never fired: no instance in {sum(self.against.values())} draws; {times} times because: {reason}"


def helpers(rule: Rule) -> list[Rule]:
    """Shipped rules that set facts which a rule asks for: being frozen is handed from operands to results."""
    asked = {fact[0] for fact in rule.facts if isinstance(fact, Form) and fact}
    if FROZEN not in asked:
        return []
    others = (r for r in RuleSet.shipped() if r.name != rule.name)
    return [r for r in others if all(isinstance(a, Form) and a[0] == FROZEN for a in r.actions)]


def _dtypes(rule: Rule) -> list[str]:
    """Element types that the rule's text names: instances are mostly of those."""
    named = [word for text in literals(rule) for word in text.replace("'", " ").split() if word in DTYPES]
    return named if any(text.split(" ")[0] in DTYPES for text in literals(rule)) else []


def _numbers(rule: Rule) -> list[float]:
    """Numbers of the scalar constants that the rule's text names, and what narrower types round by a hair."""
    found: list[float] = list(TIES) if constructors(rule) & ROUNDING else []
    for text in literals(rule):
        dtype, _, number = text.partition(" ")
        if dtype in DTYPES and number.lstrip("-")[:1].isdigit():
            found.append(float(number))
    return found
