# SPDX-License-Identifier: Apache-2.0
"""Sums of products that are no einsum: convolution and the discrete Fourier transform."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.captured import captured
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32
from egraph_opt.ops.op import Trait
from egraph_opt.ops.primitives import thawed

Types = Sequence[TensorType]


def _lower_conv(x: Any, kernel: Any, *, precision: Any = None, **attrs: Any) -> Any:
    return lax.conv_general_dilated(x, kernel, precision=precision, **thawed(attrs))


def _conv_flops(types: Types, results: Types, *, dimension_numbers: lax.ConvDimensionNumbers, **attrs: Any) -> float:
    """Two for each result element and kernel element that it meets; taps that hit padding are counted."""
    kernel = types[1].shape
    _, channels, *spatial = dimension_numbers.rhs_spec  # channels per group
    taps = math.prod(kernel[axis] for axis in spatial) * kernel[channels]
    return 2.0 * results[0].size * taps


def _fft_flops(types: Types, results: Types, *, fft_lengths: tuple[int, ...], **attrs: Any) -> float:
    del attrs
    points = math.prod(fft_lengths)
    batches = max(types[0].size, results[0].size) / max(1, points)
    return 5.0 * batches * points * math.log2(max(2, points))


def _conv_attrs(**changed: Any) -> dict[str, Any]:
    order = lax.ConvDimensionNumbers(lhs_spec=(0, 1, 2, 3), rhs_spec=(0, 1, 2, 3), out_spec=(0, 1, 2, 3))
    usual: dict[str, Any] = {
        "window_strides": (1, 1),
        "padding": ((1, 1), (0, 0)),
        "lhs_dilation": (1, 1),
        "rhs_dilation": (1, 1),
        "dimension_numbers": order,
        "feature_group_count": 1,
        "batch_group_count": 1,
        "preferred_element_type": None,
    }
    return usual | changed


captured(
    "conv_general_dilated",
    ((f32(2, 3, 8, 8), f32(4, 3, 3, 3)), _conv_attrs()),
    ((f32(2, 4, 8, 8), f32(6, 2, 3, 3)), _conv_attrs(feature_group_count=2, window_strides=(2, 1))),
    page=LAX.format("conv_general_dilated"),
    lower=_lower_conv,
    flops=_conv_flops,
    fixed=(("out_sharding", None),),
    ignored=("precision",),
    precise=True,
    traits=(Trait.LINEAR, Trait.EXPENSIVE),
    arity=2,
)

captured(
    "fft",
    ((TensorType((2, 8), "complex64"),), {"fft_type": lax.FftType.FFT, "fft_lengths": (8,)}),
    ((f32(2, 8),), {"fft_type": lax.FftType.RFFT, "fft_lengths": (8,)}),
    ((TensorType((2, 8), "complex64"),), {"fft_type": lax.FftType.IFFT, "fft_lengths": (8,)}),
    page="https://docs.jax.dev/en/latest/jax.lax.html",
    flops=_fft_flops,
    traits=(Trait.LINEAR, Trait.EXPENSIVE),
    arity=1,
)
