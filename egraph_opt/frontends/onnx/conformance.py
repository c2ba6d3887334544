# SPDX-License-Identifier: Apache-2.0
"""Runs the standard's own tests, ``onnx.backend.test``, and writes what passed.

``python -m egraph_opt.frontends.onnx.conformance`` runs all of them in processes of its own; no test is left out, and
an operator that is not known counts as a failure. ``--write docs/onnx-conformance.md`` keeps the result.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

GROUPS = {"plain": 1404, "expanded": 480, "real": 9, "simple": 23, "converted": 82, "operator": 35}
"""How many tests onnx 1.23 has in each group."""

ONNXRUNTIME = {"plain": 996, "expanded": 349, "real": 9, "simple": 17, "converted": 59, "operator": 24}
"""How many of them onnxruntime 1.31 passes on a CPU, counted in the same way."""

_CLASSES = {
    "OnnxBackendRealModelTest": "real",
    "OnnxBackendSimpleModelTest": "simple",
    "OnnxBackendPyTorchConvertedModelTest": "converted",
    "OnnxBackendPyTorchOperatorModelTest": "operator",
}

_QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""Nearly all of the time is spent in compiling small programs that run once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one test.

    Args:
        group: key of `GROUPS`.
        name: of the test, without ``test_`` and device.
        passed: whether the outputs were right.
        reason: one line why not.
        seconds: it took [s].
    """

    group: str
    name: str
    passed: bool
    reason: str = ""
    seconds: float = 0.0


def cases() -> dict[tuple[str, str], tuple[type[unittest.TestCase], str]]:
    """All tests: ``(group, name)`` -> class and method."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the standard's tests compute with NaN and infinities
        from onnx.backend.test import BackendTest

        from egraph_opt.frontends.onnx.backend import Backend

        classes = BackendTest(Backend, __name__).test_cases
    found = {}
    for title, case in classes.items():
        for method in dir(case):
            if method.startswith("test_") and method.endswith("_cpu"):
                name = method.removeprefix("test_").removesuffix("_cpu")
                group = _CLASSES.get(title, "expanded" if "_expanded" in name else "plain")
                found[group, name] = (case, method)
    return found


def run(group: str, name: str, case: type[unittest.TestCase], method: str) -> Outcome:
    """Run one test."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            getattr(case(method), method)()
    except Exception as error:  # whatever a test raises is its result
        lines = [line for line in str(error).splitlines() if line.strip()]
        text = f"{type(error).__name__}: {' '.join(' '.join(lines[:3]).split())}"
        return Outcome(group, name, False, text[:300], time.perf_counter() - start)
    return Outcome(group, name, True, "", time.perf_counter() - start)


def run_all(jobs: int, pattern: str = "") -> list[Outcome]:
    """Run the tests whose name holds a regular expression, in processes."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "ONNX_HOME": folder,
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}".strip(),
        }
        parts = [pool.submit(_run_part, part, jobs, pattern, environment) for part in range(jobs)]
        outcomes = [outcome for future in parts for outcome in future.result()]
    return sorted(outcomes, key=lambda outcome: (list(GROUPS).index(outcome.group), outcome.name))


def _run_part(part: int, parts: int, pattern: str, environment: Mapping[str, str]) -> list[Outcome]:
    """Outcomes of one of the equal parts; a test that ends its process fails, and the next one gets a new process."""
    outcomes: list[Outcome] = []
    while True:
        command = [sys.executable, "-m", __spec__.name, "--only", pattern, "--part", f"{part}/{parts}/{len(outcomes)}"]
        with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            started: list[str] = []
            for line in process.stdout:
                match json.loads(line):
                    case list() as key:
                        started = key
                    case fields:
                        outcomes.append(Outcome(**fields))
                        started = []
        if process.returncode == 0:
            return outcomes
        if not started:
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode} outside of a test")
        outcomes.append(Outcome(started[0], started[1], False, f"its process ended with status {process.returncode}"))


def _serve(part: int, parts: int, first: int, pattern: str) -> None:
    """What a process does: a line before each test, so that one who ends the process is known, and one behind it."""
    found = cases()
    for key in sorted(key for key in found if re.search(pattern, key[1]))[part::parts][first:]:
        sys.stdout.write(json.dumps(key) + "\n")
        sys.stdout.flush()
        outcome = run(*key, *found[key])
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()


_HEAD = """# ONNX conformance

Made by `python -m egraph_opt.frontends.onnx.conformance --write docs/onnx-conformance.md`; do not edit.

The standard's own tests, `onnx.backend.test` of onnx {version}, run against
`egraph_opt.frontends.onnx.backend.Backend`. None is left out: what is not supported raises an error and counts as a
failure. *expanded* are the tests in which an operator stands as the function that defines it. The numbers of
onnxruntime 1.31 are those of its CPU provider, counted in the same way.

| group | tests | passed | onnxruntime |
|---|---|---|---|
"""


def page(outcomes: Iterable[Outcome]) -> str:
    """The result as a page."""
    outcomes = list(outcomes)
    lines = []
    for group in GROUPS:
        mine = [outcome for outcome in outcomes if outcome.group == group]
        passed = sum(outcome.passed for outcome in mine)
        lines.append(f"| {group} | {len(mine)} | {passed} | {ONNXRUNTIME[group]} |\n")
    text = _HEAD.format(version=metadata.version("onnx")) + "".join(lines) + "\n## Failures\n\n"
    failed = [outcome for outcome in outcomes if not outcome.passed]
    rows = [f"| {o.group} | `{o.name}` | {_cell(o.reason)} |\n" for o in failed]
    return text + ("| group | test | reason |\n|---|---|---|\n" + "".join(rows) if rows else "None.\n")


def _cell(reason: str) -> str:
    return reason.replace("|", "\\|").replace("<", "&lt;")


def summary(outcomes: Iterable[Outcome]) -> str:
    """Counts by group, and failures by reason, for a terminal."""
    outcomes = list(outcomes)
    lines = [f"{'group':10} {'tests':>6} {'passed':>7} {'onnxruntime':>12}"]
    for group in GROUPS:
        mine = [outcome for outcome in outcomes if outcome.group == group]
        if mine:
            passed = sum(outcome.passed for outcome in mine)
            lines.append(f"{group:10} {len(mine):6} {passed:7} {ONNXRUNTIME[group]:12}")
    reasons: dict[str, list[str]] = collections.defaultdict(list)
    for outcome in outcomes:
        if not outcome.passed:
            reasons[re.sub(r"node '[^']*' ", "", outcome.reason)[:150]].append(outcome.name)
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"{len(names):5} {reason}\n      {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """The command: prints counts and failures, and writes the page on request."""
    parser = argparse.ArgumentParser(prog="python -m egraph_opt.frontends.onnx.conformance", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", default="", help="regular expression: run the tests whose name holds it")
    parser.add_argument("--write", type=Path, help="file for the page")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        part, parts, first = map(int, options.part.split("/"))
        _serve(part, parts, first, options.only)
        return 0
    start = time.perf_counter()
    outcomes = run_all(options.jobs, options.only)
    sys.stdout.write(summary(outcomes) + f"{time.perf_counter() - start:.0f} s\n")
    if options.write:
        options.write.write_text(page(outcomes), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
