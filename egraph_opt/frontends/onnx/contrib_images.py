# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft that onnxruntime's optimizer writes into image models: norms by groups, joined biases.

onnxruntime has most of them on GPUs alone.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.contrib import fast_gelu, gelu
from egraph_opt.frontends.onnx.conv import convolved, with_bias
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

DOMAIN = "com.microsoft"


@operator("BiasAdd", domain=DOMAIN)
def _bias_add(_node: Node, x: Array, bias: Array, skip: Array) -> Array:
    return x + bias + skip


@operator("BiasSplitGelu", domain=DOMAIN)
def _bias_split_gelu(_node: Node, x: Array, bias: Array) -> Array:
    left, right = jnp.split(x + bias, 2, axis=-1)
    return left * gelu(right)


@operator("GemmFastGelu", domain=DOMAIN)
def _gemm_fast_gelu(_node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    y = jnp.matmul(x, w)
    return fast_gelu(y if bias is None else y + bias)


@operator("BiasSoftmax", domain=DOMAIN)
def _bias_softmax(node: Node, x: Array, bias: Array) -> Array:
    axis = node.attr("axis", 1) % x.ndim
    if node.attr("is_inner_broadcast", 1) and bias.ndim < x.ndim + 1 and bias.ndim != x.ndim:
        # the bias has the leading dimensions and those of the softmax; the ones between are copied
        lead = bias.ndim - (x.ndim - axis)
        bias = bias.reshape(*bias.shape[:lead], *(1,) * (x.ndim - bias.ndim), *bias.shape[lead:])
    total, axes = x + bias, tuple(range(axis, x.ndim))
    weights = jnp.exp(total - lax.stop_gradient(jnp.max(total, axis=axes, keepdims=True)))
    return weights / jnp.sum(weights, axis=axes, keepdims=True)


@operator("GroupNorm", domain=DOMAIN)
def _group_norm(node: Node, x: Array, scale: Array, offset: Array) -> Array:
    return _grouped(node, x, scale, offset)


@operator("SkipGroupNorm", domain=DOMAIN)
def _skip_group_norm(node: Node, x: Array, scale: Array, offset: Array, skip: Array, bias: Array | None = None) -> Any:
    last = node.attr("channels_last", 1)
    skip = _of_channels(skip, x.ndim, last) if skip.ndim == 2 else skip
    total = x + skip
    total = total if bias is None else total + _of_channels(bias[None], x.ndim, last)
    return _grouped(node, total, scale, offset), total


def _grouped(node: Node, x: Array, scale: Array, offset: Array) -> Array:
    """Each group of channels by its own mean and variance, in single precision."""
    last, groups = node.attr("channels_last", 1), node.attr("groups", 0)
    channels = x.shape[-1] if last else x.shape[1]
    if groups < 1 or channels % groups or node.attr("activation", 0) not in (0, 1):
        wrong = f"groups is {groups} of {channels} channels and activation {node.attr('activation', 0)}"
        raise node.fault(f"{wrong}; want a divisor, and 0 or 1")
    wide = jnp.asarray(x).astype(np.promote_types(x.dtype, np.float32))
    split = (*x.shape[:-1], groups, -1) if last else (x.shape[0], groups, channels // groups, *x.shape[2:])
    parts = wide.reshape(split)
    axes = (*range(1, x.ndim - 1), x.ndim) if last else tuple(range(2, x.ndim + 1))
    deviation = parts - jnp.mean(parts, axis=axes, keepdims=True)
    variance = jnp.mean(deviation * deviation, axis=axes, keepdims=True)
    y = (deviation * lax.rsqrt(variance + np.asarray(node.attr("epsilon", 1e-5), wide.dtype))).reshape(x.shape)
    y = y * _of_channels(scale[None], x.ndim, last) + _of_channels(offset[None], x.ndim, last)
    return (y * lax.logistic(y) if node.attr("activation", 0) else y).astype(x.dtype)


def _of_channels(values: Array, rank: int, last: int) -> Array:
    """Numbers[b,c] as they stand beside an image."""
    return jnp.expand_dims(values, tuple(range(1, rank - 1)) if last else tuple(range(2, rank)))


@operator("NhwcConv", domain=DOMAIN)
def _nhwc_conv(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    """A convolution of images, and by weights, whose channels stand last."""
    y = with_bias(convolved(node, jnp.moveaxis(x, -1, 1), jnp.moveaxis(w, -1, 1)), b)
    return jnp.moveaxis(y, 1, -1)
