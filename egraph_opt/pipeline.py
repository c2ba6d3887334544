# SPDX-License-Identifier: Apache-2.0
"""The main path: capture, search, lower, verify, measure, decide.

The original is always among the programs to choose from, and it wins ties: whatever the search did, the result is never
wrong beyond the error gate and never slower beyond measurement noise.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax

from egraph_opt.calling import Convention, precision_of
from egraph_opt.candidates import add_blocked, add_kernels, varied
from egraph_opt.capture import Captured, capture
from egraph_opt.contest import Contender, Progress, best_of, price_text
from egraph_opt.cost import CostModel, cost_model, count_graph, frozen_nodes
from egraph_opt.cost.peak import PeakMemory
from egraph_opt.frontends import LoadedModel
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import told
from egraph_opt.lower import lower_graph
from egraph_opt.notes import frozen_notes, shape_notes
from egraph_opt.options import Options
from egraph_opt.report import Report, quantity
from egraph_opt.result import Result
from egraph_opt.search import Candidate, Search, SearchOptions, search
from egraph_opt.verify import Verdict, Verifier, is_guarded, sample_inputs

SECONDS_PER_FLOP = 2e-11
"""What a product that only the original makes is taken to cost when programs are preselected [s/flop]."""

MEASURED_CANDIDATES = 2
LARGE = 2_000
NEAR = 1.5
"""How many candidates are verified and timed at most: one of programs with so many nodes, which take long to compile;
and none whose predicted time is that much above the best one's."""


def plan(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Options,
    progress: Progress = lambda text: None,
) -> Result:
    """Optimise ``function`` for the types of these arguments.

    Args:
        function: a JAX-traceable function.
        args: arrays or ``jax.ShapeDtypeStruct``, or trees of them; values are used for verification and timing only.
        kwargs: keyword arguments, likewise.
        options: what is allowed.
        progress: told what is being done.
    """
    with precision_of(function):
        return _plan(function, args, kwargs, options, progress)


def _plan(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Options,
    progress: Progress,
) -> Result:
    clock = _Clock()
    progress("capturing")
    captured = capture(
        function,
        args,
        kwargs,
        static_argnums=options.static_argnums,
        static_argnames=options.static_argnames,
        fold_constants=options.fold_constants,
        strict=options.strict,
        numerics=options.numerics,
        arrays=function.constants if isinstance(function, LoadedModel) else None,
    )
    convention = Convention(function, captured, options.frozen, options.static_argnums, options.static_argnames)
    frozen = convention.frozen_positions
    seconds_capture = clock.lap()
    platform = jax.default_backend()
    cost = cost_model(options.cost, platform)
    goal = PeakMemory(cost) if options.objective == "memory" else cost
    report = Report(
        name=getattr(function, "__name__", "").strip("<>") or "program",
        device=device_name(),
        numerics=options.numerics.name.lower(),
        cost_model=cost.name,
        seconds_capture=seconds_capture,
    )
    progress("searching")
    found = search(
        captured.graph, SearchOptions(options.active_rules(), options.numerics, options.budget, goal), frozen
    )
    free = functools.partial(_whole_price, cost=goal, frozen=frozen)
    add_kernels(found, options.numerics, options.budget, free)
    if goal is not cost:
        add_blocked(found, options.numerics, goal)
    report.seconds_saturate = found.seconds["saturate"] + found.seconds["bodies"]
    report.seconds_extract = found.seconds["extract"] + found.seconds["decode"] + found.seconds["normalise"]
    clock.lap()
    chosen, report.improved = _decide(captured, found, frozen, options, goal, report, clock, progress)
    chosen = replace(chosen, cost=cost.graph_seconds(chosen.graph, _free(chosen.graph, frozen)))
    _describe(report, captured, chosen, frozen, cost, found)
    report.notes += [*frozen_notes(convention, chosen.graph), *shape_notes(convention)]
    report.seconds_total = clock.total()
    return Result(convention, chosen.graph, report, options, found)


def _decide(
    captured: Captured,
    found: Search,
    frozen: Sequence[int],
    options: Options,
    cost: CostModel,
    report: Report,
    clock: _Clock,
    progress: Progress,
) -> tuple[Candidate, bool]:
    """The program to use, and whether it is not the original; fills in what was verified, timed and rejected."""
    original = Candidate(captured.graph, _price_as_written(captured, cost))
    simplified = captured.saved_products > 0 or _prepares_work(captured.graph, frozen)
    better = [c for c in found.candidates if c.cost < original.cost and (simplified or c.graph != original.graph)]
    better = [c for c in better if c.cost <= NEAR * better[0].cost]
    better = varied(better)[: MEASURED_CANDIDATES if len(captured.graph) < LARGE else 1]
    functions = [lower_graph(c.graph, captured.tracebacks) for c in better]
    report.seconds_lower = clock.lap()
    if not better:
        report.decision = "the original: the search found nothing cheaper"
        return original, False
    inputs = sample_inputs(captured.graph, options.seed, given=_given(captured))
    contenders = [Contender(c, f) for c, f in zip(better, functions, strict=True)]
    verifier: Verifier | None = None
    refused: list[str] = []
    while contenders:  # timed first: most programs that are no faster need not be compiled in float64, too
        winner = best_of(captured, contenders, inputs, frozen, original, options, cost, report, progress)
        report.seconds_measure += clock.lap()
        report.rejected = refused + report.rejected
        if winner is None:
            return original, False
        if not options.verify:
            return winner.candidate, True
        progress("verifying")
        verifier = verifier or _verifier(captured, inputs, simplified, options)
        verdict = verifier.check(winner.candidate.graph)
        report.seconds_verify += clock.lap()
        if verdict.ok:
            _note_verdict(report, verdict)
            return winner.candidate, True
        refused.append(f"predicted {price_text(winner.candidate.cost, cost)}: {verdict.reason}")
        report.rejected = list(refused)
        contenders.remove(winner)
    _keep_original(report)
    return original, False


