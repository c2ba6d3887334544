# SPDX-License-Identifier: Apache-2.0
"""Times of original, optimised program and hand form, and how they compare: by ratios within rounds.

What misses a bar is measured again for longer, and the second measurement counts. Forms that XLA compiles to one and
the same program are equally fast, whatever a busy machine says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax

from egraph_opt.measure import Measurement, Stopwatch

MEASURE_SECONDS = 1.0
AGAIN_SECONDS = 2.0

WITHIN_TIME = 1.1
NOISE = 1.05
"""Ratios of times to the hand form's and to ``jax.jit``'s that still count as equal."""

Form = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured of one case.

    Args:
        seconds: of original, optimised program and hand form; None for what was not timed [s].
        against_jit: time of the optimised program over that of the original, the median over rounds.
        against_hand: the same over that of the hand form.
        same_as_hand: whether optimised program and hand form were found to be one compiled program.
    """

    seconds: tuple[float | None, float | None, float | None]
    against_jit: float | None = None
    against_hand: float | None = None
    same_as_hand: bool = False


def times(forms: Sequence[Form | None], leaves: Sequence[Any], improved: bool, against: Sequence[str]) -> Times:
    """Time the forms in turns; a kept original is not timed twice.

    Args:
        forms: original, optimised program and hand form, if there is one.
        leaves: arguments of all.
        improved: whether the optimised program is another than the original.
        against: "jit", "hand": what is timed beside the optimised program.
    """
    jit = "jit" in against
    wanted = (jit, improved or not jit, "hand" in against)
    timed = {i: form for i, form in enumerate(forms) if form is not None and wanted[i]}
    watch = Stopwatch(list(timed.values()), leaves)
    found = _compare(watch.measure(MEASURE_SECONDS), list(timed))
    if (found.against_hand or 0.0) > WITHIN_TIME or (found.against_jit or 0.0) > NOISE:
        found = _compare(watch.measure(AGAIN_SECONDS), list(timed))
    if (found.against_hand or 0.0) > WITHIN_TIME and same_program(forms[1 if 1 in timed else 0], forms[2], leaves):
        return Times(found.seconds, found.against_jit, 1.0, same_as_hand=True)
    return found


def _compare(measured: Measurement, places: Sequence[int]) -> Times:
    samples = {i: t.loop_samples or t.samples for i, t in zip(places, measured.timings, strict=True)}
    samples.setdefault(1, samples.get(0, ()))

    def ratio(base: int) -> float | None:
        if base not in samples or len(measured.timings) < 2:
            return None
        return median(own / max(other, 1e-12) for own, other in zip(samples[1], samples[base], strict=True))

    seconds = tuple(median(samples[i]) if samples.get(i) else None for i in range(3))
    return Times((seconds[0], seconds[1], seconds[2]), ratio(0), ratio(2))


def same_program(first: Form | None, second: Form | None, leaves: Sequence[Any]) -> bool:
    """Whether XLA compiles both to the same instructions."""
    if first is None or second is None:
        return False
    one, other = (_instructions(jax.jit(form).lower(*leaves).compile().as_text() or "") for form in (first, second))
    return bool(one) and one == other


def _instructions(text: str) -> str:
    """The text of a compiled module without its tables of source lines, and with names by their order."""
    lines = []
    for line in text.splitlines()[1:]:
        if line.endswith("{"):
            lines.append(line.split(" (")[0])
        elif re.match(r"\s+(ROOT )?%", line):
            lines.append(re.sub(r",? (metadata|frontend_attributes)={[^}]*}", "", line.replace("ROOT ", "")))
    names: dict[str, str] = {}
    return re.sub(r"%[\w.\-]+", lambda found: names.setdefault(found.group(), f"%{len(names)}"), "\n".join(lines))
