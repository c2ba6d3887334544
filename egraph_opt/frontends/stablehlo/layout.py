# SPDX-License-Identifier: Apache-2.0
"""Rules of the ops that make or move elements without computing: constants, iota, broadcast, reshape, slice, pad.

One of the op families that `rules` joins. What changes nothing leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


@TABLE.op("stablehlo.constant", "chlo.constant")
def constant(frame: Frame, op: Operation, _args: Sequence[Array]) -> Array:
    """A literal: scalars stay literals of the program, uniform arrays are a broadcast, large ones are weights."""
    array: np.ndarray = op.attributes["value"]
    if array.ndim and array.size and not any(array.strides):
        return lax.broadcast_in_dim(array.ravel()[0], array.shape, ())
    return frame.evaluator.lifted(array)


@TABLE.op("stablehlo.iota")
def iota(_frame: Frame, op: Operation, _args: Sequence[Array]) -> Array:
    """0, 1, 2, ... along one dimension."""
    return lax.broadcasted_iota(op.dtype, op.shape, op.attributes["iota_dimension"])


@TABLE.op("stablehlo.broadcast_in_dim")
def broadcast_in_dim(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Repeat along new dimensions and along dimensions of size one."""
    dims = op.attributes["broadcast_dimensions"]
    if np.shape(args[0]) == op.shape and dims == tuple(range(len(op.shape))):
        return args[0]
    return lax.broadcast_in_dim(args[0], op.shape, dims)


@TABLE.op("stablehlo.broadcast")
def broadcast(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Repeat along new leading dimensions."""
    return lax.broadcast(args[0], op.attributes["broadcast_sizes"])


@TABLE.op("stablehlo.reshape")
def reshape(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """The same elements in the same order under another shape."""
    shape = np.shape(args[0])
    if shape == op.shape:
        return args[0]
    squeezed = tuple(i for i, dim in enumerate(shape) if dim == 1)
    if tuple(dim for dim in shape if dim != 1) == op.shape:
        return lax.squeeze(args[0], squeezed)
    return lax.reshape(args[0], op.shape)


@TABLE.op("stablehlo.transpose")
def transpose(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Dimensions in another order."""
    return lax.transpose(args[0], op.attributes["permutation"])


@TABLE.op("stablehlo.slice")
def slice_(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """A strided box with static bounds."""
    strides = op.attributes["strides"]
    return lax.slice(
        args[0],
        op.attributes["start_indices"],
        op.attributes["limit_indices"],
        strides if any(step != 1 for step in strides) else None,
    )


@TABLE.op("stablehlo.concatenate")
def concatenate(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Operands one after another along a dimension."""
    return args[0] if len(args) == 1 else lax.concatenate(args, op.attributes["dimension"])


@TABLE.op("stablehlo.pad")
def pad(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Padding at both edges (cropping where negative) and between the elements."""
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    config: Any = zip(*(op.attributes[name] for name in names), strict=True)
    return lax.pad(args[0], args[1], list(config))


@TABLE.op("stablehlo.reverse")
def reverse(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Elements backwards along some dimensions."""
    return lax.rev(args[0], op.attributes["dimensions"])


@TABLE.op("stablehlo.dynamic_slice")
def dynamic_slice(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """A box of static size at a computed place, moved inside where it would stick out."""
    return lax.dynamic_slice(args[0], args[1:], op.attributes["slice_sizes"])


@TABLE.op("stablehlo.dynamic_update_slice")
def dynamic_update_slice(_frame: Frame, _op: Operation, args: Sequence[Array]) -> Array:
    """The first operand with a box at a computed place replaced by the second."""
    return lax.dynamic_update_slice(args[0], args[1], args[2:])
