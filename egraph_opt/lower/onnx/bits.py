# SPDX-License-Identifier: Apache-2.0
"""Operations on the bits of integers, and on bools, in ONNX."""

from __future__ import annotations

import numpy as np

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Node
from egraph_opt.lower.onnx.row import Row, elementwise
from egraph_opt.lower.onnx.steps import number, where
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _logical(of_bools: str, of_bits: str) -> Row:
    return elementwise(lambda w, node, args: w.apply(of_bools if args[0].dtype == "bool" else of_bits, args))


def _bits(dtype: str) -> int:
    return np.dtype(dtype).itemsize * 8


def _shifted(w: Writer, x: Value, amount: Value, direction: str) -> Value:
    """A shift of unsigned integers; amounts of all bits or more give 0."""
    width = _bits(x.dtype)
    held = x.dtype if x.dtype in ("uint32", "uint64") else "uint32"
    x_wide, by = w.cast(x, held), w.cast(amount, held)
    inside = w.apply("Less", [by, number(w, width, held)], dtype="bool")
    zero = number(w, 0, held)
    moved = w.apply("BitShift", [x_wide, where(w, inside, by, zero)], direction=direction)
    return w.cast(where(w, inside, moved, zero), x.dtype)


def _unsigned(dtype: str) -> str:
    return dtype if dtype.startswith("u") else f"u{dtype}"


def _shift(direction: str) -> Row:
    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        dtype = args[0].dtype
        x, amount = (w.cast(value, _unsigned(dtype)) for value in args)
        return w.cast(_shifted(w, x, amount, direction), dtype)

    return elementwise(write)


def _shift_arithmetic(w: Writer, node: Node, args: list[Value]) -> Value:
    """Negative numbers are shifted as their complement."""
    x, amount = args
    dtype = x.dtype
    by = w.cast(amount, _unsigned(dtype))
    if dtype.startswith("u"):
        top = _shifted(w, x, number(w, _bits(dtype) - 1, dtype), "RIGHT")
        negative = w.apply("Equal", [top, number(w, 1, dtype)], dtype="bool")
    else:
        negative = w.apply("Less", [x, number(w, 0, dtype)], dtype="bool")
    flipped = where(w, negative, w.apply("BitwiseNot", [x]), x)
    moved = w.cast(_shifted(w, w.cast(flipped, _unsigned(dtype)), by, "RIGHT"), dtype)
    return where(w, negative, w.apply("BitwiseNot", [moved]), moved)


def _population_count(w: Writer, node: Node, args: list[Value]) -> Value:
    """Sums of bits, of pairs, of fours and so on, side by side in the number."""
    dtype = args[0].dtype
    held, width = ("uint64", 64) if _bits(dtype) == 64 else ("uint32", 32)
    x = w.cast(w.cast(args[0], _unsigned(dtype)), held)
    step = 1
    while step < width:
        mask = sum(((1 << step) - 1) << place for place in range(0, width, 2 * step))
        low = w.apply("BitwiseAnd", [x, w.constant(np.array(mask, held))])
        high = w.apply("BitwiseAnd", [_shifted(w, x, number(w, step, held), "RIGHT"), w.constant(np.array(mask, held))])
        x, step = w.apply("Add", [low, high]), 2 * step
    return w.cast(x, dtype)


def _bitcast(w: Writer, node: Node, args: list[Value]) -> Value:
    """Integers of one width; ONNX has no operator that reads the bits of floats before opset 26."""
    new = str(node.attr("new_dtype"))
    old = args[0].dtype
    if "int" not in old or "int" not in new or _bits(old) != _bits(new):
        raise UnsupportedOpError(f"bits of {old} read as {new}")
    return w.cast(args[0], new)


BITS = {
    "and": _logical("And", "BitwiseAnd"),
    "or": _logical("Or", "BitwiseOr"),
    "xor": _logical("Xor", "BitwiseXor"),
    "not": _logical("Not", "BitwiseNot"),
    "shift_left": _shift("LEFT"),
    "shift_right_logical": _shift("RIGHT"),
    "shift_right_arithmetic": elementwise(_shift_arithmetic),
    "population_count": elementwise(_population_count),
    "bitcast_convert_type": elementwise(_bitcast),
}
