# SPDX-License-Identifier: Apache-2.0
"""Takes ONNX models the whole way of a user and prints one line for each: seconds, memory, difference from records.

    python -m benchmarks.onnx_models FOLDER_OR_FILE ...            load, plan, run
    python -m benchmarks.onnx_models FOLDER --measure              time both programs too

Recorded inputs and outputs lie beside a model (``NAME.npz``), by the model's names or inputs first to last and outputs
under names that begin with "out"; without them arguments are drawn. Each model has a process of its own, so that its
peak of memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import egraph_opt


def recorded(model: Any, path: Path) -> tuple[tuple[Any, ...], list[np.ndarray] | None]:
    """Arguments, and the outputs to expect of them if there are any."""
    file = path.with_suffix(".npz")
    if not file.is_file():
        return model.example_args(), None
    with np.load(file) as opened:
        arrays = dict(opened)
    if set(model.input_names) <= set(arrays):
        inputs = [arrays[name] for name in model.input_names]
        return tuple(inputs), [arrays[name] for name in model.output_names]
    outputs = [value for name, value in arrays.items() if name.startswith("out")]
    return tuple(value for name, value in arrays.items() if not name.startswith("out")), outputs


def difference(got: Any, want: list[np.ndarray] | None) -> float | None:
    """The largest difference relative to the largest value of its output."""
    if want is None:
        return None
    worst = 0.0
    for have, expected in zip(jax.tree.leaves(got), want, strict=True):
        assert have.shape == expected.shape, f"want {expected.shape}, got {have.shape}"
        scale = float(np.abs(expected).max()) or 1.0
        worst = max(worst, float(np.abs(np.asarray(have, expected.dtype) - expected).max()) / scale)
    return worst


def examine(path: Path, budget: float, measure: bool) -> dict[str, Any]:
    """One model from file to optimised program."""
    row: dict[str, Any] = {"model": path.stem}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        row[name] = round(now - start, 3)
        start = now

    model = egraph_opt.load(path)
    lap("load")
    args, want = recorded(model, path)
    got = jax.block_until_ready(model(*args))
    lap("first_call")
    row["difference"] = difference(got, want)
    result = egraph_opt.optimize(model, measure="auto" if measure else False, budget=budget).plan(*args)
    lap("plan")
    got = jax.block_until_ready(result(*args))
    lap("first_optimized")
    row["difference_optimized"] = difference(got, want)
    report = result.report
    row |= {name: round(seconds, 3) for name, seconds in report.spent()}
    row |= {"nodes": report.nodes_before, "nodes_after": report.nodes_after, "enodes": report.enodes}
    row |= {"gflop": report.flops_before / 1e9, "gflop_after": report.flops_after / 1e9}
    row |= {"decision": report.decision, "stop": report.stop_reason, "speedup": report.speedup}
    row |= {"ms": report.seconds_before and 1e3 * report.seconds_before}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    plain, optimized = (row[k] for k in ("difference", "difference_optimized"))
    differences = "not recorded" if plain is None else f"{plain:.0e} {optimized:.0e}"
    speed = f" {row['ms']:8.2f} ms x{row['speedup']:.2f}" if row["speedup"] else ""
    return (
        f"{row['model']:18} load {row['load']:6.2f} first {row['first_call']:6.2f} plan {row['plan']:6.2f}"
        f" (search {row['saturate'] + row['extract']:5.2f}) nodes {row['nodes']:5} -> {row['nodes_after']:5}"
        f" gflop {row['gflop']:8.4f} -> {row['gflop_after']:8.4f} peak {row['peak_mb']:6} MB"
        f" differs {differences}{speed}"
    )


def main() -> int:
    """Print one line for each model; the status says whether all of them ran and match."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--budget", type=float, default=2.0)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--json", action="store_true", help="print all figures of one model, in this process")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(examine(options.paths[0], options.budget, options.measure)))
        return 0
    models = [file for path in options.paths for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
    failed = 0
    for model in models:
        command = [
            sys.executable,
            "-m",
            "benchmarks.onnx_models",
            str(model),
            "--json",
            "--budget",
            str(options.budget),
        ]
        done = subprocess.run(command + ["--measure"] * options.measure, capture_output=True, text=True, check=False)
        if done.returncode:
            failed += 1
            told = [text for text in done.stderr.splitlines() if "Error" in text.partition(":")[0]]
            print(f"{model.stem:18} FAILED {(told or ['?'])[-1][:300]}", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        wrong = max(row["difference"] or 0.0, row["difference_optimized"] or 0.0) > options.tolerance
        failed += wrong
        print(line(row) + (" WRONG" if wrong else ""), flush=True)
    print(f"{len(models) - failed} of {len(models)} models run and match")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
