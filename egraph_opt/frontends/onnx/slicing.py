# SPDX-License-Identifier: Apache-2.0
"""Operators that cut and pad along axes: Slice, Split, Pad, CenterCropPad."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.selection import checked_axis


@operator("Slice", host=True)
def _slice_attributes(node: Node, x: Array) -> Array:
    starts = node.attr("starts")
    return _sliced(node, x, starts, node.attr("ends"), node.attr("axes", range(len(starts))), [1] * len(starts))


@operator("Slice", since=10, host=True)
def _slice(
    node: Node, x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    first = node.ints(1, starts)
    along = list(range(len(first))) if axes is None else node.ints(3, axes)
    strides = [1] * len(first) if steps is None else node.ints(4, steps)
    return _sliced(node, x, first, node.ints(2, ends), along, strides)


def _sliced(
    node: Node, x: Array, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> Array:
    """Python's slices are those of the standard: negative ends count from the back, large ones are cut off."""
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise node.fault(f"got {len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps")
    cuts = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise node.fault("got the step 0; want another")
        cuts[checked_axis(node, axis, x.ndim)] = slice(start, end, step)
    return x[tuple(cuts)]


@operator("Split", host=True)
def _split_old(node: Node, x: Array, split: Array | None = None) -> tuple[Array, ...]:
    sizes = node.attr("split") if split is None else node.ints(1, split)
    return tuple(_parts(node, x, sizes))


@operator("Split", since=13, host=True)
def _split(node: Node, x: Array, split: Array | None = None) -> tuple[Array, ...]:
    return tuple(_parts(node, x, None if split is None else node.ints(1, split)))


def _parts(node: Node, x: Array, sizes: Sequence[int] | None) -> list[Array]:
    axis = checked_axis(node, node.attr("axis", 0), x.ndim)
    size, count = x.shape[axis], node.attr("num_outputs", len(node.outputs))
    if sizes is None:
        if node.version < 18 and size % count:
            raise node.fault(f"got {size} elements along the axis; want a multiple of the {count} outputs")
        each = -(-size // count)
        sizes = [max(min(each, size - each * i), 0) for i in range(count)]
    if sum(sizes) != size or min(sizes, default=0) < 0:
        raise node.fault(f"got parts of the sizes {list(sizes)}; the axis has {size} elements")
    return split_at(x, sizes, axis)


def split_at(x: Array, sizes: Sequence[int], axis: int) -> list[Array]:
    """Parts of an array, one behind the other along an axis."""
    parts, start = [], 0
    for size in sizes:
        parts.append(x[(slice(None),) * axis + (slice(start, start + size),)])
        start += size
    return parts


@operator("Pad", host=True)
def _pad_attributes(node: Node, x: Array) -> Array:
    widths = node.attr("pads", node.attr("paddings"))  # version 1 calls them paddings
    if widths is None:
        raise node.fault("has no pads")
    return _padded(node, x, widths, np.asarray(node.attr("value", 0.0), x.dtype), range(x.ndim))


@operator("Pad", since=11, host=True)
def _pad(node: Node, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Array:
    along = list(range(x.ndim)) if axes is None else node.ints(3, axes)
    if value is None:
        value = np.asarray("" if x.dtype.kind == "O" else 0, x.dtype)
    return _padded(node, x, node.ints(1, pads), value.reshape(()), along)


def _padded(node: Node, x: Array, widths: Sequence[int], value: Array, axes: Sequence[int]) -> Array:
    if len(widths) != 2 * len(axes):
        raise node.fault(f"got {len(widths)} pads for {len(axes)} axes; want two for each")
    pairs = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        pairs[checked_axis(node, axis, x.ndim)] = (widths[i], widths[i + len(axes)])
    if any(low + high + size < 0 for (low, high), size in zip(pairs, x.shape, strict=True)):
        raise node.fault(f"got the pads {list(widths)}, which cut off more than the shape {list(x.shape)} has")
    mode = node.attr("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise node.fault(f"got the mode {mode!r}; want constant, reflect, edge or wrap")
    xp = node.xp(x, value)
    if mode == "constant" and xp is jnp:
        return lax.pad(jnp.asarray(x), jnp.asarray(value, x.dtype), [(low, high, 0) for low, high in pairs])
    cuts = tuple(slice(max(-low, 0), size - max(-high, 0)) for (low, high), size in zip(pairs, x.shape, strict=True))
    inner, grown = x[cuts], [(max(low, 0), max(high, 0)) for low, high in pairs]
    if mode == "constant":
        return np.pad(inner, grown, mode="constant", constant_values=value)
    return xp.pad(inner, grown, mode=mode)


@operator("CenterCropPad", since=18, host=True)
def _center_crop_pad(node: Node, x: Array, shape: Array) -> Array:
    sizes = node.ints(1, shape)
    axes = node.attr("axes", tuple(range(x.ndim)))
    if len(sizes) != len(axes):
        raise node.fault(f"got {len(sizes)} sizes for {len(axes)} axes")
    cuts, pads = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for size, given in zip(sizes, axes, strict=True):
        axis = checked_axis(node, given, x.ndim)
        extra = size - x.shape[axis]
        if extra < 0:
            cuts[axis] = slice(-extra // 2, -extra // 2 + size)
        else:
            pads[axis] = (extra // 2, extra - extra // 2)
    x = x[tuple(cuts)]
    if not any(high for _, high in pads):
        return x
    zero = np.asarray("" if x.dtype.kind == "O" else 0, x.dtype)
    if node.xp(x) is np:
        return np.pad(x, pads, mode="constant", constant_values=zero)
    return lax.pad(x, zero, [(low, high, 0) for low, high in pads])
