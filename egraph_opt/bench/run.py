# SPDX-License-Identifier: Apache-2.0
"""Runs one case: plans it, counts original, optimised and hand form, and times them in turns."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from egraph_opt.api import optimize
from egraph_opt.bench.case import Built
from egraph_opt.bench.greedy import rewrite_greedily
from egraph_opt.bench.suites import Selected
from egraph_opt.bench.times import Form, times
from egraph_opt.capture import capture
from egraph_opt.contest import called_form
from egraph_opt.cost import FlopCount, count_graph
from egraph_opt.cost.model import TRANSCENDENTAL_FLOPS
from egraph_opt.engine import RuleSet
from egraph_opt.errors import EgraphOptError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.result import Result
from egraph_opt.search import SearchOptions

LEAST_FLOPS = 100.0
"""Programs below this count as equally cheap [flop]."""

WITHIN_FLOP = 1.05
"""Programs whose arithmetic differs by less count as equally cheap."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to run.

    Args:
        against: what to time beside the optimised program: "jit", "hand"; a greedy rewriter ("greedy") is counted.
        flops: count only: no verification, no timing, and programs are chosen by their arithmetic.
        budget: seconds of search [s].
        frozen: parameters that keep their values between calls.
        small: use the small sizes.
    """

    against: tuple[str, ...] = ("jit", "hand")
    flops: bool = False
    budget: float = 2.0
    frozen: tuple[str, ...] = ()
    small: bool = False


@dataclass(slots=True)
class Row:
    """Figures of one case; None where something was not counted or timed.

    Args:
        suite: of the case.
        name: of the case.
        family: of identities.
        flop: arithmetic of original, optimised and hand form, one exponential counted as ten [flop].
        xla: the same by XLA's analysis of the lowered programs, loop bodies once and library calls not at all.
        found: arithmetic of the cheapest program that the search found, chosen or not [flop].
        greedy: arithmetic that a greedy rewriter with the same rules ends with, choosing by arithmetic [flop].
        enodes: size of the e-graph.
        gap: distance of the extracted choice to its proven bound, relative.
        plan: saturation and extraction together [s].
        whole: all of the planning [s].
        seconds: measured times of original, optimised and hand form [s].
        against_jit: time of the optimised program over that of ``jax.jit`` of the original, within rounds.
        slowness: the same over that of the hand form.
        same_as_hand: whether both were found to be one compiled program.
        error: of original and optimised program against float64, relative.
        improved: whether another program than the original was chosen.
        outcome: what became of it.
        stopped: why the search ended.
        failed: whether it ended with an error.
    """

    suite: str
    name: str
    family: str
    flop: tuple[float | None, float | None, float | None] = (None, None, None)
    xla: tuple[float | None, float | None, float | None] = (None, None, None)
    found: float | None = None
    greedy: float | None = None
    enodes: int = 0
    gap: float = 0.0
    plan: float = 0.0
    whole: float = 0.0
    seconds: tuple[float | None, float | None, float | None] = (None, None, None)
    against_jit: float | None = None
    slowness: float | None = None
    same_as_hand: bool = False
    error: tuple[float | None, float | None] = (None, None)
    improved: bool = False
    outcome: str = ""
    stopped: str = ""
    failed: bool = False

    @property
    def excess(self) -> float | None:
        """Arithmetic of the optimised program over that of the hand form."""
        return _over(self.flop[1], self.flop[2], LEAST_FLOPS)

    @property
    def excess_found(self) -> float | None:
        """The same of the cheapest program found: what is no faster by the clock is not chosen."""
        return _over(self.flop[1] if self.improved else self.found, self.flop[2], LEAST_FLOPS)

    @property
    def stuck(self) -> bool:
        """Whether a greedy rewriter ends with more arithmetic than the optimised program needs."""
        ratio = _over(self.greedy, self.flop[1], LEAST_FLOPS)
        return ratio is not None and ratio > WITHIN_FLOP

    @property
    def excess_before(self) -> float | None:
        """Arithmetic of the original over that of the hand form."""
        return _over(self.flop[0], self.flop[2], LEAST_FLOPS)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"excess": self.excess}


def _over(value: float | None, base: float | None, least: float) -> float | None:
    if value is None or base is None:
        return None
    below = max(base, least)
    return max(value, least) / below if below else None


def run_case(selected: Selected, options: BenchOptions) -> Row:
    """Plan, count and time one case; an error of the package becomes the outcome."""
    case = selected.case
    row = Row(selected.suite, case.name, case.family)
    try:
        built = case.build(options.small)
        result = _plan(built, options, case.numerics)
    except EgraphOptError as error:
        row.outcome, row.failed = " ".join(str(error).split()), True
        return row
    report = result.report
    hand = case.wanted if built.hand is None else hand_flops(built)
    before = report.flops_before + TRANSCENDENTAL_FLOPS * report.transcendentals_before
    row.flop = before, report.flops_after + TRANSCENDENTAL_FLOPS * report.transcendentals_after, hand
    if not report.improved:
        row.flop = before, before, hand
    row.found = min((_flops(one.graph) for one in result.search.candidates[:1]), default=before)
    if "greedy" in options.against:
        row.greedy = greedy_flops(result.before, options.budget, case.numerics)
    row.enodes, row.gap = report.enodes, report.extraction_gap
    row.plan, row.whole = report.seconds_saturate + report.seconds_extract, report.seconds_total
    row.error = report.error_before, report.error_after
    row.improved, row.stopped = report.improved, report.stop_reason
    row.outcome = "improved" if report.improved else "kept: " + report.decision.removeprefix("the original: ")
    forms, leaves = _forms(built, result)
    original, optimised, by_hand = (None if form is None else xla_flops(form, leaves) for form in forms)
    row.xla = original, optimised, by_hand
    if not options.flops and not result.captured.graph.effects:
        found = times(forms, leaves, report.improved, options.against)
        row.seconds, row.same_as_hand = found.seconds, found.same_as_hand
        row.against_jit, row.slowness = found.against_jit, found.against_hand
    return row


def hand_flops(built: Built) -> float:
    """Arithmetic of the hand form as captured [flop]."""
    assert built.hand is not None
    return _flops(capture(built.hand, built.args).graph)


def greedy_flops(graph: Graph, budget: float, numerics: str = "reassociate") -> float:
    """Arithmetic of what a greedy rewriter with the shipped rules makes of a program [flop].

    Args:
        graph: the program.
        budget: of each of its steps [s].
        numerics: class of its rules.
    """
    admitted = Numerics.parse(numerics)
    rules = RuleSet.shipped().admitted(admitted)
    return _flops(rewrite_greedily(graph, SearchOptions(rules, admitted, budget, FlopCount())))


def _flops(graph: Graph) -> float:
    count = count_graph(graph)
    return count.flops + TRANSCENDENTAL_FLOPS * count.transcendentals


def xla_flops(function: Callable[..., Any], args: Sequence[Any]) -> float | None:
    """Arithmetic of a lowered program by XLA's own count, one exponential counted as ten [flop]."""
    found = jax.jit(function).lower(*args).cost_analysis()
    if not isinstance(found, dict) or "flops" not in found:
        return None
    return float(found["flops"]) + TRANSCENDENTAL_FLOPS * float(found.get("transcendentals", 0.0))


