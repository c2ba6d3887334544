# SPDX-License-Identifier: Apache-2.0
"""Operations that move elements by static rules, in ONNX."""

from __future__ import annotations

import itertools

import numpy as np

from egraph_opt.ir import Node, TensorType
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row, of_array
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _slice(w: Writer, node: Node, args: list[Value]) -> Value:
    strides = node.attr("strides") or (1,) * args[0].type.rank
    return steps.slices(w, args[0], node.attr("start_indices"), node.attr("limit_indices"), strides)


def _pad(w: Writer, node: Node, args: list[Value]) -> Value:
    x, value = args
    low, high, inner = ([amounts[k] for amounts in node.attr("padding_config")] for k in range(3))
    return steps.pad(w, steps.dilate(w, x, value, inner), value, low, high)


def _iota(w: Writer, node: Node, args: list[Value]) -> Value:
    return steps.counted(w, node.attr("shape"), node.attr("dimension"), str(node.attr("dtype")))


def split(w: Writer, x: Value, sizes: tuple[int, ...], axis: int) -> list[Value]:
    """Consecutive parts along a dimension."""
    bounds = np.cumsum([0, *sizes]).tolist()
    if len(sizes) < 2 or x.type.size == 0:
        return [steps.part(w, x, axis, a, b) for a, b in itertools.pairwise(bounds)]
    names = w.emit("Split", [steps.full(w, x).name, w.ints(sizes)], len(sizes), axis=axis)
    shapes = [(*x.type.shape[:axis], n, *x.type.shape[axis + 1 :]) for n in sizes]
    return [Value(name, TensorType(shape, x.dtype), shape) for name, shape in zip(names, shapes, strict=True)]


def _unstack(w: Writer, node: Node, args: list[Value]) -> list[Value]:
    (x,) = args
    axis = node.attr("axis")
    shape = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    return [steps.reshape(w, row, shape) for row in split(w, x, (1,) * x.type.shape[axis], axis)]


def _stack(w: Writer, node: Node, args: list[Value]) -> Value:
    axis = node.attr("axis")
    shape = args[0].type.shape
    rows = [steps.reshape(w, x, (*shape[:axis], 1, *shape[axis:])) for x in args]
    return steps.concatenate(w, rows, axis)


def _tile(w: Writer, node: Node, args: list[Value]) -> Value:
    (x,) = args
    reps = node.attr("reps")
    reps = (*(1,) * (x.type.rank - len(reps)), *reps)
    x = steps.reshape(w, x, (*(1,) * (len(reps) - x.type.rank), *x.type.shape))
    shape = [n * count for n, count in zip(x.type.shape, reps, strict=True)]
    return w.apply("Tile", [x], w.ints(reps), shape=shape)


LAYOUT = {
    "reshape": of_array(steps.reshape, "shape"),
    "slice": Row(_slice),
    "pad": Row(_pad),
    "concatenate": Row(lambda w, node, args: steps.concatenate(w, args, node.attr("dimension"))),
    "rev": of_array(steps.reverse, "dimensions"),
    "iota": Row(_iota),
    "split": Row(lambda w, node, args: split(w, args[0], node.attr("sizes"), node.attr("axis"))),
    "stack": Row(_stack),
    "unstack": Row(_unstack),
    "tile": Row(_tile),
}
