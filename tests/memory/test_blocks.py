# SPDX-License-Identifier: Apache-2.0
"""Large intermediates in blocks: the same results, less temporary memory by XLA's own count, and what is left alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.cost.peak import PeakMemory
from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.memory import blocked, smallest, temporary_size
from egraph_opt.normalise import normalise

PRICE = PeakMemory(cost_model("roofline", "cpu")).graph_seconds


def normal(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(len(shape)).standard_normal(shape), jnp.float32)


def attention(q: Any, k: Any, v: Any) -> Any:
    t = q.shape[0]
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), jnp.einsum("qhd,khd->hqk", q, k) / 8, -jnp.inf)
    return jnp.einsum("hqk,khd->qhd", jax.nn.softmax(scores, axis=-1), v)


def attention_gradient(q: Any, k: Any, v: Any) -> Any:
    return jax.grad(lambda *xs: (attention(*xs) ** 2).sum(), (0, 1, 2))(q, k, v)


def self_attention(x: Any, w: Any) -> Any:
    q = x @ w
    return jax.nn.softmax(q @ x.T) @ x


def cross_entropy(x: Any, w: Any, labels: Any) -> Any:
    logs = jax.nn.log_softmax(x @ w)
    return -jnp.take_along_axis(logs, labels[:, None], 1).mean()


def one_hot_gradient(x: Any, w: Any, labels: Any) -> Any:
    def loss(x: Any, w: Any) -> Any:
        logits = x @ w
        hot = jax.nn.one_hot(labels, w.shape[1])
        return (jax.nn.logsumexp(logits, -1) - (hot * logits).sum(-1)).mean()

    return jax.grad(loss, (0, 1))(x, w)


def wide_layer(x: Any, w: Any, u: Any) -> Any:
    return jnp.tanh(x @ w) @ u


LABELS = jnp.arange(512) % 7
CASES: list[tuple[Callable[..., Any], tuple[Any, ...], float]] = [
    (attention, (normal(1024, 4, 64), normal(1024, 4, 64), normal(1024, 4, 64)), 4.0),
    (attention_gradient, (normal(1024, 4, 64), normal(1024, 4, 64), normal(1024, 4, 64)), 4.0),
    (self_attention, (normal(1024, 32), normal(32, 32)), 2.5),
    (cross_entropy, (normal(512, 32), normal(32, 6_000), LABELS), 4.0),
    (one_hot_gradient, (normal(512, 32), normal(32, 6_000), LABELS), 4.0),
    (wide_layer, (normal(1000, 16), normal(16, 4_000), normal(4_000, 8)), 4.0),
]


def graph_of(function: Callable[..., Any], args: tuple[Any, ...]) -> Graph:
    return normalise(capture(function, args, {}).graph)


def by_xla(graph: Graph, args: tuple[Any, ...]) -> float:
    function = lower_graph(graph)
    size = temporary_size(lambda *xs: function(xs), args)
    assert size is not None
    return size


@pytest.mark.parametrize(("function", "args", "factor"), CASES, ids=[f.__name__ for f, _, _ in CASES])
def test_blocks_hold_less_and_compute_the_same(function: Any, args: tuple[Any, ...], factor: float) -> None:
    graph = graph_of(function, args)
    other = blocked(graph, PRICE)
    assert "scan" in other.op_counts()
    assert Graph.parse(str(other)) == other
    assert by_xla(other, args) * factor <= by_xla(graph, args)
    have, want = (jax.jit(lower_graph(g))(args) for g in (other, graph))
    for a, b in zip(have, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max()))


def prefix_sums(x: Any, w: Any) -> Any:
    return jnp.cumsum(jnp.cumsum(x @ w, 0), 1).max()


def both_ways(x: Any, w: Any) -> Any:
    y = x @ w
    return jax.nn.softmax(jax.nn.softmax(y, 0), 1).max()


def returned(x: Any, w: Any) -> Any:
    return x @ w


def small(x: Any, w: Any) -> Any:
    return jnp.tanh(x[:8] @ w[:, :8]).sum()


@pytest.mark.parametrize("function", [prefix_sums, both_ways, returned, small])
def test_what_cannot_be_cut_is_left_alone(function: Any) -> None:
    graph = graph_of(function, (normal(512, 16), normal(16, 1024)))
    assert blocked(graph, PRICE) is graph


def test_sums_in_half_precision_are_not_taken_apart() -> None:
    def function(x: Any, w: Any) -> Any:
        return jnp.einsum("nm,nd->md", jnp.tanh(x @ w), x)

    for dtype, sums in ((jnp.float32, True), (jnp.bfloat16, False)):
        args = (normal(960, 16).astype(dtype), normal(16, 2_003).astype(dtype))
        loops = [node for node in blocked(graph_of(function, args), PRICE).nodes if node.op == "scan"]
        assert any(node.attr("num_carry") for node in loops) is sums


def test_exact_numerics_admit_no_blocks() -> None:  # a product of fewer rows may round otherwise
    args = (normal(1024, 4, 64), normal(1024, 4, 64), normal(1024, 4, 64))
    graph = normalise(capture(attention, args, {}, numerics=Numerics.EXACT).graph, Numerics.EXACT)
    assert blocked(graph, PRICE, Numerics.EXACT) is graph


@pytest.mark.slow
def test_objective_memory_chooses_what_holds_least() -> None:
    args = (normal(1024, 4, 32), normal(1024, 4, 32), normal(1024, 4, 32))
    run = egraph_opt.optimize(attention, objective="memory", measure=False)
    result = run.plan(*args)
    report = result.report
    assert report.improved
    assert report.temporary_before is not None
    assert report.temporary_after is not None
    assert 4 * report.temporary_after <= report.temporary_before
    assert "temporary memory" in str(report)
    np.testing.assert_allclose(result(*args), attention(*args), rtol=1e-4, atol=1e-5)
    have, want = (jax.grad(lambda q, f=f: (f(q, *args[1:]) ** 2).sum())(args[0]) for f in (run, attention))
    np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)


def test_objective_memory_keeps_the_original_where_nothing_is_held() -> None:
    report = egraph_opt.optimize(small, objective="memory").plan(normal(512, 16), normal(16, 1024)).report
    assert not report.improved


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ArgumentError, match="want 'time' or 'memory'"):
        egraph_opt.optimize(small, objective="space")


def test_of_equal_programs_the_fastest_is_taken() -> None:
    x = normal(512, 512)

    def held(y: Any) -> Any:
        return jnp.sort(jnp.sort(y, 0) @ y, 1).sum(0)

    def less(y: Any) -> Any:
        return y.sum(0)

    found = smallest([held, less, less], [x], [1.0, 2.0, 1.0])
    assert found.index == 2
    assert smallest([less, held], [x], [1.0, 0.0]).index == 0
