# SPDX-License-Identifier: Apache-2.0
"""Pools: maximum, average and p-norm over windows, regions or all of an image; MaxUnpool."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.windows import Windows, explicit_pads, numbers, windows


def _reduced(x: Array, view: Windows, start: Any, function: Any) -> Array:
    return lax.reduce_window(
        x,
        np.asarray(start, x.dtype),
        function,
        (1, 1, *view.kernel),
        (1, 1, *view.strides),
        ((0, 0), (0, 0), *view.covered),
        window_dilation=(1, 1, *view.dilations),
    )


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if np.issubdtype(dtype, np.integer) else -np.inf


@operator("MaxPool")
def _max_pool(node: Node, x: Array) -> Array:
    view = windows(node, x.shape[2:])
    x = jnp.asarray(x)
    y = _reduced(x, view, _lowest(x.dtype), lax.max)
    return (y, _places(node, x, view)) if node.wants(1) else y


def _places(node: Node, x: Array, view: Windows) -> Array:
    """Where the maxima stand in the flat tensor; of equal ones the first."""
    sizes = x.shape[2:]
    place = np.arange(int(np.prod(sizes)), dtype=np.int64).reshape(sizes)
    none = np.int64(np.iinfo(np.int64).max)

    def larger(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        keep = (a[0] > b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))
        return jnp.where(keep, a[0], b[0]), jnp.where(keep, a[1], b[1])

    _, found = lax.reduce_window(
        (lax.stop_gradient(x), jnp.broadcast_to(place, x.shape)),
        (np.asarray(_lowest(x.dtype), x.dtype), none),
        larger,
        (1, 1, *view.kernel),
        (1, 1, *view.strides),
        ((0, 0), (0, 0), *view.covered),
        window_dilation=(1, 1, *view.dilations),
    )
    if node.attr("storage_order", 0):
        columns = np.arange(place.size, dtype=np.int64).reshape(sizes[::-1]).T.reshape(-1)
        found = jnp.take(jnp.asarray(columns), found, axis=0, mode="clip")
    images = np.arange(x.shape[0] * x.shape[1], dtype=np.int64) * place.size
    return found + images.reshape(*x.shape[:2], *(1,) * len(sizes))


@operator("AveragePool")
def average_pool(node: Node, x: Array) -> Array:
    """Means over windows."""
    view = windows(node, x.shape[2:])
    counts = view.counts(x.shape[2:], bool(node.attr("count_include_pad", 0)))
    wide = _wide(x)
    total = _reduced(wide, view, 0, lax.add)
    divisor = counts.reshape(-1)[0] if (counts == counts.reshape(-1)[0]).all() else counts
    return (total / np.asarray(divisor, wide.dtype)).astype(x.dtype)


def _wide(x: Array) -> Array:
    """Half-precision numbers are added in single precision."""
    return jnp.asarray(x).astype(np.float32) if x.dtype.itemsize < 4 else jnp.asarray(x)


@operator("LpPool")
def _lp_pool(node: Node, x: Array) -> Array:
    if not node.attr("kernel_shape"):  # versions before 2
        return _global_lp_pool(node, x)
    wide = _wide(x)
    return _root(node, _reduced(_powered(node, wide), windows(node, x.shape[2:]), 0, lax.add)).astype(x.dtype)


@operator("GlobalLpPool")
def _global_lp_pool(node: Node, x: Array) -> Array:
    total = jnp.sum(_powered(node, _wide(x)), axis=tuple(range(2, x.ndim)), keepdims=True)
    return _root(node, total).astype(x.dtype)


def _powered(node: Node, x: Array) -> Array:
    p = node.attr("p", 2)
    if p == 2:
        return x * x
    return jnp.abs(x) if p == 1 else jnp.power(jnp.abs(x), np.asarray(p, x.dtype))


def _root(node: Node, x: Array) -> Array:
    p = node.attr("p", 2)
    if p == 2:
        return jnp.sqrt(x)
    return x if p == 1 else jnp.power(x, np.asarray(1 / p, x.dtype))


@operator("GlobalAveragePool")
def _global_average_pool(_node: Node, x: Array) -> Array:
    wide, axes = _wide(x), tuple(range(2, x.ndim))
    count = math.prod(x.shape[axis] for axis in axes)
    if not isinstance(count, int) or not count:
        return jnp.mean(wide, axis=axes, keepdims=True).astype(x.dtype)
    # Shares are added up: the sum of all may be infinite where their mean is not.
    return jnp.sum(wide * np.asarray(1 / count, wide.dtype), axis=axes, keepdims=True).astype(x.dtype)


@operator("GlobalMaxPool")
def _global_max_pool(_node: Node, x: Array) -> Array:
    return jnp.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("MaxUnpool")
def _max_unpool(node: Node, x: Array, indices: Array, output_shape: Array | None = None) -> Array:
    count = x.ndim - 2
    kernel, strides = numbers(node, "kernel_shape", count, 0), numbers(node, "strides", count, 1)
    sizes = tuple(
        (size - 1) * stride + k - low - high
        for size, stride, k, (low, high) in zip(x.shape[2:], strides, kernel, explicit_pads(node, count), strict=True)
    )
    shape = (*x.shape[:2], *sizes)
    flat = jnp.zeros(int(np.prod(shape)), x.dtype).at[indices.reshape(-1)].set(x.reshape(-1))
    y = flat.reshape(shape)
    if output_shape is None:
        return y
    wanted = node.ints(2, output_shape)
    if len(wanted) != x.ndim:
        raise node.fault(f"output_shape has {len(wanted)} numbers; want {x.ndim}")
    return lax.pad(y, np.zeros((), x.dtype), [(0, want - have, 0) for want, have in zip(wanted, shape, strict=True)])


@operator("MaxRoiPool")
def _max_roi_pool(node: Node, x: Array, rois: Array) -> Array:
    if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5:
        raise node.fault(f"got X {list(x.shape)} and rois {list(rois.shape)}; want [N, C, H, W] and [regions, 5]")
    scale = np.asarray(node.attr("spatial_scale", 1.0), rois.dtype)
    picked = jnp.take(jnp.asarray(x), rois[:, 0].astype(np.int32), axis=0, mode="clip")
    # away from zero at one half, as C rounds
    corners = jnp.floor(rois[:, 1:] * scale + np.asarray(0.5, rois.dtype)).astype(np.int32)
    lowest = np.asarray(_lowest(x.dtype), x.dtype)
    covered: Any = None
    for axis, (size, bins) in enumerate(zip(x.shape[2:], node.attr("pooled_shape"), strict=True)):
        first, last = corners[:, 1 - axis], corners[:, 3 - axis]
        inside = _bin_members(first, last, size, bins)  # [regions, bins, size]
        held = jnp.any(inside, axis=2)
        covered = held if covered is None else covered[:, :, None] & held[:, None, :]
        mask = inside[:, None, :, :, None] if axis == 0 else inside[:, None, None, :, :]
        values = picked[:, :, None, :, :] if axis == 0 else picked[:, :, :, None, :]
        picked = jnp.max(jnp.where(mask, values, lowest), axis=3 if axis == 0 else 4)
    return jnp.where(covered[:, None], picked, np.zeros((), x.dtype))


def _bin_members(first: Array, last: Array, size: int, bins: int) -> Array:
    """Which elements of an axis each bin of a region holds: [regions, bins, size]."""
    length = jnp.maximum(last - first + 1, 1)[:, None]
    number = np.arange(bins, dtype=np.int32)
    low = number * length // bins + first[:, None]
    high = ((number + 1) * length + (bins - 1)) // bins + first[:, None]
    place = np.arange(size, dtype=np.int32)
    return (place >= jnp.clip(low, 0, size)[:, :, None]) & (place < jnp.clip(high, 0, size)[:, :, None])
