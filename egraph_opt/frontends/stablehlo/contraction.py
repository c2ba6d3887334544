# SPDX-License-Identifier: Apache-2.0
"""Rules of the sum-product ops: dot_general, dot, einsum and convolution, with their precision attributes.

One of the op families that `rules` joins. The result's type is the accumulation type, so nothing narrows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


def _precision(op: Operation) -> Any:
    """JAX's precision argument: None where every operand has the default."""
    config = op.attributes.get("precision_config")
    if not config or set(config) == {"DEFAULT"}:
        return None
    return tuple(lax.Precision[name] for name in config)


def _algorithm(op: Operation) -> Any:
    """JAX's DotAlgorithm, where the op carries one."""
    found = op.attributes["algorithm"]
    types = {
        name: {"bf16": jnp.bfloat16, "f16": jnp.float16, "f32": jnp.float32, "f64": jnp.float64}.get(
            str(kind), str(kind)
        )
        for name, kind in (
            ("lhs_precision_type", found.lhs_precision_type),
            ("rhs_precision_type", found.rhs_precision_type),
            ("accumulation_type", found.accumulation_type),
        )
    }
    presets = {preset.name: preset for preset in lax.DotAlgorithmPreset}
    for preset in presets.values():
        if preset.name != "DEFAULT" and _describes(preset, found):
            return preset
    return lax.DotAlgorithm(
        **types,
        lhs_component_count=found.lhs_component_count,
        rhs_component_count=found.rhs_component_count,
        num_primitive_operations=found.num_primitive_operations,
        allow_imprecise_accumulation=found.allow_imprecise_accumulation,
    )


def _describes(preset: Any, found: Any) -> bool:
    """Whether a preset's name spells the attribute: ``TF32_TF32_F32_X3``."""
    kinds = (found.lhs_precision_type, found.rhs_precision_type, found.accumulation_type)
    name = "_".join(str(kind).upper() for kind in kinds)
    if found.num_primitive_operations > 1:
        name += f"_X{found.num_primitive_operations}"
    return bool(preset.name == name) and not found.allow_imprecise_accumulation


@TABLE.op("stablehlo.dot_general")
def dot_general(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Products summed over contracted dimensions, batched over others."""
    dims = op.attributes["dot_dimension_numbers"]
    contracting = (dims.lhs_contracting_dimensions, dims.rhs_contracting_dimensions)
    batching = (dims.lhs_batching_dimensions, dims.rhs_batching_dimensions)
    precision = _algorithm(op) if "algorithm" in op.attributes else _precision(op)
    return lax.dot_general(
        args[0], args[1], (contracting, batching), precision=precision, preferred_element_type=op.dtype
    )


@TABLE.op("stablehlo.dot")
def dot(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Matrix or vector product over the last dimension of the first operand and the first of the second."""
    contracting = ((np.ndim(args[0]) - 1,), (0,))
    return lax.dot_general(
        args[0], args[1], (contracting, ((), ())), precision=_precision(op), preferred_element_type=op.dtype
    )


@TABLE.op("stablehlo.einsum", "stablehlo.unary_einsum")
def einsum(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Einstein summation by its letters."""
    return jnp.einsum(op.attributes["einsum_config"], *args, preferred_element_type=op.dtype)


@TABLE.op("stablehlo.convolution")
def convolution(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Convolution in any layout, with strides, dilations, groups and reversed windows."""
    spatial = len(op.attributes["dimension_numbers"].input_spatial_dimensions)
    padding = np.asarray(op.attributes.get("padding", np.zeros((spatial, 2), int)))
    return convolve(op, args[0], args[1], padding.reshape(spatial, 2))


def convolve(op: Operation, lhs: Array, rhs: Array, padding: np.ndarray) -> Array:
    """Convolution with the given padding."""
    attributes = op.attributes
    dims = attributes["dimension_numbers"]
    ones = (1,) * len(dims.input_spatial_dimensions)
    if any(attributes.get("window_reversal", ())):
        backwards = [
            d for d, flip in zip(dims.kernel_spatial_dimensions, attributes["window_reversal"], strict=True) if flip
        ]
        rhs = lax.rev(rhs, backwards)
    numbers = lax.ConvDimensionNumbers(
        (dims.input_batch_dimension, dims.input_feature_dimension, *dims.input_spatial_dimensions),
        (dims.kernel_output_feature_dimension, dims.kernel_input_feature_dimension, *dims.kernel_spatial_dimensions),
        (dims.output_batch_dimension, dims.output_feature_dimension, *dims.output_spatial_dimensions),
    )
    return lax.conv_general_dilated(
        lhs,
        rhs,
        attributes.get("window_strides", ones),
        [(int(low), int(high)) for low, high in padding],
        lhs_dilation=attributes.get("lhs_dilation", ones),
        rhs_dilation=attributes.get("rhs_dilation", ones),
        dimension_numbers=numbers,
        feature_group_count=attributes.get("feature_group_count", 1),
        batch_group_count=attributes.get("batch_group_count", 1),
        precision=_precision(op),
        preferred_element_type=op.dtype,
    )
