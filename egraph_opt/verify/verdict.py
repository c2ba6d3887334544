# SPDX-License-Identifier: Apache-2.0
"""How far two results are apart, and what follows from it: the arithmetic of the error gate, without any program.

Errors are scaled by the largest reference value of an output, so that cancellation in one element is measured against
what the whole output holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

FACTOR = 4.0
"""A candidate's error may be so many times the original's."""

ULPS = 32.0
"""Or so many units of the output type's precision, when the original happens to be nearly exact."""

COARSEST = 0.02
"""But never more than this share of the output, however coarse the type, unless the original is as wrong."""


@dataclass(frozen=True, slots=True)
class OutputVerdict:
    """One output.

    Args:
        ok: whether the candidate's value is acceptable.
        error_original: the original's largest deviation from the reference, over the output's scale.
        error_candidate: likewise.
        tolerance: what the candidate's error may be.
        reason: what is wrong with it; "" if nothing.
        vacuous: nothing finite was there to be compared.
    """

    ok: bool
    error_original: float = 0.0
    error_candidate: float = 0.0
    tolerance: float = 0.0
    reason: str = ""
    vacuous: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate passes the gate.

    Args:
        ok: it may replace the original.
        reason: one line: why not, or in which way it was checked.
        error_original: largest scaled error of the original over all outputs and inputs; None if not measured.
        error_candidate: likewise.
        reference: "float64", "native" (the original in its own precision), "structure" (nothing was run).
        outputs: the worst verdict of each output over all inputs.
    """

    ok: bool
    reason: str
    error_original: float | None = None
    error_candidate: float | None = None
    reference: str = "structure"
    outputs: tuple[OutputVerdict, ...] = ()


def epsilon(dtype: np.dtype[Any]) -> float:
    """Relative precision of a float or complex type."""
    real = {"complex64": "float32", "complex128": "float64"}.get(dtype.name, dtype.name)
    limits: Any = ml_dtypes.finfo(np.dtype(real))  # type: ignore[no-untyped-call]
    return float(limits.eps)


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether values of the type carry rounding errors (the narrow float types of ml_dtypes included)."""
    return dtype.kind in "fc" or dtype.name.startswith(("bfloat", "float"))


def judge(
    reference: Any,
    original: Any,
    candidate: Any,
    *,
    own_error: float | None = None,
    tolerance: float | None = None,
    noise: float = 0.0,
    fewer_nonfinite: bool = False,
) -> OutputVerdict:
    """Judge one output.

    Args:
        reference: value in double precision; the original's when there is no better.
        original: value of the original program.
        candidate: value of the optimised program.
        own_error: error of the original, when it is known from elsewhere.
        tolerance: fixed bound of the candidate's error, instead of one that follows from the original's.
        noise: rounding errors of the operands; an output that is no larger is pure cancellation.
        fewer_nonfinite: the candidate may be finite where reference and original are not.
    """
    original, candidate = np.asarray(original), np.asarray(candidate)
    if not is_inexact(original.dtype):
        same = bool(np.array_equal(original, candidate))
        return OutputVerdict(same, reason="" if same else _unequal(original, candidate))
    wide = np.complex128 if original.dtype.kind == "c" else np.float64
    ref, own, other = (np.asarray(x).astype(wide) for x in (reference, original, candidate))
    problem = _patterns(ref, own, other, fewer_nonfinite)
    if problem:
        return OutputVerdict(False, math.nan, math.inf, 0.0, problem)
    finite = np.isfinite(ref)
    largest = float(np.max(np.abs(ref[finite]), initial=0.0))
    scale = max(largest, noise, float(np.finfo(np.float64).tiny))
    if own_error is None:
        own_error = _distance(own, ref, finite & np.isfinite(own), scale)
    error = _distance(other, ref, finite & np.isfinite(other), scale)
    eps = epsilon(original.dtype)
    if tolerance is None:
        tolerance = max(FACTOR * own_error, min(ULPS * eps, COARSEST))
        if largest <= noise:
            tolerance = max(tolerance, ULPS)
    ok = error <= tolerance
    reason = "" if ok else f"error {error:.2g} exceeds {tolerance:.2g} (original {own_error:.2g})"
    return OutputVerdict(ok, own_error, error, tolerance, reason, vacuous=ref.size > 0 and not finite.any())


def combine(rows: Sequence[Sequence[OutputVerdict]], reference: str) -> Verdict:
    """One verdict from those of every output (columns) under every set of inputs (rows)."""
    worst = tuple(max(column, key=_badness) for column in zip(*rows, strict=True))
    wrong = [f"output {i}: {v.reason}" for i, v in enumerate(worst) if not v.ok]
    errors = [(v.error_original, v.error_candidate) for row in rows for v in row]
    own = max((a for a, _ in errors if math.isfinite(a)), default=0.0)
    other = max((b for _, b in errors), default=0.0)
    vacuous = [i for i, column in enumerate(zip(*rows, strict=True)) if all(v.vacuous for v in column)]
    if not wrong and vacuous:
        wrong = [f"output {i}: no finite value on any sampled input" for i in vacuous]
    reason = "; ".join(wrong) if wrong else f"within the error gate ({reference} reference)"
    return Verdict(not wrong, reason, own, other, reference, worst)


def _badness(verdict: OutputVerdict) -> tuple[bool, float]:
    excess = verdict.error_candidate / verdict.tolerance if verdict.tolerance else 0.0
    return not verdict.ok, excess


def _distance(value: Any, reference: Any, where: Any, scale: float) -> float:
    return float(np.max(np.abs(value[where] - reference[where]), initial=0.0)) / scale


def _patterns(ref: Any, own: Any, other: Any, fewer_nonfinite: bool) -> str:
    """What is wrong with the candidate's infinities and NaN; "" if nothing."""
    bad = ~np.isfinite(other)
    new = bad & np.isfinite(own)
    if new.any():
        return f"{int(new.sum())} values are infinite or NaN where the original is finite"
    if fewer_nonfinite:
        return ""
    gone = ~bad & ~np.isfinite(own) & ~np.isfinite(ref)
    if gone.any():
        return f"{int(gone.sum())} values are finite where the original is infinite or NaN"
    both = bad & ~np.isfinite(own)
    kinds = np.isnan(own[both]) != np.isnan(other[both])
    signs = ~np.isnan(own[both]) & ~np.isnan(other[both]) & (own[both] != other[both])
    return "infinities and NaN differ" if (kinds | signs).any() else ""


def _unequal(original: Any, candidate: Any) -> str:
    differ = int(np.sum(original != candidate)) if original.shape == candidate.shape else original.size
    return f"{differ} of {original.size} {original.dtype.name} values differ"
