# SPDX-License-Identifier: Apache-2.0
"""Which of the measured functions to keep. The original wins ties: "never slower" is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median

from egraph_opt.measure.timing import Measurement

LEAST_GAIN = 0.02
"""Gains below this are ties even on a quiet machine."""

MOST_SLACK = 0.1
"""Calls of a tiny program may look slower by so much, noise or not, when the compiled loop is faster."""


def choose(measurement: Measurement, least_gain: float = LEAST_GAIN) -> tuple[int, str]:
    """Index of the function to keep, and why.

    A candidate must beat the original beyond the noise, by its median and by the median of its ratios to the original
    of the same round (which a drift of the machine's speed does not touch). Of a tiny program, whose calls are mostly
    dispatch, the compiled loop decides, as long as its calls are no slower.

    Args:
        measurement: the original's timing first.
        least_gain: relative gain that counts.
    """
    timings = measurement.timings
    if len(timings) < 2:
        return 0, "no candidate"
    margin = max(measurement.noise, least_gain)
    original = timings[0]
    calls = [_ratio(original.samples, t.samples) for t in timings]
    if not measurement.in_loop:
        best = min(range(len(timings)), key=calls.__getitem__)
        if best and calls[best] * (1.0 + margin) < 1.0:
            return best, f"{1.0 / calls[best]:.2f}x as fast as the original (noise {margin:.0%})"
        return 0, f"no candidate beats the original beyond the noise of {margin:.0%} (best {1.0 / min(calls):.2f}x)"
    inner = [_ratio(original.loop_samples, t.loop_samples) for t in timings]
    loop_margin = max(measurement.loop_noise, least_gain)
    slack = 1.0 + min(margin, MOST_SLACK)
    fit = [i for i in range(1, len(timings)) if calls[i] <= slack and inner[i] * (1.0 + loop_margin) < 1.0]
    if not fit:
        return 0, f"no candidate beats the original beyond the noise of {loop_margin:.0%}, timed in a compiled loop"
    best = min(fit, key=inner.__getitem__)
    return best, f"{1.0 / inner[best]:.2f}x as fast as the original in a compiled loop (noise {loop_margin:.0%})"


LUCK = 0.05
"""Chance that is left to luck when the rounds that a candidate won are counted."""


def confirmed(measurement: Measurement, least_gain: float = LEAST_GAIN) -> str:
    """Why a second measurement of the original and one candidate does not show a gain; "" when it does.

    The median ratio must show the gain again, and so must the count of rounds that the candidate won (a sign test,
    which no outlier moves). Of tiny programs the compiled loop is asked, and the calls must be no slower.

    Args:
        measurement: fresh samples of the original and of the candidate.
        least_gain: relative gain that counts.
    """
    original, candidate = measurement.timings
    if measurement.in_loop:
        calls = _ratio(original.samples, candidate.samples)
        if calls > 1.0 + MOST_SLACK:
            return f"its calls took {calls:.2f}x as long"
    pairs = original.loop_samples, candidate.loop_samples
    before, after = pairs if measurement.in_loop else (original.samples, candidate.samples)
    ratio = _ratio(before, after)
    if ratio * (1.0 + least_gain) >= 1.0:
        return f"it took {ratio:.2f}x as long"
    won = sum(a < b for b, a in zip(before, after, strict=True))
    if won < wins_needed(len(before)):
        return f"it won {won} of {len(before)} rounds only"
    return ""


def wins_needed(rounds: int, luck: float = LUCK) -> int:
    """Rounds to win such that equal programs win so many with at most this chance; all of very few rounds."""
    tail = 0.0
    for wins in range(rounds, -1, -1):
        tail += comb(rounds, wins) / 2.0**rounds
        if tail > luck:
            return min(wins + 1, rounds)
    return 0


def _ratio(original: Sequence[float], candidate: Sequence[float]) -> float:
    """Time of the candidate over that of the original, the less favourable of two estimates."""
    whole = median(candidate) / max(median(original), 1e-12)
    paired = median(c / max(o, 1e-12) for c, o in zip(candidate, original, strict=True))
    return max(whole, paired)
