# SPDX-License-Identifier: Apache-2.0
"""Operators that regroup elements by static rules: reshape, transpose, concatenate, blocks; shapes as values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.selection import checked_axis


@operator("Shape", host=True)
def _shape(node: Node, x: Array) -> Array:
    start, end = node.attr("start", 0), node.attr("end", np.ndim(x))
    return np.asarray(np.shape(x)[start:end], np.int64)


@operator("Size", host=True)
def _size(_node: Node, x: Array) -> Array:
    return np.asarray(np.prod(np.shape(x), dtype=np.int64))


@operator("Reshape", host=True)
def _reshape_attribute(node: Node, x: Array) -> Array:
    return x.reshape(resolved(node, x.shape, node.attr("shape"), zero_copies=True))


@operator("Reshape", since=5, host=True)
def _reshape(node: Node, x: Array, shape: Array) -> Array:
    return x.reshape(resolved(node, x.shape, node.ints(1, shape), zero_copies=not node.attr("allowzero", 0)))


def resolved(node: Node, old: Sequence[int], shape: Sequence[int], *, zero_copies: bool) -> tuple[int, ...]:
    """A shape as Reshape reads it: 0 copies the old size, -1 is what is left."""
    if zero_copies and any(size == 0 and i >= len(old) for i, size in enumerate(shape)):
        raise node.fault(f"got the shape {list(shape)}, whose 0 stands for a size that {list(old)} does not have")
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
    if not -x.ndim <= axis <= x.ndim:
        raise node.fault(f"got the axis {axis}; want one from {-x.ndim} to {x.ndim}")
    axis += x.ndim if axis < 0 else 0
    rows = np.prod(x.shape[:axis], dtype=np.int64)
    return x.reshape(int(rows), int(np.prod(x.shape[axis:], dtype=np.int64)))


@operator("Concat", host=True)
def _concat(node: Node, *args: Array) -> Array:
    return args[0] if len(args) == 1 else node.xp(*args).concatenate(args, axis=node.attr("axis", 1))


@operator("Squeeze", host=True)
def _squeeze_attribute(node: Node, x: Array) -> Array:
    axes = node.attr("axes")
    return node.xp(x).squeeze(x, None if axes is None else tuple(axes))


@operator("Squeeze", since=13, host=True)
def _squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    return node.xp(x).squeeze(x, None if axes is None else tuple(node.ints(1, axes)))


@operator("Unsqueeze", host=True)
def _unsqueeze_attribute(node: Node, x: Array) -> Array:
    return node.xp(x).expand_dims(x, tuple(node.attr("axes")))


@operator("Unsqueeze", since=13, host=True)
def _unsqueeze(node: Node, x: Array, axes: Array) -> Array:
    return node.xp(x).expand_dims(x, tuple(node.ints(1, axes)))


@operator("Expand", since=8, host=True)
def _expand(node: Node, x: Array, shape: Array) -> Array:
    wanted = node.ints(1, shape)
    rank = max(x.ndim, len(wanted))
    old = (1,) * (rank - x.ndim) + tuple(x.shape)
    new = [1] * (rank - len(wanted)) + wanted
    return node.xp(x).broadcast_to(x, tuple(have if size == 1 else size for have, size in zip(old, new, strict=True)))


@operator("Tile", host=True)
def _tile_one_axis(node: Node, x: Array, tiles: Array, axis: Array) -> Array:
    repeats = [1] * x.ndim
    repeats[checked_axis(node, node.ints(2, axis)[0], x.ndim)] = node.ints(1, tiles)[0]
    return node.xp(x).tile(x, repeats)


@operator("Tile", since=6, host=True)
def _tile(node: Node, x: Array, repeats: Array) -> Array:
    counts = node.ints(1, repeats)
    if len(counts) != x.ndim:
        raise node.fault(f"got {len(counts)} repeats for an input with {x.ndim} axes")
    return node.xp(x).tile(x, counts)


@operator("SpaceToDepth")
def _space_to_depth(node: Node, x: Array) -> Array:
    block = node.attr("blocksize")
    n, c, h, w = x.shape
    order = (0, 3, 5, 1, 2, 4) if node.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    blocks = x.reshape(n, c, h // block, block, w // block, block).transpose(order)
    return blocks.reshape(n, c * block * block, h // block, w // block)


@operator("DepthToSpace")
def _depth_to_space(node: Node, x: Array) -> Array:
    block = node.attr("blocksize")
    n, c, h, w = x.shape
    depth = c // (block * block)
    if node.attr("mode", "DCR") == "DCR":
        blocks = x.reshape(n, block, block, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, depth, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, depth, h * block, w * block)
