# SPDX-License-Identifier: Apache-2.0
"""Images read at computed places: GridSample, AffineGrid, RoiAlign."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("GridSample", since=16)
def _grid_sample(node: Node, x: Array, grid: Array) -> Array:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node.attr("mode", "linear"), node.attr("mode", "linear"))
    padding = node.attr("padding_mode", "zeros")
    if mode not in ("nearest", "linear", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise node.fault(f"got mode {mode!r} and padding_mode {padding!r}, which the standard does not have")
    sizes = x.shape[2:]
    if grid.ndim != x.ndim or grid.shape[-1] != len(sizes) or grid.shape[0] != x.shape[0]:
        raise node.fault(f"got X {list(x.shape)} and grid {list(grid.shape)}; want [N, ..., {len(sizes)}]")
    aligned = bool(node.attr("align_corners", 0))
    places, limits = [], []
    for axis, size in enumerate(sizes):
        at = grid[..., len(sizes) - 1 - axis]  # the last axis of the grid names x first
        one = np.ones((), at.dtype)
        length = np.asarray(size - 1 if aligned else size, at.dtype)
        at = (at + one) * length / np.asarray(2, at.dtype)
        at = at if aligned else at - np.asarray(0.5, at.dtype)
        low, high = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
        if mode == "nearest":
            at = jnp.round(at)
        if padding == "border":
            at = jnp.where((at < low) | (at > high), jnp.clip(at, 0, size - 1), at)
        elif padding == "reflection":
            at = _reflected(at, low, high)
        places.append(at.reshape(x.shape[0], -1))
        limits.append((low, high))
    y = _interpolated(jnp.asarray(x), places, limits, mode, padding)
    return y.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(x.dtype)


def _reflected(at: Array, low: float, high: float) -> Array:
    """Places beyond the ends are mirrored at them until they are inside."""
    width = high - low
    if width <= 0:
        return jnp.full_like(at, low)
    distance = jnp.mod(jnp.abs(at - np.asarray(low, at.dtype)), np.asarray(2 * width, at.dtype))
    return np.asarray(low, at.dtype) + jnp.minimum(distance, np.asarray(2 * width, at.dtype) - distance)


def _interpolated(
    x: Array, places: Sequence[Array], limits: Sequence[tuple[float, float]], mode: str, padding: str
) -> Array:
    """x[b,c,...] at places[axis][b,p], as y[b,c,p]."""
    sizes = x.shape[2:]
    flat = x.reshape(*x.shape[:2], -1)
    per_axis = []
    for at, size, (low, high) in zip(places, sizes, limits, strict=True):
        base = jnp.floor(at) if mode != "nearest" else at
        taps = []
        for step, weight in _taps(at - base, mode):
            tap = base + np.asarray(step, at.dtype)
            share = jnp.broadcast_to(weight, at.shape)
            if padding == "zeros":
                share = jnp.where((tap >= 0) & (tap <= size - 1), share, np.zeros((), at.dtype))
            elif padding == "reflection":
                tap = _reflected(tap, low, high)
            taps.append((jnp.clip(tap, 0, size - 1).astype(np.int32), share))
        per_axis.append(taps)
    total = None
    for corner in itertools.product(*per_axis):
        index: Any = 0
        factor: Any = 1
        for size, (place, share) in zip(sizes, corner, strict=True):
            index, factor = index * np.int32(size) + place, factor * share
        term = jnp.take_along_axis(flat, index[:, None, :], axis=2) * factor[:, None, :].astype(x.dtype)
        total = term if total is None else total + term
    return total


def _taps(fraction: Array, mode: str) -> list[tuple[int, Any]]:
    """Steps to the elements that count, and their weights."""
    one = np.ones((), fraction.dtype)
    if mode == "nearest":
        return [(0, one)]
    if mode == "linear":
        return [(0, one - fraction), (1, fraction)]
    return [(step, _cubic(jnp.abs(fraction - np.asarray(step, fraction.dtype)), step)) for step in (-1, 0, 1, 2)]


def _cubic(distance: Array, step: int) -> Array:
    a, c = np.asarray(-0.75, distance.dtype), distance.dtype.type
    if step in (0, 1):
        return ((a + c(2)) * distance - (a + c(3))) * distance * distance + c(1)
    return ((a * distance - c(5) * a) * distance + c(8) * a) * distance - c(4) * a


@operator("AffineGrid", since=20)
def _affine_grid(node: Node, theta: Array, size: Array) -> Array:
    sizes = node.ints(1, size)[2:]
    count = len(sizes)
    if theta.shape[1:] != (count, count + 1):
        raise node.fault(f"got theta {list(theta.shape)} for {count} axes; want [N, {count}, {count + 1}]")
    lines = []
    for length in sizes:
        line = np.linspace(-1, 1, length) if node.attr("align_corners", 0) else (2 * np.arange(length) + 1) / length - 1
        lines.append(line)
    # the last axis of the grid names x first, then y, z, and 1
    grid = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(sizes)], axis=-1)
    points = np.asarray(grid.reshape(-1, count + 1), theta.dtype)
    return jnp.einsum("pk,nak->npa", points, theta).reshape(theta.shape[0], *sizes, count)


@operator("RoiAlign", since=10)
def _roi_align_10(node: Node, x: Array, rois: Array, batch: Array) -> Array:
    return _roi_align(node, x, rois, batch, half_pixel=False)


@operator("RoiAlign", since=16)
def _roi_align_16(node: Node, x: Array, rois: Array, batch: Array) -> Array:
    mode = node.attr("coordinate_transformation_mode", "half_pixel")
    return _roi_align(node, x, rois, batch, half_pixel=mode == "half_pixel")


def _roi_align(node: Node, x: Array, rois: Array, batch: Array, *, half_pixel: bool) -> Array:
    if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 4 or batch.shape != rois.shape[:1]:
        raise node.fault(f"got X {list(x.shape)}, rois {list(rois.shape)} and batch_indices {list(batch.shape)}")
    if not rois.shape[0]:
        return jnp.zeros((0, x.shape[1], node.attr("output_height", 1), node.attr("output_width", 1)), x.dtype)
    dtype = rois.dtype
    corners = rois * np.asarray(node.attr("spatial_scale", 1.0), dtype) - np.asarray(0.5 * half_pixel, dtype)
    axes, counts = [], []
    bins = (node.attr("output_height", 1), node.attr("output_width", 1))
    for axis in range(2):
        start, length = corners[:, 1 - axis], corners[:, 3 - axis] - corners[:, 1 - axis]
        width = (length if half_pixel else jnp.maximum(length, np.ones((), dtype))) / np.asarray(bins[axis], dtype)
        fixed = node.attr("sampling_ratio", 0)
        each = jnp.full(width.shape, fixed, np.int32) if fixed > 0 else jnp.ceil(width).astype(np.int32)
        most = fixed if fixed > 0 else int(node.concrete(each, "the sizes of its rois (sampling_ratio is 0)").max())
        axes.append(_Samples.of(start, width, each, max(most, 1), bins[axis], x.shape[2 + axis]))
        counts.append(jnp.maximum(each, 0))
    images = jnp.take(jnp.asarray(x), batch.astype(np.int32), axis=0, mode="clip")
    if node.attr("mode", "avg") != "avg":
        return _largest(images, axes[0], axes[1])
    rows, columns = (samples.weights(size).astype(x.dtype) for samples, size in zip(axes, x.shape[2:], strict=True))
    number = jnp.maximum(counts[0] * counts[1], 1).astype(x.dtype)
    return jnp.einsum("rph,rchw,rqw->rcpq", rows, images, columns) / number[:, None, None, None]


@dataclass(frozen=True, slots=True)
class _Samples:
    """Where samples read an axis, all [region, bin, sample].

    Args:
        low: number of the element below.
        high: number of the element above.
        fraction: how far the sample lies above the lower one.
        counted: whether the region has so many samples.
        inside: whether the sample lies on the image; others are zero.
    """

    low: Array
    high: Array
    fraction: Array
    counted: Array
    inside: Array

    @classmethod
    def of(cls, start: Array, width: Array, each: Array, most: int, bins: int, size: int) -> _Samples:
        """Samples of regions that begin at ``start``, with bins of a width and ``each`` samples in a bin."""
        dtype = width.dtype
        number = np.arange(most, dtype=dtype) + np.asarray(0.5, dtype)
        step = width / jnp.maximum(each, 1).astype(dtype)
        bin_start = start[:, None] + np.arange(bins, dtype=dtype) * width[:, None]
        at = bin_start[:, :, None] + number * step[:, None, None]
        inside = (at >= -1) & (at <= size)
        at = jnp.clip(at, 0, size - 1)
        low = jnp.floor(at)
        high = jnp.minimum(low.astype(np.int32) + np.int32(1), size - 1)
        counted = jnp.broadcast_to(np.arange(most) < each[:, None, None], at.shape)
        return cls(low.astype(np.int32), high, at - low, counted, inside)

    def weights(self, size: int) -> Array:
        """Matrix [region, bin, element] of the sum of a bin's samples."""
        one, none = np.ones((), self.fraction.dtype), np.zeros((), self.fraction.dtype)
        used = jnp.where(self.counted & self.inside, one, none)
        places = np.arange(size, dtype=np.int32)
        below = jnp.where(self.low[..., None] == places, (used * (one - self.fraction))[..., None], none)
        above = jnp.where(self.high[..., None] == places, (used * self.fraction)[..., None], none)
        return jnp.sum(below + above, axis=2)


