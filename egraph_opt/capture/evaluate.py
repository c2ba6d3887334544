# SPDX-License-Identifier: Apache-2.0
"""The value of one node from the values of its operands, in numpy.

Only what builds masks, indices and tables is here. Where numpy and XLA may differ (a shift beyond the width, a float
out of an integer's range, a division of integers by zero) the answer is None, which means: leave the node as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import Node, Spec
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.types import is_floating, is_integer

Value = np.ndarray[Any, Any]
Operands = Sequence[Value]


def evaluate(node: Node, operands: Operands, numerics: Numerics) -> Value | None:
    """Value of a node, or None where it has none here.

    Args:
        node: any node with one result.
        operands: values of its operands.
        numerics: functions whose last bit differs between libraries are evaluated above ``EXACT`` only.
    """
    dtype = node.type.dtype
    if not is_plain(dtype):
        return None
    with np.errstate(all="ignore"):
        result = _EXACT[node.op](node, *operands) if node.op in _EXACT else None
        if result is None and node.op in _ROUNDED and numerics > Numerics.EXACT and is_floating(dtype):
            wide = [v.astype(np.float64) if v.dtype.kind in "fV" else v for v in operands]
            result = _ROUNDED[node.op](*wide)
    if result is None:
        return None
    value = np.asarray(result)
    return value if str(value.dtype) == dtype else value.astype(np.dtype(dtype))


def is_plain(dtype: str) -> bool:
    """Whether numpy has the element type."""
    try:
        np.dtype(dtype)
    except TypeError:
        return False
    return True


def _constant(node: Node) -> Value:
    return np.asarray(thaw(node.attr("value")), np.dtype(node.type.dtype))


def _iota(node: Node) -> Value:
    attrs = node.kwargs
    (size,) = node.type.shape
    return np.arange(size).astype(np.dtype(str(attrs["dtype"])))


def _einsum(node: Node, *operands: Value) -> Value | None:
    spec = Spec.parse(node.attr("spec"))
    if len(operands) == 1 and spec.is_copy:
        return _copy(spec, operands[0])
    if not is_integer(node.type.dtype) and spec.summed:
        return None
    wide = np.float64 if operands[0].dtype.kind in "fV" else operands[0].dtype
    body = ",".join(spec.inputs) + "->" + "".join(c for c in spec.output if c not in spec.broadcast)
    if spec.broadcast or len(set(spec.output)) < len(spec.output):
        return None
    result = np.einsum(body, *[v.astype(wide) for v in operands])
    if spec.scale == -1:
        result = np.negative(result)
    elif spec.scale != 1:
        result = result * np.asarray(spec.scale, wide)
    return np.asarray(result)


def _copy(spec: Spec, x: Value) -> Value:
    """A one-operand einsum that sums nothing: diagonals, permutation, broadcast, diagonal writing, scale."""
    letters = "".join(dict.fromkeys(spec.inputs[0]))
    if len(letters) < len(spec.inputs[0]):
        x = np.einsum(f"{spec.inputs[0]}->{letters}", x) if x.dtype.kind in "biufc" else x[_diagonal(spec)]
    out = "".join(dict.fromkeys(spec.output))
    x = np.transpose(x, [letters.index(c) for c in out if c in letters])
    x = np.broadcast_to(x.reshape([spec.sizes[c] if c in letters else 1 for c in out]), [spec.sizes[c] for c in out])
    if spec.scale == -1:
        x = np.negative(x)  # as it is lowered; a complex product makes other zeros
    elif spec.scale != 1:
        x = (x * np.asarray(spec.scale).astype(x.dtype)).astype(x.dtype)
    if len(out) == len(spec.output):
        return x
    result = np.zeros(spec.shape, x.dtype)
    grid = np.ix_(*[np.arange(spec.sizes[c]) for c in out])
    result[tuple(grid[out.index(c)] for c in spec.output)] = x
    return result


def _diagonal(spec: Spec) -> tuple[Any, ...]:
    letters = "".join(dict.fromkeys(spec.inputs[0]))
    grid = np.ix_(*[np.arange(spec.sizes[c]) for c in letters])
    return tuple(grid[letters.index(c)] for c in spec.inputs[0])


def _add(node: Node, *operands: Value) -> Value:
    total = operands[0]
    for term in operands[1:]:
        total = total + term
    return total


def _reshape(node: Node, x: Value) -> Value:
    return x.reshape(node.type.shape)


def _convert(node: Node, x: Value) -> Value | None:
    dtype = np.dtype(node.type.dtype)
    if is_integer(node.type.dtype) and x.dtype.kind in "fVc":
        wide = x.astype(np.float64)
        info = np.iinfo(dtype)
        if x.dtype.kind == "c" or not (np.isfinite(wide) & (wide >= info.min) & (wide <= info.max)).all():
            return None
    return x.astype(dtype)


def _select(node: Node, which: Value, *cases: Value) -> Value:
    shape = node.type.shape
    full = [np.broadcast_to(c, shape) for c in cases]
    picks = np.broadcast_to(which, shape)
    if which.dtype == bool:
        return np.where(picks, full[1], full[0])
    result = full[0]
    for number, case in enumerate(full[1:], 1):
        result = np.where(picks >= number, case, result)
    return result


def _clamp(node: Node, low: Value, x: Value, high: Value) -> Value:
    return np.minimum(np.maximum(x, low), high)


def _div(node: Node, x: Value, y: Value) -> Value | None:
    if x.dtype.kind in "iu":
        if (y == 0).any() or (x.dtype.kind == "i" and (y == -1).any()):
            return None
        return _truncated(x, y)
    return x / y if x.dtype.kind == "f" else None


def _truncated(x: Value, y: Value) -> Value:
    floor: Value = np.floor_divide(x, y)
    above: Value = (np.remainder(x, y) != 0) & ((x < 0) != (y < 0))
    return np.asarray(floor + above)


def _rem(node: Node, x: Value, y: Value) -> Value | None:
    if x.dtype.kind not in "iu" or (y == 0).any() or (x.dtype.kind == "i" and (y == -1).any()):
        return None
    return np.fmod(x, y)


def _shift(function: Callable[..., Any]) -> Callable[..., Value | None]:
    def shift(node: Node, x: Value, by: Value) -> Value | None:
        width = x.dtype.itemsize * 8
        if ((by < 0) | (by >= width)).any():
            return None
        return np.asarray(function(x, by))

    return shift


def _logical_right(x: Value, by: Value) -> Value:
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    moved: Value = np.right_shift(x.view(unsigned), by.astype(unsigned))
    return moved.view(x.dtype)


def _arithmetic_right(x: Value, by: Value) -> Value:
    signed = np.dtype(f"i{x.dtype.itemsize}")
    moved: Value = np.right_shift(x.view(signed), by.astype(signed))
    return moved.view(x.dtype)


def _slice(node: Node, x: Value) -> Value:
    attrs = node.kwargs
    strides = attrs.get("strides") or (1,) * x.ndim
    return x[tuple(map(slice, attrs["start_indices"], attrs["limit_indices"], strides))]


def _concatenate(node: Node, *operands: Value) -> Value:
    return np.concatenate(operands, int(node.attr("dimension")))


def _rev(node: Node, x: Value) -> Value:
    return np.flip(x, node.attr("dimensions"))


def _reduce(function: Callable[..., Any]) -> Callable[..., Value | None]:
    def reduce(node: Node, x: Value) -> Value | None:
        axes = tuple(node.attr("axes"))
        return np.asarray(function(x, axis=axes)) if all(x.shape[a] for a in axes) else None

    return reduce


def _cumsum(node: Node, x: Value) -> Value | None:
    if x.dtype.kind not in "iu":
        return None
    axis = int(node.attr("axis"))
    if node.attr("reverse"):
        return np.flip(np.cumsum(np.flip(x, axis), axis, dtype=x.dtype), axis)
    return np.cumsum(x, axis, dtype=x.dtype)


def _plain(function: Callable[..., Any]) -> Callable[..., Value]:
    return lambda node, *operands: np.asarray(function(*operands))


def _integers_only(function: Callable[..., Any]) -> Callable[..., Value | None]:
    return lambda node, *operands: np.asarray(function(*operands)) if operands[0].dtype.kind in "biu" else None


_EXACT: dict[str, Callable[..., Value | None]] = {
    "constant": _constant,
    "iota": _iota,
    "einsum": _einsum,
    "add": _add,
    "reshape": _reshape,
    "convert_element_type": _convert,
    "select_n": _select,
    "clamp": _clamp,
    "div": _div,
    "rem": _rem,
    "slice": _slice,
    "concatenate": _concatenate,
    "rev": _rev,
    "cumsum": _cumsum,
    "stop_gradient": _plain(np.positive),
    "copy": lambda node, x: x,
    "eq": _plain(np.equal),
    "ne": _plain(np.not_equal),
    "lt": _plain(np.less),
    "le": _plain(np.less_equal),
    "gt": _plain(np.greater),
    "ge": _plain(np.greater_equal),
    "max": _integers_only(np.maximum),
    "min": _integers_only(np.minimum),
    "and": _integers_only(np.bitwise_and),
    "or": _integers_only(np.bitwise_or),
    "xor": _integers_only(np.bitwise_xor),
    "not": _integers_only(np.invert),
    "abs": _plain(np.abs),
    "sqrt": lambda node, x: np.sqrt(x) if x.dtype.kind == "f" else None,
    "floor": _plain(np.floor),
    "ceil": _plain(np.ceil),
    "is_finite": _plain(np.isfinite),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "reduce_and": _reduce(np.bitwise_and.reduce),
    "reduce_or": _reduce(np.bitwise_or.reduce),
    "shift_left": _shift(np.left_shift),
    "shift_right_logical": _shift(_logical_right),
    "shift_right_arithmetic": _shift(
        lambda x, by: np.right_shift(x, by) if x.dtype.kind == "i" else _logical_right(x, by)
    ),
}

_ROUNDED: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "pow": np.power,
    "div": np.divide,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "max": np.maximum,
    "min": np.minimum,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
}
