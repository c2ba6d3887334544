# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules stats``: what each rule did to one program, what it cost and whether it paid.

The search is run once more with unions counted. Rules are listed by the e-nodes they made, so the culprit of a
blow-up stands first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import jax

from egraph_opt.calling import Convention
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.frontends import LoadedModel
from egraph_opt.ir import Graph
from egraph_opt.options import Options
from egraph_opt.search import SearchOptions, search

SHORT = ("time", "nodes", "iterations", "stalled")
"""Reasons to stop before everything was found."""

LISTED = 12
"""So many rules without a match are named; more are counted."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule over one search.

    Args:
        name: of the rule.
        matches: how often its left side was found.
        unions: pairs of e-classes that it merged.
        nodes: e-nodes that it made first, deleted ones included.
        seconds: search and application, shared out by matches where the engine's clock is too coarse [s].
        used: its e-nodes in the cheapest program.
    """

    name: str
    matches: int
    unions: int
    nodes: int
    seconds: float
    used: int


@dataclass(frozen=True, slots=True)
class RuleStatistics:
    """All rules over one search.

    Args:
        rows: of the rules that matched, most e-nodes made first.
        silent: rules that never matched.
        growth: e-nodes after each iteration.
        stop_reason: why the search ended.
        seconds: of the saturation [s].
        parts: of it by what was done: "rules", "attributes", "sums", ... [s].
    """

    rows: tuple[RuleRow, ...]
    silent: tuple[str, ...]
    growth: tuple[int, ...]
    stop_reason: str
    seconds: float
    parts: Mapping[str, float]

    @property
    def culprit(self) -> RuleRow | None:
        """The rule that made the most e-nodes, where the search did not get to its end."""
        return self.rows[0] if self.rows and self.stop_reason in SHORT and self.rows[0].nodes else None

    def to_json(self) -> str:
        """All figures as JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        culprit = self.culprit
        rows = [dataclasses.asdict(row) for row in self.rows]
        fields |= {"rows": rows, "parts": dict(self.parts), "culprit": culprit.name if culprit else None}
        return json.dumps(fields, indent=2) + "\n"

    def __str__(self) -> str:
        lines = []
        if self.culprit is not None:
            made = sum(row.nodes for row in self.rows)
            lines.append(f"grew most: {self.culprit.name} made {self.culprit.nodes} of {made} e-nodes that rules made")
        lines.append(f"stopped: {self.stop_reason}, after {len(self.growth)} iterations")
        lines.append(f"e-nodes after each: {' '.join(map(str, self.growth)) or 'none; nothing was searched'}")
        if self.rows:
            width = max(len("rule"), *(len(row.name) for row in self.rows))
            lines.append(f"{'rule':{width}} {'matches':>8} {'unions':>8} {'e-nodes':>8} {'seconds':>8} {'winner':>7}")
            lines += [
                f"{row.name:{width}} {row.matches:8} {row.unions:8} {row.nodes:8} {row.seconds:8.4f} {row.used:7}"
                for row in self.rows
            ]
        if self.silent:
            known = ", ".join(self.silent) if len(self.silent) <= LISTED else f"{len(self.silent)} rules"
            lines.append(f"never matched: {known}")
        spent = ", ".join(f"{name} {part:.3f}" for name, part in sorted(self.parts.items(), key=lambda kv: -kv[1]))
        return "\n".join([*lines, f"saturation took {self.seconds:.3f} s: {spent}"])


def rule_statistics(
    graph: Graph, options: SearchOptions, frozen: Collection[int] = (), used: Mapping[str, int] | None = None
) -> RuleStatistics:
    """What each rule does to a program; bodies of control flow are not counted.

    Args:
        graph: the program.
        options: of the search.
        frozen: input positions whose values stay the same between calls.
        used: e-nodes of each rule in the chosen program, where it is known; else the cheapest by the model counts.
    """
    found = search(graph, dataclasses.replace(options, count_unions=True), frozen)
    report = found.saturation
    winner = used if used is not None else found.candidates[0].fired
    rows = [
        RuleRow(name, rule.matches, rule.unions, rule.nodes, rule.seconds, winner.get(name, 0))
        for name, rule in report.rules.items()
        if rule.matches
    ]
    matched = {row.name for row in rows}
    return RuleStatistics(
        tuple(sorted(rows, key=lambda row: (-row.nodes, -row.matches, row.name))),
        _silent([rule.name for rule in options.rules], matched),
        tuple(report.growth),
        report.stop_reason,
        report.seconds,
        dict(report.parts),
    )


def _silent(names: Sequence[str], matched: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in matched)


def model_statistics(model: LoadedModel, options: Options) -> RuleStatistics:
    """What each rule does to a loaded model.

    Args:
        model: the model.
        options: as for ``optimize``; nothing is verified or timed.
    """
    with model.precision():
        captured = capture(
            model,
            *model.example_call(),
            fold_constants=options.fold_constants,
            strict=options.strict,
            numerics=options.numerics,
        )
        convention = Convention(model, captured, options.frozen, (), ())
        cost = cost_model(options.cost, jax.default_backend())
        wanted = SearchOptions(options.active_rules(), options.numerics, options.budget, cost)
        return rule_statistics(captured.graph, wanted, convention.frozen_positions)
