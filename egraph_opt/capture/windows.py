# SPDX-License-Identifier: Apache-2.0
"""Window sums of uniform arrays: the counts by which an average pool divides.

Left alone, ``reduce_window(ones)`` is folded by XLA at compile time, which takes minutes on some models. The counts
are a product of one row of numbers for each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from egraph_opt.capture.scope import Handler, Scope, squeeze
from egraph_opt.capture.structure import TABLE_BYTES
from egraph_opt.ir import TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS
from egraph_opt.ir.types import is_integer, is_numeric

Row = np.ndarray[Any, Any]


def counts(n: int, window: int, stride: int, padding: tuple[int, int], base: int, dilation: int) -> Row:
    """How many elements of an axis of size ``n`` each window along it holds."""
    held = np.zeros(padding[0] + max((n - 1) * base + 1, 0) + padding[1], np.int64)
    places = padding[0] + base * np.arange(n)
    held[places[(places >= 0) & (places < len(held))]] = 1
    span = (window - 1) * dilation + 1
    starts = np.arange(0, len(held) - span + 1, stride)
    found: Row = held[starts[:, None] + dilation * np.arange(window)].sum(1)
    return found


def _reduce_window_sum(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    scalar = scope.emitter.uniform_scalar(operands[0])
    value = None if scalar is None else scope.emitter.scalar_value(scalar)
    aval = eqn.outvars[0].aval
    dtype = str(aval.dtype)
    if value is None or not is_numeric(dtype) or min(eqn.invars[0].aval.shape, default=1) == 0:
        return None
    if any(low < 0 or high < 0 for low, high in eqn.params["padding"]):
        return None
    names = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    columns = zip(eqn.invars[0].aval.shape, *(eqn.params[name] for name in names), strict=True)
    rows = [counts(*column) for column in columns]
    if not _is_exact(scope, value, dtype, math.prod(int(row.max(initial=0)) for row in rows)):
        return None
    return _table(scope, rows, value, TensorType(tuple(aval.shape), dtype))


def _table(scope: Scope, rows: Sequence[Row], value: Any, type: TensorType) -> Sequence[int] | None:
    """Product of the rows times the value; an axis along which the count is the same is a factor."""
    moving = [i for i, row in enumerate(rows) if (row != row[0]).any()]
    if math.prod(len(rows[i]) for i in moving) * type.itemsize > TABLE_BYTES:
        return None
    factor = math.prod(int(row[0]) for i, row in enumerate(rows) if i not in moving)
    table = np.asarray(factor, np.int64)
    for i in moving:
        table = np.multiply.outer(table, rows[i])
    data = (table * value).astype(np.dtype(type.dtype))
    number = scope.emitter.array(data, type.dtype, scope.sources)
    target = squeeze(type.shape)
    if scope.type(number).shape == target:
        return [number]
    kept = [i for i, n in enumerate(type.shape) if n != 1]
    word = "".join(LETTERS[kept.index(i)] for i in moving)
    return [scope.emitter.broadcast(number, word, target, scope.sources)]


def _is_exact(scope: Scope, value: Any, dtype: str, most: int) -> bool:
    """Whether a sum of up to ``most`` equal numbers is their product, or may be taken for it."""
    if is_integer(dtype) or scope.shared.numerics > Numerics.EXACT:
        return True
    return isinstance(value, int | float) and float(value).is_integer() and abs(value) * most < 2**8


HANDLERS: dict[str, Handler] = {"reduce_window_sum": _reduce_window_sum}
