# SPDX-License-Identifier: Apache-2.0
"""The race of candidates against the original: the winner of a first measurement must win a second one, too.

The first measurement picks the best of several, so luck is part of its result; fresh samples of the winner and the
original alone then decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from egraph_opt.measure.choose import choose, confirmed
from egraph_opt.measure.timing import Clock, Function, Measurement, Stopwatch

CONFIRMING = 0.3
"""Share of the time that is kept for the second measurement."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a race ended with.

    Args:
        index: of the function to keep; 0 is the original.
        why: in words.
        first: times of all functions.
        second: times of the original and the winner of the first measurement, if another than the original won it.
    """

    index: int
    why: str
    first: Measurement
    second: Measurement | None = None

    def pair(self) -> tuple[Measurement, int]:
        """The measurement by which the outcome is reported, and the place of the function to keep in it."""
        return (self.second, 1) if self.second is not None and self.index else (self.first, self.index)


def race(
    functions: Sequence[Function],
    args: Sequence[Any],
    budget_seconds: float,
    *,
    loops: bool = True,
    clock: Clock = time.perf_counter,
    prepare: Callable[[Function], Function] = jax.jit,
) -> Outcome:
    """Which of several functions of the same arguments to keep.

    Args:
        functions: the original, then candidates.
        args: of all.
        budget_seconds: of timed calls, both measurements together.
        loops: whether tiny programs may be timed in a compiled loop.
        clock: seconds since any point.
        prepare: compiles a function.
    """
    watch = Stopwatch(functions, args, loops=loops, clock=clock, prepare=prepare)
    first = watch.measure((1.0 - CONFIRMING) * budget_seconds)
    index, why = choose(first)
    if not index:
        return Outcome(0, why, first)
    second = watch.measure(CONFIRMING * budget_seconds, (0, index))
    doubt = confirmed(second)
    return (
        Outcome(0, f"{why}, but measured again {doubt}", first, second) if doubt else Outcome(index, why, first, second)
    )