def versions() -> dict[str, str]:
    """What the figures hold for: revision, packages, device."""
    root = Path(__file__).resolve().parents[2]
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        found = ""
    device = jax.devices()[0]
    return {
        "revision": found or version("egraph_opt"),
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "egglog": version("egglog"),
        "device": f"{device.platform} ({device.device_kind})",
        "date": datetime.now(UTC).date().isoformat(),
    }


def _plan(built: Built, options: BenchOptions, numerics: str) -> Result:
    given: dict[str, Any] = {"numerics": numerics, "budget": options.budget, "frozen": options.frozen}
    if options.flops:
        given |= {"measure": False, "verify": False, "cost": "flops"}
    result: Result = optimize(built.function, **given).plan(*built.args)
    return result


def _forms(built: Built, result: Result) -> tuple[tuple[Form, Form, Form | None], list[Any]]:
    """Original, optimised and hand form, and the leaves that all take; of frozen arguments the work is done before."""
    leaves = [*jax.tree.leaves(built.args), *result.captured.constants]
    count = len(result.captured.leaf_names)
    tree = jax.tree.structure(built.args)
    hand = built.hand
    frozen = result.convention.frozen_positions if result.report.improved else ()
    optimised, prepared = called_form(result.flat, result.after, leaves, frozen, len(leaves))

    def original(*leaves: Any) -> Any:
        return built.function(*jax.tree.unflatten(tree, leaves[:count]))

    def by_hand(*leaves: Any) -> Any:
        assert hand is not None
        return hand(*jax.tree.unflatten(tree, leaves[:count]))

    return (original, optimised, None if hand is None else by_hand), [*leaves, *prepared]
