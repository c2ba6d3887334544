# SPDX-License-Identifier: Apache-2.0
"""Attention whose masks stand in unusual places: after the softmax too, inside of it, added, as the library has it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.kernels import Found, recognise, replaced
from egraph_opt.kernels.attention_pattern import pattern
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.ops.kernel import Lowering
from egraph_opt.verify.promote import promote_graph

RANDOM = np.random.default_rng(0)
T, N, H = 9, 4, 8
LEAST = float(jnp.finfo(jnp.float32).min)


def drawn(*shape: int) -> Any:
    return jnp.asarray(RANDOM.standard_normal(shape), jnp.float32)


Q, K, V = drawn(2, T, N, H), drawn(2, T, N, H), drawn(2, T, N, H)
FEW = drawn(2, T, 2, H), drawn(2, T, 2, H)
BIAS = drawn(1, N, T, T)
MASK = jnp.asarray(RANDOM.random((2, 1, T, T)) < 0.6).at[0, 0, 3].set(False)  # one query sees nothing
library = jax.nn.dot_product_attention


def scores(q: Any, k: Any) -> Any:
    return jnp.einsum("bqnh,bknh->bnqk", q, k)


def mixed(weights: Any, v: Any) -> Any:
    return jnp.einsum("bnqk,bknh->bqnh", weights, v)


def softmax(x: Any) -> Any:
    return jax.nn.softmax(x, -1)


def times_mask(q: Any, k: Any, v: Any, m: Any) -> Any:
    return mixed(softmax(jnp.where(m, scores(q, k), -1e9)) * m, v)


def hidden_again(q: Any, k: Any, v: Any, m: Any) -> Any:
    return mixed(jnp.where(m, softmax(jnp.where(m, scores(q, k), LEAST)), 0.0), v)


def nan_to_num(q: Any, k: Any, v: Any, m: Any) -> Any:
    return mixed(jnp.nan_to_num(softmax(jnp.where(m, scores(q, k), -jnp.inf))), v)


def rows_that_see(q: Any, k: Any, v: Any, m: Any) -> Any:
    weights = softmax(jnp.where(m, scores(q, k), -jnp.inf))
    return mixed(jnp.where(m.any(-1, keepdims=True), weights, 0.0), v)


def safe_by_hand(q: Any, k: Any, v: Any, m: Any) -> Any:
    s = jnp.where(m, scores(q, k), -jnp.inf)
    most = s.max(-1, keepdims=True)
    e = jnp.exp(s - jnp.where(jnp.isfinite(most), most, 0.0))
    return mixed(e / jnp.maximum(e.sum(-1, keepdims=True), 1e-30), v)


def inside(q: Any, k: Any, v: Any, m: Any) -> Any:
    return mixed(jax.nn.softmax(scores(q, k) * 0.3, -1, where=m), v)


def added(number: float) -> Callable[..., Any]:
    return lambda q, k, v, m: mixed(softmax(scores(q, k) + jnp.where(m, 0.0, number)), v)


ALL = (Q, K, V, MASK)
SPELLINGS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (times_mask, ALL, "attention (mask, NaN guard)"),
    (hidden_again, ALL, "attention (mask, NaN guard)"),
    (nan_to_num, ALL, "attention (mask, NaN guard)"),
    (rows_that_see, ALL, "attention (mask, NaN guard)"),
    (safe_by_hand, ALL, "attention (mask, NaN guard)"),
    (inside, ALL, "attention (mask, NaN guard)"),
    (added(-jnp.inf), ALL, "attention (bias)"),
    (added(-1e9), ALL, "attention (bias)"),
    (added(LEAST), ALL, "attention (bias)"),
    (lambda q, k, v: library(q, k, v, local_window_size=(3, 2)), (Q, K, V), "attention (mask)"),
    (
        lambda q, k, v, b, m: library(q, k, v, b, m, is_causal=True),
        (Q, K, V, BIAS, MASK),
        "attention (causal, bias, mask)",
    ),
    (lambda q, k, v, b: library(q, k, v, b, is_causal=True), (Q, *FEW, BIAS), "attention (causal, bias)"),
    (lambda q, k, v, m: library(q, k, v, mask=m, local_window_size=(4, 0)), (Q, *FEW, MASK), "attention (mask)"),
]


def found_in(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, list[Found]]:
    graph = normalise(capture(function, args, {}).graph)
    return graph, [one for one in recognise(graph) if one.kernel.name == "attention"]


@pytest.mark.parametrize(("function", "args", "label"), SPELLINGS)
def test_they_are_recognised(function: Any, args: Any, label: str) -> None:
    assert [one.label for one in found_in(function, args)[1]] == [label]


@pytest.mark.parametrize("function", [times_mask, inside])
def test_queries_that_see_nothing_get_what_was_written(function: Any) -> None:
    graph, (found,) = found_in(function, ALL)
    way = Lowering(name="as written", function=pattern, differentiable=True)
    with jax.enable_x64(True):
        args = [np.asarray(x, np.float64 if x.dtype.kind == "f" else bool) for x in ALL]
        want, got = (lower_graph(promote_graph(g))(args)[0] for g in (graph, replaced(graph, [(found, way)])))
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
        assert not np.asarray(got)[0, 3].any()


@pytest.mark.parametrize(
    "function",
    [
        lambda q, k, v, m: mixed(softmax(jnp.where(m, scores(q, k), -1e9)) * (1 - m.astype(q.dtype)), v),
        lambda q, k, v, m: mixed(softmax(jnp.where(m, scores(q, k), -2.0)) * m, v),
        lambda q, k, v, m: mixed(softmax(scores(q, k)) * m, v),
        lambda q, k, v, m: mixed(softmax(scores(q, k) * m), v),
        lambda q, k, v, m: mixed(softmax(jnp.where(m, scores(q, k), -1e9)) * jnp.swapaxes(m, 2, 3), v),
        lambda q, k, v, m: mixed(softmax(jnp.where(m, scores(q, k), -1e9)) * (2 * m), v),
    ],
)
def test_decoys_are_not(function: Any) -> None:
    assert found_in(function, ALL)[1] == []
