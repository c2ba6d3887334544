# SPDX-License-Identifier: Apache-2.0
"""Equality saturation under limits: rulesets in stages, attribute functions on demand, sums collected between steps.

One iteration: ``normalize`` and ``simplify`` to a fixpoint, then the sums, then the other rulesets once. Every step is
bounded (a rule with too many matches rests), so the time limit is overrun by one step at most, and what was reached is
a valid e-graph.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from egraph_opt.engine.attributes import FUNCTIONS
from egraph_opt.engine.compile import UNITE, Constructor
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.facts import NAMES, Facts, absent, asked
from egraph_opt.engine.limits import Clock, Limits, RuleStatistics, SaturationReport
from egraph_opt.engine.naming import Names
from egraph_opt.engine.prepared import give_back, lease, prepare, spoken
from egraph_opt.engine.rule import RuleSet
from egraph_opt.engine.session import Row
from egraph_opt.engine.snapshot import ENode, Snapshot, read_joined, read_provenance, take
from egraph_opt.engine.sums import Sums
from egraph_opt.errors import EngineError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics

NORMALIZE = "normalize"
SIMPLIFY = "simplify"
DELETING = (NORMALIZE, SIMPLIFY)
"""Rulesets that run to a fixpoint before all others see the e-graph; the nodes of the first are mere spellings."""

SMALL = 200
CRAWL = 5
CRAWL_GROWTH = 1.05
"""An e-graph of some size that grows by less than a twentieth in five iterations is done."""

COARSE = 0.1
"""Share of a step that egglog's own times of rules must come to."""


