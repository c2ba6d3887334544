# SPDX-License-Identifier: Apache-2.0
"""Attention, MultiHeadAttention and RotaryEmbedding of com.microsoft, with their masks, caches and packed inputs.

Written in plain products, softmax and masks, as the standard's own. Queries that share heads are in `contrib_query`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.attention import attend, join_heads, rotated, split_heads
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.quantization import integer_product

DOMAIN = "com.microsoft"


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
    *more: Array | None,
) -> Any:
    if any(x is not None for x in more) or node.wants(3):
        raise node.unsupported("shared caches and the scores as an output are not supported")
    q, k, v = _separate(node, q, k, v)
    if bias is not None:
        first, second = q.shape[1] * q.shape[3], 2 * q.shape[1] * q.shape[3]
        q = q + _by_head(bias[:first], q)
        if bias.shape[0] > first and k.shape[3] * k.shape[1] == second - first:
            k, v = k + _by_head(bias[first:second], k), v + _by_head(bias[second:], v)
    if past_key is not None and past_value is not None:
        k, v = jnp.concatenate([past_key, k], axis=2), jnp.concatenate([past_value, v], axis=2)
    y, _ = attend(node, q, k, v, _scores_bias(node, q, k, padding, extra))
    return join_heads(y), k, v


def _separate(node: Node, q: Array, k: Array | None, v: Array | None) -> tuple[Array, Array, Array]:
    """Queries, keys and values, each [b,h,t,d], of the forms in which the operator takes them."""
    heads = node.attr("num_heads", 0)
    if q.ndim == 5 and k is None and v is None:  # [b,t,h,3,d]
        q, k, v = (q[:, :, :, i].transpose(0, 2, 1, 3) for i in range(3))
        return q, k, v
    if q.ndim != 3 or k is None or k.ndim not in (3, 4, 5):
        shapes = [None if x is None else list(x.shape) for x in (q, k, v)]
        raise node.unsupported(f"queries, keys and values {shapes} are not supported")
    q = split_heads(node, q, heads)
    if k.ndim == 5 and v is None:  # [b,t,h,2,d]
        return q, k[:, :, :, 0].transpose(0, 2, 1, 3), k[:, :, :, 1].transpose(0, 2, 1, 3)
    if v is None or v.ndim != k.ndim:
        raise node.fault(f"keys are {list(k.shape)} and values {None if v is None else list(v.shape)}; want alike")
    return (q, k, v) if k.ndim == 4 else (q, split_heads(node, k, heads), split_heads(node, v, heads))


def _by_head(bias: Array, x: Array) -> Array:
    """A bias of h*d numbers as it adds to x[b,h,t,d]."""
    return bias.reshape(x.shape[1], 1, x.shape[3])


@operator("Attention", domain=DOMAIN)
def _attention(
    node: Node,
    x: Array,
    weights: Array,
    bias: Array | None = None,
    padding: Array | None = None,
    past: Array | None = None,
    extra: Array | None = None,
    *more: Array | None,
) -> Any:
    product = jnp.matmul(x, weights)
    return _projected(node, product if bias is None else product + bias, padding, past, extra, *more)


@operator("QAttention", domain=DOMAIN)
def _quantized_attention(
    node: Node,
    x: Array,
    weights: Array,
    bias: Array | None,
    x_scale: Array,
    w_scale: Array,
    padding: Array | None = None,
    x_zero: Array | None = None,
    w_zero: Array | None = None,
    past: Array | None = None,
) -> Any:
    """Attention whose projection is a product of quantised integers."""
    scale = jnp.reshape(x_scale, ()) * w_scale
    product = integer_product(x, weights, x_zero, w_zero).astype(scale.dtype) * scale
    return _projected(node, product if bias is None else product + bias, padding, past, None)


def _projected(
    node: Node, product: Array, padding: Array | None, past: Array | None, extra: Array | None, *more: Array | None
) -> Any:
    """Attention among the parts of a projection[b,t,q+k+v], and the cache behind the past one[2,b,h,t,d]."""
    shared = any(x is not None for x in more) or node.attr("past_present_share_buffer", 0)
    if shared or node.attr("do_rotary", 0):
        raise node.unsupported("shared caches and rotary embedding inside of it are not supported")
    sizes = node.attr("qkv_hidden_sizes", (product.shape[2] // 3,) * 3)
    heads = node.attr("num_heads", 0)
    parts = jnp.split(product, [sizes[0], sizes[0] + sizes[1]], axis=2)
    q, k, v = (split_heads(node, part, heads) for part in parts)
    if past is not None:
        k, v = jnp.concatenate([past[0], k], axis=2), jnp.concatenate([past[1], v], axis=2)
    y, _ = attend(node, q, k, v, _scores_bias(node, q, k, padding, extra))
    return join_heads(y), jnp.stack([k, v]) if node.wants(1) else None


def _scores_bias(node: Node, q: Array, k: Array, padding: Array | None, extra: Array | None) -> Array | None:
    """What is added to the scores: a bias, a large number below zero for padding, the lowest for the future."""
    total = extra
    if padding is not None:
        hidden = np.asarray(node.attr("mask_filter_value", -10000.0), q.dtype)
        mask = jnp.where(_seen(node, q, k, padding), np.zeros((), q.dtype), hidden)
        total = mask if total is None else total + mask
    if node.attr("unidirectional", 0):
        queries, keys = q.shape[2], k.shape[2]
        ahead = np.arange(keys) > np.arange(queries)[:, None] + (keys - queries)
        causal = np.where(ahead, np.asarray(np.finfo(np.float32).min).astype(q.dtype), np.zeros((), q.dtype))
        total = causal if total is None else total + causal
    return total


def _seen(node: Node, q: Array, k: Array, mask: Array) -> Array:
    """Which keys may be seen, [b,1,1|s,t], by any of the masks: ends, ends and starts, or one number a key."""
    batch, queries, keys = q.shape[0], q.shape[2], k.shape[2]
    if mask.shape in ((batch,), (2 * batch,)):
        places, ends = np.arange(keys), mask[:batch].reshape(-1, 1, 1, 1)
        inside = places < ends
        return inside if mask.shape[0] == batch else inside & (places >= mask[batch:].reshape(-1, 1, 1, 1))
    if mask.shape == (batch, keys):
        return (mask != 0)[:, None, None, :]
    if mask.shape == (batch, queries, keys):
        return (mask != 0)[:, None]
    if mask.ndim == 4 and mask.shape[:2] == (batch, 1) and mask.shape[2] >= keys <= mask.shape[3]:
        return mask[:, :, keys - queries : keys, :keys] != 0
    want = f"[{batch}], [{2 * batch}], [{batch}, {keys}], [{batch}, {queries}, {keys}] or [{batch}, 1, >= {keys}, ...]"
    raise node.unsupported(f"a mask {list(mask.shape)} is not supported; want {want}")
