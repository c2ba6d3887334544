# SPDX-License-Identifier: Apache-2.0
"""Operations in numpy with the meaning that XLA gives them: NaN is passed on, -0 is below 0, integers wrap around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.lax import RoundingMethod

from egraph_opt.ir import Node
from egraph_opt.rules.check import products, systems

Array = np.ndarray[Any, Any]

_LANES = 64


def _lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Evaluate in full vector lanes: the same value must give the same bits wherever it stands."""

    def evaluate(node: Node, x: Array) -> Any:
        if x.dtype.kind not in "fc" or x.dtype == np.longdouble:
            return function(x)
        padded = np.ones(-(-max(x.size, 1) // _LANES) * _LANES, x.dtype)
        padded[: x.size] = x.ravel()
        return function(padded)[: x.size].reshape(x.shape)

    return evaluate


def _max(x: Array, y: Array) -> Any:
    if x.dtype.kind not in "fc":
        return np.maximum(x, y)
    return np.where((x == 0) & (y == 0), x + y, np.maximum(x, y))


def _min(x: Array, y: Array) -> Any:
    if x.dtype.kind not in "fc":
        return np.minimum(x, y)
    return np.where((x == 0) & (y == 0), -((-x) + (-y)), np.minimum(x, y))


def _clamp(node: Node, low: Array, x: Array, high: Array) -> Any:
    return _min(_max(x, low), high)


def _div(node: Node, x: Array, y: Array) -> Any:
    if x.dtype.kind not in "iu":
        return x / y
    zero, least = y == 0, np.iinfo(x.dtype).min
    overflow = (x == least) & (y == -1) if x.dtype.kind == "i" else np.zeros(x.shape, bool)
    safe = np.where(zero | overflow, 1, y).astype(x.dtype)
    floor = np.floor_divide(x, safe)
    quotient = floor + ((np.remainder(x, safe) != 0) & ((x < 0) != (safe < 0)))
    return np.where(zero, np.array(-1).astype(x.dtype), np.where(overflow, x, quotient)).astype(x.dtype)


def _rem(node: Node, x: Array, y: Array) -> Any:
    if x.dtype.kind not in "iu":
        return np.fmod(x, y)
    zero = y == 0
    trivial = zero | (y == -1) if x.dtype.kind == "i" else zero
    return np.where(zero, x, np.where(trivial, 0, np.fmod(x, np.where(trivial, 1, y).astype(x.dtype)))).astype(x.dtype)


def _sign(node: Node, x: Array) -> Any:
    if x.dtype.kind == "c":
        return np.where(x == 0, x, x / np.abs(x))
    if x.dtype.kind == "f":
        return np.where((x == 0) | np.isnan(x), x, np.copysign(np.ones_like(x), x))
    return np.sign(x)


def _round(node: Node, x: Array) -> Any:
    if node.attr("rounding_method") != RoundingMethod.AWAY_FROM_ZERO:
        return np.rint(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x).astype(x.dtype), whole)


def _integer_pow(node: Node, x: Array) -> Any:
    y = node.attr("y")
    result, square, left = np.ones_like(x), x, abs(y)
    first = True
    while left:
        if left & 1:
            result = square if first else result * square
            first = False
        left >>= 1
        if left:
            square = square * square
    return result if y >= 0 else np.ones_like(x) / result


def _pow(node: Node, x: Array, y: Array) -> Any:
    return np.power(x, y.astype(x.dtype))


def _logistic(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def _select(node: Node, which: Array, *cases: Array) -> Any:
    number = np.clip(which.astype(np.int64), 0, len(cases) - 1)
    return np.choose(number, cases) if len(cases) < 32 else np.stack(cases)[number]


def _shift(function: str) -> Callable[..., Any]:
    def shift(node: Node, x: Array, by: Array) -> Any:
        width = x.dtype.itemsize * 8
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        amount = by.view(unsigned) if by.dtype.kind == "i" else by
        beyond = amount >= width
        safe = np.where(beyond, 0, amount).astype(unsigned)
        if function == "left":
            return np.where(beyond, 0, np.left_shift(x.view(unsigned), safe)).astype(unsigned).view(x.dtype)
        if function == "logical":
            return np.where(beyond, 0, np.right_shift(x.view(unsigned), safe)).astype(unsigned).view(x.dtype)
        # XLA takes the highest bit of unsigned integers for a sign as well.
        signed = x.view(np.dtype(f"i{x.dtype.itemsize}"))
        shifted = np.right_shift(signed, safe.astype(signed.dtype))
        return np.where(beyond, np.where(signed < 0, -1, 0), shifted).astype(signed.dtype).view(x.dtype)

    return shift


def _slice(node: Node, x: Array) -> Any:
    steps = node.attr("strides") or (1,) * x.ndim
    return x[tuple(map(slice, node.attr("start_indices"), node.attr("limit_indices"), steps))]


def _dynamic_slice(node: Node, x: Array, start: Array) -> Any:
    axis, size = int(node.attr("axis")), int(node.attr("slice_size"))
    first = min(max(int(start), 0), x.shape[axis] - size)
    return np.take(x, np.arange(first, first + size), axis)


def _take(node: Node, x: Array, indices: Array) -> Any:
    axis = int(node.attr("axis"))
    count = x.shape[axis]
    fills, value = "FILL" in str(node.attr("mode")), node.attr("fill_value")
    if not count and indices.size and not fills:
        raise NotImplementedError("reads beyond the end")
    exact = indices.astype(object)
    if not count:
        found = np.zeros((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    else:
        found = np.take(x, np.clip(exact, 0, count - 1).astype(np.int64), axis)
    if fills:
        outside = ((exact < 0) | (exact >= count)).astype(bool)
        found[(slice(None),) * axis + (outside,)] = _filling(x.dtype) if value is None else value
    return found


def _filling(dtype: np.dtype[Any]) -> Any:
    """What JAX puts where nothing is read: NaN, the least signed number, the largest unsigned one."""
    if dtype.kind in "fcV":
        return np.nan
    return True if dtype.kind == "b" else np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def _pad(node: Node, x: Array, value: Array) -> Any:
    config = node.attr("padding_config")
    inner = np.full([n + max(n - 1, 0) * i for n, (_, _, i) in zip(x.shape, config, strict=True)], value, x.dtype)
    inner[tuple(slice(None, None, i + 1) for _, _, i in config)] = x
    around = [(max(low, 0), max(high, 0)) for low, high, _ in config]
    padded = np.pad(inner, around, constant_values=value) if config else inner
    cut = [(max(-low, 0), max(-high, 0)) for low, high, _ in config]
    return padded[tuple(slice(low, n - high) for n, (low, high) in zip(padded.shape, cut, strict=True))]


def _reduce(ufunc: Any, start: str) -> Callable[..., Any]:
    def reduce(node: Node, x: Array) -> Any:
        if x.dtype.kind == "c" and start in ("least", "most"):
            raise NotImplementedError("extremes of complex numbers")
        axes = tuple(node.attr("axes"))
        total = ufunc.reduce(x, axis=axes, initial=_initial(x.dtype, start))
        return _signed_zero(total, x, axes, start) if x.dtype.kind == "f" and start in ("least", "most") else total

    return reduce


def _signed_zero(total: Any, x: Array, axes: tuple[int, ...], start: str) -> Any:
    """Extremes with the zero that is the larger one, +0, or the smaller one: numpy takes whichever it meets."""
    negative = np.signbit(x) == (start == "most")
    wanted = ((x == 0) & negative).any(axis=axes)
    zero = np.where(wanted == (start == "most"), -0.0, 0.0).astype(x.dtype)
    return np.where(total == 0, zero, total)


def _initial(dtype: np.dtype[Any], start: str) -> Any:
    if start == "one":
        return np.ones((), dtype)[()]
    if start == "zero":
        return np.zeros((), dtype)[()]
    if start == "ones":
        return np.invert(np.zeros((), dtype))[()]
    if dtype.kind == "b":
        return start == "most"
    if dtype.kind == "f":
        return dtype.type(np.inf if start == "most" else -np.inf)
    return np.iinfo(dtype).max if start == "most" else np.iinfo(dtype).min


def _sort(node: Node, *operands: Array) -> Any:
    if len(operands) > 1 or operands[0].dtype.kind == "c":
        raise NotImplementedError("several keys")
    return np.sort(operands[0], axis=int(node.attr("dimension")), kind="stable")


def _arg(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda node, x: function(x, axis=node.attr("axes")[0])


def _scan(ufunc: Any) -> Callable[..., Any]:
    def scan(node: Node, x: Array) -> Any:
        axis = int(node.attr("axis"))
        if x.dtype.kind == "c" and ufunc in (np.maximum, np.minimum):
            raise NotImplementedError("extremes of complex numbers")
        ordered = np.flip(x, axis) if node.attr("reverse") else x
        total = ufunc.accumulate(ordered, axis=axis, dtype=x.dtype)
        return np.flip(total, axis) if node.attr("reverse") else total

    return scan


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda node, *operands: function(*operands)


def _iota(node: Node) -> Any:
    shape, axis = node.type.shape, int(node.attr("dimension"))
    counted = np.arange(shape[axis]).reshape([-1 if d == axis else 1 for d in range(len(shape))])
    return np.broadcast_to(counted, shape).astype(node.type.dtype)


def _complex(x: Array, y: Array) -> Any:
    result = np.empty(x.shape, np.result_type(x.dtype, np.complex64))
    result.real, result.imag = x, y
    return result


def _tile(x: Array, reps: Sequence[int]) -> Any:
    return np.tile(x, tuple(reps))


def _compare(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda node, x, y: function(x, y)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **systems.FUNCTIONS,
    **products.FUNCTIONS,
    **{
        name: _lanes(getattr(np, name))
        for name in ("exp", "exp2", "expm1", "log", "log1p", "tanh", "sin", "cos", "tan", "sinh", "cosh", "cbrt")
    },
    "sqrt": _lanes(np.sqrt),
    "rsqrt": _lanes(lambda x: 1 / np.sqrt(x)),
    "logistic": _lanes(_logistic),
    "asin": _lanes(np.arcsin), "acos": _lanes(np.arccos), "atan": _lanes(np.arctan),
    "asinh": _lanes(np.arcsinh), "acosh": _lanes(np.arccosh), "atanh": _lanes(np.arctanh),
    "floor": _plain(np.floor), "ceil": _plain(np.ceil), "round": _round, "is_finite": _plain(np.isfinite),
    "abs": _plain(np.abs), "sign": _sign, "stop_gradient": _plain(lambda x: x), "copy": _plain(lambda x: x),
    "assume": _plain(lambda x: x),
    "max": _plain(_max), "min": _plain(_min), "div": _div, "rem": _rem, "atan2": _plain(np.arctan2),
    "eq": _compare(np.equal), "ne": _compare(np.not_equal), "lt": _compare(np.less), "le": _compare(np.less_equal),
    "gt": _compare(np.greater), "ge": _compare(np.greater_equal), "integer_pow": _integer_pow, "pow": _pow,
    "real": _plain(lambda x: x.real), "imag": _plain(lambda x: x.imag), "complex": _plain(_complex),
    "conj": _plain(np.conj), "not": _plain(np.invert), "and": _plain(np.bitwise_and), "or": _plain(np.bitwise_or),
    "xor": _plain(np.bitwise_xor), "shift_left": _shift("left"), "shift_right_logical": _shift("logical"),
    "shift_right_arithmetic": _shift("arithmetic"), "select_n": _select, "clamp": _clamp,
    "reshape": lambda node, x: x.reshape(node.type.shape), "slice": _slice, "pad": _pad,
    "dynamic_slice_in_dim": _dynamic_slice, "take": _take,
    "concatenate": lambda node, *xs: np.concatenate(xs, int(node.attr("dimension"))),
    "rev": lambda node, x: np.flip(x, node.attr("dimensions")),
    "iota": _iota,
    "stack": lambda node, *xs: np.stack(xs, int(node.attr("axis"))),
    "tile": lambda node, x: _tile(x, node.attr("reps")),
    "reduce_max": _reduce(np.maximum, "least"), "reduce_min": _reduce(np.minimum, "most"),
    "reduce_prod": _reduce(np.multiply, "one"), "reduce_and": _reduce(np.bitwise_and, "ones"),
    "reduce_or": _reduce(np.bitwise_or, "zero"), "reduce_xor": _reduce(np.bitwise_xor, "zero"),
    "sort": _sort, "argmax": _arg(np.argmax), "argmin": _arg(np.argmin),
    "cumsum": _scan(np.add), "cumprod": _scan(np.multiply), "cummax": _scan(np.maximum), "cummin": _scan(np.minimum),
    "cumlogsumexp": _scan(np.logaddexp),
}  # fmt: skip
"""``function(node, *values)`` of each operation that numpy has; operands of elementwise ones have one shape."""
