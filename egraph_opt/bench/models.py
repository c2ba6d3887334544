# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt bench models``: exported models from file to optimised program, one row each.

Files and folders may stand in the place of suites; ``models`` is the folder of examples in a checkout. Recorded inputs
and outputs that lie beside a model (``NAME.npz``) are used, and both programs are compared with them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from egraph_opt.api import load, optimize
from egraph_opt.errors import ArgumentError, EgraphOptError
from egraph_opt.frontends.load import SUFFIXES
from egraph_opt.recorded import TOLERANCE, read_recorded
from egraph_opt.report import duration, quantity

NAME = "models"
HEADS = ("model", "nodes", "flop", "after", "load", "plan", "time", "after", "gain", "records", "outcome")
NOISE = 0.95
"""Gains below this count as slower than ``jax.jit``."""


@dataclass(slots=True)
class ModelRow:
    """Figures of one model; None where something was not counted or timed.

    Args:
        name: of the file.
        nodes: of the captured Graph.
        flop: arithmetic of a call before and after [flop].
        load: reading the file [s].
        whole: planning, verification and timing included [s].
        seconds: of a call before and after [s].
        gain: ratio of the two within rounds.
        records: largest difference from recorded outputs before and after, relative to their scale.
        improved: whether another program than the original was chosen.
        outcome: what became of it.
        failed: whether it ended with an error or computes something else than was recorded.
    """

    name: str
    nodes: int = 0
    flop: tuple[float, float] = (0.0, 0.0)
    load: float = 0.0
    whole: float = 0.0
    seconds: tuple[float | None, float | None] = (None, None)
    gain: float | None = None
    records: tuple[float, float] | None = None
    improved: bool = False
    outcome: str = ""
    failed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"suite": NAME}

    def cells(self) -> tuple[str, ...]:
        """One row of the table."""
        if self.failed and not self.nodes:
            return (self.name, *[""] * (len(HEADS) - 2), self.outcome)
        clock = tuple("" if value is None else duration(value) for value in self.seconds)
        gain = "" if self.gain is None else f"{self.gain:.2f}x"
        records = "" if self.records is None else f"{max(self.records):.0e}"
        flop = tuple(quantity(value, "") for value in self.flop)
        return (
            self.name, str(self.nodes), *flop, duration(self.load), duration(self.whole), *clock, gain, records,
            self.outcome,
        )  # fmt: skip


def is_model(name: str) -> bool:
    """Whether a word of the command line means models rather than a suite."""
    path = Path(name)
    return name == NAME or path.suffix.lower() in SUFFIXES or path.is_dir()


def model_files(names: Sequence[str]) -> list[Path]:
    """The files of the given files and folders.

    Raises:
        ArgumentError: a folder without models, or no examples in an installed package.
    """
    found: list[Path] = []
    for name in names:
        path = Path(__file__).resolve().parents[2] / "examples" / "models" if name == NAME else Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise ArgumentError(f"bench {name}: no model files in the folder; want {', '.join(SUFFIXES)}")
            found += inside
        elif name == NAME:
            raise ArgumentError("bench models: the examples are not installed; give files or folders of models")
        else:
            found.append(path)
    return found


def run_model(path: Path, budget: float, measure: bool) -> ModelRow:
    """Load, plan and run one model; an error of the package becomes the outcome."""
    row = ModelRow(path.stem)
    start = time.perf_counter()
    try:
        model = load(path)
        row.load = time.perf_counter() - start
        beside = path.with_suffix(".npz")
        recorded = read_recorded(beside, model) if beside.is_file() else None
        args = recorded.args if recorded else model.example_args()
        given: dict[str, Any] = {"budget": budget} if measure else {"budget": budget, "measure": False}
        result = optimize(model, **given).plan(*args)
        if recorded:
            row.records = (
                max(recorded.differences(model).values()),
                max(recorded.differences(result).values()),
            )
    except EgraphOptError as error:
        row.outcome, row.failed = " ".join(str(error).split()), True
        return row
    report = result.report
    row.nodes, row.flop = report.nodes_before, (report.flops_before, report.flops_after)
    row.whole, row.improved = report.seconds_total, report.improved
    row.seconds, row.gain = (report.seconds_before, report.seconds_after), report.paired_speedup
    row.outcome = "improved" if report.improved else "kept: " + report.decision.removeprefix("the original: ")
    if row.records is not None and not max(row.records) <= TOLERANCE:
        row.outcome, row.failed = f"differs from the recorded outputs by {max(row.records):.2g}", True
    return row


def summary(rows: Sequence[ModelRow]) -> str:
    """How many models were improved, by how much, and what failed."""
    parts = [f"{sum(row.improved for row in rows)} of {len(rows)} models improved"]
    gains = [row.gain for row in rows if row.gain is not None]
    if gains:
        parts.append(f"geometric mean {math.exp(sum(map(math.log, gains)) / len(gains)):.3f}x over jax.jit")
        slow = [row.name for row in rows if row.gain is not None and row.gain < NOISE]
        parts.append(f"slower: {', '.join(slow)}" if slow else "none slower")
    failed = [row.name for row in rows if row.failed]
    if failed:
        parts.append(f"failed: {', '.join(failed)}")
    return ", ".join(parts)
