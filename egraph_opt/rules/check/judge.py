# SPDX-License-Identifier: Apache-2.0
"""Whether two values of one class agree, by the numerics class of the rule that says so.

``exact``: by bits, any NaN like any other. Rules about sums of products alone: on whole numbers, without tolerance. All
others: rounding is told from error by doing the arithmetic again in extended precision, where rounding nearly vanishes
and error stays. Where the original is finite, ``reassociate`` wants the result finite as well; where it overflows, what
it would be without overflow counts; where it has no value (0 / 0), neither may the result, except under ``finite``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.types import itemsize

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]

ROUNDINGS = 64.0
"""Rounding errors, of the largest value around, that are taken for rounding at once."""

SHRINKS = 50.0
"""Rounding shrinks by at least this factor in extended precision; it does by 2048, but conversions stay."""

_EPS = {1: 0.125, 2: 2.0**-8, 4: 2.0**-23, 8: 2.0**-52}


def same_bits(want: Array, got: Array) -> Array:
    """Where two arrays agree bit for bit, all NaN being equal."""
    if want.dtype.kind == "c":
        return same_bits(want.real, got.real) & same_bits(want.imag, got.imag)
    if want.dtype.kind not in "fV":
        return np.asarray(want == got)
    unsigned = np.dtype(f"u{want.dtype.itemsize}")
    bits = np.ascontiguousarray(want).view(unsigned) == np.ascontiguousarray(got).view(unsigned)
    return np.asarray(bits.reshape(want.shape) | _both_nan(want, got))


def _both_nan(want: Array, got: Array) -> Array:
    w, g = _wide(want), _wide(got)
    return np.asarray((w != w) & (g != g))


def differ_exactly(want: Array, got: Array) -> Array:
    """Where values differ, minus zero being zero."""
    return np.asarray(~((want == got) | _both_nan(want, got)))


def differ(
    want: Array,
    got: Array,
    dtype: str,
    scale: float,
    numerics: Numerics,
    again: Callable[[], Pair | None],
) -> Array:
    """Where values differ by more than rounding.

    Args:
        want: value of the original.
        got: value that the rule says is equal.
        dtype: their element type.
        scale: largest magnitude among them and what they are computed from.
        numerics: class of the rule: ``reassociate`` or ``finite``.
        again: both in extended precision; None where that cannot be had.
    """
    if want.dtype.kind in "iub":
        suspect = np.asarray(want != got)
        if not suspect.any():
            return suspect
        pair = again()
        return suspect & (pair[0] != pair[1]) if pair else suspect
    w, g = _wide(want), _wide(got)
    finite = np.isfinite(w) & np.isfinite(g)
    with np.errstate(all="ignore"):
        gap = np.where(finite, np.abs(w - g), np.inf)
        eps = _EPS[int(itemsize(dtype)) // (2 if want.dtype.kind == "c" else 1)]
        close = gap <= ROUNDINGS * eps * scale
    fine = close | (~np.isfinite(w) & ~np.isfinite(g))
    if fine.all():
        return ~fine
    pair = again()
    if pair is None:
        return ~fine
    return ~fine & _remains(w, g, gap, pair, numerics)


def _remains(w: Array, g: Array, gap: Array, pair: Pair, numerics: Numerics) -> Array:
    """Where a difference is still there in extended precision."""
    want, got = _wide(pair[0]), _wide(pair[1])
    known, found = np.isfinite(want), np.isfinite(got)
    with np.errstate(all="ignore"):
        apart = np.where(known & found, np.abs(want - got), np.inf)
        size = np.where(known & found, np.maximum(np.abs(want), np.abs(got)), 0.0)
        agree = (apart <= gap / SHRINKS) & np.isfinite(gap) | (apart <= 1e-9 * size)
    lost = np.isfinite(w) & ~np.isfinite(g)
    if numerics is Numerics.REASSOCIATE:
        # Finite stays finite; where the original itself has no value, the result has none.
        return lost | (known & ~agree) | (~known & np.isfinite(g))
    return known & ~agree


def _wide(value: Array) -> Array:
    return value.astype(np.float32) if value.dtype.kind == "V" else value