def _verifier(captured: Captured, inputs: list[Any], simplified: bool, options: Options) -> Verifier:
    """Compares programs with the original on these inputs, and on others where a program has branches for facts."""
    sets = [inputs]
    if is_guarded(captured.graph):  # the branch in which nothing is stated is compared, too
        sets.append(sample_inputs(captured.graph, options.seed, given=_given(captured), branches=False))
    return Verifier(
        captured.graph,
        sets,
        function=(lambda leaves: captured.original(*leaves)) if simplified or len(captured.graph) < LARGE else None,
        fewer_nonfinite=options.numerics >= Numerics.FINITE,
        seed=options.seed,
    )


def _note_verdict(report: Report, verdict: Verdict) -> None:
    report.verified = verdict.reference in ("float64", "native")
    if verdict.reference == "float64":
        report.error_before, report.error_after = verdict.error_original, verdict.error_candidate
    elif verdict.reason:
        report.notes.append(f"checked in its own precision: {verdict.reason}" if report.verified else verdict.reason)


def _keep_original(report: Report) -> None:
    """Undo what the races said of programs that the error gate refused."""
    report.decision = "the original: no candidate passed the error gate"
    report.seconds_after = report.seconds_before
    report.paired_speedup = None if report.seconds_before is None else 1.0


def _whole_price(graph: Graph, cost: CostModel, frozen: Sequence[int]) -> float:
    """Price of a program whose work on frozen inputs is done beforehand."""
    return cost.graph_seconds(graph, _free(graph, frozen))


def _prepares_work(graph: Graph, frozen: Sequence[int]) -> bool:
    """Whether the program computes something from its frozen inputs alone, which the original does on every call."""
    return any(graph.nodes[number].operands for number in _free(graph, frozen))


def _price_as_written(captured: Captured, cost: CostModel) -> float:
    """Price of the original, which prepares nothing: that of its Graph, and of products that capture has saved."""
    price = cost.graph_seconds(captured.graph)
    return price + captured.saved_products * (1.0 if cost.name == "flops" else SECONDS_PER_FLOP)


def _given(captured: Captured) -> list[Any]:
    """Leaves that the caller gave as arrays, None for those given as types."""
    return [
        None if isinstance(leaf, jax.ShapeDtypeStruct | jax.core.Tracer) else leaf
        for leaf in (*captured.arguments.leaves, *captured.constants)
    ]


def _free(graph: Graph, frozen: Sequence[int]) -> frozenset[int]:
    return frozen_nodes(graph, frozen) if frozen else frozenset()


def _describe(
    report: Report, captured: Captured, chosen: Candidate, frozen: Sequence[int], cost: CostModel, found: Search
) -> None:
    before = captured.graph
    free = _free(chosen.graph, frozen) if report.improved else frozenset()
    counts = count_graph(before), count_graph(chosen.graph, free)
    saved = captured.saved_products
    report.flops_before, report.flops_after = counts[0].flops + saved, counts[1].flops
    if not report.improved:
        report.flops_after = report.flops_before
    elif saved:
        report.notes.append(f"capture alone saved {quantity(saved, 'flop')} of products")
    report.bytes_before, report.bytes_after = (c.bytes for c in counts)
    report.transcendentals_before, report.transcendentals_after = (c.transcendentals for c in counts)
    report.nodes_before, report.nodes_after = len(before), len(chosen.graph)
    report.predicted_before, report.predicted_after = _price_as_written(captured, cost), chosen.cost
    report.rules_fired = dict(chosen.fired)
    report.stop_reason = found.saturation.stop_reason
    report.enodes = found.saturation.nodes
    report.notes += found.notes
    report.idioms = told(found.idioms, chosen.graph if report.improved else before, Numerics.parse(report.numerics))
    if found.extraction is not None:
        report.extraction_cost = found.extraction.cost
        report.extraction_gap = found.extraction.gap


def device_name() -> str:
    """Kind and name of JAX's default device."""
    device = jax.devices()[0]
    kind = device.device_kind
    return kind if kind.lower() == device.platform else f"{device.platform} ({kind})"


class _Clock:
    """Laps of one optimisation."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap [s]."""
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        return spent

    def total(self) -> float:
        """Seconds since the start [s]."""
        return time.perf_counter() - self._start
