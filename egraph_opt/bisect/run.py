# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt bisect``: which rule makes a program wrong, and on which few nodes.

A rule is about every program, so the question need not be put to the user's. One saturation with all rules gives
the terms that were met; a program of those terms alone holds the left side of every rule that fired, with no other rule
needed to reach it. Halves of the suspects are then run on that program, and a half is guilty when two e-nodes
of one class differ in value: what extraction would choose plays no part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from egraph_opt.bisect.judging import Judge, Mode, judge_of
from egraph_opt.bisect.met_terms import met_terms
from egraph_opt.bisect.shrink import shrink
from egraph_opt.engine import Limits, Rule, RuleSet, Saturation, Snapshot
from egraph_opt.engine.probe import Probe
from egraph_opt.engine.testing import Difference, differences, ill_typed
from egraph_opt.errors import EngineError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.verify.promote import promote_graph

LIMITS = Limits(seconds=30, nodes=3_000, iterations=12)
"""Of the first saturation."""

SEED_LIMITS = Limits(seconds=30, nodes=20_000, iterations=2)
"""Of a saturation of the terms that were met: what fires, fires at once."""

VALUES = 6
"""How many elements of a value are printed."""


@dataclass(frozen=True, slots=True)
class Bisection:
    """What was found.

    Args:
        rule: the wrong rule, or None.
        runs: saturations that it took to name it.
        fired: rules that fired on the program: the suspects.
        graph: a small program that the rule alone makes wrong.
        inputs: values of its inputs.
        want: value of the graph's output.
        got: what the rule says it is.
        problem: in words: how far they are apart, or why nobody could be named.
    """

    rule: Rule | None
    runs: int
    fired: tuple[str, ...] = ()
    graph: Graph | None = None
    inputs: tuple[Any, ...] = field(default=(), repr=False)
    want: Any = field(default=None, repr=False)
    got: Any = field(default=None, repr=False)
    problem: str = ""

    @property
    def found(self) -> bool:
        """Whether something is wrong, named or not."""
        return self.rule is not None or bool(self.problem)

    def __str__(self) -> str:
        if self.rule is None:
            return self.problem or f"no rule is wrong: {len(self.fired)} rules fired and all e-nodes agree"
        rule = self.rule
        lines = [
            f"rule {rule.name!r} is wrong: {self.problem}",
            f"  law: {rule.law}",
            f"  where: {rule.path}:{rule.line}",
            f"  named in {self.runs} runs among {len(self.fired)} rules that fired",
        ]
        if self.graph is not None:
            lines += ["a small program that shows it:", *("  " + line for line in str(self.graph).splitlines())]
            names = self.graph.names or tuple(f"arg{i}" for i in range(len(self.inputs)))
            lines += [f"  {name} = {_values(value)}" for name, value in zip(names, self.inputs, strict=True)]
            lines += [f"  it is {_values(self.want)}", f"  the rule makes {_values(self.got)}"]
        return "\n".join(lines)


