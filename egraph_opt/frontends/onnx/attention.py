# SPDX-License-Identifier: Apache-2.0
"""Attention and RotaryEmbedding of the standard.

Written in plain products, softmax and masks, so that the optimizer sees what every other spelling of attention is, too.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type


@operator("Attention", since=23)
def _attention(
    node: Node,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    lengths: Array | None = None,
) -> Any:
    flat = q.ndim == 3
    if flat:
        q = split_heads(node, q, node.attr("q_num_heads", 0))
        k, v = (split_heads(node, x, node.attr("kv_num_heads", 0)) for x in (k, v))
    if (past_key is None) != (past_value is None):
        raise node.fault("got only one of past_key and past_value; want both or none")
    before = 0 if past_key is None else past_key.shape[2]
    if past_key is not None and past_value is not None:
        k, v = jnp.concatenate([past_key, k], axis=2), jnp.concatenate([past_value, v], axis=2)
    if q.shape[1] % k.shape[1] or q.shape[3] != k.shape[3] or k.shape[:3] != v.shape[:3]:
        raise node.fault(f"got Q {list(q.shape)}, K {list(k.shape)}, V {list(v.shape)}, which do not fit")
    offset: Any = before if lengths is None or past_key is not None else lengths.reshape(-1, 1, 1, 1) - q.shape[2]
    bias = _bias(node, q, k, mask, lengths, offset)
    y, scores = attend(node, q, k, v, bias)
    if flat:
        y = join_heads(y)
    return y, k, v, scores


def split_heads(node: Node, x: Array, heads: int) -> Array:
    """x[b,t,h*d] as [b,h,t,d]."""
    if heads < 1 or x.shape[2] % heads:
        raise node.fault(f"the number of heads is {heads}, which does not divide the last axis of {list(x.shape)}")
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(0, 2, 1, 3)


def join_heads(x: Array) -> Array:
    """x[b,h,t,d] as [b,t,h*d]."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])


def attend(
    node: Node, q: Array, k: Array, v: Array, bias: Array | None, sink: Array | None = None
) -> tuple[Array, Array | None]:
    """The result of attention, and the scores in the state that ``qk_matmul_output_mode`` names.

    Args:
        node: with the attributes scale, softcap, softmax_precision and qk_matmul_output_mode.
        q: queries[b,h,s,d].
        k: keys[b,g,t,d], where g divides h.
        v: values[b,g,t,e].
        bias: added to the scores; -inf where a key must not be seen.
        sink: a score for each of the h heads, or one for all, that takes part in the softmax and stands for no value.
    """
    mode, wanted = node.attr("qk_matmul_output_mode", 0), node.wants(3)
    scale = node.attr("scale") or 1 / np.sqrt(q.shape[3])
    root = np.asarray(np.sqrt(scale), q.dtype)
    scores = _grouped(q * root, k * root, "bghsd,bgtd->bghst")
    shown = scores
    cap = node.attr("softcap", 0.0)
    if cap:
        scores = jnp.tanh(scores / np.asarray(cap, q.dtype)) * np.asarray(cap, q.dtype)
    shown = scores if mode == 1 else shown
    hidden = None
    if bias is not None:
        scores = scores + bias
        # a query that sees no key has zeros for its result; known masks tell that it does not happen
        hidden = jnp.isneginf(jnp.max(bias, axis=-1, keepdims=True))
        hidden = None if isinstance(bias, np.ndarray) and not np.isneginf(bias.max(-1)).any() else hidden
    shown = scores if mode == 2 else shown
    code = node.attr("softmax_precision")
    weights = _softmax(scores if code is None else scores.astype(element_type(code, node.where)), hidden, sink)
    shown = (weights if mode == 3 else shown).astype(q.dtype)
    y = _grouped(weights.astype(q.dtype).astype(v.dtype), v, "bghst,bgte->bghse")
    return y, shown if wanted else None


