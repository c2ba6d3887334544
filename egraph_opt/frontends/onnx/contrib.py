# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft: what onnxruntime's optimizer fuses and exporters then save, in plain operations.

SimplifiedLayerNormalization stands in ai.onnx, though the standard does not have it.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.attention import attend, join_heads, rotated, split_heads
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
    x = x if b is None else x + b
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


@operator("RotaryEmbedding", domain=DOMAIN)
def _rotary(node: Node, x: Array, positions: Array, cos: Array, sin: Array) -> Array:
    if positions.ndim != 2:  # the place of the first element
        length = x.shape[1] if x.ndim == 3 else x.shape[2]
        first = positions.reshape(1, 1) + np.arange(length)
        positions = jnp.broadcast_to(first, (x.shape[0], length))
    if x.ndim == 4:
        return rotated(node, x, cos, sin, positions, 1)
    size = node.attr("rotary_embedding_dim", 0)
    heads = node.attr("num_heads", 0) if size else x.shape[2] // (2 * cos.shape[1])
    if not heads or x.shape[2] % heads:
        raise node.fault(f"num_heads is {heads}, which does not divide the last axis of {list(x.shape)}")
    rows = x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads)
    return rotated(node, rows, cos, sin, positions, 2).reshape(x.shape)


@operator("MultiHeadAttention", domain=DOMAIN)
def _multi_head(
    node: Node,
    q: Array,
    k: Array | None = None,
    v: Array | None = None,
    bias: Array | None = None,
    padding: Array | None = None,
    extra: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    *more: Array,
) -> Any:
    if more or q.ndim != 3 or k is None or v is None or k.ndim != 3 or v.ndim != 3:
        raise node.unsupported("packed or 4-D queries, keys and values, and shared caches are not supported")
    if bias is not None:
        first, second = q.shape[2], q.shape[2] + k.shape[2]
        q, k, v = q + bias[:first], k + bias[first:second], v + bias[second:]
    heads = node.attr("num_heads", 0)
    q, k, v = (split_heads(node, x, heads) for x in (q, k, v))
    if past_key is not None and past_value is not None:
        k, v = jnp.concatenate([past_key, k], axis=2), jnp.concatenate([past_value, v], axis=2)
    y, _ = attend(node, q, k, v, _scores_bias(node, q, k, padding, extra))
    return join_heads(y), k, v


@operator("Attention", domain=DOMAIN)
def _attention(
    node: Node,
    x: Array,
    weights: Array,
    bias: Array | None = None,
    padding: Array | None = None,
    past: Array | None = None,
    extra: Array | None = None,
    *more: Array,
) -> Any:
    if more or past is not None or node.attr("do_rotary", 0):
        raise node.unsupported("a past state and rotary embedding inside of it are not supported")
    product = jnp.matmul(x, weights)
    product = product if bias is None else product + bias
    sizes = node.attr("qkv_hidden_sizes", (product.shape[2] // 3,) * 3)
    heads = node.attr("num_heads", 0)
    parts = jnp.split(product, [sizes[0], sizes[0] + sizes[1]], axis=2)
    q, k, v = (split_heads(node, part, heads) for part in parts)
    y, _ = attend(node, q, k, v, _scores_bias(node, q, k, padding, extra))
    return join_heads(y), jnp.stack([k, v]) if node.wants(1) else None


def _scores_bias(node: Node, q: Array, k: Array, padding: Array | None, extra: Array | None) -> Array | None:
    """What is added to the scores: a bias, a large number below zero for padding, the lowest for the future."""
    total = extra
    if padding is not None:
        if padding.shape != (k.shape[0], k.shape[2]):
            raise node.unsupported(f"a mask {list(padding.shape)} is not supported; want {[k.shape[0], k.shape[2]]}")
        hidden = _constant(q, node.attr("mask_filter_value", -10000.0))
        mask = jnp.where(padding != 0, _constant(q, 0), hidden)[:, None, None, :]
        total = mask if total is None else total + mask
    if node.attr("unidirectional", 0):
        queries, keys = q.shape[2], k.shape[2]
        ahead = np.arange(keys) > np.arange(queries)[:, None] + (keys - queries)
        causal = np.where(ahead, np.asarray(np.finfo(np.float32).min).astype(q.dtype), _constant(q, 0))
        total = causal if total is None else total + causal
    return total


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
