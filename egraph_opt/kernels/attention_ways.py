# SPDX-License-Identifier: Apache-2.0
"""Attention in pieces: the lowerings that never hold all scores at once, and for which operands they may be used.

``chunked`` goes over blocks of queries; ``triangle`` gives a few parts of the queries the keys that they can see;
``banded`` goes over blocks of queries with the keys of their window. Fused attention of cuDNN is a call.
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
from egraph_opt.kernels.attention_pattern import Static, band, scored, split

Types = Sequence[TensorType]

BLOCK_BYTES = 1 << 20
"""Size of the scores of one block of queries, about: what a core's cache holds."""

LEAST_BLOCK = 16
MOST_UNROLLED = 16
"""Queries of a block at least, and parts that are written out one by one under a causal mask."""

LEAST_BAND, MOST_BAND = 32, 256
"""Queries of a block that goes with its window."""

NO_SHARE = -1e8
"""A score that is hidden by this counts for nothing beside one that is not."""

CUDNN_HEAD = 128
"""Largest head size that is given to cuDNN."""


def attend(q: Any, k: Any, v: Any, bias: Any, mask: Any, first: Any, static: Static, last: int | None = None) -> Any:
    """Attention of some rows, divided by the sums of exponentials at the end: there are fewer results than scores."""
    scores = scored(q, k, bias, mask, first, static, last)
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
    row = max(1.0, b * g * types[1].shape[1] * score_bytes(types, static))
    return int(min(t, max(LEAST_BLOCK, 2 ** math.floor(math.log2(max(1.0, BLOCK_BYTES / row))))))


def score_bytes(types: Types, static: Static) -> float:
    """Size of one score [byte]."""
    return max(4.0, itemsize(types[0].dtype)) if static["wide"] else float(itemsize(types[0].dtype))


def _types(*arrays: Any) -> Types:
    return [TensorType(tuple(x.shape), str(x.dtype)) for x in arrays]


def _rows(x: Any, start: int, stop: int) -> Any:
    """Some rows of a bias or a mask; one that is the same for all queries stays whole."""
    return x if x is None or x.shape[2] == 1 else x[:, :, start:stop]


def _columns(x: Any, start: int, stop: int) -> Any:
    """Some keys of a bias or a mask; one that is the same for all keys stays whole."""
    return x if x is None or x.shape[3] == 1 else x[..., start:stop]


