# SPDX-License-Identifier: Apache-2.0
"""Resize and Upsample: every axis by itself, by a product with its matrix of weights, or by picking elements.

Sizes and scales are known while the model is traced, so the weights are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.quantization import is_integer, rounded


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resized.

    Args:
        size: number of elements before.
        wanted: number of elements afterwards.
        scale: from the first to the second, as the node gives it.
        region: first and last place of the region in parts of the axis, for tf_crop_and_resize.
    """

    size: int
    wanted: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


@operator("Upsample", since=1)
def _upsample_oldest(node: Node, x: Array) -> Array:
    scales = (1.0, 1.0, node.attr("height_scale", 1.0), node.attr("width_scale", 1.0))
    return _scaled_before_11(node, x, scales)


@operator("Upsample", since=7)
def _upsample_attribute(node: Node, x: Array) -> Array:
    return _scaled_before_11(node, x, node.attr("scales", ()))


@operator("Upsample", since=9)
@operator("Resize", since=10)
def _resize_10(node: Node, x: Array, scales: Array) -> Array:
    return _scaled_before_11(node, x, [float(s) for s in node.static(1, scales).reshape(-1)])


def _scaled_before_11(node: Node, x: Array, scales: Sequence[float]) -> Array:
    axes = _axes_of_scales(node, x, scales, range(x.ndim))
    return _resized(node, x, axes, {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "simple"})


@operator("Resize", since=11)
def _resize(node: Node, x: Array, roi: Array | None, scales: Array | None = None, sizes: Array | None = None) -> Array:
    which = [axis % x.ndim for axis in node.attr("axes", tuple(range(x.ndim)))]
    given = None if scales is None else node.static(2, scales).reshape(-1)
    if given is not None and given.size:
        axes = _axes_of_scales(node, x, [float(s) for s in given], which)
    elif sizes is not None:
        axes = _axes_of_sizes(node, x, node.ints(3, sizes), which)
    else:
        raise node.fault("has neither scales nor sizes")
    if node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        if roi is None:
            raise node.fault("has no roi, which tf_crop_and_resize needs")
        region = node.static(1, roi).reshape(-1)
        if region.size != 2 * len(which):
            raise node.fault(f"roi has {region.size} numbers; want {2 * len(which)}")
        for place, axis in enumerate(which):
            ends = float(region[place]), float(region[len(which) + place])
            if axis in axes or ends != (0.0, 1.0):
                whole = axes.get(axis, Axis(x.shape[axis], x.shape[axis], 1.0))
                axes[axis] = Axis(whole.size, whole.wanted, whole.scale, ends)
    return _resized(node, x, axes, {})


def _axes_of_scales(node: Node, x: Array, scales: Sequence[float], which: Sequence[int]) -> dict[int, Axis]:
    if len(scales) != len(which):
        raise node.fault(f"got {len(scales)} scales for {len(which)} axes")
    axes = {}
    for axis, scale in zip(which, scales, strict=True):
        if scale <= 0:
            raise node.fault(f"got the scales {list(scales)}; want positive ones")
        if scale == 1:  # its size may be a symbol
            continue
        # in single precision, as the standard infers the shape: 0.7f * 10 is 7
        axes[axis] = Axis(x.shape[axis], int(np.floor(np.float32(scale) * np.float32(x.shape[axis]))), scale)
    return axes


def _axes_of_sizes(node: Node, x: Array, sizes: Sequence[int], which: Sequence[int]) -> dict[int, Axis]:
    if len(sizes) != len(which):
        raise node.fault(f"got {len(sizes)} sizes for {len(which)} axes")
    scales = [size / x.shape[axis] for axis, size in zip(which, sizes, strict=True)]
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    if policy in ("not_larger", "not_smaller"):
        scale = min(scales) if policy == "not_larger" else max(scales)
        return {axis: Axis(x.shape[axis], int(np.floor(scale * x.shape[axis] + 0.5)), scale) for axis in which}
    if policy != "stretch":
        raise node.fault(f"keep_aspect_ratio_policy is {policy!r}; want stretch, not_larger or not_smaller")
    return {axis: Axis(x.shape[axis], size, scale) for axis, size, scale in zip(which, sizes, scales, strict=True)}


def _resized(node: Node, x: Array, axes: dict[int, Axis], fixed: dict[str, str]) -> Array:
    coordinates = fixed.get("coordinate_transformation_mode") or node.attr("coordinate_transformation_mode")
    mode = "linear" if node.attr("mode") == "bilinear" else node.attr("mode", "nearest")  # the name in version 1
    dtype = x.dtype
    nearest = mode == "nearest"
    y = (
        jnp.asarray(x)
        if nearest or (dtype.itemsize >= 4 and not is_integer(dtype))
        else jnp.asarray(x).astype(np.float32)
    )
    outside: dict[int, np.ndarray] = {}
    for number, axis in axes.items():
        if axis.size == axis.wanted and axis.scale == 1 and axis.region == (0.0, 1.0):
            continue
        places = _places(node, axis, coordinates)
        if coordinates == "tf_crop_and_resize":
            outside[number] = (places < 0) | (places > axis.size - 1)
        if nearest:
            y = pick(y, _nearest(node, places, axis, fixed.get("nearest_mode")), number)
        else:
            y = _product(y, _weights(node, places, axis, mode), number)
    for number, where in outside.items():
        if where.any():
            mask = where.reshape([-1 if a == number else 1 for a in range(x.ndim)])
            y = jnp.where(mask, np.asarray(node.attr("extrapolation_value", 0.0)).astype(y.dtype), y)
    return rounded(y, None, dtype) if is_integer(dtype) and not nearest else y.astype(dtype)


