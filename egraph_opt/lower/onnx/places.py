# SPDX-License-Identifier: Apache-2.0
"""Slices, gathers and scatters at computed places, in ONNX.

A general gather or scatter becomes one ``GatherND`` or ``ScatterND``: its starts are widened to the places of every
element of its windows. What is out of bounds is clamped, filled or dropped by the steps around it, as JAX defines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.attrs import thaw
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value, extreme
from egraph_opt.lower.onnx.writer import Writer

Ints = Sequence[int]


def clamped(w: Writer, start: Value, last: int | Value) -> Value:
    """A start as int64 between 0 and ``last``."""
    start = _whole(w, start)
    high = last if isinstance(last, Value) else steps.number(w, last, "int64")
    return w.apply("Max", [w.apply("Min", [start, high]), steps.number(w, 0, "int64")])


def _whole(w: Writer, x: Value) -> Value:
    """Indices as int64; those of uint64 that are beyond it stay out of bounds."""
    if x.dtype == "uint64":
        x = w.apply("Min", [x, w.constant(np.array(np.iinfo(np.int64).max, np.uint64))])
    return w.cast(x, "int64")


def _dynamic_slice(w: Writer, x: Value, starts: Sequence[Value], sizes: Ints) -> Value:
    axes = [axis for axis, (n, size) in enumerate(zip(x.type.shape, sizes, strict=True)) if n != size]
    if not axes:
        return x
    bounds = [steps.reshape(w, clamped(w, starts[axis], x.type.shape[axis] - sizes[axis]), (1,)) for axis in axes]
    first = steps.concatenate(w, bounds, 0)
    last = w.apply("Add", [first, w.constant(np.array([sizes[axis] for axis in axes], np.int64), "ints")])
    return w.apply("Slice", [x], first.name, last.name, w.ints(axes), shape=tuple(sizes))


def _slice_in_dim(w: Writer, node: Node, args: list[Value]) -> Value:
    x, start = args
    axis = node.attr("axis")
    sizes = list(x.type.shape)
    sizes[axis] = node.attr("slice_size")
    return _dynamic_slice(w, x, [start] * x.type.rank, sizes)


def _update(w: Writer, x: Value, update: Value, starts: Sequence[Value], axis: int = 0) -> Value:
    """The tensor with a block replaced: what lies before and behind it along each dimension is kept."""
    while axis < x.type.rank and x.type.shape[axis] == update.type.shape[axis]:
        axis += 1
    if axis == x.type.rank or update.type.size == 0:
        return update if axis == x.type.rank else x
    n, size = x.type.shape[axis], update.type.shape[axis]
    start = steps.reshape(w, clamped(w, starts[axis], n - size), (1,))
    stop = w.apply("Add", [start, w.constant(np.array([size], np.int64), "ints")])
    shape = (*x.type.shape[:axis], size, *x.type.shape[axis + 1 :])
    slab = w.apply("Slice", [x], start.name, stop.name, w.ints([axis]), shape=shape)
    before = w.emit("Slice", [x.name, w.ints([0]), start.name, w.ints([axis])])
    behind = w.emit("Slice", [x.name, stop.name, w.ints([n]), w.ints([axis])])
    middle = _update(w, slab, update, starts, axis + 1)
    (name,) = w.emit("Concat", [*before, steps.full(w, middle).name, *behind], axis=axis)
    return Value(name, x.type, x.held)


def _mode(node: Node) -> str:
    return str(node.attr("mode").name)


def _fill(w: Writer, node: Node, dtype: str) -> Value:
    """What stands for elements out of bounds: NaN, the least signed, the largest unsigned integer, or as told."""
    value = thaw(node.attr("fill_value"))
    if value is None:
        kind = np.dtype(dtype)
        value = np.nan if kind.kind not in "iub" else extreme(dtype, kind.kind != "i")
    return steps.number(w, value, dtype)


def _take(w: Writer, node: Node, args: list[Value]) -> Value:
    x, indices = args
    axis, n, mode = node.attr("axis"), args[0].type.shape[node.attr("axis")], _mode(node)
    shape = (*x.type.shape[:axis], *indices.type.shape, *x.type.shape[axis + 1 :])
    if n == 0:
        return steps.filled(w, 0, TensorType(shape, x.dtype)) if mode == "CLIP" else _filled(w, node, x.dtype, shape)
    places = clamped(w, indices, n - 1)  # JAX clamps where the program promised too much
    taken = w.apply("Gather", [x], places.name, shape=shape, axis=axis)
    if mode != "FILL_OR_DROP":
        return taken
    inside = w.apply("Equal", [places, _whole(w, indices)], dtype="bool")
    held = steps.held_as(w, inside, (*inside.type.shape, *(1,) * (len(shape) - axis - 1)), shape)
    return steps.where(w, held, taken, _fill(w, node, x.dtype))


def _filled(w: Writer, node: Node, dtype: str, shape: Ints) -> Value:
    return Value(_fill(w, node, dtype).name, TensorType(tuple(shape), dtype), ())


def _gather(w: Writer, node: Node, args: list[Value]) -> Value:
    x, indices = args
    numbers, sizes = node.attr("dimension_numbers"), node.attr("slice_sizes")
    offsets = set(numbers.offset_dims)
    rank = len(offsets) + indices.type.rank - 1
    batch = indices.type.shape[:-1]
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    places = _Places(
        w, x.type.shape, indices, sizes, numbers.start_index_map,
        (numbers.operand_batching_dims, numbers.start_indices_batching_dims), _mode(node),
    )  # fmt: skip
    order = [*places.axes, *(axis for axis in range(x.type.rank) if axis not in places.axes)]
    moved = steps.transpose(w, steps.full(w, x), order)
    rest = moved.type.shape[len(places.axes) :]
    whole = (*batch, *places.window, *rest)
    found = w.apply("GatherND", [moved], places.index.name, shape=whole)
    # Dimensions of the result: those of the batch, then the operand's in the order in which they were gathered.
    kept = [axis for axis in range(x.type.rank) if axis not in dropped]
    sources = {axis: len(batch) + place for place, axis in enumerate(order)}
    found = steps.transpose(w, found, [*range(len(batch)), *(sources[axis] for axis in (*kept, *sorted(dropped)))])
    found = steps.reshape(w, found, (*batch, *(sizes[axis] for axis in kept)))
    window, ahead = iter(range(len(batch), rank)), iter(range(len(batch)))
    perm = [next(window) if axis in offsets else next(ahead) for axis in range(rank)]
    result = steps.transpose(w, found, perm)
    if _mode(node) != "FILL_OR_DROP":
        return result
    inside = places.inside()
    spread = [1 if axis in offsets else result.type.shape[axis] for axis in range(rank)]
    held = steps.held_as(w, inside, spread, result.type.shape)
    return steps.where(w, held, result, _fill(w, node, x.dtype))


class _Places:
    """Where each element of each window lies in the operand, along the dimensions that are indexed.

    Args:
        w: makes the nodes.
        shape: of the operand.
        indices: starts, the last dimension holding one number for each dimension in ``index_map``.
        sizes: of the windows.
        index_map: dimensions of the operand that the starts are for.
        batching: dimensions of the operand, and those of the indices that run along with them.
        mode: what to do out of bounds.
    """

    def __init__(
        self, w: Writer, shape: Ints, indices: Value, sizes: Ints, index_map: Ints, batching: tuple[Ints, Ints],
        mode: str,
    ) -> None:  # fmt: skip
        self.w, self.batch = w, indices.type.shape[:-1]
        partial = [axis for axis, n in enumerate(sizes) if n != shape[axis] and axis not in index_map]
        ahead = [axis for axis in partial if axis not in batching[0]]
        self.axes = [*index_map, *batching[0], *ahead]
        self.window = tuple(sizes[axis] for axis in self.axes)
        self.last = [shape[axis] - sizes[axis] for axis in index_map]
        self.starts = _whole(w, indices)
        top = w.constant(np.array(self.last, np.int64), "ints")
        self.clamped = clamped(w, indices, top)
        whole = (*self.batch, *self.window)
        columns = [self._column(place, whole, batching) for place in range(len(self.axes))]
        columns = [steps.reshape(w, column, (*whole, 1)) for column in columns]
        self.index = steps.concatenate(w, columns, len(whole))
        if not columns:
            self.index = w.constant(np.zeros((*whole, 0), np.int64))

    def _column(self, place: int, whole: tuple[int, ...], batching: tuple[Ints, Ints]) -> Value:
        w, rank = self.w, len(self.batch)
        starts = len(self.last)
        along = steps.counted(w, whole, rank + place, "int64")
        if place < starts:
            start = steps.part(w, self.clamped, rank, place, place + 1)
            held = steps.held_as(w, start, (*self.batch, *(1,) * len(self.window)), whole)
            return held if self.window[place] == 1 else w.apply("Add", [held, along])
        if place < starts + len(batching[0]):
            return steps.counted(w, whole, batching[1][place - starts], "int64")
        return along

    def inside(self) -> Value:
        """For each window, whether all of it lies in the operand."""
        w = self.w
        same = w.cast(w.apply("Equal", [self.starts, self.clamped], dtype="bool"), "int32")
        return w.cast(steps.reduced(w, "ReduceMin", same, [len(self.batch)]), "bool")


def _scatter(reduction: str, negates: bool = False) -> Row:
    """``ScatterND``; windows out of bounds go to an extra slice behind the operand, which is cut off again."""

    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        x, indices, updates = args
        if updates.type.size == 0:
            return x
        numbers: Any = node.attr("dimension_numbers")
        window_dims = numbers.update_window_dims
        inserted = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        kept = [axis for axis in range(x.type.rank) if axis not in inserted]
        sizes = [1] * x.type.rank
        for axis, dim in zip(kept, window_dims, strict=True):
            sizes[axis] = updates.type.shape[dim]
        mapped = numbers.scatter_dims_to_operand_dims
        batching = (numbers.operand_batching_dims, numbers.scatter_indices_batching_dims)
        places = _Places(w, x.type.shape, indices, sizes, mapped, batching, _mode(node))
        order = [*places.axes, *(axis for axis in range(x.type.rank) if axis not in places.axes)]
        batch_dims = [d for d in range(updates.type.rank) if d not in window_dims]
        updates = steps.transpose(w, updates, [*batch_dims, *window_dims])
        at = {axis: len(batch_dims) + k for k, axis in enumerate(kept)}
        moved = [at[axis] for axis in order if axis in at]
        updates = steps.transpose(w, updates, [*range(len(batch_dims)), *moved])
        shape = (*places.batch, *(sizes[axis] for axis in order))
        updates = steps.reshape(w, updates, shape)
        operand = steps.transpose(w, x, order)
        index, n = places.index, operand.type.shape[0] if operand.type.shape else 0
        drops = _mode(node) != "CLIP" and bool(mapped)
        if drops:
            index = _sent_behind(w, places, index, n)
            zero = [0] * operand.type.rank
            operand = steps.pad(w, operand, steps.number(w, 0, x.dtype), zero, [1, *zero[1:]])
        if negates:
            updates = w.apply("Neg", [updates])
        result = _written(w, operand, index, updates, reduction)
        result = steps.part(w, result, 0, 0, n) if drops else result
        return steps.transpose(w, result, [order.index(axis) for axis in range(x.type.rank)])

    return Row(write)


def _sent_behind(w: Writer, places: _Places, index: Value, n: int) -> Value:
    """The index with windows out of bounds at the extra slice."""
    whole = index.type.shape[:-1]
    inside = steps.held_as(w, places.inside(), (*places.batch, *(1,) * (len(whole) - len(places.batch))), whole)
    first = steps.part(w, index, len(whole), 0, 1)
    sent = steps.where(w, inside, steps.reshape(w, first, whole), steps.number(w, n, "int64"))
    rest = steps.part(w, index, len(whole), 1, index.type.shape[-1])
    columns = [steps.reshape(w, sent, (*whole, 1)), rest]
    return steps.concatenate(w, columns if rest.type.shape[-1] else columns[:1], len(whole))


def _written(w: Writer, x: Value, index: Value, updates: Value, reduction: str) -> Value:
    """The scatter; sums and the like are made in an element type that runtimes have them for."""
    inner = w.computed("Add" if reduction != "none" else "ScatterND", x.dtype)
    attrs = {} if reduction == "none" else {"reduction": reduction}
    names = [index.name, w.cast(steps.full(w, updates), inner).name]
    return w.cast(w.apply("ScatterND", [w.cast(x, inner)], *names, shape=x.type.shape, **attrs), x.dtype)


def _segment_sum(w: Writer, node: Node, args: list[Value]) -> Value:
    x, ids = args
    size = node.attr("size")
    rows = (size, *x.type.shape[1:])
    index = clamped(w, ids, size - 1) if node.attr("clips") else _whole(w, ids)
    extra = 0 if node.attr("clips") else 1
    if extra:  # ids out of bounds go to a row that is cut off again
        inside = w.apply("Equal", [index, clamped(w, ids, size - 1)], dtype="bool")
        index = steps.where(w, inside, index, steps.number(w, size, "int64"))
    zeros = steps.full(w, steps.filled(w, 0, TensorType((size + extra, *rows[1:]), x.dtype)))
    index = steps.reshape(w, index, (*index.type.shape, 1))
    return steps.part(w, _written(w, zeros, index, x, "add"), 0, 0, size)


PLACES = {
    "dynamic_slice": Row(lambda w, node, args: _dynamic_slice(w, args[0], args[1:], node.attr("slice_sizes"))),
    "dynamic_slice_in_dim": Row(_slice_in_dim),
    "dynamic_update_slice": Row(lambda w, node, args: _update(w, args[0], args[1], args[2:])),
    "take": Row(_take),
    "gather": Row(_gather),
    "scatter": _scatter("none"),
    "scatter_add": _scatter("add"),
    "scatter_sub": _scatter("add", negates=True),
    "scatter_mul": _scatter("mul"),
    "scatter_max": _scatter("max"),
    "scatter_min": _scatter("min"),
    "segment_sum": Row(_segment_sum),
}
