# SPDX-License-Identifier: Apache-2.0
"""Reductions, the places of extremes, and sums along an axis, in ONNX.

What no operator does is folded by halves: a reduction in log2(n) steps on halves, a cumulative one in log2(n) shifts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.types import is_integer
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value, extreme
from egraph_opt.lower.onnx.writer import Writer

Fold = Callable[[Writer, Value, Value], Value]


def _empty(w: Writer, x: Value, axes: tuple[int, ...], identity: Any) -> Value | None:
    """What a reduction over no elements gives; None where there are some."""
    if all(x.type.shape[axis] for axis in axes):
        return None
    shape = tuple(n for axis, n in enumerate(x.type.shape) if axis not in axes)
    return steps.filled(w, identity, TensorType(shape, x.dtype))


def _extreme(op: str, largest: bool, of_bools: str) -> Row:
    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        (x,), axes = args, node.attr("axes")
        empty = _empty(w, x, axes, extreme(x.dtype, not largest))
        if empty is not None:
            return empty
        if x.dtype == "uint64":
            return _folded(w, x, axes, lambda w, a, b: w.apply(of_bools, [a, b]))
        return steps.reduced(w, op, x, axes)

    return Row(write)


def _product(w: Writer, node: Node, args: list[Value]) -> Value:
    (x,), axes = args, node.attr("axes")
    empty = _empty(w, x, axes, 1)
    if empty is None and is_integer(x.dtype):  # onnxruntime multiplies integers in float64
        return _folded(w, x, axes, lambda w, a, b: w.apply("Mul", [a, b]))
    return empty if empty is not None else steps.widely(w, [x], lambda y: steps.reduced(w, "ReduceProd", y, axes))


def _bitwise(of_bools: str, of_bits: str, identity: int) -> Row:
    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        (x,), axes = args, node.attr("axes")
        whole = np.array(identity).astype(np.dtype(x.dtype))
        empty = _empty(w, x, axes, whole)
        if empty is not None:
            return empty
        if x.dtype == "bool" and of_bools != "Xor":
            return steps.reduced(w, "ReduceMin" if of_bools == "And" else "ReduceMax", x, axes)
        return _folded(w, x, axes, lambda w, a, b: w.apply(of_bools if a.dtype == "bool" else of_bits, [a, b]))

    return Row(write)


def _folded(w: Writer, x: Value, axes: tuple[int, ...], fold: Fold) -> Value:
    """A reduction of an associative operation, by halves."""
    kept = [axis for axis in range(x.type.rank) if axis not in axes]
    shape = tuple(x.type.shape[axis] for axis in kept)
    count = steps.size_of([x.type.shape[axis] for axis in axes])
    x = steps.reshape(w, steps.transpose(w, steps.full(w, x), [*axes, *kept]), (count, *shape))
    while count > 1:
        half = count // 2
        pair = fold(w, steps.part(w, x, 0, 0, half), steps.part(w, x, 0, half, 2 * half))
        x = steps.concatenate(w, [pair, steps.part(w, x, 0, 2 * half, count)], 0) if count % 2 else pair
        count -= half
    return steps.reshape(w, x, shape)


def _argument(op: str) -> Row:
    """The first extreme; where it is among NaN is the runtime's to say."""

    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        (x,) = args
        (axis,) = node.attr("axes")
        shape = tuple(n for d, n in enumerate(x.type.shape) if d != axis)
        found = w.apply(op, [x], shape=shape, dtype="int64", axis=axis, keepdims=0)
        return w.cast(found, str(node.attr("index_dtype")))

    return Row(write)


def _cumsum(w: Writer, node: Node, args: list[Value]) -> Value:
    axis = w.constant(np.array(node.attr("axis"), np.int64), "axis").name
    reverse = int(node.attr("reverse"))
    return steps.widely(w, args, lambda x: w.apply("CumSum", [x], axis, shape=x.type.shape, reverse=reverse))


def _cumulative(fold: Fold, identity: Callable[[str], Any]) -> Row:
    """By shifts of 1, 2, 4, ...: each step folds twice as many elements."""

    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        axis, reverse = node.attr("axis"), node.attr("reverse")

        def all_steps(x: Value) -> Value:
            n, shift = x.type.shape[axis], 1
            neutral = steps.number(w, identity(x.dtype), x.dtype)
            while shift < n:
                low, high = [0] * x.type.rank, [0] * x.type.rank
                low[axis], high[axis] = (-shift, shift) if reverse else (shift, -shift)
                x = fold(w, x, steps.pad(w, x, neutral, low, high))
                shift *= 2
            return x

        return steps.widely(w, args, all_steps)

    return Row(write)


def _log_add(w: Writer, a: Value, b: Value) -> Value:
    """``log(exp(a) + exp(b))`` without overflow; infinities of one sign stay what they are."""
    large, small = w.apply("Max", [a, b]), w.apply("Min", [a, b])
    same = w.apply("Equal", [a, b], dtype="bool")
    apart = steps.where(w, same, steps.number(w, 0, a.dtype), w.apply("Sub", [small, large]))
    more = w.apply("Log", [w.apply("Add", [w.apply("Exp", [apart]), steps.number(w, 1, a.dtype)])])
    return w.apply("Add", [large, more])


def either(op: str, of_bools: str) -> Fold:
    """An operator and the one that stands for it among bools."""
    return lambda w, a, b: w.apply(of_bools if a.dtype == "bool" else op, [a, b])


REDUCTION = {
    "reduce_max": _extreme("ReduceMax", True, "Max"),
    "reduce_min": _extreme("ReduceMin", False, "Min"),
    "reduce_prod": Row(_product),
    "reduce_and": _bitwise("And", "BitwiseAnd", -1),
    "reduce_or": _bitwise("Or", "BitwiseOr", 0),
    "reduce_xor": _bitwise("Xor", "BitwiseXor", 0),
    "argmax": _argument("ArgMax"),
    "argmin": _argument("ArgMin"),
    "cumsum": Row(_cumsum),
    "cumprod": _cumulative(lambda w, a, b: w.apply("Mul", [a, b]), lambda dtype: 1),
    "cummax": _cumulative(either("Max", "Or"), lambda dtype: extreme(dtype, False)),
    "cummin": _cumulative(either("Min", "And"), lambda dtype: extreme(dtype, True)),
    "cumlogsumexp": _cumulative(_log_add, lambda dtype: -np.inf),
}