def _places(node: Node, axis: Axis, mode: str) -> np.ndarray:
    """For every new element the place between the old ones where it lies."""
    at = np.arange(axis.wanted, dtype=np.float64)
    length = axis.scale * axis.size
    match mode:
        case "half_pixel":
            return (at + 0.5) / axis.scale - 0.5
        case "half_pixel_symmetric":
            return axis.size / 2 * (1 - axis.wanted / length) + (at + 0.5) / axis.scale - 0.5
        case "pytorch_half_pixel":
            return (at + 0.5) / axis.scale - 0.5 if axis.wanted > 1 else np.zeros_like(at) - 0.5 * (axis.wanted == 1)
        case "asymmetric":
            return at / axis.scale
        case "align_corners":
            return at * (axis.size - 1) / (length - 1) if length != 1 else np.zeros_like(at)
        case "tf_crop_and_resize":
            start, end = axis.region
            if length == 1:
                return np.full_like(at, (start + end) * (axis.size - 1) / 2)
            return start * (axis.size - 1) + at * (end - start) * (axis.size - 1) / (length - 1)
        case "tf_half_pixel_for_nn":  # version 11 only
            return (at + 0.5) / axis.scale
    raise node.fault(f"coordinate_transformation_mode is {mode!r}, which the standard does not have")


def _nearest(node: Node, places: np.ndarray, axis: Axis, mode: str | None) -> np.ndarray:
    """Numbers of the nearest elements; which of two that are as near, the mode says."""
    mode = mode or node.attr("nearest_mode", "round_prefer_floor")
    match mode:
        case "round_prefer_floor":
            found = np.ceil(places - 0.5)
        case "round_prefer_ceil":
            found = np.floor(places + 0.5)
        case "floor":
            found = np.floor(places)
        case "ceil":
            found = np.ceil(places)
        case "simple":  # before version 11
            found = np.ceil(places) if axis.scale < 1 else np.floor(places)
        case _:
            raise node.fault(f"nearest_mode is {mode!r}, which the standard does not have")
    return np.clip(found, 0, axis.size - 1).astype(np.int64)


def pick(x: Array, places: np.ndarray, axis: int) -> Array:
    """Elements of an axis by constant places: a repetition, a slice with steps, or a gather."""
    size, count = x.shape[axis], len(places)
    if count and count % size == 0 and (places == np.repeat(np.arange(size), count // size)).all():
        spread = jnp.broadcast_to(
            jnp.expand_dims(x, axis + 1), (*x.shape[: axis + 1], count // size, *x.shape[axis + 1 :])
        )
        return spread.reshape(*x.shape[:axis], count, *x.shape[axis + 1 :])
    steps = np.unique(np.diff(places))
    if len(steps) == 1 and steps[0] > 0:
        return lax.slice_in_dim(x, int(places[0]), int(places[-1]) + 1, int(steps[0]), axis)
    return jnp.take(x, places, axis=axis)


def _product(x: Array, weights: np.ndarray, axis: int) -> Array:
    """Contract an axis with the second one of the weights."""
    y = lax.dot_general(x, np.asarray(weights, x.dtype), (((axis,), (1,)), ((), ())))
    return jnp.moveaxis(y, -1, axis)


def _weights(node: Node, places: np.ndarray, axis: Axis, mode: str) -> np.ndarray:
    """Matrix [new elements, old elements] of linear or cubic interpolation."""
    below = np.floor(places)
    # places on an element count as one step behind the element below: the taps are those that the standard takes
    below = np.where(places == below, below - 1, below)
    fraction = places - below
    spread = min(axis.scale, 1.0) if node.attr("antialias", 0) else 1.0
    reach = {"linear": 1, "cubic": 2}.get(mode)
    if reach is None:
        raise node.fault(f"mode is {mode!r}; want nearest, linear or cubic")
    first = int(np.floor(-reach / spread) + 1)
    taps = np.arange(first, 2 - first)
    distance = np.abs(taps - fraction[:, None]) * spread
    linear = mode == "linear"
    factors = np.clip(1 - distance, 0, 1) if linear else _cubic(distance, node.attr("cubic_coeff_a", -0.75))
    if spread < 1:
        factors = factors / factors.sum(1, keepdims=True)
    index = (below[:, None] + taps).astype(np.int64)
    if node.attr("exclude_outside", 0):
        factors = np.where((index < 0) | (index >= axis.size), 0, factors)
        total = factors.sum(1, keepdims=True)
        factors = factors / np.where(total == 0, 1, total)
    matrix = np.zeros((len(places), axis.size))
    np.add.at(matrix, (np.arange(len(places))[:, None], np.clip(index, 0, axis.size - 1)), factors)
    return matrix


def _cubic(distance: Any, a: float) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
