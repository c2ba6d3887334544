# SPDX-License-Identifier: Apache-2.0
"""Attention: the pattern over ``q[b,g,t,h] k[b,s,h] v[b,s,e]``, and the lowerings that never hold all scores at once.

``b`` are batches times heads of keys, ``g`` the query heads that share one of them. Scores may have a bias and a mask;
``ahead`` is the causal mask: query i sees keys up to i + ahead. How the pattern's rows without any key come out (NaN,
zero, or the mean of all values) is part of it: ``fill`` is what hidden scores become, ``guard`` whether NaN becomes 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ir.types import itemsize
from egraph_opt.kernels.record import Kernel
from egraph_opt.ops.kernel import Lowering

Static = Mapping[str, Any]
Types = Sequence[TensorType]

BLOCK_BYTES = 1 << 20
"""Size of the scores of one block of queries, about: what a core's cache holds."""

LEAST_BLOCK = 16
MOST_UNROLLED = 16
"""Queries of a block at least, and blocks that are written out one by one under a causal mask."""

NO_SHARE = -1e8
"""A score that is hidden by this counts for nothing beside one that is not."""

CUDNN_HEAD = 128
"""Largest head size that is given to cuDNN."""


def _split(more: Sequence[Any], static: Static) -> tuple[Any, Any]:
    """Bias and mask, None where there is none."""
    rest = list(more)
    bias = rest.pop(0) if static["bias"] else None
    mask = rest.pop(0) if static["mask"] else None
    return bias, mask


def _scored(q: Any, k: Any, bias: Any, mask: Any, first: Any, static: Static) -> Any:
    """Scores of some rows of queries, the first of which is the one with number ``first``."""
    wide = jnp.promote_types(q.dtype, jnp.float32) if static["wide"] else q.dtype
    scores = jnp.einsum("bgth,bsh->bgts", q, k, preferred_element_type=wide)
    scores = scores * jnp.asarray(static["scale"], wide)
    if bias is not None:
        scores = scores + bias.astype(wide)
    if static["ahead"] is not None:
        rows = lax.broadcasted_iota(jnp.int32, scores.shape[2:], 0) + first
        columns = lax.broadcasted_iota(jnp.int32, scores.shape[2:], 1)
        seen = columns <= rows + static["ahead"]
        mask = seen if mask is None else mask & seen
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.asarray(static["fill"], wide))
    return scores


