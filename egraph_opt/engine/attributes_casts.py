# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about casts: which of two in a row lose nothing, so that one or none does what both do.

The first has to hold every number of the type that it is given. The second then rounds, truncates or wraps what the
first was given, and it has to do so alike when it is given that directly: where conversions differ between machines
(numbers beyond the range of an integer, rounding twice) there is no row.
"""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np

from egraph_opt.engine.attributes import AttributeFunction, ship
from egraph_opt.ir.attrs import parse_attrs

_S = "String"
_FLOATS = ("bfloat16", "float16", "float32", "float64")
_WIDE = ("float32", "float64")


def _target(text: str) -> str:
    return str(dict(parse_attrs(text))["new_dtype"])


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


@functools.cache
def holds(wide: str, narrow: str) -> bool:
    """Whether every value of the second type, infinities and NaN too, is one of the first; complex ones never.

    >>> holds("float32", "bfloat16"), holds("float16", "bfloat16"), holds("float32", "int32")
    (True, False, False)
    """
    if narrow == "bool":
        return wide in _FLOATS or _is_integer(wide)
    if _is_integer(narrow):
        info = ml_dtypes.iinfo(narrow)  # type: ignore[no-untyped-call]
        if _is_integer(wide):
            other = ml_dtypes.iinfo(wide)  # type: ignore[no-untyped-call]
            return bool(other.min <= info.min and info.max <= other.max)
        # a float holds all integers up to two to its bits
        return wide in _FLOATS and max(-info.min, info.max) <= 2 ** (ml_dtypes.finfo(wide).nmant + 1)  # type: ignore[no-untyped-call]
    if narrow not in _FLOATS or wide not in _FLOATS:
        return False
    small, large = (ml_dtypes.finfo(name) for name in (narrow, wide))  # type: ignore[no-untyped-call]
    reach = np.float64(small.max) <= np.float64(large.max) and large.minexp <= small.minexp
    return bool(reach and small.nmant <= large.nmant)


def _back(dtype: str, first: str, second: str) -> bool:
    return _target(second) == dtype and holds(_target(first), dtype)


def _direct(dtype: str, first: str, second: str) -> str | None:
    middle, last = _target(first), _target(second)
    if last == dtype or not holds(middle, dtype):
        return None
    if _is_integer(last):
        # integers wrap, alike from each other; what a float is cut to beyond the range is the machine's to say
        alike = dtype == "bool" or (_is_integer(dtype) and (_is_integer(middle) or holds(last, dtype)))
    elif last in _FLOATS:
        alike = dtype in _FLOATS or last in _WIDE or holds(last, dtype)  # an integer may be rounded twice on its way
    else:
        alike = last == "bool" and _is_integer(dtype)
    return second if alike else None


ship(
    AttributeFunction("cast-back", (_S, _S, _S), (), _back, "the second cast undoes the first, which loses nothing"),
    AttributeFunction("cast-directly", (_S, _S, _S), ("",), _direct, "one cast that does what both in a row do"),
)
