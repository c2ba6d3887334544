# SPDX-License-Identifier: Apache-2.0
"""Convolutions: plain, transposed, of integers, deformable; Col2Im."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.windows import Windows, explicit_pads, numbers, same_pads, windows


@operator("Conv")
def _conv(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    return with_bias(convolved(node, x, w), b)


@operator("ConvInteger")
def _conv_integer(node: Node, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
    return integer_convolution(node, x, w, x_zero, w_zero)


def integer_convolution(node: Node, x: Array, w: Array, x_zero: Array | None, w_zero: Array | None) -> Array:
    """Convolution of quantised integers in int32; pads have the value of the zero point."""
    x, w = jnp.asarray(x).astype(np.int32), jnp.asarray(w).astype(np.int32)
    if x_zero is not None:
        x = x - jnp.reshape(x_zero, ()).astype(np.int32)
    if w_zero is not None:
        w = w - jnp.reshape(w_zero, (-1,) + (1,) * (w.ndim - 1)).astype(np.int32)
    return convolved(node, x, w)


def convolved(node: Node, x: Array, w: Array) -> Array:
    """The convolution that a node's attributes describe, without a bias."""
    check_channels(node, x, w)
    view = windows(node, x.shape[2:], w.shape[2:])
    return lax.conv_general_dilated(
        jnp.asarray(x),
        jnp.asarray(w),
        view.strides,
        view.pads,
        rhs_dilation=view.dilations,
        feature_group_count=node.attr("group", 1),
    )


def check_channels(node: Node, x: Array, w: Array) -> None:
    """Refuse operands whose ranks or channels do not fit each other."""
    group = node.attr("group", 1)
    if x.ndim != w.ndim or x.ndim < 3:
        raise node.fault(f"got X of rank {x.ndim} and W of rank {w.ndim}; want one rank, at least 3")
    if w.shape[1] * group != x.shape[1] or w.shape[0] % group:
        raise node.fault(
            f"got X with {x.shape[1]} channels, W {list(w.shape)} and group {group}; want W [M, channels / group, ...]"
            " with M a multiple of group"
        )


def with_bias(y: Array, b: Array | None) -> Array:
    """Add one number per channel."""
    return y if b is None else y + jnp.expand_dims(b, tuple(range(1, y.ndim - 1)))


