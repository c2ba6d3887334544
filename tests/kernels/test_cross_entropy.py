# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy: spellings with shares and with labels, programs that look like it, and the lowering at every label."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import egraph_opt
from egraph_opt._compat import x64_enabled
from egraph_opt.capture import capture
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import Found, recognise, replaced
from egraph_opt.kernels.cross_entropy import KERNELS, pattern, picked
from egraph_opt.kernels.labels import labelled_draws
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise

CLASSES = 7
LABELS = np.arange(-16, 17, dtype=np.int32)
INSIDE = (LABELS >= 0) & (LABELS < CLASSES)
X = jnp.asarray(np.random.default_rng(0).standard_normal((LABELS.size, CLASSES)), jnp.float32)
SHARES = jax.nn.softmax(X[::-1] * 2, -1)
DENSE, LABELLED = KERNELS


def logp(x: Any) -> Any:
    return jax.nn.log_softmax(x, -1)


def hot(y: Any) -> Any:
    return jax.nn.one_hot(y, CLASSES)


def taken(x: Any, y: Any, **how: Any) -> Any:
    return jnp.take_along_axis(x, y[:, None], -1, **how)[:, 0]


def graph_of(function: Callable[..., Any], *args: Any) -> Graph:
    return normalise(capture(function, args, {}).graph)


def found_in(graph: Graph) -> list[Found]:
    return [one for one in recognise(graph) if one.kernel in KERNELS]


WRAPPED = "other labels: negative ones from the end, NaN"
CLIPPED = "other labels: negative ones from the end, clipped"
SPELLINGS: list[tuple[str, Callable[..., Any]]] = [
    (WRAPPED, lambda x, y: -taken(logp(x), y)),
    (WRAPPED, lambda x, y: jax.nn.logsumexp(x, -1) - taken(x, y)),
    (WRAPPED, optax.softmax_cross_entropy_with_integer_labels),
    (WRAPPED, lambda x, y: -jnp.log(taken(jax.nn.softmax(x, -1), y))),
    (f"negated, {WRAPPED}", lambda x, y: taken(logp(x), y)),
    (CLIPPED, lambda x, y: -logp(x)[jnp.arange(x.shape[0]), y]),
    (CLIPPED, lambda x, y: jax.vmap(lambda a, b: -logp(a)[b])(x, y)),
    ("other labels: clipped", lambda x, y: -taken(logp(x), jnp.clip(y, 0, CLASSES - 1))),
    ("other labels: 0", lambda x, y: -(hot(y) * logp(x)).sum(-1)),
    ("other labels: 0", lambda x, y: optax.softmax_cross_entropy(x, hot(y))),
    ("other labels: 0", lambda x, y: -jnp.where(jnp.arange(CLASSES)[None] == y[:, None], logp(x), 0.0).sum(-1)),
    ("other labels: 0", lambda x, y: -jnp.einsum("bn,bn->b", hot(y), logp(x))),
    ("other labels: the loss of no class", lambda x, y: jax.nn.logsumexp(x, -1) - (hot(y) * x).sum(-1)),
]


@pytest.mark.alike
@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_labels_are_recognised_and_run_alike_whatever_they_are(number: int) -> None:
    said, function = SPELLINGS[number]
    graph = graph_of(function, X, jnp.asarray(LABELS))
    (found,) = found_in(graph)
    assert found.label == f"cross_entropy_labels ({said})"
    assert found.root == graph.outputs[0]
    assert not found.overflows
    (lowering,) = found.lowerings("cpu", Numerics.REASSOCIATE)
    have = jax.jit(lower_graph(replaced(graph, [(found, lowering)])))([X, LABELS])[0]
    np.testing.assert_allclose(have, function(X, jnp.asarray(LABELS)), rtol=2e-5, atol=2e-6)


DENSE_SPELLINGS: list[tuple[str, Callable[..., Any]]] = [
    ("cross_entropy", lambda x, t: -(t * logp(x)).sum(-1)),
    ("cross_entropy", optax.softmax_cross_entropy),
    ("cross_entropy", lambda x, t: -jnp.einsum("bn,bn->b", logp(x), t)),
    ("cross_entropy", lambda x, t: (t * (jax.nn.logsumexp(x, -1, keepdims=True) - x)).sum(-1)),
    ("cross_entropy", lambda x, t: jnp.sum(-t * jnp.log(jax.nn.softmax(x, -1)), -1)),
    ("cross_entropy (negated)", lambda x, t: jnp.sum(t * logp(x), -1)),
]


