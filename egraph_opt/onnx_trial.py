# SPDX-License-Identifier: Apache-2.0
"""Runs an ONNX model that is about to be written in onnxruntime, where it is installed, before anybody deploys it.

Its results are held against those of JAX, and its time against the ONNX file that the program came from: what is faster
in JAX need not be faster there. Bounded in time; large models are not tried.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import ml_dtypes
import numpy as np

from egraph_opt.ir.types import is_floating
from egraph_opt.recorded import TOLERANCE, difference
from egraph_opt.report import duration, times

if TYPE_CHECKING:
    from onnx import ModelProto

    from egraph_opt.result import Result

MOST_BYTES = 1 << 30
"""Larger models are not loaded a second time [byte]."""

SECONDS = 2.0
"""Time to run both models in turns, sessions not counted [s]."""

MOST_ROUNDS = 200
"""More tell nothing new."""

NOISE = 0.05
"""Relative difference of times that says nothing."""

ROUNDINGS = 8.0
"""Steps of the narrowest float type that results may differ by."""

Feeds = Mapping[str, np.ndarray]
Run = Callable[[], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Trial:
    """What onnxruntime said of a model.

    Args:
        gap: largest difference to JAX's results, relative to their scale; None where it did not run.
        allowed: what rounding in the program's element types may make of it.
        seconds: median time of a run [s], or None.
        seconds_source: that of the file that the program came from, or None.
        ratio: median over the rounds of the model's time over the source's, or None.
        reason: why something is not there.
    """

    gap: float | None = None
    allowed: float = TOLERANCE
    seconds: float | None = None
    seconds_source: float | None = None
    ratio: float | None = None
    reason: str = ""

    def line(self, source: Path | None) -> str:
        """One line for people."""
        if self.gap is None:
            return f"onnxruntime: the written model was not run: {self.reason}"
        same = f"agrees with JAX within {self.gap:.1e} of the results' scale"
        if not self.gap <= self.allowed:
            same = f"DIFFERS from JAX by {self.gap:.1e} of the results' scale; compare it on your own inputs before use"
        said = f"onnxruntime: the written model {same}"
        if self.ratio is None or source is None:
            why = f" ({self.reason})" if self.reason else ""
            return f"{said}; it takes {duration(self.seconds)}{why}"
        both = f"{duration(self.seconds)} for {duration(self.seconds_source)}"
        if self.ratio > 1 + NOISE:
            slower = f"it is SLOWER there than {source.name}, {times(self.ratio)} its time ({both})"
            return f"{said}; {slower}: keep that file for onnxruntime"
        if self.ratio < 1 - NOISE:
            return f"{said}; it is {times(1 / self.ratio)} as fast there as {source.name} ({both})"
        return f"{said}; it is as fast there as {source.name} ({both})"


def try_model(model: ModelProto, result: Result, args: Sequence[Any], source: Path | None) -> Trial:
    """Run a model beside JAX and beside the file that it came from.

    Args:
        model: with its weights in it.
        result: the plan that it was written of.
        args: of the program.
        source: the ONNX file that the program was loaded from, or None.
    """
    try:
        import onnxruntime
    except ImportError:
        return Trial(reason="onnxruntime is not installed")
    if model.ByteSize() > MOST_BYTES:
        return Trial(reason=f"it is larger than {MOST_BYTES >> 30} GB")
    feeds = dict(zip((x.name for x in model.graph.input), map(np.asarray, jax.tree.leaves(args)), strict=True))
    refusals = _refusals(onnxruntime)
    try:
        run = _runner(onnxruntime, model.SerializeToString(), feeds)
        have = run()
    except refusals as error:
        return Trial(reason=_first_line(error))
    want = jax.tree.leaves(result(*args))
    allowed = rounding(result)
    gap = max((_gap(np.asarray(x), np.asarray(y)) for x, y in zip(have, want, strict=True)), default=0.0)
    if source is None:
        seconds, _, _ = _timed(run, run)
        return Trial(gap, allowed, seconds)
    try:
        other = _runner(onnxruntime, str(source), feeds)
        other()
    except refusals as error:
        seconds, _, _ = _timed(run, run)
        return Trial(gap, allowed, seconds, reason=f"{source.name} does not run there: {_first_line(error)}")
    return Trial(gap, allowed, *_timed(run, other))


def _refusals(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """The errors of onnxruntime, which have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [x for x in vars(state).values() if isinstance(x, type) and issubclass(x, Exception)]
    return (*own, RuntimeError, ValueError, TypeError)


def _runner(onnxruntime: Any, model: bytes | str, feeds: Feeds) -> Run:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def _timed(run: Run, other: Run) -> tuple[float, float, float]:
    """Median times of both, and of the ratio of a pair that ran one after the other [s]."""
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + SECONDS
    while not pairs or (time.perf_counter() < end and len(pairs) < MOST_ROUNDS):
        first, second = (run, other) if len(pairs) % 2 else (other, run)  # neither always finds the caches warm
        took = (_seconds(first), _seconds(second))
        pairs.append(took if len(pairs) % 2 else took[::-1])
    mine, theirs = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(theirs), statistics.median(a / b for a, b in pairs)


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _gap(have: np.ndarray, want: np.ndarray) -> float:
    """As of recorded outputs, integers by how far they are apart."""
    if have.shape != want.shape:
        return float("inf")
    return (
        difference(have.astype(np.float64), want.astype(np.float64))
        if have.dtype.kind in "iu"
        else difference(have, want)
    )


def rounding(result: Result) -> float:
    """What rounding in the narrowest element type of a program may make of its results, relative to their scale."""
    return max((_rounding(type.dtype) for node in result.after.nodes for type in node.types), default=TOLERANCE)


def _rounding(dtype: str) -> float:
    return max(TOLERANCE, ROUNDINGS * float(ml_dtypes.finfo(dtype).eps)) if is_floating(dtype) else TOLERANCE  # type: ignore[no-untyped-call]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
