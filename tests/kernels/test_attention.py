# SPDX-License-Identifier: Apache-2.0
"""Attention: spellings that are recognised, programs that only look like it, and lowerings against the pattern."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt._compat import x64_enabled
from egraph_opt.capture import capture
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import Found, recognise, replaced
from egraph_opt.kernels.attention import ATTENTION
from egraph_opt.kernels.attention_pattern import SAMPLE, pattern
from egraph_opt.kernels.attention_ways import chunked, triangle
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.ops.kernel import KERNEL

B, T, N, H = 2, 12, 4, 8
CAUSAL = np.tril(np.ones((T, T), bool))
ROWS = np.arange(T)[:, None] >= np.arange(T)[None, :]


def arrays(dtype: Any = jnp.float32, heads: int = N, keys: int = T) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(3)
    shapes = ((B, T, N, H), (B, keys, heads, H), (B, keys, heads, H))
    return tuple(jnp.asarray(random.standard_normal(s), dtype) for s in shapes)  # type: ignore[return-value]


def scores(q: Any, k: Any) -> Any:
    return jnp.einsum("bqhd,bkhd->bhqk", q, k)


def mixed(p: Any, v: Any) -> Any:
    return jnp.einsum("bhqk,bkhd->bqhd", p, v)


def softmax(s: Any) -> Any:
    return jax.nn.softmax(s, axis=-1)


def plain(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q, k) / math.sqrt(H)), v)


def scale_on_queries(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q * H**-0.5, k)), v)


def scale_on_both(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q * H**-0.25, k / H**0.25)), v)


def scale_as_division_by_root(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q, k) / jnp.sqrt(jnp.float32(H))), v)


def scale_in_weights(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q, k)), v)


def matmuls_heads_first(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
    made = softmax(q @ k.swapaxes(-1, -2) * 0.25) @ v
    return made.transpose(0, 2, 1, 3).reshape(B, T, N * H)


def one_head(q: Any, k: Any, v: Any) -> Any:
    return softmax(q[0, :, 0] @ k[0, :, 0].T / 3) @ v[0, :, 0]


def one_tensor(q: Any, k: Any, v: Any) -> Any:
    x = q[0, :, 0]
    return softmax(x @ x.T / 3) @ x


def vmapped(q: Any, k: Any, v: Any) -> Any:
    def head(q: Any, k: Any, v: Any) -> Any:
        return softmax(q @ k.T * 0.3) @ v

    return jax.vmap(jax.vmap(head, 1, 1))(q, k, v)


def library(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.dot_product_attention(q, k, v)


def by_hand_with_maximum(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k) * 0.3
    e = jnp.exp(s - s.max(-1, keepdims=True))
    return mixed(e / e.sum(-1, keepdims=True), v)


def divided_at_the_end(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k) * 0.3
    e = jnp.exp(s - jnp.max(s, -1, keepdims=True))
    return mixed(e, v) / jnp.moveaxis(e.sum(-1), 1, 2)[..., None]


def times_reciprocal(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k) * 0.3
    e = jnp.exp(s - jax.lax.stop_gradient(s.max(-1, keepdims=True)))
    return mixed(e * (1.0 / e.sum(-1, keepdims=True)), v)


def by_logsumexp(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k) * 0.3
    return mixed(jnp.exp(s - jax.nn.logsumexp(s, -1, keepdims=True)), v)


def by_log_softmax(q: Any, k: Any, v: Any) -> Any:
    return mixed(jnp.exp(jax.nn.log_softmax(scores(q, k), -1)), v)


def wide_softmax(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.astype(jnp.bfloat16) for x in (q, k, v))
    return mixed(softmax(scores(q, k).astype(jnp.float32) * 0.3).astype(jnp.bfloat16), v)


def narrow_softmax(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.astype(jnp.bfloat16) for x in (q, k, v))
    return mixed(softmax(scores(q, k) * 0.25), v)


def causal_where(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(jnp.where(jnp.tril(jnp.ones((T, T), bool)), scores(q, k) / 3, -jnp.inf)), v)


def causal_iota(q: Any, k: Any, v: Any) -> Any:
    rows, columns = jnp.arange(T)[:, None], jnp.arange(T)[None, :]
    return mixed(softmax(jnp.where(rows >= columns, scores(q, k), -1e30)), v)


def mask_given(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(jnp.where(ROWS, scores(q, k), -1e30)), v)


def window(q: Any, k: Any, v: Any) -> Any:
    rows, columns = jnp.arange(T)[:, None], jnp.arange(T)[None, :]
    return mixed(softmax(jnp.where((rows >= columns) & (rows < columns + 3), scores(q, k), -jnp.inf)), v)


def causal_hiding(q: Any, k: Any, v: Any) -> Any:
    hidden = jnp.triu(jnp.ones((T, T), bool), 1)
    return mixed(softmax(jnp.where(hidden[None, None], jnp.finfo(jnp.float32).min, scores(q, k))), v)


def causal_library(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


def causal_with_padding(q: Any, k: Any, v: Any, seen: Any) -> Any:
    mask = jnp.tril(jnp.ones((T, T), bool))[None, None] & (seen > 0)[:, None, None, :]
    return mixed(softmax(jnp.where(mask, scores(q, k), -1e9)), v)


def padding_added(q: Any, k: Any, v: Any, seen: Any) -> Any:
    return mixed(softmax(scores(q, k) * 0.3 + (1.0 - seen[:, None, None, :]) * -1e9), v)


def padding_where(q: Any, k: Any, v: Any, seen: Any) -> Any:
    return mixed(softmax(jnp.where(seen[:, None, None, :] > 0, scores(q, k), -jnp.inf)), v)


def guarded(q: Any, k: Any, v: Any, seen: Any) -> Any:
    p = softmax(jnp.where(seen[:, None, None, :] > 0, scores(q, k), -jnp.inf))
    return mixed(jnp.where(jnp.isnan(p), 0.0, p), v)


def position_bias(q: Any, k: Any, v: Any, seen: Any) -> Any:
    bias = jnp.outer(jnp.arange(1.0, N + 1), jnp.arange(T * 1.0)).reshape(N, 1, T) * seen[0]
    return mixed(softmax(scores(q, k) + bias), v)


def grouped_repeat(q: Any, k: Any, v: Any) -> Any:
    return plain(q, jnp.repeat(k[:, :, :2], 2, axis=2), jnp.repeat(v[:, :, :2], 2, axis=2))


def grouped_broadcast(q: Any, k: Any, v: Any) -> Any:
    def wide(x: Any) -> Any:
        few = x[:, :, :2, None]
        return jnp.broadcast_to(few, (B, T, 2, 2, H)).reshape(B, T, N, H)

    return causal_where(q, wide(k), wide(v))


def grouped_queries(q: Any, k: Any, v: Any) -> Any:
    groups = q.reshape(B, T, 2, 2, H)
    s = jnp.einsum("btkgh,bskh->bkgts", groups, k[:, :, :2]) * 0.3
    return jnp.einsum("bkgts,bskh->btkgh", softmax(s), v[:, :, :2]).reshape(B, T, N, H)


def near(count: int) -> Any:
    rows, columns = jnp.arange(T)[:, None], jnp.arange(T)[None, :]
    return (columns <= rows) & (columns > rows - count)


def window_by_two_wheres(q: Any, k: Any, v: Any) -> Any:
    rows, columns = jnp.arange(T)[:, None], jnp.arange(T)[None, :]
    s = jnp.where(rows >= columns, scores(q, k) / 3, -1e30)
    return mixed(softmax(jnp.where(rows - columns < 4, s, -1e30)), v)


def window_by_distance(q: Any, k: Any, v: Any) -> Any:
    distance = jnp.arange(T)[:, None] - jnp.arange(T)[None, :]
    return mixed(softmax(jnp.where((distance >= 0) & (distance < 3), scores(q, k), -1e9)), v)


def window_by_tril_and_triu(q: Any, k: Any, v: Any) -> Any:
    seen = jnp.triu(jnp.tril(jnp.ones((T, T))), -4)
    return mixed(softmax(jnp.where(seen == 1, scores(q * 0.3, k), jnp.finfo(jnp.float32).min)), v)


def window_added(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(0.3 * scores(q, k) + jnp.where(near(4), 0.0, -1e9)[None, None]), v)


def window_hiding(q: Any, k: Any, v: Any) -> Any:
    rows, columns = jnp.arange(T)[:, None], jnp.arange(T)[None, :]
    hidden = (columns > rows) | (columns + 3 <= rows)
    return mixed(softmax(jnp.where(hidden, -jnp.inf, scores(q, k))), v)


def window_library(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.dot_product_attention(q, k, v, local_window_size=(3, 0))


def window_around(q: Any, k: Any, v: Any) -> Any:
    distance = jnp.arange(T)[:, None] - jnp.arange(T)[None, :]
    return mixed(softmax(jnp.where(jnp.abs(distance) <= 2, scores(q, k), -jnp.inf)), v)


def window_grouped(q: Any, k: Any, v: Any) -> Any:
    k, v = (jnp.repeat(x[:, :, :2], 2, axis=2) for x in (k, v))
    return mixed(softmax(jnp.where(near(3), scores(q, k), -jnp.inf)), v)


def window_with_padding(q: Any, k: Any, v: Any, seen: Any) -> Any:
    mask = near(3)[None, None] & (seen > 0)[:, None, None, :]
    return mixed(softmax(jnp.where(mask, scores(q, k), -jnp.inf)), v)


def hidden_with_padding(q: Any, k: Any, v: Any, seen: Any) -> Any:
    hidden = ~jnp.tril(jnp.ones((T, T), bool))[None, None] | (seen == 0)[:, None, None, :]
    return mixed(softmax(jnp.where(hidden, -1e9, scores(q, k))), v)


def keys_ahead(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(jnp.where(jnp.triu(jnp.ones((T, T), bool)), scores(q, k), -jnp.inf)), v)


def causal_added(q: Any, k: Any, v: Any) -> Any:
    hidden = 1.0 - jnp.tril(jnp.ones((T, T)))
    return mixed(softmax(0.3 * scores(q, k) + hidden * -1e9), v)


def capped(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(30.0 * jnp.tanh(scores(q, k) / 30.0)), v)


def capped_scaled(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(jnp.tanh(scores(q, k) * 0.3 / 5.0) * 5.0), v)


def capped_queries_scaled(q: Any, k: Any, v: Any) -> Any:
    s = scores(q * H**-0.5, k) / 50.0
    return mixed(softmax(jnp.tanh(s) * 50.0), v)


def capped_by_sigmoid(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(20.0 * (2.0 * jax.nn.sigmoid(2.0 * scores(q, k) / 20.0) - 1.0)), v)


def capped_by_exponentials(q: Any, k: Any, v: Any) -> Any:
    e = jnp.exp(-2.0 * jnp.abs(scores(q, k)) / 8.0)
    return mixed(softmax(8.0 * jnp.sign(scores(q, k)) * (1.0 - e) / (1.0 + e)), v)


def capped_window(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k) * 0.25
    return mixed(softmax(jnp.where(near(3), jnp.tanh(s / 50.0) * 50.0, -2.3819763e38)), v)


def capped_grouped(q: Any, k: Any, v: Any) -> Any:
    k, v = (jnp.repeat(x[:, :, :2], 2, axis=2) for x in (k, v))
    s = 30.0 * jnp.tanh(scores(q, k) / 3 / 30.0)
    return mixed(softmax(jnp.where(jnp.tril(jnp.ones((T, T), bool)), s, -1e30)), v)


def capped_with_bias(q: Any, k: Any, v: Any, seen: Any) -> Any:
    s = 10.0 * jnp.tanh(scores(q, k) / 10.0)
    return mixed(softmax(s + jnp.log(seen + 0.5)[:, None, None, :]), v)


SPELLINGS: list[tuple[Callable[..., Any], str, float]] = [
    (plain, "attention", 1 / math.sqrt(H)),
    (scale_on_queries, "attention", 1.0),
    (scale_on_both, "attention", 1.0),
    (scale_as_division_by_root, "attention", 1 / math.sqrt(H)),
    (scale_in_weights, "attention", 1.0),
    (matmuls_heads_first, "attention", 0.25),
    (one_head, "attention", 1 / 3),
    (one_tensor, "attention", 1 / 3),
    (vmapped, "attention", 0.3),
    (library, "attention", 1 / math.sqrt(H)),
    (by_hand_with_maximum, "attention", 0.3),
    (divided_at_the_end, "attention", 0.3),
    (times_reciprocal, "attention", 0.3),
    (by_logsumexp, "attention", 0.3),
    (by_log_softmax, "attention", 1.0),
    (wide_softmax, "attention", 0.3),
    (narrow_softmax, "attention", 0.25),
    (causal_where, "attention (causal)", 1 / 3),
    (causal_iota, "attention (causal)", 1.0),
    (mask_given, "attention (mask)", 1.0),
    (window, "attention (causal, window 3)", 1.0),
    (window_by_two_wheres, "attention (causal, window 4)", 1 / 3),
    (window_by_distance, "attention (causal, window 3)", 1.0),
    (window_by_tril_and_triu, "attention (causal, window 5)", 0.3),
    (window_added, "attention (causal, window 4)", 0.3),
    (window_hiding, "attention (causal, window 3)", 1.0),
    (window_library, "attention (mask)", 1 / math.sqrt(H)),  # its positions are closed-over arrays
    (window_around, "attention (window -2 to +2)", 1.0),
    (window_grouped, "attention (causal, window 3, GQA 4:2)", 1.0),
    (window_with_padding, "attention (causal, window 3, mask)", 1.0),
    (keys_ahead, "attention (keys ahead)", 1.0),
    (causal_added, "attention (causal)", 0.3),
    (capped, "attention (cap 30)", 1.0),
    (capped_scaled, "attention (cap 5)", 0.3),
    (capped_queries_scaled, "attention (cap 50)", 1.0),
    (capped_by_sigmoid, "attention (cap 20)", 1.0),
    (capped_by_exponentials, "attention (cap 8)", 1.0),
    (capped_window, "attention (causal, window 3, cap 50)", 0.25),
    (capped_grouped, "attention (causal, cap 30, GQA 4:2)", 1 / 3),
    (capped_with_bias, "attention (cap 10, bias)", 1.0),
    (causal_hiding, "attention (causal)", 1.0),
    (causal_library, "attention (causal)", 1 / math.sqrt(H)),
    (causal_with_padding, "attention (causal, mask)", 1.0),
    (hidden_with_padding, "attention (causal, mask)", 1.0),
    (padding_added, "attention (bias)", 0.3),
    (padding_where, "attention (mask)", 1.0),
    (guarded, "attention (mask, NaN guard)", 1.0),
    (position_bias, "attention (bias)", 1.0),
    (grouped_repeat, "attention (GQA 4:2)", 1 / math.sqrt(H)),
    (grouped_broadcast, "attention (causal, GQA 4:2)", 1 / 3),
    (grouped_queries, "attention", 0.3),
]


def given(function: Callable[..., Any]) -> tuple[Any, ...]:
    seen = jnp.asarray(np.arange(T)[None] < np.array([[T], [T - 3]]), jnp.float32)
    return (*arrays(), seen)[: function.__code__.co_argcount]


def graph_of(function: Callable[..., Any]) -> Graph:
    return normalise(capture(function, given(function), {}).graph)


def attention_in(graph: Graph) -> list[Found]:
    return [one for one in recognise(graph) if one.kernel is ATTENTION]


@pytest.mark.alike
@pytest.mark.parametrize(("function", "label", "scale"), SPELLINGS, ids=[f.__name__ for f, _, _ in SPELLINGS])
def test_spellings_are_attention(function: Callable[..., Any], label: str, scale: float) -> None:
    graph = graph_of(function)
    (found,) = attention_in(graph)
    assert found.label == label
    assert not found.overflows
    have = dict(found.static)["scale"]
    queries = 1.0 if scale == 1.0 else abs(have / scale)
    assert have == 1.0 or queries == pytest.approx(1.0, rel=1e-6)
    # What stands for it computes the same: the pattern in its place, in the program's own precision.
    lowering = next(low for low in ATTENTION.lowerings if low.name == "chunked")
    other = replaced(graph, [(found, lowering)])
    assert sum(node.op == KERNEL for node in other.nodes) == 1
    args = [*given(function), *capture(function, given(function), {}).constants]
    have, want = (np.asarray(jax.jit(lower_graph(g))(args)[0], np.float64) for g in (other, graph))
    tolerance = 3e-2 if "bfloat16" in {t.dtype for t in found.types} else 2e-5
    np.testing.assert_allclose(have, want, rtol=1e-3, atol=tolerance)


def wrong_axis(q: Any, k: Any, v: Any) -> Any:
    return mixed(jax.nn.softmax(scores(q, k), axis=-2), v)


def mask_after(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q, k)) * CAUSAL, v)


def mask_after_and_divided(q: Any, k: Any, v: Any) -> Any:
    p = jnp.where(CAUSAL, softmax(scores(q, k)), 0.0)
    return mixed(p / (p.sum(-1, keepdims=True) + 1e-3), v)


def scale_after(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(scores(q, k)) * 0.5, v) + 1.0


def one_more_in_the_sum(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k)
    e = jnp.exp(s - s.max(-1, keepdims=True))
    return mixed(e / (1.0 + e.sum(-1, keepdims=True)), v)


def capped_twice(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(30.0 * jnp.tanh(jnp.tanh(scores(q, k) / 30.0))), v)


def capped_outside(q: Any, k: Any, v: Any) -> Any:
    return mixed(30.0 * jnp.tanh(softmax(scores(q, k)) / 30.0), v)


def capped_after_bias(q: Any, k: Any, v: Any, seen: Any) -> Any:
    s = scores(q, k) + jnp.log(seen + 0.5)[:, None, None, :]
    return mixed(softmax(10.0 * jnp.tanh(s / 10.0)), v)


def capped_by_arctan(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(10.0 * jnp.arctan(scores(q, k) / 10.0)), v)


def capped_unevenly(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k)
    return mixed(softmax(jnp.where(s > 0, 9.0, 8.0) * jnp.tanh(s / 9.0)), v)


def clipped(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(jnp.clip(scores(q, k), -5.0, 5.0)), v)


def no_softmax(q: Any, k: Any, v: Any) -> Any:
    return mixed(scores(q, k) / T, v)


def sigmoid(q: Any, k: Any, v: Any) -> Any:
    return mixed(jax.nn.sigmoid(scores(q, k)), v)


def two_exponentials(q: Any, k: Any, v: Any) -> Any:
    return mixed(softmax(jnp.exp(0.1 * scores(q, k))), v)


def sum_of_other_scores(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k)
    top = s.max(-1, keepdims=True)
    return mixed(jnp.exp(s - top) / jnp.exp(2 * s - 2 * top).sum(-1, keepdims=True), v)


def values_of_other_heads(q: Any, k: Any, v: Any) -> Any:
    return jnp.einsum("bhqk,bkgd->bqhgd", softmax(scores(q, k)), v).sum(2)


def two_over_all_keys_and_heads(q: Any, k: Any, v: Any) -> Any:
    return mixed(jax.nn.softmax(scores(q, k), axis=(1, 3)), v)


DECOYS = [
    wrong_axis,
    mask_after,
    mask_after_and_divided,
    one_more_in_the_sum,
    capped_twice,
    capped_outside,
    capped_after_bias,
    capped_by_arctan,
    capped_unevenly,
    clipped,
    no_softmax,
    sigmoid,
    two_exponentials,
    sum_of_other_scores,
    values_of_other_heads,
    two_over_all_keys_and_heads,
]


@pytest.mark.parametrize("function", DECOYS, ids=[f.__name__ for f in DECOYS])
def test_decoys_are_not(function: Callable[..., Any]) -> None:
    assert attention_in(graph_of(function)) == []


def test_what_is_around_attention_stays_outside() -> None:
    (found,) = attention_in(graph_of(scale_after))
    graph = graph_of(scale_after)
    assert found.root not in graph.outputs


def test_without_its_maximum_it_needs_finite_numerics() -> None:
    def unsafe(q: Any, k: Any, v: Any) -> Any:
        e = jnp.exp(scores(q, k))
        return mixed(e / e.sum(-1, keepdims=True), v)

    (found,) = attention_in(graph_of(unsafe))
    assert found.overflows
    assert found.lowerings("cpu", Numerics.REASSOCIATE) == []


def test_comparisons_of_what_looks_like_attention_are_none() -> None:
    """The derivative of ``softplus`` asks which of two values is larger, between two products."""

    def along(a: Any, x: Any, v: Any) -> Any:
        return jax.jacfwd(lambda z: jax.nn.softplus(a @ jax.nn.softplus(a @ z)))(x) @ v

    a, x = jnp.ones((30, 30)), jnp.ones(30)
    assert attention_in(normalise(capture(along, (a, x, x), {}).graph)) == []


WAYS = {
    "plain": SAMPLE,
    "causal": SAMPLE | {"ahead": 0},
    "ahead": SAMPLE | {"ahead": 3, "fill": -1e9},
    "bias": SAMPLE | {"bias": True},
    "masked": SAMPLE | {"mask": True, "guard": True},
    "mean of all": SAMPLE | {"mask": True, "fill": -1e9, "bias": True, "ahead": 0},
    "narrow": SAMPLE | {"wide": False},
}


@pytest.mark.alike
@pytest.mark.parametrize("rows", ["all", "one"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lowering", [chunked, triangle])
def test_lowerings_are_the_pattern(lowering: Any, way: str, rows: str, monkeypatch: Any) -> None:
    static = dict(WAYS[way])
    if lowering is triangle and (static["ahead"] is None or static["mask"]):
        pytest.skip("for causal masks alone")
    monkeypatch.setattr("egraph_opt.kernels.attention_ways.BLOCK_BYTES", 16 * 150 * 4 * 4)
    random = np.random.default_rng(0)
    t, s = 133, 150
    with x64_enabled():
        args = [jnp.asarray(random.standard_normal(x)) for x in ((2, 2, t, 4), (2, s, 4), (2, s, 3))]
        if static["bias"]:
            args.append(jnp.asarray(random.standard_normal((1, 2, t if rows == "all" else 1, s))))
        if static["mask"]:
            mask = random.integers(0, 2, (2, 1, t if rows == "all" else 1, s)) > 0
            mask[0, 0, 0] = False
            args.append(jnp.asarray(mask))
        floats = tuple(range(4 if static["bias"] else 3))

        def loss(function: Any) -> Any:
            weights = jnp.cos(jnp.arange(2 * 2 * t * 3.0)).reshape(2, 2, t, 3)

            def value(*xs: Any) -> Any:
                made = function(*xs, **static)
                return (jnp.where(jnp.isnan(made), 0.0, made) * weights).sum()

            return value

        have, want = (jax.jit(functools.partial(f, **static))(*args) for f in (lowering, pattern))
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-12)
        if way != "masked":
            for a, b in zip(*(jax.jit(jax.grad(loss(f), floats))(*args) for f in (lowering, pattern)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)
