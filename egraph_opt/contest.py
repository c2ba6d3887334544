# SPDX-License-Identifier: Apache-2.0
"""The contest of candidates with the original: compiled, timed or weighed, and the best of them by the objective.

Between the search and the error gate: what is no better than the original need not be verified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import jax

from egraph_opt.capture import Captured
from egraph_opt.cost import CostModel
from egraph_opt.cost.peak import PeakMemory
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph
from egraph_opt.measure import race
from egraph_opt.memory import smallest
from egraph_opt.options import Options
from egraph_opt.report import Report, duration, quantity
from egraph_opt.search import Candidate
from egraph_opt.split import split

Progress = Callable[[str], None]

LONGEST_RUN = 20.0
"""Programs predicted to run longer than this are not timed under ``measure="auto"`` [s]."""

MEASURE_SECONDS = 3.0
"""Time for the timed runs of all programs together, compilation not counted [s]."""


@dataclass(eq=False, slots=True)
class Contender:
    """A candidate and how it is run."""

    candidate: Candidate
    function: Callable[[Sequence[Any]], list[Any]] = field(repr=False)


def best_of(
    captured: Captured,
    contenders: Sequence[Contender],
    inputs: Sequence[Any],
    frozen: Sequence[int],
    original: Candidate,
    options: Options,
    cost: CostModel,
    report: Report,
    progress: Progress,
) -> Contender | None:
    """The contender that serves the objective best, or None for the original."""
    if isinstance(cost, PeakMemory):
        return _smallest(captured, contenders, inputs, frozen, cost, options, report, progress)
    best = contenders[0]
    reason = _not_timed(captured, original.cost, options, cost)
    if reason:
        report.decision = f"the cheapest program by the cost model; not timed: {reason}"
        return best
    progress("timing")
    functions, args = _forms(captured, contenders, inputs, frozen)
    outcome = race(functions, args, MEASURE_SECONDS)
    index = outcome.index
    measured, place_kept = outcome.pair()
    times = [timing.loop_seconds or timing.seconds for timing in outcome.first.timings]
    kept = measured.timings[0], measured.timings[place_kept]
    report.noise = measured.loop_noise if measured.in_loop else measured.noise
    report.seconds_before, report.seconds_after = (t.loop_seconds or t.seconds for t in kept)
    pairs = zip(*(t.loop_samples or t.samples for t in kept), strict=True)
    report.paired_speedup = median(before / max(after, 1e-12) for before, after in pairs)
    report.seconds_compile = tuple(timing.compile_seconds for timing in outcome.first.timings)
    report.rejected = []
    report.decision = f"{'the original' if index == 0 else 'the optimised program'}: {outcome.why}"
    for place, contender in enumerate(contenders, 1):
        if place != index:
            report.rejected.append(
                f"predicted {price_text(contender.candidate.cost, cost)}: took {duration(times[place])}"
                f" (original {duration(times[0])})"
            )
    return contenders[index - 1] if index else None


def _smallest(
    captured: Captured,
    contenders: Sequence[Contender],
    inputs: Sequence[Any],
    frozen: Sequence[int],
    cost: PeakMemory,
    options: Options,
    report: Report,
    progress: Progress,
) -> Contender | None:
    """The contender that holds least while it runs, or None for the original."""
    progress("compiling")
    report.rejected = []
    functions, args = _forms(captured, contenders, inputs, frozen)
    graphs = [captured.graph, *(contender.candidate.graph for contender in contenders)]
    seconds = [cost.seconds.graph_seconds(graph) for graph in graphs]
    found = smallest(functions, args, seconds)
    report.temporary_before, report.temporary_after = found.sizes[0], found.sizes[found.index]
    report.decision = f"{'the original' if found.index == 0 else 'the optimised program'}: {found.why}"
    for place, (contender, size) in enumerate(zip(contenders, found.sizes[1:], strict=True), 1):
        if place != found.index and size is not None:
            held = quantity(size, "B")
            report.rejected.append(f"predicted {price_text(contender.candidate.cost, cost)}: holds {held}")
    if not found.index:
        return None
    if not _not_timed(captured, seconds[0], options, cost.seconds):
        progress("timing")
        timings = race([functions[0], functions[found.index]], args, MEASURE_SECONDS / 3).first.timings
        report.seconds_before, report.seconds_after = (t.loop_seconds or t.seconds for t in timings)
    return contenders[found.index - 1]


def _forms(
    captured: Captured, contenders: Sequence[Contender], inputs: Sequence[Any], frozen: Sequence[int]
) -> tuple[list[Callable[..., Any]], list[Any]]:
    """The original and the contenders as they run on every call, and the arguments that all of them take."""
    args = list(inputs)
    count = len(args)
    functions: list[Callable[..., Any]] = [lambda *leaves: captured.original(*leaves[:count])]
    for contender in contenders:
        function, prepared = called_form(contender.function, contender.candidate.graph, inputs, frozen, len(args))
        functions.append(function)
        args += prepared
    return functions, args


def called_form(
    program: Callable[[Sequence[Any]], list[Any]],
    graph: Graph,
    inputs: Sequence[Any],
    frozen: Sequence[int],
    place: int,
) -> tuple[Callable[..., Any], list[Any]]:
    """What runs on every call, without the work that is done once, and the values that work gives.

    Args:
        program: all of the work, of the inputs.
        graph: the same as a Graph.
        inputs: values of all inputs.
        frozen: positions of those that stay the same between calls.
        place: from where on the function takes its prepared values; the inputs stand first, others' between them.
    """
    count = len(inputs)
    if not frozen:
        return (lambda *leaves: program(leaves[:count])), []
    parts = split(graph, frozen)
    prepared = jax.jit(lower_graph(parts.prepare))([inputs[p] for p in parts.frozen])
    held = set(parts.frozen)
    run = lower_graph(parts.run)

    def function(*leaves: Any) -> list[Any]:
        rest = [leaf for position, leaf in enumerate(leaves[:count]) if position not in held]
        return run([*rest, *leaves[place : place + len(prepared)]])

    return function, prepared


def _not_timed(captured: Captured, seconds: float, options: Options, cost: CostModel) -> str:
    """Why programs are not timed; "" when they are."""
    if options.measure is False:
        return "measure=False"
    if captured.graph.effects:
        return "the program has side effects"
    if options.measure == "auto" and cost.name != "flops" and seconds > LONGEST_RUN:
        return f"one run is predicted to take {duration(seconds)}; give measure=True"
    return ""


def price_text(value: float, cost: CostModel) -> str:
    """A price in the unit of its model."""
    if cost.name in ("flops", "memory"):
        return quantity(value, "flop" if cost.name == "flops" else "B")
    return duration(value)
