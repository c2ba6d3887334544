# SPDX-License-Identifier: Apache-2.0
"""Values of inputs that wrong rules stumble over: ties, zeros, negatives, large and small ones, what IEEE adds."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import TensorType
from egraph_opt.ir.types import is_complex, is_floating

Array = np.ndarray[Any, Any]


class Style(enum.Enum):
    """What kind of values an instance gets."""

    RING = "small whole numbers: sums of products are exact"
    WHOLE = "whole numbers with many ties and zeros"
    PLAIN = "about one, of both signs, some of them zero or equal"
    WIDE = "magnitudes from 1e-5 to 1e4, or all of them large; of float16, which ends at 65504, smaller ones"
    POSITIVE = "between 0 and 1, and a little above"
    SPECIAL = "NaN, infinities, signed zeros, subnormal and extreme numbers among plain ones"


FINITE_STYLES = (Style.PLAIN, Style.PLAIN, Style.WHOLE, Style.WIDE, Style.POSITIVE)


def draw(random: np.random.Generator, type_: TensorType, style: Style, near: Sequence[float] = ()) -> Array:
    """Values of one input; now and then some lie beside given numbers.

    Whatever the style, an input is now and then zero everywhere, or one number, or of one sign: laws that hold for most
    numbers fail there.
    """
    dtype, shape = np.dtype(type_.dtype), type_.shape
    if dtype.kind == "b":
        return np.asarray(random.random(shape) < random.choice((0.0, 0.2, 0.5, 0.8, 1.0)))
    if is_complex(type_.dtype):
        real, imag = (_signed(random, _real(random, shape, style, np.finfo(dtype).dtype), style) for _ in range(2))
        value = np.empty(shape, dtype)
        value.real, value.imag = real, imag
        return value
    if is_floating(type_.dtype):
        value = _signed(random, _real(random, shape, style, dtype), style)
        return _beside(random, value, near) if near and style is not Style.RING and random.random() < 0.5 else value
    return _integers(random, shape, style, dtype)


def _beside(random: np.random.Generator, value: Array, near: Sequence[float]) -> Array:
    around = [n for c in near for n in (c, -c, c - 1, c + 1, 2 * c, -2 * c, c / 2)]
    chosen = random.choice(np.array(around), value.shape)
    with np.errstate(all="ignore"):
        narrow = chosen.astype(np.float32) if value.dtype.kind == "V" else chosen
        return np.where(random.random(value.shape) < 0.5, narrow.astype(value.dtype), value)


def _signed(random: np.random.Generator, value: Array, style: Style) -> Array:
    """The values, or those of one sign, or a single number everywhere."""
    kind = random.random()
    if kind < 0.06 and style is not Style.SPECIAL:
        return np.zeros_like(value)
    if kind < 0.16 and value.size:
        return np.full(value.shape, value.ravel()[0])
    if kind < 0.3:
        return np.asarray(abs(value))
    return np.asarray(-abs(value)) if kind < 0.44 else value


def _real(random: np.random.Generator, shape: tuple[int, ...], style: Style, dtype: np.dtype[Any]) -> Array:
    value: Array
    if style is Style.RING:
        value = random.integers(-3, 4, shape).astype(np.float64)
    elif style is Style.WHOLE:
        value = random.integers(-2, 3, shape) * random.choice((1.0, 1.0, 0.5))
    elif style is Style.WIDE:
        low, high = random.choice(((-2, 1), (0.5, 2)) if dtype == np.float16 else ((-5, 4), (-5, 4), (1.5, 3.5)))
        value = random.choice((-1.0, 1.0), shape) * 10.0 ** random.uniform(low, high, shape)
    elif style is Style.POSITIVE:
        value = random.uniform(0, 1.2, shape)
    else:
        value = random.standard_normal(shape) * random.choice((0.5, 1.0, 3.0))
        # Whole numbers and halves: ties of roundings and of order.
        value = np.where(random.random(shape) < random.choice((0.1, 0.1, 0.6)), np.round(2 * value) / 2, value)
    value = np.asarray(value, np.float64)
    if style is Style.SPECIAL:
        limits = _limits(dtype)
        specials = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, *limits, -limits[0], -limits[2], 1.0, -1.0])
        share = random.choice((0.1, 0.4, 0.9))
        value = np.where(random.random(shape) < share, random.choice(specials, shape), value)
    with np.errstate(all="ignore"):
        return np.asarray(value.astype(np.float32) if dtype.kind == "V" else value).astype(dtype)


def _limits(dtype: np.dtype[Any]) -> tuple[float, float, float]:
    """Smallest subnormal, smallest normal and largest number of a type."""
    if dtype.kind == "V":
        return 9.2e-41, 1.18e-38, 3.39e38
    info = np.finfo(dtype)
    return float(info.smallest_subnormal), float(info.tiny), float(info.max)


def _integers(random: np.random.Generator, shape: tuple[int, ...], style: Style, dtype: np.dtype[Any]) -> Array:
    info = np.iinfo(dtype)
    low, high = (0, 4) if dtype.kind == "u" else (-3, 4)
    if style is Style.WIDE:
        low, high = (0, 100) if dtype.kind == "u" else (-100, 100)
    value = random.integers(low, high, shape, dtype=np.int64)
    if random.random() < {Style.SPECIAL: 0.5, Style.RING: 0.5, Style.WIDE: 0.4}.get(style, 0):
        value = random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True).astype(dtype)
        extremes = np.array([info.min, info.max, 0, 1, info.max - 1], dtype)
        return np.where(random.random(shape) < 0.3, random.choice(extremes, shape), value).astype(dtype)
    return value.astype(dtype)