def _blocks(q: Any, k: Any, v: Any, bias: Any, mask: Any, first: int, static: Static) -> Any:
    """Attention of rows of which the first has the number ``first``, block after block in a loop."""
    block, count = block_of(_types(q, k, v), static), q.shape[2]
    blocks = -(-count // block)
    if blocks == 1:
        return attend(q, k, v, bias, mask, first, static)

    def rows(x: Any, padding: Any = 0) -> Any:
        """The blocks of a tensor with a dimension of queries, as a first dimension."""
        missing = [(0, 0), (0, 0), (0, blocks * block - count), (0, 0)]
        parts = jnp.pad(x, missing, constant_values=padding).reshape(*x.shape[:2], blocks, block, x.shape[3])
        return jnp.moveaxis(parts, 2, 0)

    # Rows behind the last see keys: NaN of theirs would come back in the derivatives by the keys.
    moving = {} if bias is None or bias.shape[2] == 1 else {"bias": rows(bias)}
    moving |= {} if mask is None or mask.shape[2] == 1 else {"mask": rows(mask, True)}

    def one(start: Any, queries: Any, parts: Mapping[str, Any]) -> Any:
        return attend(queries, k, v, parts.get("bias", bias), parts.get("mask", mask), start, static, first + count - 1)

    starts = jnp.arange(blocks, dtype=jnp.int32) * block + first
    again = jax.checkpoint(one)  # derivatives make the scores again, block by block
    made = lax.map(lambda xs: again(*xs), (starts, rows(q), moving))
    return jnp.moveaxis(made, 0, 2).reshape(*q.shape[:2], blocks * block, v.shape[2])[:, :, :count]


def chunked(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """The scores of one block of queries are all that is held."""
    return _blocks(q, k, v, *split(more, static), 0, static)


def triangle(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """Under a causal mask or a band: a few parts of the queries, each with the keys that it can see and no others."""
    bias, mask = split(more, static)
    count, keys = q.shape[2], k.shape[1]
    size = -(-count // steps(count))
    parts = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        low, high = seen_by(start, stop, keys, static)
        near, shown = (_rows(_columns(x, low, high), start, stop) for x in (bias, mask))
        queries = q[:, :, start:stop]
        parts.append(_blocks(queries, k[:, low:high], v[:, low:high], near, shown, start - low, static))
    return jnp.concatenate(parts, axis=2)


def seen_by(start: int, stop: int, keys: int, static: Static) -> tuple[int, int]:
    """The first key that some rows see, and the one after the last."""
    ahead, behind = static["ahead"], static["behind"]
    return 0 if behind is None else max(0, start - behind), keys if ahead is None else min(keys, stop + ahead)


def steps(count: int) -> int:
    """Parts into which that many queries are cut."""
    return max(1, min(MOST_UNROLLED, count // 64))


def banded(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """In a window: blocks of queries, each with the keys from its first query's first to its last query's last.

    The keys of a block are those of the one before without the oldest, and some new ones: they are handed on.
    """
    bias, mask = split(more, static)
    (b, g, count, _), keys = q.shape, k.shape[1]
    block, width = band_of(static)
    blocks = -(-count // block)
    group = max(1, min(b, int(BLOCK_BYTES / (g * block * width * score_bytes(_types(q), static)))))
    near = band((block, width), static["behind"], static)
    free = {**static, "ahead": None, "behind": None}

    def parts(x: Any, axis: int) -> tuple[Any, Any]:
        """Along an axis of keys: what the first block begins with, and what each one adds; keys not there are 0."""
        padding = [(0, 0, 0)] * x.ndim
        missing = (blocks - 1) * block + width - keys - static["behind"]
        padding[axis] = (static["behind"], missing, 0)  # less than none is cut away
        wide = lax.pad(x, jnp.zeros((), x.dtype), padding)
        first, rest = jnp.split(wide, [width - block], axis=axis)
        rest = rest.reshape(*x.shape[:axis], blocks, block, *x.shape[axis + 1 :])
        return first, jnp.moveaxis(rest, axis, 0)

    def one(window: Sequence[Any], new: Any) -> tuple[Any, Any]:
        number, rows, added = new
        held = [jnp.concatenate(pair, axis=-2) for pair in zip(window, added, strict=True)]
        start = number * block
        columns = start - static["behind"] + lax.broadcasted_iota(jnp.int32, (block, width), 1)
        seen = near & (columns >= 0) & (columns < keys)
        seen = seen if mask is None else held[-1][None, :, None, :, 0] & seen
        # Rows behind the last see something: NaN of theirs would come back in the derivatives by the keys.
        seen = seen | (start + lax.broadcasted_iota(jnp.int32, (block, width), 0) >= count)
        its_bias = None if bias is None else held[2][None, :, None, :, 0]
        made = attend(rows[None], held[0][None], held[1][None], its_bias, seen, 0, free)[0]
        return [x[..., block:, :] for x in held], made

    def batch(item: Any) -> Any:
        queries, along = item
        rows = jnp.pad(queries, [(0, 0), (0, blocks * block - count), (0, 0)]).reshape(g, blocks, block, -1)
        firsts, news = zip(*(parts(x, x.ndim - 2) for x in along), strict=True)
        numbers = jnp.arange(blocks, dtype=jnp.int32)
        made = lax.scan(jax.checkpoint(one), list(firsts), (numbers, jnp.moveaxis(rows, 1, 0), list(news)))[1]
        return jnp.moveaxis(made, 0, 1).reshape(g, blocks * block, -1)[:, :count]

    # A bias or a mask of keys has its keys where keys and values have them: before the last dimension.
    others = [jnp.broadcast_to(x[:, :, 0, :, None], (b, x.shape[1], keys, 1)) for x in (bias, mask) if x is not None]
    items = (q, [k, v, *others])
    return jax.vmap(batch)(items) if group == b else lax.map(batch, items, batch_size=group)


def band_of(static: Static) -> tuple[int, int]:
    """Queries of a block, about half of a window, and the keys that go with it: whole blocks."""
    window = static["behind"] + static["ahead"] + 1
    block = max(LEAST_BAND, min(MOST_BAND, 2 ** math.floor(math.log2(max(1.0, window / 2)))))
    return block, block * -(-(block + window - 1) // block)


def can_triangle(types: Types, static: Static) -> bool:
    """Each query sees a key, and beside it what is hidden has no share at all."""
    there = static["ahead"] is not None or static["behind"] is not None
    return there and _apart(types, static) and is_long(types)


def can_band(types: Types, static: Static) -> bool:
    """A window that is small beside the keys, and no bias or mask that differs from query to query."""
    if static["ahead"] is None or static["behind"] is None or not _apart(types, static):
        return False
    plain = all(t.shape[2] == 1 for t in types[3:])
    return plain and types[0].shape[2] >= 128 and 2 * band_of(static)[1] <= types[1].shape[1]


def _apart(types: Types, static: Static) -> bool:
    """Whether what lies outside of the band may be left out: every row has a key in it, and hidden scores no share.

    With a bias or a mask a row's own scores may be as low as hidden ones, unless those are minus infinity.
    """
    count, keys = types[0].shape[2], types[1].shape[1]
    ahead, behind = static["ahead"], static["behind"]
    begins = ahead is None or ahead >= max(0, 0 if behind is None else -behind)
    ends = behind is None or count - 1 - behind < keys
    alone = not static["bias"] and not static["mask"]
    return begins and ends and bool(static["fill"] <= NO_SHARE if alone else static["fill"] == -math.inf)


def is_long(types: Types) -> bool:
    """Whether there are so many scores that blocks can pay."""
    return types[0].shape[2] >= 128 and types[1].shape[1] >= 128


def cudnn(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """Fused attention of cuDNN: heads of keys are batches there."""
    bias, mask = split(more, static)
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


def can_cudnn(types: Types, static: Static) -> bool:
    """Half precision, small heads of whole words, no cap, no window, no rows whose value is a matter of spelling."""
    q, k, v = types[:3]
    heads = q.shape[3] == v.shape[2] and q.shape[3] % 8 == 0 and q.shape[3] <= CUDNN_HEAD
    half = q.dtype == k.dtype == v.dtype and q.dtype in ("bfloat16", "float16")
    plain = static["ahead"] in (None, 0) and static["behind"] is None and not static["mask"] and static["cap"] is None
    return heads and half and plain and static["wide"] and q.shape[2] > 1
