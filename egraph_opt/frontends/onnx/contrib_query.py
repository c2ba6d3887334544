# SPDX-License-Identifier: Apache-2.0
"""GroupQueryAttention of com.microsoft: what language models exported for onnxruntime hold, with its cache.

The cache is an input and an output. Its length has to be known while the model is traced; how much of it is filled
may be computed. What onnxruntime leaves open, rows behind the end of a sequence, holds the past cache or zeros here.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.attention import attend, join_heads, rotated, split_heads
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

DOMAIN = "com.microsoft"


@operator("GroupQueryAttention", domain=DOMAIN)
def _group_query(
    node: Node,
    q: Array,
    k: Array | None,
    v: Array | None,
    past_key: Array | None,
    past_value: Array | None,
    lengths: Array,
    total: Array,
    cos: Array | None = None,
    sin: Array | None = None,
    positions: Array | None = None,
    extra: Array | None = None,
    sink: Array | None = None,
    k_scale: Array | None = None,
    v_scale: Array | None = None,
    q_norm: Array | None = None,
    k_norm: Array | None = None,
    *more: Array | None,
) -> Any:
    windowed, scales = node.attr("sliding_window_cache", 0), (k_scale, v_scale, *more)
    if node.wants(3) or windowed or any(x is not None for x in scales):
        raise node.unsupported("quantised or windowed caches, lengths of queries and scores as an output are not")
    q, k, v = _separate(node, q, k, v)
    if q_norm is not None and k_norm is not None:
        q, k = _normed(node, q, q_norm, "q_norm_epsilon"), _normed(node, k, k_norm, "k_norm_epsilon")
    (whole,) = node.ints(6, total)
    before = _before(node, lengths, q.shape[2], whole)
    if node.attr("do_rotary", 0):
        q, k = _turned(node, (q, k), cos, sin, positions, before, whole)
    keys, values = _cached(past_key, k, before, whole), _cached(past_value, v, before, whole)
    seen = _seen(node, q, whole, before, lengths)
    bias = extra
    if seen is not None:
        xp = np if isinstance(seen, np.ndarray) else jnp
        hiding = xp.where(seen, np.zeros((), q.dtype), np.asarray(-np.inf, q.dtype))
        bias = hiding if extra is None else extra + hiding
    if sink is None and node.attr("smooth_softmax", 0) == 1:
        sink = np.zeros(1, q.dtype)
    y, _ = attend(node, q, keys[:, :, :whole], values[:, :, :whole], bias, sink)
    return join_heads(y), keys, values


def _separate(node: Node, q: Array, k: Array | None, v: Array | None) -> tuple[Array, Array, Array]:
    """Queries[b,h,s,d], keys and values[b,g,s,d]; they may come as one tensor."""
    heads, groups = node.attr("num_heads", 0), node.attr("kv_num_heads", 0)
    if heads < 1 or groups < 1 or heads % groups:
        raise node.fault(f"num_heads is {heads} and kv_num_heads {groups}; want the second to divide the first")
    if k is None or v is None:
        size = q.shape[2] // (heads + 2 * groups)
        q, k, v = jnp.split(q, [heads * size, (heads + groups) * size], axis=2)
    return split_heads(node, q, heads), split_heads(node, k, groups), split_heads(node, v, groups)


def _normed(node: Node, x: Array, gain: Array, name: str) -> Array:
    """Each head over its root mean square."""
    epsilon = node.attr(name) or node.attr("qk_norm_epsilon", 1e-6)
    wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    inverse = lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + np.asarray(epsilon, wide.dtype))
    return (wide * inverse).astype(x.dtype) * gain


def _before(node: Node, lengths: Array, steps: int, whole: int) -> Any:
    """How many keys came before: a number, or [b] where it differs or is computed; none where the prompt is read."""
    if steps == whole:
        return 0
    if not isinstance(lengths, np.ndarray):
        return lengths.reshape(-1) + (1 - steps)
    known = lengths.reshape(-1) + (1 - steps)
    if (known < 0).any() or (known + steps > whole).any():
        wrong = f"seqlens_k is {lengths.tolist()} with {steps} steps and total_sequence_length {whole}"
        raise node.fault(f"{wrong}; want from {steps - 1} to {whole - 1}")
    return int(known[0]) if (known == known[0]).all() else known


def _places(before: Any, steps: int) -> Array:
    """Position of each query: [1,s], or [b,s]."""
    return np.reshape(before, (-1, 1)) + np.arange(steps) if _known(before) else before[:, None] + np.arange(steps)


def _known(before: Any) -> bool:
    return isinstance(before, int | np.ndarray)


def _turned(
    node: Node, heads: tuple[Array, Array], cos: Array | None, sin: Array | None, positions: Array | None, before: Any,
    whole: int,
) -> list[Array]:  # fmt: skip
    """Queries and keys turned by the angles of their positions."""
    if cos is None or sin is None:
        raise node.fault("do_rotary is 1, but cos_cache or sin_cache is missing")
    batch, _, steps, _ = heads[0].shape
    if positions is None:
        positions = _places(before, steps)
    elif steps == whole:  # of a prompt's positions, onnxruntime reads the first of all
        positions = jnp.reshape(positions, (-1,))[:1] + np.arange(steps)
    attributes = {"rotary_embedding_dim": 2 * cos.shape[1], "interleaved": node.attr("rotary_interleaved", 0)}
    inner = Node(node.record, node.version, node.frame, attributes)
    positions = jnp.broadcast_to(positions, (batch, steps))
    return [rotated(inner, x, cos, sin, positions, 1) for x in heads]


def _cached(past: Array | None, new: Array, before: Any, whole: int) -> Array:
    """The keys or values so far[b,g,t,d]: the new ones behind those that came before."""
    old = 0 if past is None else past.shape[2]
    size = max(old, whole)
    if past is None or (isinstance(before, int) and before == old):
        joined = new if past is None else jnp.concatenate([past, new], axis=2)
        return joined if joined.shape[2] == size else _filled(joined, size)
    room = past if old == size else _filled(past, size)
    if isinstance(before, int):
        return lax.dynamic_update_slice(room, new, (0, 0, before, 0))
    zero = np.zeros((), before.dtype)
    place: Any = jax.vmap(lambda row, x, start: lax.dynamic_update_slice(row, x, (zero, start, zero)))
    return place(room, new, jnp.broadcast_to(before, new.shape[:1]))


def _filled(x: Array, size: int) -> Array:
    return jnp.pad(x, [(0, 0), (0, 0), (0, size - x.shape[2]), (0, 0)])


def _seen(node: Node, q: Array, whole: int, before: Any, lengths: Array) -> Array | None:
    """Which keys each query sees, [b|1,1,s,t]: those up to itself, of those the nearest; None where all."""
    keys = np.arange(whole)
    if not node.attr("causal", 1):
        if isinstance(lengths, np.ndarray) and (lengths + 1 == whole).all():
            return None
        return keys < lengths.reshape(-1, 1, 1, 1) + 1
    place = _places(before, q.shape[2])[:, None, :, None]
    seen = keys <= place
    window = node.attr("local_window_size", -1)
    seen = seen & (keys > place - window) if window > 0 else seen
    return None if isinstance(seen, np.ndarray) and seen.all() else seen
