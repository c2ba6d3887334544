# SPDX-License-Identifier: Apache-2.0
"""Windows as sums of shifted copies: convolutions with few channels a group, and pools, without a library's routine.

XLA:CPU runs depthwise convolutions and ``reduce_window`` element by element (docs/decisions/neural.md); a sum of slices
of the operand is one vectorised loop, which the operations around it can join.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.checks import infer_by_tracing
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32
from egraph_opt.ops.op import Example, Op, Trait, define

Types = Sequence[TensorType]


def shifted_conv(
    x: Any,
    kernel: Any,
    *,
    window_strides: Sequence[int],
    padding: Sequence[Sequence[int]],
    rhs_dilation: Sequence[int],
    lhs_spec: Sequence[int],
    rhs_spec: Sequence[int],
    feature_group_count: int,
) -> Any:
    """Convolution whose result has the layout of its input: one product with a slice of the input for each tap."""
    channel, space, groups = lhs_spec[1], lhs_spec[2:], feature_group_count
    kernel = lax.transpose(kernel, tuple(rhs_spec))
    kernel = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:])
    around = [(0, 0, 0)] * x.ndim
    for axis, (low, high) in zip(space, padding, strict=True):
        around[axis] = (low, high, 0)
    wide = lax.pad(x, jnp.zeros((), x.dtype), around)
    # The channels of a group lie side by side: every one of them in turn, for all groups at once.
    starts, stops, steps = [0] * x.ndim, list(wide.shape), [1] * x.ndim
    steps[channel] = kernel.shape[2]
    total: Any = None
    for tap in itertools.product(*map(range, kernel.shape[2:])):
        starts[channel] = tap[0]
        for axis, place, taps, step, hole in zip(
            space, tap[1:], kernel.shape[3:], window_strides, rhs_dilation, strict=True
        ):
            starts[axis], steps[axis] = place * hole, step
            stops[axis] = wide.shape[axis] - (taps - 1 - place) * hole
        part = jnp.expand_dims(lax.slice(wide, starts, stops, steps), channel + 1)
        weight = kernel[(slice(None), slice(None), *tap)]
        weight = weight.reshape((1,) * channel + weight.shape + (1,) * (x.ndim - 1 - channel))
        total = part * weight if total is None else total + part * weight
    shape = list(total.shape)
    shape[channel : channel + 2] = [shape[channel] * shape[channel + 1]]
    return total.reshape(shape)


def shifted_window(
    x: Any,
    *,
    kind: str,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[Sequence[int]],
    window_dilation: Sequence[int],
) -> Any:
    """``reduce_window`` of a kind, "sum", "max" or "min", by its slices."""
    join = {"sum": lax.add, "max": lax.max, "min": lax.min}[kind]
    empty = {"sum": 0, "max": -jnp.inf, "min": jnp.inf}[kind]
    wide = lax.pad(x, jnp.asarray(empty, x.dtype), [(low, high, 0) for low, high in padding])
    total = None
    for place in itertools.product(*map(range, window_dimensions)):
        starts = [p * hole for p, hole in zip(place, window_dilation, strict=True)]
        stops = [
            size - (taps - 1 - p) * hole
            for size, taps, p, hole in zip(wide.shape, window_dimensions, place, window_dilation, strict=True)
        ]
        part = lax.slice(wide, starts, stops, window_strides)
        total = part if total is None else join(total, part)
    return total


def _conv_flops(types: Types, results: Types, *, rhs_spec: Sequence[int], **attrs: Any) -> float:
    del attrs
    return 2.0 * results[0].size * math.prod(types[1].shape[axis] for axis in rhs_spec[1:])


def _window_flops(types: Types, results: Types, *, window_dimensions: Sequence[int], **attrs: Any) -> float:
    del types, attrs
    return float(results[0].size * math.prod(window_dimensions))


def _conv(*kernel: int, **changed: Any) -> tuple[tuple[str, Any], ...]:
    usual: dict[str, Any] = {
        "window_strides": (1, 1),
        "padding": ((1, 1), (0, 1)),
        "rhs_dilation": (1, 1),
        "lhs_spec": (0, 1, 2, 3),
        "rhs_spec": (0, 1, 2, 3),
        "feature_group_count": 1,
    }
    return tuple((usual | changed).items())


define(
    Op(
        name="shifted_conv",
        arity=2,
        attrs=tuple(name for name, _ in _conv()),
        infer=infer_by_tracing("shifted_conv", shifted_conv),
        lower=shifted_conv,
        flops=_conv_flops,
        traits=frozenset({Trait.LINEAR, Trait.EXPENSIVE}),
        examples=(
            Example((f32(2, 4, 6, 5), f32(4, 1, 3, 2)), _conv(feature_group_count=4)),
            Example(
                (f32(2, 6, 5, 4), f32(2, 3, 2, 6)),
                _conv(
                    window_strides=(2, 1),
                    rhs_dilation=(1, 2),
                    lhs_spec=(0, 3, 1, 2),
                    rhs_spec=(3, 2, 0, 1),
                    feature_group_count=2,
                ),
            ),
        ),
        source=LAX.format("conv_general_dilated"),
        doc="a convolution with few channels a group, as a sum of shifted copies; the result has the input's layout",
    )
)

_WINDOW: dict[str, Any] = {
    "kind": "sum",
    "window_dimensions": (2, 3),
    "window_strides": (2, 1),
    "padding": ((0, 1), (1, 1)),
    "window_dilation": (1, 1),
}

define(
    Op(
        name="shifted_window",
        arity=1,
        attrs=tuple(_WINDOW),
        infer=infer_by_tracing("shifted_window", shifted_window),
        lower=shifted_window,
        flops=_window_flops,
        traits=frozenset({Trait.EXPENSIVE}),
        examples=(
            Example((f32(4, 4),), tuple(_WINDOW.items())),
            Example((f32(4, 5),), tuple((_WINDOW | {"kind": "max", "window_dilation": (2, 1)}).items())),
        ),
        source=LAX.format("reduce_window"),
        doc="sums, maxima or minima of windows, by shifted copies",
    )
)