def bisect(
    graph: Graph,
    rules: RuleSet,
    limits: Limits = LIMITS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Bisection:
    """Find the rule that makes a program wrong.

    Args:
        graph: the program; bodies of its control flow are looked at too.
        rules: the suspects, already restricted to the numerics class.
        limits: of the first saturation; the rule must fire within them.
        seed: of the sampled inputs.
        progress: told what is being done.
    """
    fired: dict[str, None] = {}
    runs = 0
    with jax.enable_x64(True):
        for part in (graph, *graph.subgraphs()):
            known: tuple[str, ...] = ()
            for mode in Mode:
                some = rules.admitted(Numerics.EXACT) if mode is Mode.BITS else rules
                program = promote_graph(part) if mode is Mode.DOUBLE else part
                search = _Search(program, some, limits, seed, progress, judge_of(some, mode), runs)
                found = search.run(known if mode is Mode.OWN else ())
                runs, known = found.runs, found.fired
                fired.update(dict.fromkeys(found.fired))
                if found.found:
                    return found
    return Bisection(None, runs, tuple(fired))


class _Search:
    """The search on one graph, with the number of saturations so far."""

    def __init__(
        self,
        graph: Graph,
        rules: RuleSet,
        limits: Limits,
        seed: int,
        progress: Callable[[str], None],
        judge: Judge,
        runs: int,
    ) -> None:
        self.graph, self.rules, self.limits, self.progress = graph, rules, limits, progress
        self.seed, self.judge, self.runs = seed, judge, runs

    def run(self, innocent: Collection[str]) -> Bisection:
        """Name the rule and shrink the program; nothing is looked at where only innocent rules fired."""
        self.progress("running all rules")
        first = self._try(self.graph, self.rules, self.limits)
        self.runs += 1
        suspects = [rule for rule in self.rules if rule.name in first.fired and rule.name not in innocent]
        if not suspects or not first.wrong:
            return Bisection(None, self.runs, first.fired)
        for everywhere in (False, True):
            terms = met_terms(
                first.saturation,
                first.snapshot,
                first.relations,
                suspects,
                None if everywhere else {w.number for w in first.wrong},
            )
            guilty = self._narrow(terms, suspects)
            self.progress(f"making the program small on which {guilty.name!r} is wrong")
            alone = self._try(terms, RuleSet((guilty,)), SEED_LIMITS)
            if alone.wrong:
                return self._small(terms, guilty, alone, first.fired)
        names = ", ".join(rule.name for rule in suspects)
        return Bisection(
            None, self.runs, first.fired, problem=f"wrong, but by no single rule alone; those that fired: {names}"
        )

    def _narrow(self, terms: Graph, suspects: Sequence[Rule]) -> Rule:
        """The rule that the halves leave over."""
        left = list(suspects)
        while len(left) > 1:
            half = left[: len(left) // 2]
            self.progress(f"{len(left)} rules are left")
            self.runs += 1
            wrong = self._try(terms, RuleSet(tuple(half)), SEED_LIMITS).wrong
            left = half if wrong else left[len(half) :]
        return left[0]

    def _small(self, terms: Graph, rule: Rule, alone: _Trial, fired: tuple[str, ...]) -> Bisection:
        alone_rules = RuleSet((rule,))

        def is_wrong(graph: Graph) -> bool:
            return bool(self._try(graph, alone_rules, SEED_LIMITS).wrong)

        wrong = {w.number for w in alone.wrong}
        places = [n for n, c in enumerate(alone.places) if c in wrong]
        small = shrink(terms, places, is_wrong)
        last = self._try(small, alone_rules, SEED_LIMITS)
        shown = next((w for w in last.wrong if w.got is not None), last.wrong[0])
        inputs = last.inputs_of(shown)
        true = lower_graph(small)(inputs)[0]
        values = (shown.want, shown.got)
        other = next((v for v in values if v is None or not _same(v, true)), values[1])
        return Bisection(rule, self.runs, fired, small, inputs, true, other, shown.problem)

    def _try(self, graph: Graph, rules: RuleSet, limits: Limits) -> _Trial:
        saturation = Probe(graph, rules, limits, numerics=self.judge.numerics)
        try:
            with contextlib.suppress(EngineError):
                saturation.run()
            snapshot = saturation.snapshot()  # terms of wrong shapes end a run; they are there already
            relations = saturation.relations()
        finally:
            saturation.close()
        found = []
        ill = list(ill_typed(snapshot, saturation))
        for inputs, compare in self.judge.inputs(graph, self.seed, snapshot.size):
            with np.errstate(all="ignore"):
                wrong = [*differences(snapshot, saturation, inputs, lower_graph, compare), *ill]
            found.append((inputs, wrong))
            if wrong:
                break
        return _Trial(snapshot, saturation, relations, tuple(found))


@dataclass(frozen=True, slots=True)
class _Trial:
    """One saturation and what is wrong in it: differences by kind of input."""

    snapshot: Snapshot
    saturation: Saturation
    relations: Mapping[str, frozenset[tuple[int | str, ...]]]
    by_kind: tuple[tuple[tuple[Any, ...], list[Difference]], ...]

    @property
    def wrong(self) -> list[Difference]:
        return [difference for _, found in self.by_kind for difference in found]

    @property
    def fired(self) -> tuple[str, ...]:
        return tuple(name for name, rule in self.saturation.report.rules.items() if rule.matches)

    @property
    def places(self) -> list[int]:
        """Class of each node of the graph."""
        return [self.snapshot.of_number[number] for number in self.saturation.numbers]

    def inputs_of(self, shown: Difference) -> tuple[Any, ...]:
        return next(inputs for inputs, found in self.by_kind if any(w is shown for w in found))


def _same(value: Any, true: Any) -> bool:
    return np.shape(value) == np.shape(true) and np.array_equal(value, true, equal_nan=True)


def _values(value: Any) -> str:
    if value is None:
        return "nothing: it cannot be evaluated"
    array = np.asarray(value)
    flat = ", ".join(f"{x:.6g}" if array.dtype.kind in "fc" else str(x) for x in array.ravel()[:VALUES])
    return f"{array.dtype}{list(array.shape)} {flat}{', ...' if array.size > VALUES else ''}"
