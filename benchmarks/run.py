# SPDX-License-Identifier: Apache-2.0
"""Optimise programs and say what it cost and what it gained: a table, and one JSON line for each program.

    python -m benchmarks.run                       a quick selection
    python -m benchmarks.run algebra               a suite: algebra, neural, science, tensat
    python -m benchmarks.run kalman_step "Jv"      single programs
    python -m benchmarks.run science --json out.jsonl --no-measure

Every program is compared with ``jax.jit`` of itself in the same run: outputs by the error gate, times as medians of
interleaved runs. The time after is that of the program that was kept, which may be the original.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import egraph_opt
from benchmarks.programs import algebra, neural, science, tensat
from benchmarks.programs.arrays import Built
from egraph_opt.report import Report, duration, quantity, times

Build = Callable[[], Built]

SUITES: dict[str, dict[str, Build]] = {
    "algebra": {name: partial(algebra.build, name) for name in algebra.PROGRAMS},
    **{
        module.__name__.rpartition(".")[2]: {name: program.build for name, program in module.PROGRAMS.items()}
        for module in (neural, science, tensat)
    },
}
QUICK = ("(AB)x", "trace(AB)", "Jv", "Hv, 2 layers", "mlp_forward", "burgers_residual", "kalman_step", "nasrnn")

HEADS = ("program", "flop", "after", "e-nodes", "gap", "search", "whole", "time", "after", "gain", "outcome")


def selected(names: Sequence[str]) -> dict[str, Build]:
    """Programs of the given names and suites.

    Raises:
        SystemExit: a name that is neither.
    """
    known = {name: build for suite in SUITES.values() for name, build in suite.items()}
    chosen: dict[str, Build] = {}
    for name in names or QUICK:
        if name in SUITES:
            chosen |= SUITES[name]
        elif name in known:
            chosen[name] = known[name]
        else:
            raise SystemExit(f"{name}: no such program; suites are {', '.join(SUITES)}, programs {', '.join(known)}")
    return chosen


def versions() -> dict[str, str]:
    """What the figures hold for: revision, packages, device."""
    root = Path(__file__).resolve().parents[1]
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    )
    device = jax.devices()[0]
    return {
        "revision": revision.stdout.strip() or "unknown",
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "egglog": version("egglog"),
        "device": f"{device.platform} ({device.device_kind})",
        "date": datetime.now(UTC).date().isoformat(),
    }


def xla_flops(function: Callable[..., Any], args: Sequence[Any]) -> float | None:
    """Arithmetic of the compiled program by XLA's own count [flop]."""
    analysis = jax.jit(function).lower(*args).compile().cost_analysis()
    return float(analysis["flops"]) if analysis and "flops" in analysis else None


def run(name: str, build: Build, count_by_xla: bool, **options: Any) -> dict[str, Any]:
    """Optimise one program; the figures of its report, or the error that ended it."""
    try:
        function, args = build()
        result = egraph_opt.optimize(function, **options).plan(*args)
    except egraph_opt.errors.EgraphOptError as error:
        return {"program": name, "error": str(error)}
    report: Report = result.report
    figures = json.loads(report.to_json()) | {"program": name}
    if count_by_xla:
        leaves = jax.tree.leaves(args) + list(result.captured.constants)
        figures["xla_flops_before"] = xla_flops(function, args)
        figures["xla_flops_after"] = xla_flops(lambda *leaves: result.flat(leaves), leaves)
    return figures


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row of the table."""
    if "error" in row:
        return (row["program"], *[""] * (len(HEADS) - 2), row["error"])
    before, after = (row.get(f"xla_flops_{side}") or row[f"flops_{side}"] for side in ("before", "after"))
    gain = "" if row["speedup"] is None else times(row["speedup"])
    return (
        row["program"],
        quantity(before, ""),
        quantity(after, ""),
        str(row["enodes"]),
        f"{row['extraction_gap']:.2g}",
        duration(row["seconds_saturate"] + row["seconds_extract"]),
        duration(row["seconds_total"]),
        "" if row["seconds_before"] is None else duration(row["seconds_before"]),
        "" if row["seconds_after"] is None else duration(row["seconds_after"]),
        gain,
        outcome(row),
    )


def outcome(row: Mapping[str, Any]) -> str:
    """What became of the program, in a few words."""
    if row["improved"]:
        return "improved" if row["speedup"] is not None else "rewritten, not timed"
    return "kept: " + row["decision"].removeprefix("the original: ")


def table(rows: Iterable[Mapping[str, Any]], about: Mapping[str, str]) -> str:
    """The rows in Markdown, under a line that says what they hold for."""
    head = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [head, "", "| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def main() -> int:
    """Run the selection; the status is 1 when a program ended with an error."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"programs, or suites: {', '.join(SUITES)}")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write one JSON line for each program")
    parser.add_argument("--table", type=Path, metavar="OUT.md", help="write the table")
    parser.add_argument("--no-measure", action="store_true", help="time nothing")
    parser.add_argument(
        "--frozen", action="append", default=[], metavar="ARG", help="parameter that keeps its value between calls"
    )
    parser.add_argument("--budget", type=float, default=2.0, metavar="S", help="seconds of search (default 2)")
    options = parser.parse_args()
    about = versions()
    rows = []
    for name, build in selected(options.names).items():
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        chosen = {
            "measure": False if options.no_measure else "auto",
            "budget": options.budget,
            "frozen": options.frozen,
        }
        row = run(name, build, name in algebra.PROGRAMS, **chosen)
        print(f"\r{' | '.join(cells(row))}", file=sys.stderr, flush=True)
        rows.append(row)
        jax.clear_caches()
    text = table(rows, about)
    print(text)
    if options.table is not None:
        options.table.write_text(text + "\n")
    if options.json is not None:
        options.json.write_text("".join(json.dumps(about | row, sort_keys=True) + "\n" for row in rows))
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