def pattern(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """Attention as it is written."""
    shares = jax.nn.softmax(_scored(q, k, *_split(more, static), 0, static), axis=-1)
    if static["guard"]:
        shares = jnp.where(jnp.isnan(shares), jnp.zeros((), shares.dtype), shares)
    return jnp.einsum("bgts,bse->bgte", shares.astype(v.dtype), v)


def attend(q: Any, k: Any, v: Any, bias: Any, mask: Any, first: Any, static: Static) -> Any:
    """Attention of some rows, divided by the sums of exponentials at the end: there are fewer results than scores."""
    scores = _scored(q, k, bias, mask, first, static)
    top = lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    shares = jnp.exp(scores - top)
    total = shares.sum(axis=-1)[..., None]
    made = jnp.einsum("bgts,bse->bgte", shares.astype(v.dtype), v, preferred_element_type=scores.dtype) / total
    if static["guard"]:
        made = jnp.where(jnp.isnan(total), jnp.zeros((), made.dtype), made)
    return made.astype(v.dtype)


def block_of(types: Types, static: Static) -> int:
    """Queries of one block: so many that its scores fit into a cache."""
    b, g, t, _ = types[0].shape
    row = max(1.0, b * g * types[1].shape[1] * (4.0 if static["wide"] else itemsize(types[0].dtype)))
    return int(min(t, max(LEAST_BLOCK, 2 ** math.floor(math.log2(max(1.0, BLOCK_BYTES / row))))))


def _types(*arrays: Any) -> Types:
    return [TensorType(tuple(x.shape), str(x.dtype)) for x in arrays]


def _cut(x: Any, start: int, stop: int) -> Any:
    """Some rows of a bias or a mask; one that is the same for all queries stays whole."""
    return x if x is None or x.shape[2] == 1 else x[:, :, start:stop]


def _blocks(q: Any, k: Any, v: Any, bias: Any, mask: Any, first: int, static: Static) -> Any:
    """Attention of rows from ``first`` on, block after block in a loop."""
    block, count = block_of(_types(q, k, v), static), q.shape[2]
    blocks = -(-count // block)
    if blocks == 1:
        return attend(q, k, v, bias, mask, first, static)

    def rows(x: Any) -> Any:
        """The blocks of a tensor with a dimension of queries, as a first dimension."""
        padded = jnp.pad(x, [(0, 0), (0, 0), (0, blocks * block - count), (0, 0)])
        parts = padded.reshape(*x.shape[:2], blocks, block, x.shape[3])
        return jnp.moveaxis(parts, 2, 0)

    moving = {name: rows(x) for name, x in (("bias", bias), ("mask", mask)) if x is not None and x.shape[2] != 1}

    def one(start: Any, queries: Any, parts: Mapping[str, Any]) -> Any:
        return attend(queries, k, v, parts.get("bias", bias), parts.get("mask", mask), start, static)

    starts = jnp.arange(blocks, dtype=jnp.int32) * block + first
    again = jax.checkpoint(one)  # derivatives make the scores again, block by block
    made = lax.map(lambda xs: again(*xs), (starts, rows(q), moving))
    return jnp.moveaxis(made, 0, 2).reshape(*q.shape[:2], blocks * block, v.shape[2])[:, :, :count]


def chunked(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """The scores of one block of queries are all that is held."""
    return _blocks(q, k, v, *_split(more, static), 0, static)


def triangle(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """Under a causal mask: a few parts of the queries, each with the keys that it can see and no others."""
    bias, mask = _split(more, static)
    count, keys = q.shape[2], k.shape[1]
    size = -(-count // _steps(count))
    parts = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        seen = min(keys, stop + static["ahead"])
        pieces = [None if x is None else x[..., :seen] if x.shape[3] != 1 else x for x in (bias, mask)]
        near, shown = (_cut(x, start, stop) for x in pieces)
        parts.append(_blocks(q[:, :, start:stop], k[:, :seen], v[:, :seen], near, shown, start, static))
    return jnp.concatenate(parts, axis=2)


def _steps(count: int) -> int:
    return max(1, min(MOST_UNROLLED, count // 64))


def _can_triangle(types: Types, static: Static) -> bool:
    """Each query sees a key, and beside it what is hidden has no share at all."""
    none = static["fill"] <= NO_SHARE
    return static["ahead"] is not None and static["ahead"] >= 0 and none and not static["mask"] and _long(types)


def _long(types: Types) -> bool:
    return types[0].shape[2] >= 128 and types[1].shape[1] >= 128


def cudnn(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """Fused attention of cuDNN: heads of keys are batches there."""
    bias, mask = _split(more, static)
    made = jax.nn.dot_product_attention(
        jnp.moveaxis(q, 1, 2),
        k[:, :, None],
        v[:, :, None],
        bias=bias,
        mask=mask,
        scale=static["scale"],
        is_causal=static["ahead"] is not None,
        implementation="cudnn",
    )
    return jnp.moveaxis(made, 2, 1)


def _can_cudnn(types: Types, static: Static) -> bool:
    """Half precision, small heads of whole words, no rows whose value is a matter of spelling."""
    q, k, v = types[:3]
    heads = q.shape[3] == v.shape[2] and q.shape[3] % 8 == 0 and q.shape[3] <= CUDNN_HEAD
    half = q.dtype == k.dtype == v.dtype and q.dtype in ("bfloat16", "float16")
    plain = static["ahead"] in (None, 0) and not static["mask"]
    return heads and half and plain and static["wide"] and q.shape[2] > 1


def _products(types: Types) -> float:
    b, g, t, h = types[0].shape
    return 2.0 * b * g * t * types[1].shape[1] * (h + types[2].shape[2])


def _scores(types: Types) -> float:
    b, g, t, _ = types[0].shape
    return float(b * g * t * types[1].shape[1])


def _seconds(types: Types, share: float, starts: float, held: float, device: Any) -> float:
    """Products and exponentials of a share of the scores, which stay where so many bytes fit."""
    dtype = types[0].dtype
    scores = share * _scores(types)
    busy = share * _products(types) / device.product_rate(dtype) + scores / device.transcendentals
    traffic = 6.0 * scores * itemsize(dtype) / device.bandwidth_for(held)
    return float(8.0 * starts * device.launch_seconds + max(busy, traffic) + 0.5 * min(busy, traffic))


def _chunked_seconds(types: Types, static: Static, device: Any) -> float:
    block = block_of(types, static)
    blocks = -(-types[0].shape[2] // block)
    return _seconds(types, 1.0, blocks, _block_bytes(types, static), device)


def _triangle_seconds(types: Types, static: Static, device: Any) -> float:
    steps = _steps(types[0].shape[2])
    blocks = max(steps, types[0].shape[2] // block_of(types, static))
    return _seconds(types, min(1.0, 0.5 + 0.5 / steps), blocks, _block_bytes(types, static), device)


def _cudnn_seconds(types: Types, static: Static, device: Any) -> float:
    share = 0.55 if static["ahead"] is not None else 1.0
    return float(device.launch_seconds + 2.0 * share * _products(types) / device.product_rate(types[0].dtype))


def _block_bytes(types: Types, static: Static) -> float:
    """Scores of a block, twice, and its queries and results."""
    b, g, _, h = types[0].shape
    block = block_of(types, static)
    row = 2.0 * types[1].shape[1] + h + types[2].shape[2]
    return b * g * block * row * (4.0 if static["wide"] else itemsize(types[0].dtype))


def _chunked_bytes(types: Types, static: Static) -> float:
    """What a block holds, and queries and results in blocks."""
    b, g, t, _ = types[0].shape
    return _block_bytes(types, static) + types[0].nbytes + b * g * t * types[2].shape[2] * itemsize(types[2].dtype)


def _triangle_bytes(types: Types, static: Static) -> float:
    """Blocks as above; parts of the result until they are put together, and blocks of a part."""
    b, g, t, _ = types[0].shape
    result = b * g * t * types[2].shape[2] * itemsize(types[2].dtype)
    return _block_bytes(types, static) + 2.0 * (types[0].nbytes + result)


def _cudnn_bytes(types: Types, static: Static) -> float:
    del static
    b, g, t, _ = types[0].shape
    return 4.0 * b * g * t + types[0].nbytes


def _describe(static: Static) -> str:
    said = []
    if static["ahead"] is not None:
        said.append("causal" if not static["ahead"] else f"causal, {static['ahead']:+d} keys")
    said += [name for name in ("bias", "mask") if static[name]]
    return ", ".join([*said, *(["NaN guard"] if static["guard"] else [])])


SAMPLE = {"scale": 0.35, "ahead": None, "fill": -math.inf, "guard": False, "wide": True, "bias": False, "mask": False}

ATTENTION = Kernel(
    name="attention",
    pattern=pattern,
    shapes=("b g t h", "b s h", "b s e"),
    result="b g t e",
    lowerings=(
        Lowering(
            name="triangle",
            function=triangle,
            when=_can_triangle,
            seconds=_triangle_seconds,
            temporary_bytes=_triangle_bytes,
            differentiable=True,
        ),
        Lowering(
            name="chunked",
            function=chunked,
            when=lambda types, static: _long(types),
            seconds=_chunked_seconds,
            temporary_bytes=_chunked_bytes,
            differentiable=True,
        ),
        Lowering(
            name="cudnn",
            function=cudnn,
            devices=("gpu",),
            when=_can_cudnn,
            seconds=_cudnn_seconds,
            temporary_bytes=_cudnn_bytes,
            differentiable=True,
        ),
    ),
    samples=(
        SAMPLE,
        SAMPLE | {"ahead": 0},
        SAMPLE | {"ahead": 0, "fill": -1e9},
        SAMPLE | {"wide": False, "guard": True, "ahead": 2},
    ),
    describe=_describe,
    doc="softmax(scale q k' + bias, masked) v",
    families=frozenset({"exp"}),
)
