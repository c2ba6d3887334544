# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft: what onnxruntime's optimizer fuses and exporters then save, in plain operations.

SimplifiedLayerNormalization stands in ai.onnx, though the standard does not have it.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.normalization import layer_norm, rms_norm
from egraph_opt.frontends.onnx.operator import operator

DOMAIN = "com.microsoft"


def _constant(x: Array, value: float) -> np.ndarray:
    return np.asarray(value, x.dtype)


@operator("FusedMatMul", "TransposeMatMul", domain=DOMAIN)
def _fused_matmul(node: Node, a: Array, b: Array) -> Array:
    a = _transposed(a, node.attr("transA", 0), node.attr("transBatchA", 0))
    b = _transposed(b, node.attr("transB", 0), node.attr("transBatchB", 0))
    alpha = node.attr("alpha", 1.0)
    product = jnp.matmul(a, b)
    return product if alpha == 1 else product * _constant(product, alpha)


def _transposed(x: Array, last: int, batch: int) -> Array:
    if batch:
        x = jnp.moveaxis(x, 0, -2)
    return jnp.swapaxes(x, -1, -2) if last and x.ndim > 1 else x


@operator("Gelu", domain=DOMAIN)
def _gelu(_node: Node, x: Array) -> Array:
    return gelu(x)


@operator("BiasGelu", domain=DOMAIN)
def _bias_gelu(_node: Node, x: Array, b: Array) -> Array:
    return gelu(x + b)


def gelu(x: Array) -> Array:
    """X times the normal distribution function of x."""
    return x * _constant(x, 0.5) * (_constant(x, 1) + lax.erf(x * _constant(x, np.sqrt(0.5))))


@operator("FastGelu", domain=DOMAIN)
def _fast_gelu(_node: Node, x: Array, b: Array | None = None) -> Array:
    return fast_gelu(x if b is None else x + b)


def fast_gelu(x: Array) -> Array:
    """GELU by a hyperbolic tangent."""
    inner = _constant(x, np.sqrt(2 / np.pi)) * (x + _constant(x, 0.044715) * x * x * x)
    return x * _constant(x, 0.5) * (_constant(x, 1) + jnp.tanh(inner))


@operator("QuickGelu", domain=DOMAIN)
def _quick_gelu(node: Node, x: Array) -> Array:
    return x * lax.logistic(_constant(x, node.attr("alpha", 1.702)) * x)


@operator("SimplifiedLayerNormalization")
def _simplified(node: Node, x: Array, scale: Array) -> Any:
    return rms_norm(node, x, scale, tuple(range(node.attr("axis", -1) % x.ndim, x.ndim)))


@operator("SkipLayerNormalization", domain=DOMAIN)
def _skip_layer_norm(
    node: Node, x: Array, skip: Array, scale: Array, b: Array | None = None, bias: Array | None = None
) -> Any:
    total = _summed(x, skip, bias)
    return (*layer_norm(_with_epsilon(node), total, scale, b, (x.ndim - 1,)), total)


@operator("SkipSimplifiedLayerNormalization", domain=DOMAIN)
def _skip_simplified(node: Node, x: Array, skip: Array, scale: Array, bias: Array | None = None) -> Any:
    total = _summed(x, skip, bias)
    y, inverse = rms_norm(_with_epsilon(node), total, scale, (x.ndim - 1,))
    return y, None, inverse, total


def _summed(x: Array, skip: Array, bias: Array | None) -> Array:
    total = x + skip
    return total if bias is None else total + bias


def _with_epsilon(node: Node) -> Node:
    """The same node; its domain has another default of epsilon than the standard."""
    value = node.attr("epsilon", 1e-12)
    return Node(node.record, node.version, node.frame, {"epsilon": value})


@operator("EmbedLayerNormalization", domain=DOMAIN)
def _embed(
    node: Node, ids: Array, segments: Array | None, words: Array, places: Array, kinds: Array | None, scale: Array,
    offset: Array, mask: Array | None = None, positions: Array | None = None,
) -> Any:  # fmt: skip
    return embedded(node, ids, segments, (words, places, kinds), scale, offset, mask, positions)


def embedded(
    node: Node, ids: Array, segments: Array | None, tables: tuple[Array, Array, Array | None], scale: Array,
    offset: Array, mask: Array | None, positions: Array | None,
) -> Any:  # fmt: skip
    """Rows of the tables of words, places and kinds added up and normalised; how many are masked in; the sum."""
    words, places, kinds = tables
    total = _rows(words, ids)
    total = total + (places[: ids.shape[1]] if positions is None else _rows(places, positions))
    if kinds is not None and segments is not None:
        total = total + _rows(kinds, segments)
    y, _, _ = layer_norm(_with_epsilon(node), total, scale, offset, (2,))
    counts = np.zeros(ids.shape[0], np.int32) if mask is None else jnp.sum(mask == 1, axis=1, dtype=np.int32)
    return y, counts, total


def _rows(table: Array, ids: Array) -> Array:
    return jnp.take(jnp.asarray(table), ids, axis=0, mode="clip")


@operator("FusedConv", domain=DOMAIN)
def _fused_conv(node: Node, x: Array, w: Array, b: Array | None = None, z: Array | None = None) -> Array:
    from egraph_opt.frontends.onnx.conv import convolved, with_bias

    y = with_bias(convolved(node, x, w), b)
    y = y if z is None else y + z
    return _activated(node, y)


@operator("FusedGemm", domain=DOMAIN)
def _fused_gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    product = jnp.matmul(a.T if node.attr("transA", 0) else a, b.T if node.attr("transB", 0) else b)
    product = product * _constant(product, node.attr("alpha", 1.0))
    y = product if c is None else product + c * _constant(c, node.attr("beta", 1.0))
    return _activated(node, y)


def _activated(node: Node, y: Array) -> Array:
    params = [*node.attr("activation_params", ()), node.attr("activation_alpha"), node.attr("activation_beta")]
    match node.attr("activation", ""):
        case "":
            return y
        case "Relu":
            return jnp.maximum(y, _constant(y, 0))
        case "Tanh":
            return jnp.tanh(y)
        case "Sigmoid":
            return lax.logistic(y)
        case "LeakyRelu":
            return jnp.where(y >= 0, y, _constant(y, params[0] or 0.01) * y)
        case "Clip":
            return jnp.clip(y, _constant(y, params[0]), _constant(y, params[1]))
    raise node.unsupported(f"the activation {node.attr('activation')!r} is not supported")
