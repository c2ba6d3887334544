# SPDX-License-Identifier: Apache-2.0
"""Sorting in ONNX: ``TopK`` of all elements is a stable sort; several keys are sorted from the last to the first."""

from __future__ import annotations

from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.types import is_floating
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _ranked(w: Writer, x: Value, k: int, axis: int, largest: bool) -> tuple[Value, Value]:
    """The ``k`` first elements in order and their indices (int64)."""
    inner = w.computed("TopK", "int32" if x.dtype == "bool" else x.dtype)
    wide = w.cast(x, inner)
    shape = (*x.type.shape[:axis], k, *x.type.shape[axis + 1 :])
    names = w.emit("TopK", [wide.name, w.ints([k])], 2, axis=axis, largest=int(largest))
    values = Value(names[0], wide.type.with_shape(shape), shape)
    return w.cast(values, x.dtype), Value(names[1], TensorType(shape, "int64"), shape)


def _sort(w: Writer, node: Node, args: list[Value]) -> list[Value]:
    axis, keys = node.attr("dimension"), node.attr("num_keys")
    n = args[0].type.shape[axis]
    if n < 2 or args[0].type.size == 0:
        return args
    order = None
    for key in reversed(args[:keys]):
        key = key if order is None else _picked(w, key, order, axis)
        values, found = _ranked(w, key, n, axis, largest=False)
        if len(args) == 1 and not is_floating(key.dtype):
            return [values]
        order = found if order is None else _picked(w, order, found, axis)
    assert order is not None
    return [_picked(w, x, order, axis) for x in args]


def _picked(w: Writer, x: Value, order: Value, axis: int) -> Value:
    return w.apply("GatherElements", [steps.full(w, x)], order.name, shape=order.type.shape, axis=axis)


def _top_k(w: Writer, node: Node, args: list[Value]) -> list[Value]:
    values, indices = _ranked(w, args[0], node.attr("k"), node.attr("axis"), largest=True)
    return [values, w.cast(indices, "int32")]


SORTING = {"sort": Row(_sort), "top_k": Row(_top_k)}