class Saturation:
    """One e-graph while it grows.

    Args:
        graph: the program.
        rules: what to apply.
        limits: when to stop.
        price: ``price(saturation)`` of the best program in the last snapshot; a search whose price no longer falls
            ends early.
        numerics: class of what is done to sums between iterations; that of the rules is the rule set's own.
        frozen: input positions whose values stay the same between calls; rules may ask for ``(frozen ?x)``.
        count_unions: whether the report tells how many classes each rule merged.
        equal: pairs of nodes of the graph that are known to be equal.
    """

    def __init__(
        self,
        graph: Graph,
        rules: RuleSet,
        limits: Limits,
        price: Callable[[Saturation], float] | None = None,
        numerics: Numerics = Numerics.REASSOCIATE,
        frozen: Collection[int] = (),
        count_unions: bool = False,
        equal: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.graph, self.limits, self._count_unions = graph, limits, count_unions
        self._price, self._best_price, self._stalled = price, math.inf, 0
        self._lap = 0.0
        self.clock = Clock(limits.seconds)
        self.report = SaturationReport()
        self.encoder = Encoder(spoken(rules))
        tables, self.numbers = self.encoder.rows(graph)
        prepared = prepare(rules, self.encoder.constructors, absent(graph, frozen), count_unions)
        self.rules, self._program = prepared.rules, prepared.program
        self.constructors: dict[str, Constructor] = dict(prepared.constructors)
        self._facts = facts = Facts(graph, self.numbers, frozen, NAMES & prepared.heads, asked(self.rules))
        self._text = "\n".join((prepared.text, facts.declarations, self._program.text))
        self._asked: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
        self.sums = Sums(numerics, prepared.splits)
        self._snapshot: Snapshot | None = None
        with self._part("load"):
            self.session = lease(self._text)
            self._load(tables)
            self.session.load(facts.tables, "(run-schedule (saturate (run load)))")
        if equal:
            self._load({}, [(self.numbers[a], self.numbers[b]) for a, b in equal])

    def run(self) -> Snapshot:
        """Grow until a fixpoint or a limit; the e-graph as it then stands."""
        try:
            self._grow()
        except EngineError as error:
            if self._snapshot is None:
                raise
            self.report.stop_reason = str(error)
            self.report.seconds = self.clock.spent()
            return self._snapshot
        snapshot = self.snapshot()
        self.report.seconds = self.clock.spent()
        return snapshot

    def provenance(self) -> dict[ENode, str]:
        """Name of the rule that made each e-node of the last snapshot; loaded e-nodes are missing.

        Another spelling of a product counts for the rule that made the product, if one did.
        """
        stamps = read_provenance(self.session, self.constructors)
        for maker, count in Counter(stamps.values()).items():
            self.report.rules.setdefault(maker, RuleStatistics()).nodes = count
        spelling = {rule.name for rule in self.rules if rule.ruleset == NORMALIZE}
        found: dict[ENode, str] = {}
        for members in self.current.classes:
            names = [stamps.get(node) for node in members]
            makers = sorted({name for name in names if name is not None and name not in spelling})
            for node, name in zip(members, names, strict=True):
                if name in spelling:
                    name = makers[0] if makers else None
                if name is not None:
                    found[node] = name
        return found

    def joined(self) -> dict[int, str]:
        """Name of the rule that found a class of the last snapshot equal to a tensor that was there already."""
        spelling = {rule.name for rule in self.rules if rule.ruleset == NORMALIZE}
        found = read_joined(self.session, self.constructors)
        return {c: name for c, name in found.items() if name not in spelling}

    def _grow(self) -> None:
        largest, still = 0, 0
        self._lap = self.clock.spent()  # loading rules is no iteration
        explore = [stage for stage in self._program.stages if stage not in DELETING]
        for _ in range(self.limits.iterations):
            self._normalize()
            snapshot = self.snapshot()
            self.report.growth.append(snapshot.size)
            names = Names(snapshot, self.encoder)
            with self._part("sums"):
                unions = self.sums.step(names)
                changed = bool(names.rows or unions)
                news = self._facts.step(names)
                changed |= news
            # Deleting rules may go back and forth between spellings: what no longer grows is saturated.
            size = snapshot.size + len(snapshot.classes)
            still = still + 1 if size <= largest else 0
            largest = max(largest, size)
            if still >= (3 if changed else 1):
                return
            reason = self._enough(snapshot)
            if reason:
                self.report.stop_reason = reason
                return
            if names.rows or unions:
                self._load(names.rows, unions)
            if news:
                self._normalize()
            self._answer(explore)
            self._step(explore)
        self.report.stop_reason = "iterations"
        self._normalize()

    def _enough(self, snapshot: Snapshot) -> str:
        """Why the search ends here, if it does."""
        # Iterations grow: one more would take at least as long as the last one.
        spent = self.clock.spent()
        last, self._lap = spent - self._lap, spent
        if spent + last > self.limits.seconds:
            return "time"
        if snapshot.size > self.limits.nodes:
            return "nodes"
        growth = self.report.growth
        if len(growth) > CRAWL and snapshot.size > SMALL and snapshot.size < CRAWL_GROWTH * growth[-1 - CRAWL]:
            return "stalled"
        if self._price is not None and snapshot.size > self.limits.stall_nodes:
            with self._part("price"):
                price = self._price(self)
            if price < self._best_price * (1 - self.limits.stall_gain):
                self._best_price, self._stalled = price, 0
            else:
                self._stalled += 1
                if self._stalled >= self.limits.stall_looks:
                    return "stalled"
        return ""

    def snapshot(self) -> Snapshot:
        """The e-graph as plain tables."""
        with self._part("snapshot"):
            self._snapshot = take(self.session, self.encoder, self.constructors)
        return self._snapshot

    @property
    def current(self) -> Snapshot:
        """The last snapshot."""
        assert self._snapshot is not None, "run first"
        return self._snapshot

    def roots(self) -> list[int]:
        """Classes of the graph's outputs and effects in the last snapshot, outputs first."""
        return [self.current.of_number[self.numbers[n]] for n in (*self.graph.outputs, *self.graph.effects)]

    def close(self) -> None:
        """Release the e-graph."""
        give_back(self._text, self.session)

    def _normalize(self) -> None:
        stages = [stage for stage in DELETING if stage in self._program.stages]
        if not stages:
            return
        for _ in range(12):
            self._answer(stages)
            if not self._step(stages, bounded=False) or self.clock.over():
                return

    def _step(self, stages: Sequence[str], bounded: bool = True) -> bool:
        """Run each stage once; whether anything changed."""
        if not stages:
            return False
        scheduler = f"(let-scheduler bounded (back-off :match-limit {self.limits.matches} :ban-length 2)) "
        each = "(run-with bounded do.{0})" if bounded else "(run do.{0})"
        each += " (run unite.{0})" if self._count_unions else ""
        runs = " ".join(each.format(stage) for stage in stages)
        start = time.perf_counter()
        with self._part("rules"):
            outputs = self.session.run(f"(run-schedule {scheduler if bounded else ''}{runs})")
        for output in outputs:
            self._count(output.report, (time.perf_counter() - start) / len(outputs))
        return any(output.report.updated for output in outputs)

    def _count(self, report: Any, seconds: float) -> None:
        """Add up what each rule did; where egglog's clock is too coarse, the step's time is shared out by matches."""
        own = {name: spent.total_seconds() for name, spent in report.search_and_apply_time_per_rule.items()}
        share = seconds / max(1, sum(report.num_matches_per_rule.values()))
        coarse = sum(own.values()) < COARSE * seconds
        for name, matches in report.num_matches_per_rule.items():
            statistics = self.report.rules.setdefault(name.removeprefix(UNITE), RuleStatistics())
            if name.startswith(UNITE):
                statistics.unions += matches
            else:
                statistics.matches += matches
            statistics.seconds += share * matches if coarse else own[name]

    def _answer(self, stages: Sequence[str]) -> None:
        """Answer the open questions of some stages."""
        runs = " ".join(f"(run ask.{stage})" for stage in stages)
        chained = any(stage in self._program.chained for stage in stages)
        with self._part("attributes"):
            while runs:
                outputs = self.session.run(f"(run-schedule {runs})")
                if not any(output.report.updated for output in outputs):
                    return
                answers = self._answers()
                self.session.load(answers)
                if not (answers and chained):
                    return

    def _answers(self) -> dict[str, list[Row]]:
        functions = self.session.functions()
        answers: dict[str, list[Row]] = defaultdict(list)
        for function in self._program.functions:
            asked = self._asked[function.name]
            readers = [self.session.text if s == "String" else self.session.number for s in function.arguments]
            rows = functions[f"ask.{function.name}"].rows
            if len(rows) == len(asked):
                continue
            # New rows stand last in a table without e-classes; every row is read again, should that ever not hold.
            keys = [self._key(readers, row) for row in rows[len(asked) :]]
            if not asked.isdisjoint(keys):
                keys = [key for row in rows if (key := self._key(readers, row)) not in asked]
            for key in keys:
                asked.add(key)
                try:
                    result = FUNCTIONS[function.name].call(*key)
                except ValueError as error:
                    call = " ".join(map(str, (function.name, *key)))
                    raise EngineError(f"({call}) fails, {error}; did a rule make terms of wrong shapes?") from error
                if result is None or result is False:
                    continue
                if result is True:
                    answers[function.name].append(key)
                elif isinstance(result, str):
                    answers[function.name].append((*key, result))
                else:
                    for output, text in result.items():
                        answers[f"{function.name}.{output}"].append((*key, text))
        return answers

    @staticmethod
    def _key(readers: Sequence[Callable[[Any], str | int]], row: Any) -> tuple[str | int, ...]:
        return tuple([read(value) for read, value in zip(readers, row.inputs, strict=True)])

    def _load(self, tables: dict[str, list[Row]], unions: Sequence[tuple[int, int]] = ()) -> None:
        with self._part("load"):
            named: dict[str, Iterable[Row]] = {f"load.{name}": rows for name, rows in tables.items()}
            if unions:
                if not self._asked["union"]:
                    self._asked["union"].add(())
                    self.session.run(
                        "(relation load-union (i64 i64)) (rule ((load-union a b) (= x (node a)) (= y (node b)))"
                        " ((union x y)) :ruleset load)"
                    )
                named["load-union"] = unions
            self.session.load(named, "(run-schedule (saturate (run load)))")

    def _part(self, name: str) -> _Part:
        return _Part(self.report, name)


class _Part:
    """Adds the time of a block to a part of the report."""

    def __init__(self, report: SaturationReport, name: str) -> None:
        self._report, self._name = report, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._report.parts[self._name] += time.perf_counter() - self._start
