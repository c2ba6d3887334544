# SPDX-License-Identifier: Apache-2.0
"""Run times of several functions, measured in turns in one process, so that a busy machine slows all of them alike.

Compilation is excluded and reported. Programs so small that Python's call dominates are also timed inside one compiled
loop. The clock and the way a function is prepared can be replaced, so that tests need no real seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax

from egraph_opt.measure.loop import repeated

Function = Callable[..., Any]
Clock = Callable[[], float]

TINY_SECONDS = 1e-4
"""Calls shorter than this are mostly dispatch."""

LOOP_SECONDS = 3e-3
"""Length of one timed loop of a tiny program [s]."""

OVERDRAFT = 4.0
"""A measurement may exceed its budget by this factor to get its least number of rounds."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Run time of one function.

    Args:
        samples: seconds of each round, in order; round i of all functions of a measurement belongs together.
        compile_seconds: first call, run time included.
        loop_samples: seconds of one iteration inside a compiled loop, per round; empty if not used.
    """

    samples: tuple[float, ...]
    compile_seconds: float = 0.0
    loop_samples: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """Median time of one call [s]."""
        return median(self.samples)

    @property
    def loop_seconds(self) -> float | None:
        """Median time of one iteration inside a compiled loop [s]."""
        return median(self.loop_samples) if self.loop_samples else None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of several functions, the original first.

    Args:
        timings: one for each function.
        noise: relative difference that two measurements of the same function show.
        loop_noise: the same for the loop samples.
        seconds: what the measurement took.
    """

    timings: tuple[Timing, ...]
    noise: float
    loop_noise: float = 0.0
    seconds: float = 0.0

    @property
    def in_loop(self) -> bool:
        """Whether tiny programs were timed inside a compiled loop too."""
        return bool(self.timings and self.timings[0].loop_samples)


def measure(
    functions: Sequence[Function],
    args: Sequence[Any],
    budget_seconds: float = 1.0,
    *,
    min_rounds: int = 5,
    max_rounds: int = 200,
    loops: bool = True,
    clock: Clock = time.perf_counter,
    prepare: Callable[[Function], Function] = jax.jit,
) -> Measurement:
    """Time functions of the same arguments.

    Args:
        functions: the original, then candidates; each is called as ``function(*args)``.
        args: trees of arrays, moved to the device once.
        budget_seconds: of timed calls; compilation comes on top.
        min_rounds: at least so many rounds, unless that would take several times the budget.
        max_rounds: at most so many.
        loops: whether tiny programs may be timed in a compiled loop; no for programs with effects.
        clock: seconds since any point.
        prepare: compiles a function.
    """
    start = clock()
    args = jax.device_put(tuple(args)) if prepare is jax.jit else tuple(args)
    ready = [prepare(function) for function in functions]
    compiled = [_seconds(f, args, clock) for f in ready]
    for function in ready:
        _seconds(function, args, clock)
    samples = _rounds(ready, args, budget_seconds, min_rounds, max_rounds, clock)
    loop_samples: list[list[float]] = [[] for _ in functions]
    if loops and len(functions) > 1 and median(samples[0]) < TINY_SECONDS:
        loop_samples = _loop_rounds(functions, args, samples, budget_seconds, min_rounds, clock)
    timings = tuple(
        Timing(tuple(s), c, tuple(inner)) for s, c, inner in zip(samples, compiled, loop_samples, strict=True)
    )
    return Measurement(timings, split_noise(samples[0]), split_noise(loop_samples[0]), clock() - start)


def split_noise(samples: Sequence[float], splits: int = 60, quantile: float = 0.9) -> float:
    """Relative difference between two medians of the same function, from its own samples.

    The samples are split in halves at random many times; the halves are smaller than the whole, so this errs upwards.

    Args:
        samples: seconds.
        splits: how many.
        quantile: of the differences.
    """
    if len(samples) < 4:
        return 0.0 if len(samples) < 2 else max(samples) / min(samples) - 1.0
    shuffle = random.Random(0)
    places = list(range(len(samples)))
    half = len(samples) // 2
    differences = []
    for _ in range(splits):
        shuffle.shuffle(places)
        first, second = median(samples[i] for i in places[:half]), median(samples[i] for i in places[half:])
        differences.append(abs(first - second) / min(first, second) if min(first, second) > 0 else 0.0)
    return sorted(differences)[min(splits - 1, int(quantile * splits))]


def _seconds(function: Function, args: Sequence[Any], clock: Clock) -> float:
    start = clock()
    jax.block_until_ready(function(*args))
    return clock() - start


def _rounds(
    functions: Sequence[Function],
    args: Sequence[Any],
    budget: float,
    least: int,
    most: int,
    clock: Clock,
) -> list[list[float]]:
    """Samples of each function: all in every round, starting with a random one."""
    samples: list[list[float]] = [[] for _ in functions]
    rotation = random.Random(0)
    start = clock()
    for done in range(most):
        spent = clock() - start
        if (done >= least and spent >= budget) or (done >= 3 and spent >= OVERDRAFT * budget):
            break
        offset = rotation.randrange(len(functions)) if functions else 0
        for turn in range(len(functions)):
            index = (turn + offset) % len(functions)
            samples[index].append(_seconds(functions[index], args, clock))
    return samples


def _loop_rounds(
    functions: Sequence[Function],
    args: Sequence[Any],
    samples: Sequence[Sequence[float]],
    budget: float,
    least: int,
    clock: Clock,
) -> list[list[float]]:
    """Samples of one iteration inside a compiled loop."""
    loops = [repeated(function) for function in functions]
    turns = []
    for loop in loops:
        _seconds(loop, (2, *args), clock)
        once = max(min(_seconds(loop, (20, *args), clock) / 20, min(samples[0])), 1e-8)
        turns.append(max(10, min(20_000, int(LOOP_SECONDS / once))))
    # One number of turns for all: what starting the loop costs is then shared alike.
    count = min(turns)
    timed = _rounds([_bound(loop, count) for loop in loops], args, budget, least, 40, clock)
    return [[seconds / count for seconds in row] for row in timed]


def _bound(loop: Function, count: int) -> Function:
    return lambda *args: loop(count, *args)
