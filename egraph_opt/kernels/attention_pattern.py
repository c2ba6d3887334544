# SPDX-License-Identifier: Apache-2.0
"""Attention as it is written: the pattern over ``q[b,g,t,h] k[b,s,h] v[b,s,e]``.

``b`` are batches times heads of keys, ``g`` the query heads that share one of them. Scores may be capped, and have a
bias and a mask; ``ahead`` and ``behind`` are a band: query i sees keys from i - behind up to i + ahead. How rows
without any key come out (NaN, zero, or the mean of all values) is part of it: ``fill`` is what hidden scores become,
``guard`` whether NaN becomes 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Static = Mapping[str, Any]

SAMPLE: dict[str, Any] = {
    "scale": 0.35,
    "cap": None,
    "ahead": None,
    "behind": None,
    "fill": -math.inf,
    "guard": False,
    "wide": True,
    "bias": False,
    "mask": False,
}
"""All keywords of the pattern, without anything special."""


def split(more: Sequence[Any], static: Static) -> tuple[Any, Any]:
    """Bias and mask, None where there is none."""
    rest = list(more)
    bias = rest.pop(0) if static["bias"] else None
    mask = rest.pop(0) if static["mask"] else None
    return bias, mask


def scored(q: Any, k: Any, bias: Any, mask: Any, first: Any, static: Static, last: int | None = None) -> Any:
    """Scores of some rows of queries with some keys.

    Args:
        q: queries.
        k: keys.
        bias: added to scores, or None.
        mask: which scores count, or None.
        first: number of the first query less that of the first key.
        static: keywords of the pattern.
        last: number of the last query, if there are rows behind it that do not count; they see what it sees.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32) if static["wide"] else q.dtype
    scores = jnp.einsum("bgth,bsh->bgts", q, k, preferred_element_type=wide)
    scores = scores * jnp.asarray(static["scale"], wide)
    if static["cap"] is not None:
        cap = jnp.asarray(static["cap"], wide)
        scores = cap * jnp.tanh(scores / cap)
    if bias is not None:
        scores = scores + bias.astype(wide)
    seen = band(scores.shape[2:], first, static, last)
    if seen is not None:
        mask = seen if mask is None else mask & seen
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.asarray(static["fill"], wide))
    return scores


def band(shape: tuple[int, ...], first: Any, static: Static, last: int | None = None) -> Any:
    """Which keys each query sees, for as many rows and columns; None where it sees all."""
    ahead, behind = static["ahead"], static["behind"]
    if ahead is None and behind is None:
        return None
    rows = lax.broadcasted_iota(jnp.int32, shape, 0) + first
    rows = rows if last is None else jnp.minimum(rows, last)
    columns = lax.broadcasted_iota(jnp.int32, shape, 1)
    upper = None if ahead is None else columns <= rows + ahead
    lower = None if behind is None else columns >= rows - behind
    return lower if upper is None else upper if lower is None else upper & lower


def pattern(q: Any, k: Any, v: Any, *more: Any, **static: Any) -> Any:
    """Attention as it is written."""
    shares = jax.nn.softmax(scored(q, k, *split(more, static), 0, static), axis=-1)
    if static["guard"]:
        shares = jnp.where(jnp.isnan(shares), jnp.zeros((), shares.dtype), shares)
    return jnp.einsum("bgts,bse->bgte", shares.astype(v.dtype), v)
