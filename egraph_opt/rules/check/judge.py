# SPDX-License-Identifier: Apache-2.0
"""Whether two values of one class agree, by the numerics class of the rule that says so.

``exact``: by bits, any NaN like any other. Rules about sums of products alone: on whole numbers, without tolerance. All
others: rounding is told from error by doing the arithmetic again in extended precision, where rounding nearly vanishes
and error stays; what is small beside other values, or in narrow types alone, is told so too. Where the original is
finite, ``reassociate`` wants the result finite as well; where it overflows, what it would be without overflow counts;
where it has no value (0 / 0), neither may the result, except under ``finite``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.types import is_complex, itemsize

Array = np.ndarray[Any, Any]

ROUNDINGS = 64.0
"""Rounding errors, of the largest value around, that are taken for rounding at once."""

SHRINKS = 50.0
"""Rounding shrinks by at least this factor in extended precision; it does by 2048, but conversions stay."""

_EPS = {1: 0.125, 2: 2.0**-8, 4: 2.0**-23, 8: 2.0**-52}
_FLOAT16_EPS = 2.0**-10


@dataclass(frozen=True, slots=True)
class Wide:
    """Two values in extended precision.

    Args:
        want: value of the original.
        got: value that the rule says is equal.
        rounding: that may be left in each element, of the largest values on the way to it and of the numbers in them.
    """

    want: Array
    got: Array
    rounding: Array


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
    again: Callable[[bool], Wide | None],
    narrow: bool = False,
) -> Array:
    """Where values differ by more than rounding.

    Args:
        want: value of the original.
        got: value that the rule says is equal.
        dtype: their element type.
        scale: largest magnitude among them and what they are computed from.
        numerics: class of the rule: ``reassociate`` or ``finite``.
        again: both in extended precision, with conversions to narrower types (True) or over the reals (False); None
            where that cannot be had.
        narrow: no instance of the rule is in double precision, so that nothing but the reals tells small errors there.
    """
    if want.dtype.kind in "iub":
        suspect = np.asarray(want != got)
        if not suspect.any():
            return suspect
        pair = again(True)
        return suspect & (pair.want != pair.got) if pair else suspect
    w, g = _wide(want), _wide(got)
    eps = rounding(dtype)
    finite = np.isfinite(w) & np.isfinite(g)
    with np.errstate(all="ignore"):
        gap = np.where(finite, np.abs(w - g), np.inf)
        close = gap <= ROUNDINGS * eps * scale
        if eps > _EPS[8]:
            hidden = close & (gap > 0) & narrow
        else:  # small beside what else there is: rounding, or an error that those values hide
            hidden = close & (gap > 2 * eps * np.maximum(np.abs(w), np.abs(g)))
    fine = close | (~np.isfinite(w) & ~np.isfinite(g))
    wrong = ~fine
    if wrong.any() and (pair := again(True)) is not None:
        wrong = wrong & _remains(w, g, gap, pair, numerics)
    if hidden.any() and (pair := again(False)) is not None:
        wrong = wrong | (hidden & _remains(w, g, gap, pair, numerics))
    return wrong


def rounding(dtype: str) -> float:
    """Distance from one to the next number of an element type, or of the parts of a complex one."""
    if dtype == "float16":
        return _FLOAT16_EPS
    return _EPS[int(itemsize(dtype)) // (2 if is_complex(dtype) else 1)]


def moved_by(pair: tuple[Array, Array], moved: tuple[Array, Array]) -> Array:
    """By how much values move with the roundings of the numbers in them."""
    with np.errstate(all="ignore"):
        found = sum(np.abs(a - b) for a, b in zip(pair, moved, strict=True))
    return np.where(np.isfinite(found), found, 0)


def _remains(w: Array, g: Array, gap: Array, pair: Wide, numerics: Numerics) -> Array:
    """Where a difference is still there in extended precision."""
    want, got = _wide(pair.want), _wide(pair.got)
    known, found = np.isfinite(want), np.isfinite(got)
    with np.errstate(all="ignore"):
        apart = np.where(known & found, np.abs(want - got), np.inf)
        size = np.where(known & found, np.maximum(np.abs(want), np.abs(got)), 0.0)
        agree = (apart <= gap / SHRINKS) & np.isfinite(gap) | (apart <= 1e-9 * size)
        agree |= apart <= pair.rounding
    lost = np.isfinite(w) & ~np.isfinite(g)
    if numerics is Numerics.REASSOCIATE:
        # Finite stays finite; where the original itself has no value, the result has none.
        return lost | (known & ~agree) | (~known & np.isfinite(g))
    return known & ~agree


def _wide(value: Array) -> Array:
    return value.astype(np.float32) if value.dtype.kind == "V" else value
