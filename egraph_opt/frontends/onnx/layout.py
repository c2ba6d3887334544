# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements by static rules: reshape, transpose, concatenate; shapes as values."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("Constant", host=True)
def _constant(node: Node) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if (number := node.attr(name)) is not None:
            return np.asarray(number, dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if (numbers := node.attr(name)) is not None:
            return np.asarray(numbers, dtype)
    value = node.attr("value", node.attr("sparse_value"))
    if value is None:
        raise node.fault("has no value; want one of the attributes value, value_float, value_int ...")
    return value


@operator("Shape", host=True)
def _shape(node: Node, x: Array) -> Array:
    start, end = node.attr("start", 0), node.attr("end", np.ndim(x))
    return np.asarray(np.shape(x)[start:end], np.int64)


@operator("Reshape", host=True)
def _reshape_attribute(node: Node, x: Array) -> Array:
    return x.reshape(resolved(node, x.shape, node.attr("shape"), zero_copies=True))


@operator("Reshape", since=5, host=True)
def _reshape(node: Node, x: Array, shape: Array) -> Array:
    return x.reshape(resolved(node, x.shape, node.ints(1, shape), zero_copies=not node.attr("allowzero", 0)))


def resolved(node: Node, old: Sequence[int], shape: Sequence[int], *, zero_copies: bool) -> tuple[int, ...]:
    """A shape as Reshape reads it: 0 copies the old size, -1 is what is left."""
    sizes = [old[i] if size == 0 and zero_copies else size for i, size in enumerate(shape)]
    if sizes.count(-1) > 1:
        raise node.fault(f"got the shape {list(shape)}; want at most one -1")
    return tuple(sizes)


@operator("Transpose", host=True)
def _transpose(node: Node, x: Array) -> Array:
    return x.transpose(node.attr("perm", tuple(reversed(range(x.ndim)))))


@operator("Flatten", host=True)
def _flatten(node: Node, x: Array) -> Array:
    axis = node.attr("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), int(np.prod(x.shape[axis:], dtype=np.int64)))


@operator("Concat", host=True)
def _concat(node: Node, *args: Array) -> Array:
    return node.xp(*args).concatenate(args, axis=node.attr("axis", 1))


@operator("Squeeze", host=True)
def _squeeze_attribute(node: Node, x: Array) -> Array:
    return node.xp(x).squeeze(x, node.attr("axes"))


@operator("Squeeze", since=13, host=True)
def _squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    return node.xp(x).squeeze(x, None if axes is None else tuple(node.ints(1, axes)))


@operator("Unsqueeze", host=True)
def _unsqueeze_attribute(node: Node, x: Array) -> Array:
    return node.xp(x).expand_dims(x, tuple(node.attr("axes")))


@operator("Unsqueeze", since=13, host=True)
def _unsqueeze(node: Node, x: Array, axes: Array) -> Array:
    return node.xp(x).expand_dims(x, tuple(node.ints(1, axes)))


@operator("Gather", host=True)
def _gather(node: Node, x: Array, indices: Array) -> Array:
    axis = node.attr("axis", 0)
    if node.xp(x, indices) is np:
        return np.take(x, indices, axis=axis)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return jnp.take(x, int(indices), axis=axis)
    size = x.shape[axis]
    return jnp.take(x, jnp.where(indices < 0, indices + size, indices), axis=axis, mode="clip")