@operator("ConvTranspose")
def _conv_transpose(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    group, count = node.attr("group", 1), x.ndim - 2
    if x.ndim != w.ndim or x.ndim < 3 or w.shape[0] != x.shape[1] or w.shape[0] % group:
        raise node.fault(
            f"got X {list(x.shape)}, W {list(w.shape)} and group {group}; want W [channels, M / group, ...]"
        )
    if node.attr("kernel_shape") and tuple(node.attr("kernel_shape")) != tuple(w.shape[2:]):
        raise node.fault(f"kernel_shape is {list(node.attr('kernel_shape'))}, but the weight has {list(w.shape[2:])}")
    strides, dilations = numbers(node, "strides", count, 1), numbers(node, "dilations", count, 1)
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    pads = []
    for (low, size), span, have, stride in zip(
        _transposed_frame(node, x.shape[2:], spans, strides), spans, x.shape[2:], strides, strict=True
    ):
        before = span - 1 - low
        pads.append((before, size - 1 + span - before - (have - 1) * stride - 1))
    # The kernel of the transposed map: mirrored, inputs and outputs swapped inside of each group.
    w = w.reshape(group, w.shape[0] // group, *w.shape[1:]).swapaxes(1, 2)
    w = jnp.flip(w.reshape(w.shape[0] * w.shape[1], *w.shape[2:]), tuple(range(2, count + 2)))
    y = lax.conv_general_dilated(
        jnp.asarray(x),
        w,
        (1,) * count,
        pads,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        feature_group_count=group,
    )
    return with_bias(y, b)


def _transposed_frame(
    node: Node, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Per spatial axis, how many elements of the full result are cut off in front, and how many are kept."""
    count = len(sizes)
    auto = node.attr("auto_pad", "NOTSET")
    more = numbers(node, "output_padding", count, 0)
    full = [(size - 1) * stride + span for size, stride, span in zip(sizes, strides, spans, strict=True)]
    wanted = node.attr("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if wanted is not None:
        wanted = list(wanted)[-count:]
        totals = [max(size + extra - want, 0) for size, extra, want in zip(full, more, wanted, strict=True)]
        return [(same_pads(total, auto == "SAME_UPPER")[0], want) for total, want in zip(totals, wanted, strict=True)]
    pads = ((0, 0),) * count if auto == "VALID" else explicit_pads(node, count)
    return [(low, size + extra - low - high) for (low, high), size, extra in zip(pads, full, more, strict=True)]


@operator("DeformConv")
def _deformable(
    node: Node, x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None
) -> Array:
    check_channels(node, x, w)
    view = windows(node, x.shape[2:], w.shape[2:])
    count, taps = len(view.kernel), int(np.prod(view.kernel))
    groups, parts = node.attr("group", 1), node.attr("offset_group", 1)
    batch, channels = x.shape[:2]
    starts = _starts(view, x.shape[2:])
    out = tuple(axis.shape[0] for axis in starts)
    if offset.shape[1:] != (parts * taps * count, *out) or channels % parts:
        raise node.fault(f"got offset {list(offset.shape)}; want {[batch, parts * taps * count, *out]}")
    # offsets are ordered by group, then element of the kernel, then axis
    offset = offset.reshape(batch, parts, taps, count, *out)
    places = []
    for axis, first in enumerate(starts):
        inner = np.indices(view.kernel)[axis].reshape(-1) * view.dilations[axis]
        base = inner.reshape((taps,) + (1,) * count) + first.reshape([-1 if a == axis else 1 for a in range(count)])
        places.append(offset[:, :, :, axis] + np.broadcast_to(base, (taps, *out)).astype(offset.dtype))
    parted = x.reshape(batch * parts, channels // parts, *x.shape[2:])
    values = sample_linear(parted, [p.reshape(batch * parts, -1) for p in places])
    values = values.reshape(batch, parts, channels // parts, taps, *out)
    if mask is not None:
        values = values * mask.reshape(batch, parts, 1, taps, *out)
    values = values.reshape(batch, groups, channels // groups, taps, *out)
    kernel = w.reshape(groups, w.shape[0] // groups, channels // groups, taps)
    letters = "xyz"[:count]
    y = jnp.einsum(f"gmct,bgct{letters}->bgm{letters}", kernel, values)
    return with_bias(y.reshape(batch, w.shape[0], *out), b)


def _starts(view: Windows, sizes: Sequence[int]) -> list[np.ndarray]:
    starts = []
    for size, (low, high), kernel, dilation, stride in zip(
        sizes, view.pads, view.kernel, view.dilations, view.strides, strict=True
    ):
        starts.append(np.arange(0, size + low + high - (kernel - 1) * dilation, stride) - low)
    return starts


def sample_linear(x: Array, places: Sequence[Array]) -> Array:
    """Values between the elements of x[b,c,...] at places[axis][b,p], by linear interpolation; zero outside.

    Returns:
        y[b,c,p].
    """
    sizes = x.shape[2:]
    flat = x.reshape(*x.shape[:2], -1)
    lows = [jnp.floor(place) for place in places]
    total = None
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        index: Any = 0
        weight: Any = 1
        inside: Any = True
        for size, place, low, step in zip(sizes, places, lows, corner, strict=True):
            at = low.astype(np.int32) + np.int32(step)
            fraction = place - low
            weight = weight * (fraction if step else np.ones((), place.dtype) - fraction)
            inside = inside & (at >= 0) & (at < size)
            index = index * np.int32(size) + jnp.clip(at, 0, size - 1)
        weight = jnp.where(inside, weight, np.zeros((), places[0].dtype))
        term = jnp.take_along_axis(flat, index[:, None, :], axis=2) * weight[:, None, :].astype(x.dtype)
        total = term if total is None else total + term
    return total


@operator("Col2Im")
def _col2im(node: Node, x: Array, image_shape: Array, block_shape: Array) -> Array:
    image, block = node.ints(1, image_shape), node.ints(2, block_shape)
    count, taps = len(image), int(np.prod(block))
    strides, dilations = numbers(node, "strides", count, 1), numbers(node, "dilations", count, 1)
    pads = explicit_pads(node, count)
    padded = [size + low + high for size, (low, high) in zip(image, pads, strict=True)]
    index = np.zeros((taps, 1), np.int64)
    for axis in range(count):
        first = np.arange(0, padded[axis] - (block[axis] - 1) * dilations[axis], strides[axis])
        inner = np.indices(block)[axis].reshape(-1) * dilations[axis]
        index = (index[:, :, None] * padded[axis] + inner[:, None, None] + first).reshape(taps, -1)
    if x.ndim != 3 or x.shape[1] % taps or x.shape[2] != index.shape[1]:
        raise node.fault(f"got input {list(x.shape)}; want [N, C * {taps}, {index.shape[1]}] for these attributes")
    values = x.reshape(x.shape[0], x.shape[1] // taps, -1)
    zeros = jnp.zeros((*values.shape[:2], int(np.prod(padded))), x.dtype)
    summed = zeros.at[:, :, index.reshape(-1)].add(values).reshape(*values.shape[:2], *padded)
    inner_part = tuple(slice(low, low + size) for size, (low, _) in zip(image, pads, strict=True))
    return summed[(slice(None), slice(None), *inner_part)]
