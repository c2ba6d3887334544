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

TINY_SECONDS = 3e-5
"""Calls shorter than this are mostly dispatch."""

LOOP_SECONDS = 3e-3
"""Length of one timed loop of a tiny program [s]."""

SAMPLE_SECONDS = 5e-4
MOST_CALLS = 10
"""A sample is the mean of as many calls in a row as take so long [s], and at most of so many."""

WARMED_SECONDS = 0.05
"""Programs that take longer are not called before each sample: what is in the caches matters little to them [s]."""

OVERDRAFT = 4.0
"""A measurement may exceed its budget by this factor to get its least number of rounds."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Run time of one function.

    Args:
        samples: seconds of a call in each round, in order; round i of all functions of a measurement belongs together.
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


class Stopwatch:
    """Functions of the same arguments, compiled once and timed as often as is wanted.

    Args:
        functions: the original, then candidates; each is called as ``function(*args)``.
        args: trees of arrays, moved to the device once.
        loops: whether tiny programs may be timed in a compiled loop; no for programs with effects.
        clock: seconds since any point.
        prepare: compiles a function.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        args: Sequence[Any],
        *,
        loops: bool = True,
        clock: Clock = time.perf_counter,
        prepare: Callable[[Function], Function] = jax.jit,
    ) -> None:
        self.clock, self.loops = clock, loops
        self.functions = tuple(functions)
        self.args = jax.device_put(tuple(args)) if prepare is jax.jit else tuple(args)
        self.ready = [prepare(function) for function in functions]
        self.compile_seconds = [_seconds(f, self.args, clock) for f in self.ready]
        self.once = [_seconds(f, self.args, clock) for f in self.ready]
        self._looped: dict[int, tuple[Function, int]] = {}
        self._shuffle = random.Random(0)

    def measure(
        self,
        budget_seconds: float = 1.0,
        which: Sequence[int] | None = None,
        min_rounds: int = 5,
        max_rounds: int = 200,
    ) -> Measurement:
        """Fresh samples of all functions, or of some.

        Args:
            budget_seconds: of timed calls; compilation comes on top.
            which: places of the functions to time, the original first; all by default.
            min_rounds: at least so many rounds, unless that would take several times the budget.
            max_rounds: at most so many.
        """
        start = self.clock()
        places = list(range(len(self.functions)) if which is None else which)
        timed = [(self.ready[i], calls_of(self.once[i]), self.once[i] < WARMED_SECONDS) for i in places]
        samples = self._rounds(timed, budget_seconds, min_rounds, max_rounds)
        loop_samples: list[list[float]] = [[] for _ in places]
        if self.loops and len(places) > 1 and median(samples[0]) < TINY_SECONDS:
            looped = [self._loop(i, min(samples[k])) for k, i in enumerate(places)]
            # One number of turns for all: what starting the loop costs is then shared alike.
            count = min(turns for _, turns in looped)
            rows = self._rounds([(_bound(f, count), 1, False) for f, _ in looped], budget_seconds, min_rounds, 40)
            loop_samples = [[seconds / count for seconds in row] for row in rows]
        timings = tuple(
            Timing(tuple(s), self.compile_seconds[i], tuple(inner))
            for i, s, inner in zip(places, samples, loop_samples, strict=True)
        )
        return Measurement(timings, split_noise(samples[0]), split_noise(loop_samples[0]), self.clock() - start)

    def _rounds(
        self, timed: Sequence[tuple[Function, int, bool]], budget: float, least: int, most: int
    ) -> list[list[float]]:
        """Seconds of a call of each function, all in every round and in an order drawn for it.

        In an order that stays, one function would always run after the same other one and find the caches as that one
        leaves them: equal programs came out twofold apart. Each is also called once before its calls are timed, as
        the calls of a program follow each other where it is used.
        """
        samples: list[list[float]] = [[] for _ in timed]
        order = list(range(len(timed)))
        start = self.clock()
        for done in range(most):
            spent = self.clock() - start
            if (done >= least and spent >= budget) or (done >= 3 and spent >= OVERDRAFT * budget):
                break
            self._shuffle.shuffle(order)
            for index in order:
                function, calls, warmed = timed[index]
                if warmed:
                    _seconds(function, self.args, self.clock)
                samples[index].append(sum(_seconds(function, self.args, self.clock) for _ in range(calls)) / calls)
        return samples

    def _loop(self, place: int, call: float) -> tuple[Function, int]:
        """A function in a compiled loop, and how many of its turns make a sample."""
        if place not in self._looped:
            loop = repeated(self.functions[place])
            _seconds(_bound(loop, 2), self.args, self.clock)
            once = max(min(_seconds(_bound(loop, 20), self.args, self.clock) / 20, call), 1e-8)
            self._looped[place] = loop, max(10, min(20_000, int(LOOP_SECONDS / once)))
        return self._looped[place]


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
    """Time functions of the same arguments once: see ``Stopwatch`` and its ``measure``."""
    watch = Stopwatch(functions, args, loops=loops, clock=clock, prepare=prepare)
    return watch.measure(budget_seconds, None, min_rounds, max_rounds)


def calls_of(once: float) -> int:
    """How many calls of a function make a sample, by the time of one [s]."""
    return max(1, min(MOST_CALLS, round(SAMPLE_SECONDS / max(once, 1e-9))))


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


def _bound(loop: Function, count: int) -> Function:
    return lambda *args: loop(count, *args)