def _grouped(x: Array, y: Array, spec: str) -> Array:
    """A product of a tensor with h heads and one with g, of which each serves h / g of the first."""
    groups, heads = y.shape[1], x.shape[1]
    if groups == heads:
        return jnp.einsum(spec.replace("h", ""), x, y)
    x = x.reshape(x.shape[0], groups, heads // groups, *x.shape[2:])
    z = jnp.einsum(spec, x, y)
    return z.reshape(z.shape[0], heads, *z.shape[3:])


def _softmax(x: Array, hidden: Array | None, sink: Array | None = None) -> Array:
    """Softmax along the last axis; zeros in rows that are hidden as a whole."""
    if hidden is not None:
        x = jnp.where(hidden, np.zeros((), x.dtype), x)
    top = jnp.max(x, axis=-1, keepdims=True)
    if sink is not None:
        sink = jnp.reshape(sink, (-1, 1, 1)).astype(x.dtype)
        top = jnp.maximum(top, sink)
    top = lax.stop_gradient(top)
    weights = jnp.exp(x - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights / (total if sink is None else total + jnp.exp(sink - top))
    return weights if hidden is None else jnp.where(hidden, np.zeros((), x.dtype), weights)


def _bias(node: Node, q: Array, k: Array, mask: Array | None, lengths: Array | None, offset: Any) -> Array | None:
    """What is added to the scores: the mask, -inf for keys in the future, outside of the window or in the padding."""
    queries, keys = q.shape[2], k.shape[2]
    low, high = node.attr("left_window_size", -1), node.attr("right_window_size", -1)
    allowed: Any = None
    causal = bool(node.attr("is_causal", 0))
    if causal or low >= 0 or high >= 0:
        # how far a key lies behind the query: [s,t], or [b,1,s,t] where it differs between the elements of a batch
        behind = _count(queries)[:, None] - _count(keys) + offset
        for wanted, condition in ((causal, behind >= 0), (low >= 0, behind <= low), (high >= 0, -behind <= high)):
            if wanted:
                allowed = condition if allowed is None else allowed & condition
    if lengths is not None:
        present = _count(keys) < lengths.reshape(-1, 1, 1, 1)
        allowed = present if allowed is None else allowed & present
    if mask is not None and mask.shape[-1] not in (1, keys):
        missing = keys - mask.shape[-1]
        if missing > 0:  # keys that the mask does not speak of are not seen
            fill = False if mask.dtype == np.bool_ else np.asarray(-np.inf, mask.dtype)
            mask = jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, missing)], constant_values=fill)
    if mask is not None and mask.dtype == np.bool_:
        allowed, mask = mask if allowed is None else allowed & mask, None
    xp = np if isinstance(allowed, np.ndarray) else jnp
    if allowed is None:
        return mask
    hiding = xp.where(allowed, np.zeros((), q.dtype), np.asarray(-np.inf, q.dtype))
    return hiding if mask is None else mask + hiding


@operator("FlexAttention", domain="ai.onnx.preview")
def _flex_attention(node: Node, q: Array, k: Array, v: Array) -> Array:
    if any(x.ndim != 4 for x in (q, k, v)) or q.shape[1] % k.shape[1] or k.shape[:3] != v.shape[:3]:
        raise node.fault(f"got Q {list(q.shape)}, K {list(k.shape)}, V {list(v.shape)}, which do not fit")
    code = node.attr("softmax_precision")
    wide = element_type(code, node.where) if code else np.promote_types(q.dtype, np.float32)
    scale = node.attr("scale") or 1 / np.sqrt(q.shape[3])
    scores = _grouped(q.astype(wide), k.astype(wide), "bghsd,bgtd->bghst") * np.asarray(scale, wide)
    if node.attr("score_mod") is not None:
        (scores,) = node.body("score_mod")(scores)
    weights = _softmax(scores, jnp.isneginf(jnp.max(scores, axis=-1, keepdims=True)))
    if node.attr("prob_mod") is not None:
        (weights,) = node.body("prob_mod")(weights)
    return _grouped(weights.astype(v.dtype), v, "bghst,bgte->bghse")


def _count(size: Any) -> Array:
    """0, 1 ... below a size that may be a symbol."""
    return np.arange(size) if isinstance(size, int) else jnp.arange(size)


@operator("RotaryEmbedding", since=23)
def _rotary(node: Node, x: Array, cos: Array, sin: Array, positions: Array | None = None) -> Array:
    heads = node.attr("num_heads", 0)
    if x.ndim == 3:
        if heads < 1 or x.shape[2] % heads:
            raise node.fault(f"num_heads is {heads}, which does not divide the last axis of X {list(x.shape)}")
        rows = x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads)
        y = rotated(node, rows, cos, sin, positions, 2)
        return y.reshape(x.shape)
    return rotated(node, x, cos, sin, positions, 1)


def rotated(node: Node, x: Array, cos: Array, sin: Array, positions: Array | None, heads_axis: int) -> Array:
    """Pairs of elements of the last axis turned by the angles of their position.

    Args:
        node: with the attributes rotary_embedding_dim and interleaved.
        x: [b,h,t,d] or [b,t,h,d].
        cos: [positions,d/2], or [b,t,d/2] without positions.
        sin: as cos.
        positions: [b,t], or None.
        heads_axis: axis of x with the heads, 1 or 2.
    """
    if positions is not None:
        cos, sin = (jnp.take(jnp.asarray(table), positions, axis=0, mode="clip") for table in (cos, sin))
    size = node.attr("rotary_embedding_dim", 0) or x.shape[3]
    if cos.shape[-1] * 2 != size:
        raise node.fault(f"the caches have {cos.shape[-1]} angles; want {size // 2}, half of what is rotated")
    cos, sin = jnp.expand_dims(cos, heads_axis), jnp.expand_dims(sin, heads_axis)
    turned, rest = x[..., :size], x[..., size:]
    if node.attr("interleaved", 0):
        pairs = turned.reshape(*x.shape[:3], size // 2, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        turned = jnp.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(turned.shape)
    else:
        a, b = turned[..., : size // 2], turned[..., size // 2 :]
        turned = jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    return turned if size == x.shape[3] else jnp.concatenate([turned, rest], axis=-1)