def test_shares_of_classes_are_recognised() -> None:
    found = [(said, found_in(graph_of(f, X, SHARES))) for said, f in DENSE_SPELLINGS]
    assert [(said, [one.label for one in ones]) for said, ones in found] == [(said, [said]) for said, _ in found]
    smoothed = graph_of(lambda x, y: optax.softmax_cross_entropy(x, optax.smooth_labels(hot(y), 0.1)), X, LABELS)
    assert [one.label for one in found_in(smoothed)] == ["cross_entropy"]


def test_rows_of_any_rank_and_classes_anywhere() -> None:
    x, y = jnp.ones((2, 3, CLASSES)), jnp.zeros((2, 3), jnp.int32)
    for function in (
        optax.softmax_cross_entropy_with_integer_labels,
        lambda x, y: -logp(x)[jnp.arange(2)[:, None], jnp.arange(3)[None], y],
        lambda x, y: -(jax.nn.one_hot(y, CLASSES) * logp(x)).sum(-1),
    ):
        assert [one.kernel for one in found_in(graph_of(function, x, y))] == [LABELLED]
    graph = graph_of(lambda x, y: -jnp.take_along_axis(logp(x), y[..., None], -1).mean(), x, y)
    assert [one.label for one in found_in(graph)] == [f"cross_entropy_labels (negated, {WRAPPED})"]

    def mean(x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(logp(x), y[..., None], -1).mean()

    one, labels = (
        jnp.asarray(np.random.default_rng(2).standard_normal((1, 5, CLASSES)), jnp.float32),
        jnp.arange(5)[None],
    )
    graph = graph_of(jax.value_and_grad(mean), one, labels)  # one sequence: its dimension of size 1 is folded away
    (found,) = found_in(graph)
    assert found.label == f"cross_entropy_labels (negated, {WRAPPED})"
    other = replaced(graph, [(found, found.lowerings("cpu", Numerics.REASSOCIATE)[0])])
    np.testing.assert_allclose(jax.jit(lower_graph(other))([one, labels])[0], mean(one, labels), rtol=1e-6)

    def next_tokens(h: Any, w: Any, ids: Any) -> Any:
        return mean(h @ w, ids[:, 1:])

    graph = graph_of(jax.value_and_grad(next_tokens), jnp.ones((1, 5, 4)), jnp.ones((4, CLASSES)), jnp.arange(6)[None])
    assert [one.label for one in found_in(graph)] == [f"cross_entropy_labels (negated, {WRAPPED})"]
    turned = jnp.moveaxis(x, -1, 1)
    graph = graph_of(lambda x, y: -(jax.nn.one_hot(y, CLASSES, axis=1) * jax.nn.log_softmax(x, 1)).sum(1), turned, y)
    assert [one.kernel for one in found_in(graph)] == [LABELLED]


WEIGHTS = np.ones(CLASSES, np.float32)
WEIGHTS[3] = 0.5
PLACES = jnp.arange(CLASSES)
DECOYS: list[Callable[..., Any]] = [
    lambda x, y: -taken(jax.nn.softmax(x, -1), y),
    lambda x, y: jax.nn.logsumexp(x, -1) - taken(x, y + 1),
    lambda x, y: jax.nn.logsumexp(x, -1) - taken(x, CLASSES - 1 - y),
    lambda x, y: jax.nn.logsumexp(x, 0)[:1] - taken(x, y),
    lambda x, y: jax.nn.logsumexp(x, -1) + taken(x, y),
    lambda x, y: jax.nn.logsumexp(2 * x, -1) - taken(x, y),
    lambda x, y: -taken(logp(x), y) / np.log(2.0),
    lambda x, y: jnp.where(y != 3, -taken(logp(x), y), 0.0),
    lambda x, y: jnp.where(y < 5, -taken(logp(x), y), 0.0),
    lambda x, y: jnp.where(jnp.abs(y - 5) > 0, -taken(logp(x), y), 0.0),
    lambda x, y: -(jnp.where(PLACES == 4, 0.5, hot(y)) * logp(x)).sum(-1),
    lambda x, y: -(hot(y) * jnp.where(jnp.arange(CLASSES) == 4, 0.5, 1.0) * logp(x)).sum(-1),
    lambda x, y: -(hot(y) * (jnp.abs(jnp.arange(CLASSES) - 5) > 0) * logp(x)).sum(-1),
    lambda x, y: -(hot(y) * WEIGHTS * logp(x)).sum(-1),
    lambda x, y: -((0.9 * hot(y) + 0.1 / CLASSES) * logp(x)).sum(-1),
    lambda x, y: jnp.where(jnp.isfinite(x[jnp.arange(x.shape[0]), y]), -logp(x)[jnp.arange(x.shape[0]), y], 0.0),
    lambda x, y: -jnp.where(jnp.arange(CLASSES)[None] <= y[:, None], logp(x), 0.0).sum(-1),
]


def test_decoys_with_labels_are_not() -> None:
    graphs = [normalise(capture(f, (X, LABELS), {}, fold_constants=True).graph) for f in DECOYS]
    found = {i: [one.root in g.outputs for one in found_in(g) if one.kernel is LABELLED] for i, g in enumerate(graphs)}
    assert [i for i, roots in found.items() if any(roots)] == []


def test_decoys_with_shares_are_not() -> None:
    decoys: list[Callable[..., Any]] = [
        lambda x, t: -(t * logp(x)).mean(-1),
        lambda x, t: -(t * jax.nn.softmax(x, -1)).sum(-1),
        lambda x, t: -(t * logp(x)).sum(0),
        lambda x, t: (t * (jnp.log(t) - logp(x))).sum(-1),
        lambda x, t: -(t * jax.nn.log_softmax(x, 0)).sum(-1),
        lambda x, t: -((t + 1e-3) * logp(x)).sum(-1) + t[:, 0],
    ]
    graphs = [graph_of(f, X, SHARES) for f in decoys]
    assert [i for i, g in enumerate(graphs) if any(one.root in g.outputs for one in found_in(g))] == []


def test_the_draws_are_at_every_turn() -> None:
    kinds = LABELLED.sample({"n": 50})
    met = {int(y) for types in [[t.with_shape(t.shape[1:]) for t in kinds]] for _, y in labelled_draws(types)}
    assert {-100, -51, -50, -49, -1, 0, 1, 48, 49, 50, 51, 100} <= met


@pytest.mark.parametrize("static", LABELLED.samples, ids=lambda s: f"{s['wraps']} {s['outside']}")
def test_the_lowering_is_the_pattern(static: Any) -> None:
    with x64_enabled():
        x = jnp.asarray(np.random.default_rng(1).standard_normal((LABELS.size, CLASSES)))
        weights = jnp.where(jnp.asarray(INSIDE), jnp.cos(jnp.arange(LABELS.size)), 0.0)

        def both(function: Any) -> Any:
            made = functools.partial(function, **static)
            loss = jax.grad(lambda x, y: jnp.where(weights != 0, made(x, y) * weights, 0.0).sum())
            return lambda x, y: (made(x, y), loss(x, y), jax.jvp(lambda x: made(x, y), (x,), (x * x,))[1])

        have, want = (jax.jit(both(f))(x, LABELS) for f in (picked, pattern))
        for a, b in zip(have, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_no_logarithm_of_the_softmax_is_stored() -> None:
    x, y = jnp.ones((256, 4000)), jnp.zeros(256, jnp.int32)
    graph = graph_of(lambda x, y: -taken(logp(x), y), x, y)
    (found,) = found_in(graph)
    (lowering,) = found.lowerings("cpu", Numerics.REASSOCIATE)
    forms = [jax.jit(lower_graph(g)).lower([x, y]).compile() for g in (graph, replaced(graph, [(found, lowering)]))]
    before, after = (form.memory_analysis().temp_size_in_bytes for form in forms)
    assert 100 * after < before


def test_it_is_run_where_the_model_prices_it_lower() -> None:
    x = jnp.asarray(np.random.default_rng(3).standard_normal((64, 4000)), jnp.float32)
    y = jnp.arange(64, dtype=jnp.int32) - 1  # one label counts from the end
    result = egraph_opt.optimize(lambda x, y: -taken(logp(x), y).mean(), measure=False).plan(x, y)
    assert result.report.idioms == [f"cross_entropy_labels (negated, {WRAPPED}): run by picked"]
    np.testing.assert_allclose(result(x, y), -taken(logp(x), y).mean(), rtol=1e-6)
