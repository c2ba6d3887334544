# SPDX-License-Identifier: Apache-2.0
"""Rules of the ops with computed shapes, where the shapes are known after all.

Refinement with the shapes of a call (`parse.specialise`) removes nearly all of them; what stays has constant operands
and a static result type, and is the static op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo import contraction, indexing
from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


def _static_shape(frame: Frame, op: Operation) -> tuple[int, ...]:
    if not op.tensor_type().is_static:
        raise frame.unsupported(op, "its shape depends on values; want shapes that follow from the arguments' shapes")
    return op.shape


def _numbers(frame: Frame, op: Operation, value: Any) -> list[int]:
    if not isinstance(value, (np.ndarray, np.generic)):
        raise frame.unsupported(op, "its bounds are computed; want bounds that follow from the arguments' shapes")
    return [int(x) for x in value.ravel()]


@TABLE.op("stablehlo.get_dimension_size")
def get_dimension_size(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """The size of one dimension as a number."""
    return np.array(np.shape(args[0])[op.attributes["dimension"]], np.int32)


@TABLE.op("stablehlo.dynamic_reshape")
def dynamic_reshape(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Reshape to the static result type."""
    return lax.reshape(args[0], _static_shape(frame, op))


@TABLE.op("stablehlo.dynamic_broadcast_in_dim")
def dynamic_broadcast_in_dim(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Broadcast to the static result type."""
    return lax.broadcast_in_dim(args[0], _static_shape(frame, op), op.attributes["broadcast_dimensions"])


@TABLE.op("stablehlo.dynamic_iota")
def dynamic_iota(frame: Frame, op: Operation, _args: Sequence[Array]) -> Array:
    """Iota of the static result type."""
    return lax.broadcasted_iota(op.dtype, _static_shape(frame, op), op.attributes["iota_dimension"])


@TABLE.op("stablehlo.real_dynamic_slice")
def real_dynamic_slice(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Slice with constant bounds."""
    return lax.slice(args[0], *(_numbers(frame, op, bound) for bound in args[1:]))


@TABLE.op("stablehlo.dynamic_pad")
def dynamic_pad(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Pad with constant widths."""
    widths: Any = zip(*(_numbers(frame, op, width) for width in args[2:]), strict=True)
    return lax.pad(args[0], args[1], list(widths))


@TABLE.op("stablehlo.dynamic_gather")
def dynamic_gather(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Gather with constant box sizes."""
    return indexing.gather_boxes(op, args[0], args[1], _numbers(frame, op, args[2]))


@TABLE.op("stablehlo.dynamic_conv")
def dynamic_conv(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Convolution with constant padding."""
    padding = np.array(_numbers(frame, op, args[2])).reshape(-1, 2)
    return contraction.convolve(op, args[0], args[1], padding)