def _largest(images: Array, rows: _Samples, columns: _Samples) -> Array:
    """Mode max: the largest product of an element and its weight, of the four around each sample."""
    width = images.shape[3]
    flat = images.reshape(*images.shape[:2], -1)
    shape = (*rows.low.shape, *columns.low.shape[1:])  # [region, bin, sample, bin, sample]

    def both(row: Array, column: Array, join: Any) -> Array:
        return join(row[:, :, :, None, None], column[:, None, None, :, :])

    best: Any = None
    one = np.ones((), rows.fraction.dtype)
    for (row, down), (column, right) in itertools.product(
        ((rows.low, one - rows.fraction), (rows.high, rows.fraction)),
        ((columns.low, one - columns.fraction), (columns.high, columns.fraction)),
    ):
        index = both(row * np.int32(width), column, jnp.add).reshape(shape[0], 1, -1)
        values = jnp.take_along_axis(flat, index, axis=2).reshape(*images.shape[:2], *shape[1:])
        values = values * both(down, right, jnp.multiply)[:, None].astype(values.dtype)
        best = values if best is None else jnp.maximum(best, values)
    none, lowest = np.zeros((), images.dtype), np.asarray(-np.inf, images.dtype)
    best = jnp.where(both(rows.inside, columns.inside, jnp.logical_and)[:, None], best, none)
    best = jnp.where(both(rows.counted, columns.counted, jnp.logical_and)[:, None], best, lowest)
    best = jnp.max(best, axis=(3, 5))
    return jnp.where(jnp.isneginf(best), none, best)
