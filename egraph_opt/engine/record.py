# SPDX-License-Identifier: Apache-2.0
"""A saturation that tells what it does: every rule's matches before they are applied, and what is loaded.

Matches are collected by rules of their own (``facts -> (log.r3 variables...)``) right before a stage runs, while no
classes are merged, so the classes in them are those of that moment. The search itself pays nothing for this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from egraph_opt.engine.attributes import FUNCTIONS
from egraph_opt.engine.compile import Constructor
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.facts import BAND, DTYPE, SHAPE
from egraph_opt.engine.limits import Limits
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.engine.saturate import Saturation
from egraph_opt.engine.session import Row
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.sums import Sums
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics

Value = Any
"""An e-class as egglog names it right now, or the text or number of an attribute."""


class Listener(Protocol):
    """Who is told; ``encoder`` holds the calls that e-nodes may stand for."""

    encoder: Encoder | None

    def node(self, number: int, constructor: str, text: str, operands: Sequence[int]) -> None:
        """An e-node is loaded under a number; its operands are numbers."""

    def named(self, value: Value, number: int) -> None:
        """The class of a loaded number."""

    def enode(self, value: Value, constructor: str, text: str, children: Sequence[Value]) -> bool:
        """An e-node of a class; whether it could be understood, that is, its children are known."""

    def match(self, rule: Rule, values: Mapping[str, Value]) -> None:
        """A rule is about to be applied."""

    def sum(self, sums: Sums, number: int, tree: int) -> None:
        """A sum is written another way."""

    def same(self, number: int, other: int) -> None:
        """Two loaded numbers are known to be equal."""

    def done(self) -> bool:
        """Whether enough is known."""


class RecordedSaturation(Saturation):
    """A saturation with a listener; see ``Saturation`` for the other arguments."""

    def __init__(
        self,
        graph: Graph,
        rules: RuleSet,
        limits: Limits,
        numerics: Numerics,
        frozen: Collection[int],
        listener: Listener,
        equal: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._listener = listener
        self._is_grown = False
        self._known: set[Value] = set()
        super().__init__(graph, rules, limits, None, numerics, frozen, equal=equal)
        self._is_grown = True
        self._logged = [rule for rule in self.rules if any(a[0] == "union" for a in rule.actions)]
        self._sorts = [sorts(rule, self.constructors) for rule in self._logged]
        stages = dict.fromkeys(rule.ruleset for rule in self.rules)
        lines = [f"(ruleset log.{stage})" for stage in stages] + ["(ruleset log)"]
        for number, (rule, kinds) in enumerate(zip(self._logged, self._sorts, strict=True)):
            row = f"(log.r{number} {' '.join(kinds)})"
            lines.append(f"(relation log.r{number} ({' '.join(kinds.values())}))")
            lines.append(f"(rule ({' '.join(map(str, rule.facts))}) ({row}) :ruleset log.{rule.ruleset})")
            lines.append(f"(rule ({row}) ((delete {row})) :ruleset log)")
        self.session.run("\n".join(lines))

    def _step(self, stages: Sequence[str], bounded: bool = True) -> bool:
        changed = False
        for stage in stages:
            self._log(stage)
            changed |= super()._step([stage], bounded)
        return changed

    def _log(self, stage: str) -> None:
        self.session.run(f"(run-schedule (run log.{stage}))")
        functions = self.session.functions()
        self._tell_classes(functions)
        for number, (rule, kinds) in enumerate(zip(self._logged, self._sorts, strict=True)):
            if rule.ruleset == stage:
                readers = [self._reader(sort) for sort in kinds.values()]
                for row in functions[f"log.r{number}"].rows:
                    values = [read(value) for read, value in zip(readers, row.inputs, strict=True)]
                    self._listener.match(rule, dict(zip(kinds, values, strict=True)))
        self.session.run("(run-schedule (run log))")

    def _reader(self, sort: str) -> Any:
        return {"T": lambda value: value, "String": self.session.text, "i64": self.session.number}[sort]

    def _tell_classes(self, functions: Mapping[str, Any]) -> None:
        """Classes that are new, each by a loaded number or by an e-node over classes already told."""
        for row in functions["node"].rows:
            if row.output not in self._known:
                self._known.add(row.output)
                self._listener.named(row.output, self.session.number(row.inputs[0]))
        waiting = [
            (name, constructor.has_text, row)
            for name, constructor in self.constructors.items()
            for row in functions[name].rows
            if row.output not in self._known and not row.subsumed
        ]
        while waiting:
            left = []
            for name, has_text, row in waiting:
                if row.output in self._known:
                    continue
                children = row.inputs[has_text:]
                text = self.session.text(row.inputs[0]) if has_text else ""
                if self._known.issuperset(children) and self._listener.enode(row.output, name, text, children):
                    self._known.add(row.output)
                else:
                    left.append((name, has_text, row))
            if len(left) == len(waiting):
                return
            waiting = left

    def _load(self, tables: dict[str, list[Row]], unions: Sequence[tuple[int, int]] = ()) -> None:
        self._listener.encoder = self.encoder
        rows = [(row, name) for name in tables if name in self.constructors for row in tables[name]]
        for row, name in sorted(rows, key=lambda item: item[0][0]):
            number, *rest = row
            text = str(rest.pop(0)) if self.constructors[name].has_text else ""
            self._listener.node(int(number), name, text, [int(q) for q in rest])
        super()._load(tables, unions)
        for number, other in unions:
            if self._is_grown:
                self._listener.sum(self.sums, number, other)
            else:
                self._listener.same(number, other)

    def _enough(self, snapshot: Any) -> str:
        return "explained" if self._listener.done() else super()._enough(snapshot)


def sorts(rule: Rule, constructors: Mapping[str, Constructor]) -> dict[str, str]:
    """Sort of every variable of a rule's facts, in order of appearance."""
    found: dict[str, str] = {}
    for _ in range(2):  # the second time for what stands before the pattern that gives it its sort
        for fact in rule.facts:
            if isinstance(fact, Form) and fact[0] in ("=", "!="):
                kinds = [_sort(side, constructors, found) for side in fact[1:]]
                for side in fact[1:]:
                    _note(side, next((kind for kind in kinds if kind), None), constructors, found)
            else:
                _sort(fact, constructors, found)
    return found


def _sort(expr: Expr, constructors: Mapping[str, Constructor], found: dict[str, str]) -> str | None:
    """Sort of an expression; the variables in it are noted."""
    if isinstance(expr, str):
        return found.get(expr) if expr.startswith("?") else "String" if expr.startswith('"') else "i64"
    head = str(expr[0])
    function = FUNCTIONS.get(head.partition(".")[0])
    kinds: Sequence[str] = ["T"] * (len(expr) - 1)
    if head in constructors:
        kinds = constructors[head].arguments
    elif function is not None:
        kinds = function.arguments
    for item, kind in zip(expr[1:], kinds, strict=True):
        _note(item, kind, constructors, found)
    return "String" if function is not None or head in (SHAPE, DTYPE, BAND) else "T"


def _note(expr: Expr, kind: str | None, constructors: Mapping[str, Constructor], found: dict[str, str]) -> None:
    if not isinstance(expr, str):
        _sort(expr, constructors, found)
    elif expr.startswith("?") and kind is not None:
        found.setdefault(expr, kind)
