# SPDX-License-Identifier: Apache-2.0
"""The report of one optimisation: what it cost, what it gained, what was decided and why."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Report:
    """Figures of one optimisation.

    Args:
        name: of the program.
        device: on which it was planned and timed.
        numerics: class of the rewrites that were allowed.
        cost_model: by which programs were priced.
        flops_before: arithmetic operations of the original [flop].
        flops_after: of the chosen program [flop].
        bytes_before: memory traffic by the fusion-aware count [byte].
        bytes_after: of the chosen program [byte].
        transcendentals_before: weighted exp, log, tanh ... of the original.
        transcendentals_after: of the chosen program.
        nodes_before: nodes of the Graph.
        nodes_after: of the chosen program.
        seconds_before: measured median [s], or None when not measured.
        seconds_after: of the chosen program [s], or None.
        paired_speedup: median over the rounds of the ratio of the two times, or None; drift of the machine cancels.
        noise: relative difference between two halves of the original's own samples, or None.
        predicted_before: run time by the cost model [s, or the model's own unit].
        predicted_after: of the chosen program.
        temporary_before: what the original holds beside arguments and results, by XLA, or None when not asked [byte].
        temporary_after: of the chosen program.
        idioms: what was recognised, and how it runs.
        error_before: relative error of the original against float64, or None when not checked.
        error_after: of the chosen program, or None.
        verified: whether the chosen program was compared with the original.
        rules_fired: for each rule, how many nodes of the chosen program it made.
        stop_reason: why the search ended.
        enodes: size of the e-graph.
        extraction_cost: price of the extracted choice.
        extraction_gap: distance to the proven bound, relative; 1.0 when nothing was proven.
        seconds_capture: [s].
        seconds_saturate: [s].
        seconds_extract: [s].
        seconds_lower: [s].
        seconds_verify: [s].
        seconds_measure: compilation of the timed programs included [s].
        seconds_total: all of it [s].
        seconds_compile: first calls of the timed programs, the original first [s].
        decision: which program was chosen and why.
        rejected: programs that were not chosen and why.
        notes: what was given up on the way.
        improved: whether the chosen program is not the original.
    """

    name: str = ""
    device: str = ""
    numerics: str = "reassociate"
    cost_model: str = ""
    flops_before: float = 0.0
    flops_after: float = 0.0
    bytes_before: float = 0.0
    bytes_after: float = 0.0
    transcendentals_before: float = 0.0
    transcendentals_after: float = 0.0
    nodes_before: int = 0
    nodes_after: int = 0
    seconds_before: float | None = None
    seconds_after: float | None = None
    paired_speedup: float | None = None
    noise: float | None = None
    predicted_before: float = 0.0
    predicted_after: float = 0.0
    temporary_before: float | None = None
    temporary_after: float | None = None
    idioms: list[str] = field(default_factory=list)
    error_before: float | None = None
    error_after: float | None = None
    verified: bool = False
    rules_fired: dict[str, int] = field(default_factory=dict)
    stop_reason: str = ""
    enodes: int = 0
    extraction_cost: float = 0.0
    extraction_gap: float = 0.0
    seconds_capture: float = 0.0
    seconds_saturate: float = 0.0
    seconds_extract: float = 0.0
    seconds_lower: float = 0.0
    seconds_verify: float = 0.0
    seconds_measure: float = 0.0
    seconds_total: float = 0.0
    seconds_compile: tuple[float, ...] = ()
    decision: str = ""
    rejected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    improved: bool = False

    @property
    def speedup(self) -> float | None:
        """Measured time of the original over that of the chosen program, the less favourable of two estimates."""
        if not self.seconds_before or not self.seconds_after:
            return None
        whole = self.seconds_before / self.seconds_after
        return min(whole, self.paired_speedup or whole)

    @property
    def headline(self) -> str:
        """The outcome in a few words."""
        if not self.improved:
            return "no gain found, the original is kept"
        if self.speedup is None:
            return "rewritten, not timed"
        return f"{times(self.speedup)} as fast: {duration(self.seconds_before)} became {duration(self.seconds_after)}"

    def to_json(self) -> str:
        """All figures as JSON; infinite and undefined numbers are null."""
        return json.dumps(_plain(dataclasses.asdict(self) | {"speedup": self.speedup}), indent=2, sort_keys=True)

    def to_html(self, explanation: str = "") -> str:
        """A page that stands alone, with the fragment of an explanation in it if one is given."""
        from egraph_opt.report_html import page

        return page(self, explanation)

    def fired(self) -> list[tuple[str, int]]:
        """Rules of the chosen program and their counts, the commonest first."""
        return sorted(self.rules_fired.items(), key=lambda item: (-item[1], item[0]))

    def spent(self) -> list[tuple[str, float]]:
        """Where the planning time went: part and seconds [s]."""
        parts = ("capture", "saturate", "extract", "lower", "verify", "measure")
        return [(part, getattr(self, f"seconds_{part}")) for part in parts]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The table's rows: figure, before, after, ratio."""
        rows = [
            ("arithmetic", quantity(self.flops_before, "flop"), quantity(self.flops_after, "flop"),
             ratio(self.flops_before, self.flops_after)),
            ("memory traffic", quantity(self.bytes_before, "B"), quantity(self.bytes_after, "B"),
             ratio(self.bytes_before, self.bytes_after)),
            ("transcendentals", quantity(self.transcendentals_before, ""), quantity(self.transcendentals_after, ""),
             ratio(self.transcendentals_before, self.transcendentals_after)),
            ("graph nodes", str(self.nodes_before), str(self.nodes_after), ratio(self.nodes_before, self.nodes_after)),
        ]  # fmt: skip
        gain = "" if self.speedup is None else ratio(self.speedup, 1.0)
        rows.append(("time", duration(self.seconds_before), duration(self.seconds_after), gain))
        if self.temporary_before is not None and self.temporary_after is not None:
            before, after = self.temporary_before, self.temporary_after
            rows.append(("temporary memory", quantity(before, "B"), quantity(after, "B"), ratio(before, after)))
        if self.verified:
            rows.append(("error vs float64", _small(self.error_before), _small(self.error_after), ""))
        return rows

    def __str__(self) -> str:
        rows = [("", "original", "chosen", "ratio"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [f"{self.name}: {self.headline} ({self.device}, numerics {self.numerics})"]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            lines.append(f"  {row[0].ljust(widths[0])}  {'  '.join(cells)}".rstrip())
        lines.append(f"  decision: {self.decision}")
        lines += [f"  not chosen: {text}" for text in self.rejected]
        lines += [f"  idiom: {text}" for text in self.idioms]
        if self.rules_fired:
            fired = ", ".join(f"{name} x{n}" for name, n in self.fired())
            lines.append(f"  rules in the chosen program: {fired}")
        lines.append(
            f"  e-graph: {self.enodes} e-nodes, stopped: {self.stop_reason}; extraction gap {self.extraction_gap:.2g}"
        )
        parts = [f"{part} {duration(seconds)}" for part, seconds in (*self.spent(), ("total", self.seconds_total))]
        lines.append("  spent: " + ", ".join(parts))
        lines += [f"  note: {text}" for text in self.notes]
        return "\n".join(lines)


def quantity(value: float, unit: str) -> str:
    """A number with a decimal prefix: ``1.3 Mflop``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip()


def duration(seconds: float | None) -> str:
    """A time with a fitting unit; "not measured" for None."""
    if seconds is None:
        return "not measured"
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return "0 s" if seconds == 0 else f"{seconds / 1e-9:.3g} ns"


def ratio(before: float, after: float) -> str:
    """``before / after`` as a factor."""
    return f"{before / after:.2f}x" if after else ("" if not before else "all")


def times(factor: float) -> str:
    """A factor with two or three figures: ``7.3x``."""
    return f"{factor:.2f}x" if factor < 2 else f"{factor:.1f}x" if factor < 100 else f"{factor:.0f}x"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
