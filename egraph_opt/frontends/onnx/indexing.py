# SPDX-License-Identifier: Apache-2.0
"""Operators that read and write elements at places given by other values: Gather*, Scatter*, Compress, NonZero, Unique.

Negative places count from the back. A Gather whose places are known and evenly spaced is a slice.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.selection import checked_axis


@operator("Gather", host=True)
def _gather(node: Node, x: Array, indices: Array) -> Array:
    axis = checked_axis(node, node.attr("axis", 0), x.ndim)
    if isinstance(indices, np.ndarray | np.generic):
        return _gather_known(node, x, np.asarray(indices).astype(np.int64), axis)
    return jnp.take(x, _from_front(indices, x.shape[axis]), axis=axis, mode="clip")


def _from_front(indices: Array, size: int) -> Array:
    return jnp.where(indices < 0, indices + np.asarray(size, indices.dtype), indices)


def _gather_known(node: Node, x: Array, indices: np.ndarray, axis: int) -> Array:
    size = x.shape[axis]
    if isinstance(size, int):
        outside = indices[(indices < -size) | (indices >= size)]
        if outside.size:
            raise node.fault(f"got the index {outside[0]}; the axis {axis} has {size} elements")
    places = np.where(indices < 0, indices + size, indices)
    if node.xp(x) is np:
        return np.take(x, places, axis=axis)
    flat = places.reshape(-1)
    steps = np.unique(np.diff(flat))
    if flat.size and steps.size <= 1:
        step = int(steps[0]) if steps.size else 1
        first, last = int(flat.min()), int(flat.max())
        if step:
            cut = lax.slice_in_dim(x, first, last + 1, abs(step), axis)
            cut = lax.rev(cut, (axis,)) if step < 0 else cut
            return cut.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return jnp.take(x, places, axis=axis, mode="clip")


@operator("GatherElements", since=11)
def _gather_elements(node: Node, x: Array, indices: Array) -> Array:
    axis = checked_axis(node, node.attr("axis", 0), x.ndim)
    cuts = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(indices.shape))
    places = _from_front(jnp.asarray(indices), x.shape[axis])
    return jnp.take_along_axis(jnp.asarray(x)[cuts], places, axis, mode="clip")


@operator("GatherND", since=11)
def _gather_nd(node: Node, x: Array, indices: Array) -> Array:
    batch, depth = node.attr("batch_dims", 0), indices.shape[-1]
    if batch + depth > x.ndim:
        raise node.fault(f"got indices of {depth} numbers behind {batch} batch axes for an input with {x.ndim} axes")
    outer = [_along(axis, indices.shape[axis], indices.ndim - 1) for axis in range(batch)]
    inner = [_from_front(jnp.asarray(indices)[..., i], x.shape[batch + i]) for i in range(depth)]
    return jnp.asarray(x).at[(*outer, *inner)].get(mode="clip")


def _along(axis: int, size: int, rank: int) -> np.ndarray:
    """The places 0, 1, 2 ... along one axis of an array of indices."""
    return np.arange(size, dtype=np.int64).reshape((1,) * axis + (size,) + (1,) * (rank - axis - 1))


@operator("Scatter", since=9)
@operator("ScatterElements", since=11)
def _scatter_elements(node: Node, x: Array, indices: Array, updates: Array) -> Array:
    axis = checked_axis(node, node.attr("axis", 0), x.ndim)
    if indices.shape != updates.shape:
        raise node.fault(f"got indices of the shape {list(indices.shape)} and updates of {list(updates.shape)}")
    places = [_along(i, size, indices.ndim) for i, size in enumerate(indices.shape)]
    places[axis] = _from_front(jnp.asarray(indices), x.shape[axis])
    return _written(node, x, tuple(places), updates)


@operator("ScatterND", since=11)
def _scatter_nd(node: Node, x: Array, indices: Array, updates: Array) -> Array:
    depth = indices.shape[-1]
    if depth > x.ndim or updates.shape != (*indices.shape[:-1], *x.shape[depth:]):
        raise node.fault(
            f"got updates of the shape {list(updates.shape)};"
            f" want {[*indices.shape[:-1], *x.shape[depth:]]} for indices of {list(indices.shape)}"
        )
    places = tuple(_from_front(jnp.asarray(indices)[..., i], x.shape[i]) for i in range(depth))
    return _written(node, x, places, updates)


def _written(node: Node, x: Array, places: tuple[Array, ...], updates: Array) -> Array:
    """The array with updates at places, combined as the node says."""
    target = jnp.asarray(x).at[places]
    match node.attr("reduction", "none"):
        case "none":
            return target.set(updates)
        case "add":
            return target.add(updates)
        case "mul":
            return target.multiply(updates)
        case "max":
            return target.max(updates)
        case "min":
            return target.min(updates)
        case other:
            raise node.fault(f"got the reduction {other!r}; want none, add, mul, max or min")


@operator("TensorScatter", since=24)
def _tensor_scatter(node: Node, cache: Array, update: Array, first: Array | None = None) -> Array:
    axis = checked_axis(node, node.attr("axis", -2), cache.ndim)
    mode = node.attr("mode", "linear")
    if axis == 0 or mode not in ("linear", "circular"):
        raise node.fault(f"got the axis {axis}, mode {mode!r}; want an axis behind the batch, linear or circular")
    cache, update = jnp.asarray(cache), jnp.asarray(update)
    if first is None:
        return lax.dynamic_update_slice_in_dim(cache, update, 0, axis)
    rows = _along(0, cache.shape[0], 2)
    places = first[:, None] + np.arange(update.shape[axis], dtype=np.int64)
    if mode == "circular":
        places = places % cache.shape[axis]
    moved = jnp.moveaxis(cache, axis, 1).at[rows, places].set(jnp.moveaxis(update, axis, 1))
    return jnp.moveaxis(moved, 1, axis)


@operator("Compress", since=9)
def _compress(node: Node, x: Array, condition: Array) -> Array:
    chosen = np.flatnonzero(node.static(1, condition))
    axis = node.attr("axis")
    flat = axis is None
    x = x.reshape(-1) if flat else x
    place = 0 if flat else checked_axis(node, axis, x.ndim)
    return node.xp(x).take(x, chosen[chosen < x.shape[place]], axis=place)


@operator("NonZero", since=9)
def _non_zero(node: Node, x: Array) -> Array:
    values = node.concrete(x, "its input")
    places = np.nonzero(values) if values.ndim else np.nonzero(values.reshape(1))
    return np.asarray(places, np.int64).reshape(len(places), -1)


@operator("Unique", since=11)
def _unique(node: Node, x: Array) -> tuple[Array, ...]:
    values, axis = node.concrete(x, "its input"), node.attr("axis")
    found, first, inverse, counts = np.unique(values, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not node.attr("sorted", 1):
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        found = np.take(found, order, axis=0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return found, *(part.astype(np.int64) for part in (first, inverse, counts))


@operator("ReverseSequence", since=10)
def _reverse_sequence(node: Node, x: Array, lengths: Array) -> Array:
    batch, time = node.attr("batch_axis", 1), node.attr("time_axis", 0)
    if sorted((batch, time)) != [0, 1]:
        raise node.fault(f"got the batch axis {batch} and the time axis {time}; want 0 and 1")
    size = x.shape[time]
    steps = np.arange(size, dtype=np.int64)[None, :]
    length = jnp.asarray(lengths)[:, None]
    places = jnp.where(steps < length, length - 1 - steps, steps)
    places = places if batch == 0 else places.T
    places = places.reshape(places.shape + (1,) * (x.ndim - 2))
    return jnp.take_along_axis(jnp.asarray(x), places, time, mode="clip")
