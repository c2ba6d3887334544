# SPDX-License-Identifier: Apache-2.0
"""Steps that the writers of operations are made of: layout, conditions, sums, by values whose shapes are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import TensorType
from egraph_opt.lower.onnx.values import Value, is_narrow
from egraph_opt.lower.onnx.writer import Writer

END = np.iinfo(np.int64).min
"""End of a slice that runs backwards through the first element."""


def full(w: Writer, x: Value) -> Value:
    """The value with its broadcasts written out."""
    if x.held == x.type.shape:
        return x
    return w.apply("Expand", [x], w.ints(x.type.shape), shape=x.type.shape)


def ranked(w: Writer, x: Value) -> Value:
    """The value with as many dimensions as its type has, those that are broadcast being 1."""
    missing = x.type.rank - len(x.held)
    if not missing:
        return x
    held = (1,) * missing + x.held
    plain = reshape(w, Value(x.name, TensorType(x.held, x.dtype), x.held), held)
    return Value(plain.name, x.type, held)


def held_as(w: Writer, x: Value, held: Sequence[int], shape: Sequence[int]) -> Value:
    """The elements that are held in another shape, standing for a broadcast to ``shape``; leading ones are dropped."""
    held = tuple(held)
    while held and held[0] == 1 and held != tuple(shape):
        held = held[1:]
    plain = reshape(w, Value(x.name, TensorType(x.held, x.dtype), x.held), held)
    return Value(plain.name, TensorType(tuple(shape), x.dtype), held)


def reshape(w: Writer, x: Value, shape: Sequence[int]) -> Value:
    """The same elements under another shape."""
    shape = tuple(shape)
    if x.type.shape == shape == x.held:
        return x
    x = full(w, x)
    if x.held == shape:
        return x
    options = {"allowzero": 1} if 0 in shape else {}
    return w.apply("Reshape", [x], w.ints(shape), shape=shape, **options)


def transpose(w: Writer, x: Value, order: Sequence[int]) -> Value:
    """The dimensions in another order; broadcasts stay as they are held."""
    order = tuple(order)
    if order == tuple(range(len(order))):
        return x
    x = ranked(w, x)
    shape = tuple(x.type.shape[axis] for axis in order)
    held = tuple(x.held[axis] for axis in order)
    plain = Value(x.name, TensorType(x.held, x.dtype), x.held)
    moving = [axis for axis in order if x.held[axis] != 1]
    if moving == sorted(moving):  # only dimensions of size one move
        return held_as(w, plain, held, shape)
    name = w.apply("Transpose", [plain], shape=held, perm=list(order)).name
    return Value(name, TensorType(shape, x.dtype), held)


def slices(w: Writer, x: Value, starts: Sequence[int], limits: Sequence[int], strides: Sequence[int]) -> Value:
    """A static slice of every dimension."""
    x = full(w, x)
    bounds = list(zip(starts, limits, strides, x.type.shape, strict=True))
    axes = [axis for axis, (a, b, step, n) in enumerate(bounds) if (a, b, step) != (0, n, 1)]
    if not axes:
        return x
    shape = tuple(-((a - b) // step) for a, b, step, _ in bounds)
    names = [w.ints([bounds[axis][k] for axis in axes]) for k in (0, 1)]
    return w.apply("Slice", [x], *names, w.ints(axes), w.ints([bounds[axis][2] for axis in axes]), shape=shape)


def part(w: Writer, x: Value, axis: int, start: int, limit: int, stride: int = 1) -> Value:
    """A static slice of one dimension."""
    starts, limits, strides = [0] * x.type.rank, list(x.type.shape), [1] * x.type.rank
    starts[axis], limits[axis], strides[axis] = start, limit, stride
    return slices(w, x, starts, limits, strides)


def reverse(w: Writer, x: Value, axes: Sequence[int]) -> Value:
    """Dimensions backwards."""
    x = full(w, x)
    if not axes:
        return x
    names = [w.ints([number] * len(axes)) for number in (-1, END)]
    return w.apply("Slice", [x], *names, w.ints(axes), w.ints([-1] * len(axes)), shape=x.type.shape)


def concatenate(w: Writer, parts: Sequence[Value], axis: int) -> Value:
    """Values one after the other along a dimension."""
    parts = [full(w, x) for x in parts]
    if len(parts) == 1:
        return parts[0]
    shape = list(parts[0].type.shape)
    shape[axis] = sum(x.type.shape[axis] for x in parts)
    return w.apply("Concat", parts, shape=shape, axis=axis)


def pad(w: Writer, x: Value, value: Value, low: Sequence[int], high: Sequence[int]) -> Value:
    """The value surrounded by a scalar; negative amounts cut."""
    starts = [max(-n, 0) for n in low]
    limits = [size - max(-n, 0) for n, size in zip(high, x.type.shape, strict=True)]
    limits = [max(a, b) for a, b in zip(starts, limits, strict=True)]
    x = slices(w, x, starts, limits, [1] * x.type.rank)
    low, high = [max(n, 0) for n in low], [max(n, 0) for n in high]
    if not any((*low, *high)):
        return x
    shape = [a + n + b for a, n, b in zip(low, x.type.shape, high, strict=True)]
    if x.type.size == 0:
        return full(w, Value(value.name, TensorType(tuple(shape), x.dtype), ()))
    inner = w.computed("Pad", x.dtype)
    padded = w.apply("Pad", [w.cast(x, inner)], w.ints([*low, *high]), w.cast(value, inner).name, shape=shape)
    return w.cast(padded, x.dtype)


def dilate(w: Writer, x: Value, value: Value, inner: Sequence[int]) -> Value:
    """``inner[d]`` copies of a scalar between neighbours along each dimension ``d``."""
    for axis, count in enumerate(inner):
        n = x.type.shape[axis]
        if not count or n < 2:
            continue
        before, after = x.type.shape[: axis + 1], x.type.shape[axis + 1 :]
        x = reshape(w, x, (*before, 1, *after))
        zero = [0] * x.type.rank
        x = pad(w, x, value, zero, [*zero[: axis + 1], count, *zero[axis + 2 :]])
        x = reshape(w, x, (*before[:-1], n * (count + 1), *after))
        x = part(w, x, axis, 0, n * (count + 1) - count)
    return x


def where(w: Writer, condition: Value, yes: Value, no: Value) -> Value:
    """A choice by element."""
    if yes.dtype == "bool":
        taken = w.apply("And", [condition, yes])
        return w.apply("Or", [taken, w.apply("And", [w.apply("Not", [condition]), no])])
    return w.apply("Where", [condition, yes, no])


def number(w: Writer, value: Any, dtype: str) -> Value:
    """A scalar constant."""
    return w.constant(np.asarray(value).astype(np.dtype(dtype)))


def filled(w: Writer, value: Any, type: TensorType) -> Value:
    """A scalar constant that stands for a whole tensor."""
    return Value(number(w, value, type.dtype).name, type, ())


def reduced(w: Writer, op: str, x: Value, axes: Sequence[int]) -> Value:
    """A reduction over axes, which the result lacks."""
    x = full(w, x)
    if not axes:
        return x
    shape = tuple(n for axis, n in enumerate(x.type.shape) if axis not in axes)
    return w.apply(op, [x], w.ints(axes), shape=shape, keepdims=0)


def counted(w: Writer, shape: Sequence[int], axis: int, dtype: str) -> Value:
    """Indices along one dimension, standing for a tensor of the shape."""
    held = [n if d == axis else 1 for d, n in enumerate(shape)]
    counts = w.constant(np.arange(shape[axis]).astype(np.dtype(dtype)).reshape(held[axis:]), "iota")
    return Value(counts.name, TensorType(tuple(shape), dtype), counts.held)


def widely(w: Writer, args: Sequence[Value], steps: Callable[..., Value]) -> Value:
    """Steps made in float32 where the element type is narrower."""
    dtype = args[0].dtype
    if not is_narrow(dtype):
        return steps(*args)
    return w.cast(steps(*(w.cast(x, "float32") if x.dtype == dtype else x for x in args)), dtype)


def size_of(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)
