# SPDX-License-Identifier: Apache-2.0
"""Tables of benchmark rows in Markdown, the summary line, and the list of cases that fall short."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from egraph_opt.bench.run import WITHIN_FLOP, Row
from egraph_opt.bench.suites import FAMILIES
from egraph_opt.bench.times import NOISE, WITHIN_TIME
from egraph_opt.report import duration, quantity, times

FLOP_HEADS = ("suite", "case", "family", "flop", "after", "hand", "xla", "after", "hand")
GREEDY_HEADS = ("greedy",)
SEARCH_HEADS = ("e-nodes", "gap", "plan")
TIME_HEADS = ("time", "after", "hand")


def heads(timed: bool, greedy: bool) -> tuple[str, ...]:
    """Heads of the columns, with those of times and of the greedy rewriter where wanted."""
    counts = (*FLOP_HEADS, *(GREEDY_HEADS if greedy else ()), *SEARCH_HEADS)
    return (*counts, *(TIME_HEADS if timed else ()), "outcome")


def cells(row: Row, timed: bool, greedy: bool) -> tuple[str, ...]:
    """One row of the table."""
    start = (row.suite, row.name, row.family)
    if row.failed:
        return (*start, *[""] * (len(heads(timed, greedy)) - len(start) - 1), row.outcome)
    figures = (*row.flop, *row.xla, row.greedy) if greedy else (*row.flop, *row.xla)
    counts = tuple("" if value is None else quantity(value, "") for value in figures)
    middle = (*start, *counts, str(row.enodes), f"{row.gap:.2g}", duration(row.plan))
    clock = tuple("" if value is None else duration(value) for value in row.seconds) if timed else ()
    return (*middle, *clock, row.outcome)


def line(texts: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def head(timed: bool, greedy: bool) -> str:
    """The first two lines of the table."""
    names = heads(timed, greedy)
    return f"{line(names)}\n|{'---|' * len(names)}"


def summary(rows: Sequence[Row]) -> str:
    """How many cases reach the hand form, and how many are slower than ``jax.jit``."""
    parts = []
    scored = [row for row in rows if row.excess is not None]
    if scored:
        good = sum(row.excess is not None and row.excess <= WITHIN_FLOP for row in scored)
        text = f"{good} of {len(scored)} within {WITHIN_FLOP}x of the hand form's FLOP"
        found = sum(row.excess_found is not None and row.excess_found <= WITHIN_FLOP for row in scored)
        if found > good:
            text += f" ({found} with what was found and is no faster by the clock)"
        parts.append(text)
    tried = [row for row in rows if row.greedy is not None]
    if tried:
        parts.append(f"a greedy rewriter stays stuck in {sum(row.stuck for row in tried)} of {len(tried)}")
    timed = [value for row in rows if (value := row.slowness) is not None]
    if timed:
        good = sum(value <= WITHIN_TIME for value in timed)
        parts.append(f"{good} of {len(timed)} within {WITHIN_TIME}x of its time")
    if any(row.against_jit is not None for row in rows):
        slow = [row.name for row in rows if (row.against_jit or 0.0) > NOISE]
        parts.append(f"slower than jit: {', '.join(slow)}" if slow else "none slower than jit")
    failed = [row.name for row in rows if row.failed]
    if failed:
        parts.append(f"failed: {', '.join(failed)}")
    plans = [row.plan for row in rows if not row.failed]
    if plans:
        parts.append(f"plan median {duration(median(plans))}, worst {duration(max(plans))}")
    return ", ".join(parts) or "no cases"


def gaps(rows: Sequence[Row]) -> str:
    """Cases that need more arithmetic than their hand form, by family, the furthest first; then counts by family."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row.excess is not None or row.failed:
            families.setdefault(row.family, []).append(row)
    lines = [line(("family", "case", "original", "now", "hand", "now/hand", "stopped by")), "|" + "---|" * 7]
    lines += [gap_line(row) for family in sorted(families) for row in short_of(families[family])]
    lines += ["", line(("family", "", "cases", "short", "worst")), "|" + "---|" * 5]
    for family in sorted(families):
        short = short_of(families[family])
        worst = times(short[0].excess or 1.0) if short else ""
        counts = str(len(families[family])), str(len(short))
        lines.append(line((family, FAMILIES.get(family, "whole programs"), *counts, worst)))
    return "\n".join(lines)


def short_of(rows: Sequence[Row]) -> list[Row]:
    """Rows above the bar or failed, the furthest first."""
    short = [row for row in rows if row.failed or (row.excess or 0.0) > WITHIN_FLOP]
    return sorted(short, key=lambda row: -(row.excess or 0.0))


def gap_line(row: Row) -> str:
    """One case that falls short."""
    counts = ["" if value is None else quantity(value, "") for value in row.flop]
    factor = "" if row.excess is None else times(row.excess)
    return line((row.family, f"{row.suite}/{row.name}", *counts, factor, row.outcome if row.failed else row.stopped))
