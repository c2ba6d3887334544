# SPDX-License-Identifier: Apache-2.0
"""Operators that order elements along an axis: the place of the largest, the k largest, running sums."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.reduction import flat


@operator("ArgMax", "ArgMin")
def _arg_extreme(node: Node, x: Array) -> Array:
    axis = checked_axis(node, node.attr("axis", 0), x.ndim)
    if x.shape[axis] == 0:
        raise node.fault("its input has no element along the axis")
    last = bool(node.attr("select_last_index", 0))
    find = jnp.argmax if node.op == "ArgMax" else jnp.argmin
    place = find(jnp.flip(x, axis) if last else x, axis=axis, keepdims=bool(node.attr("keepdims", 1)))
    place = place.astype(np.int64)
    return np.int64(x.shape[axis] - 1) - place if last else place


def checked_axis(node: Node, axis: int, rank: int) -> int:
    """An axis, counted from the front.

    Raises:
        ModelError: there is no such axis.
    """
    if not -rank <= axis < max(rank, 1):
        raise node.fault(f"got the axis {axis}; want one of the {rank} of its input")
    return axis % rank if rank else 0


@operator("Hardmax")
def _hardmax_flat(_node: Node, x: Array) -> Array:
    rows = flat(_node, x)
    return _hardmax_along(rows, 1).reshape(x.shape)


@operator("Hardmax", since=13)
def _hardmax(node: Node, x: Array) -> Array:
    return _hardmax_along(x, checked_axis(node, node.attr("axis", -1), x.ndim))


def _hardmax_along(x: Array, axis: int) -> Array:
    first = jnp.argmax(x, axis=axis, keepdims=True).astype(np.int32)
    return (lax.broadcasted_iota(np.int32, x.shape, axis) == first).astype(x.dtype)


@operator("TopK")
def _top_k_attribute(node: Node, x: Array) -> tuple[Array, Array]:
    return _top(node, x, node.attr("k"))


@operator("TopK", since=10)
def _top_k(node: Node, x: Array, k: Array) -> tuple[Array, Array]:
    count = node.ints(1, k)
    if len(count) != 1:
        raise node.fault(f"got {len(count)} numbers for K; want one")
    return _top(node, x, count[0])


def _top(node: Node, x: Array, k: int) -> tuple[Array, Array]:
    axis = checked_axis(node, node.attr("axis", -1), x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise node.fault(f"got K = {k}; want at most the {x.shape[axis]} elements along the axis")
    x = jnp.moveaxis(x, axis, -1)
    if node.attr("largest", 1):
        values, places = lax.top_k(x, k)
    elif jnp.issubdtype(x.dtype, jnp.floating):
        values, places = lax.top_k(-x, k)
        values = -values
    else:  # the least integer has no negative
        count = lax.broadcasted_iota(np.int32, x.shape, x.ndim - 1)
        ordered, order = lax.sort((x, count), num_keys=1, is_stable=True)
        values, places = ordered[..., :k], order[..., :k]
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(places.astype(np.int64), -1, axis)


@operator("CumSum", since=11)
@operator("CumProd", since=26)
def _cumulative(node: Node, x: Array, axis: Array) -> Array:
    place = checked_axis(node, node.ints(1, axis)[0], x.ndim)
    reverse = bool(node.attr("reverse", 0))
    run, unit = (lax.cumsum, 0) if node.op == "CumSum" else (lax.cumprod, 1)
    if not node.attr("exclusive", 0) or x.shape[place] == 0:
        return run(jnp.asarray(x), axis=place, reverse=reverse)
    size = x.shape[place]
    widths = [(0, 0, 0)] * x.ndim
    widths[place] = (0, 1, 0) if reverse else (1, 0, 0)
    inner = lax.slice_in_dim(x, 1, size, axis=place) if reverse else lax.slice_in_dim(x, 0, size - 1, axis=place)
    return run(lax.pad(inner, np.asarray(unit, x.dtype), widths), axis=place, reverse=reverse)
