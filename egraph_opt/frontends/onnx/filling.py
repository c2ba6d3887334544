# SPDX-License-Identifier: Apache-2.0
"""Operators that make arrays: constants, ranges, identities, one-hot rows, triangles."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type


@operator("Constant", host=True)
def _constant(node: Node) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if (number := node.attr(name)) is not None:
            return np.asarray(number, dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if (numbers := node.attr(name)) is not None:
            return np.asarray(numbers, dtype)
    if (text := node.attr("value_string", node.attr("value_strings"))) is not None:
        return np.array(text, object)
    value = node.attr("value", node.attr("sparse_value"))
    if value is None:
        raise node.fault("has no value; want one of the attributes value, value_float, value_int ...")
    return value


@operator("ConstantOfShape", since=9, host=True)
def _constant_of_shape(node: Node, shape: Array) -> Array:
    value = node.attr("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise node.fault(f"got a value of {value.size} elements; want one")
    sizes = tuple(node.ints(0, shape))
    return node.space(*sizes).full(sizes, value.reshape(()), value.dtype)


@operator("EyeLike", since=9, host=True)
def _eye_like(node: Node, x: Array) -> Array:
    if np.ndim(x) != 2:
        raise node.fault(f"got an input with {np.ndim(x)} axes; want a matrix")
    code = node.attr("dtype")
    dtype = x.dtype if code is None else element_type(code, node.where)
    return node.space(*x.shape).eye(*x.shape, k=node.attr("k", 0), dtype=dtype)


@operator("Range", since=11, host=True)
def _range(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    numbers = [node.static(i, x).reshape(()) for i, x in enumerate((start, limit, delta))]
    dtype = numbers[0].dtype
    wide = _wide(dtype, node.attr("stash_type", 1))
    first, end, step = (wide(number) for number in numbers)
    if step == 0:
        raise node.fault("got the step 0; want another")
    count = max(math.ceil((end - first) / step), 0)
    xp = node.space(count)
    places = xp.arange(count, dtype=np.int64)
    if jnp.issubdtype(dtype, jnp.integer):
        return (places * int(step) + int(first)).astype(dtype)
    exact = np.float64 if dtype == np.float64 else np.float32
    return (places.astype(exact) * exact(step) + exact(first)).astype(dtype)


def _wide(dtype: Any, stash: int) -> Any:
    """What numbers are computed in: integers exactly, others in the type that the standard says."""
    if jnp.issubdtype(dtype, jnp.integer):
        return int
    return np.float64 if dtype == np.float64 or stash == 11 else np.float32


@operator("OneHot", since=9)
def _one_hot(node: Node, indices: Array, depth: Array, values: Array) -> Array:
    size = int(node.static(1, depth).reshape(()))
    axis = node.attr("axis", -1)
    if not -indices.ndim - 1 <= axis <= indices.ndim:
        raise node.fault(f"got the axis {axis}; want one of the {indices.ndim + 1} of its output")
    axis %= indices.ndim + 1
    places = jnp.expand_dims(jnp.asarray(indices).astype(np.int64), axis)
    places = jnp.where(places < 0, places + size, places)
    shape = (*places.shape[:axis], size, *places.shape[axis + 1 :])
    hot = lax.broadcasted_iota(np.int64, shape, axis) == places
    return jnp.where(hot, values[1], values[0])


@operator("Trilu", since=14, host=True)
def _triangle(node: Node, x: Array, k: Array | None = None) -> Array:
    offset = np.int64(0) if k is None else k.reshape(()).astype(np.int64)
    xp = node.xp(x, offset)
    rows, columns = x.shape[-2:]
    if xp is np:
        row, column = np.indices((rows, columns), np.int64)
    else:
        row, column = (lax.broadcasted_iota(np.int64, (rows, columns), axis) for axis in (0, 1))
    kept = column - row >= offset if node.attr("upper", 1) else column - row <= offset
    return xp.where(kept, x, np.zeros((), x.dtype))
