# SPDX-License-Identifier: Apache-2.0
"""Reductions over axes, and softmax.

Axes are an attribute in old versions and an input in new ones; without axes everything is reduced, or nothing where
the node says so. A reduction over nothing has the value that changes no other.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

_OLD = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin")


@operator(*_OLD, "ReduceProd", "ReduceSum", "ReduceSumSquare", host=True)
def _reduce_attribute(node: Node, x: Array) -> Array:
    axes = node.attr("axes")
    return _reduce(node, x, tuple(axes) if axes else tuple(range(x.ndim)))


@operator("ReduceSum", since=13, host=True)
@operator(*_OLD, "ReduceProd", "ReduceSumSquare", since=18, host=True)
def _reduce_input(node: Node, x: Array, axes: Array | None = None) -> Array:
    given = () if axes is None else tuple(node.ints(1, axes))
    if not given and not node.attr("noop_with_empty_axes", 0):
        given = tuple(range(x.ndim))
    return _reduce(node, x, given)


def _reduce(node: Node, x: Array, axes: tuple[int, ...]) -> Array:
    keep = bool(node.attr("keepdims", 1))
    for axis in axes:
        if not -x.ndim <= axis < x.ndim:
            raise node.fault(f"got the axis {axis}; want one of the {x.ndim} of its input")
    axes = tuple(axis % x.ndim for axis in axes)
    if node.op in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp") and not jnp.issubdtype(x.dtype, jnp.floating):
        return _reduced(node, x.astype(np.float64), axes, keep).astype(x.dtype)
    return _reduced(node, x, axes, keep)


def _reduced(node: Node, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    xp = node.xp(x)

    def total(values: Array) -> Array:
        return xp.sum(values, axis=axes, keepdims=keep, dtype=values.dtype)

    match node.op:
        case "ReduceSum":
            return total(x)
        case "ReduceMean":
            return _mean(x, total(x), axes)
        case "ReduceProd":
            return xp.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)
        case "ReduceSumSquare":
            return total(x * x)
        case "ReduceL1":
            return total(xp.abs(x))
        case "ReduceL2":
            return xp.sqrt(total(x * x))
        case "ReduceLogSum":
            return xp.log(total(x))
        case "ReduceLogSumExp":
            return _log_sum_exp(node, x, axes, keep)
    return _extreme(node, x, axes, keep)


def _mean(x: Array, total: Array, axes: tuple[int, ...]) -> Array:
    count = 1
    for axis in axes:
        count = count * x.shape[axis]
    if jnp.issubdtype(x.dtype, jnp.floating):
        return total / np.asarray(count, x.dtype) if isinstance(count, int) else total / count
    return total if count == 1 else (total.astype(np.float64) / count).astype(x.dtype)


def _log_sum_exp(node: Node, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    xp = node.xp(x)
    if any(x.shape[axis] == 0 for axis in axes):
        return xp.log(xp.sum(x, axis=axes, keepdims=keep, dtype=x.dtype))
    largest = xp.max(x, axis=axes, keepdims=True)
    if xp is jnp:
        largest = lax.stop_gradient(largest)
    shift = xp.where(abs(largest) < np.asarray(np.inf, x.dtype), largest, np.zeros((), x.dtype))
    summed = xp.log(xp.sum(xp.exp(x - shift), axis=axes, keepdims=True, dtype=x.dtype)) + shift
    return summed if keep else xp.squeeze(summed, axes)


def _extreme(node: Node, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    xp, largest = node.xp(x), node.op == "ReduceMax"
    if all(x.shape[axis] != 0 for axis in axes):
        return (xp.max if largest else xp.min)(x, axis=axes, keepdims=keep)
    kept = (1 if axis in axes else size for axis, size in enumerate(x.shape))
    dropped = (size for axis, size in enumerate(x.shape) if axis not in axes)
    return xp.full(tuple(kept if keep else dropped), _bound(x.dtype, largest), x.dtype)


def _bound(dtype: Any, lowest: bool) -> Any:
    """The least or the greatest value of an element type."""
    if np.dtype(dtype).kind == "b":
        return not lowest
    if jnp.issubdtype(dtype, jnp.floating):
        return -np.inf if lowest else np.inf
    info = np.iinfo(dtype)
    return info.min if lowest else info.max


@operator("Softmax", "LogSoftmax")
def _softmax_flat(node: Node, x: Array) -> Array:
    return softmax(flat(node, x), 1, node.op == "LogSoftmax").reshape(x.shape)


def flat(node: Node, x: Array) -> Array:
    """The matrix that old versions see: axes before the node's ``axis`` are its rows."""
    axis = node.attr("axis", 1)
    axis += x.ndim if axis < 0 else 0
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, int(np.prod(x.shape[axis:], dtype=np.int64)))


@operator("Softmax", "LogSoftmax", since=13)
def _softmax(node: Node, x: Array) -> Array:
    return softmax(x, node.attr("axis", -1), node.op == "LogSoftmax")


def softmax(x: Array, axis: int, logarithm: bool = False) -> Array:
    """Softmax along an axis, or its logarithm, in plain operations."""
    if x.shape[axis] == 0:
        return x
    shifted = x - lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    if logarithm:
        return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))
    weights = jnp.exp(shifted)
    return weights / jnp.sum(weights, axis=axis, keepdims=True)
