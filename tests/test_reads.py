# SPDX-License-Identifier: Apache-2.0
"""Programs that compute no more than is read: counted FLOP before any rule, and the values of the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount, count_graph
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.reads import folded, narrowed

N = 24
Program = Callable[..., Any]


def array(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def narrow(program: Program, *args: Any) -> Graph:
    """The narrowed program, whose values are those of the original."""
    captured = capture(program, args)
    before = normalise(captured.graph)
    after = normalise(narrowed(before, Numerics.EXACT))
    assert FlopCount().graph_seconds(after) <= FlopCount().graph_seconds(before)
    leaves = [*jax.tree.leaves(args), *captured.constants]
    for want, got in zip(jax.tree.leaves(program(*args)), jax.jit(lower_graph(after))(leaves), strict=True):
        assert want.shape == got.shape
        assert want.dtype == got.dtype
        np.testing.assert_allclose(want, got, rtol=1e-4, atol=1e-5)
    return after


A, B, C = array(N, N), array(N, N, seed=1), array(N, N, seed=2)
I = jnp.asarray(5)  # noqa: E741
AT = jnp.asarray([3, 0, 7, 7])
PRODUCT = 2 * N * N
IMAGE, KERNEL = array(2, 3, 20, 20), array(4, 3, 3, 3, seed=1)


def layer_norm(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)


def attention(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.softmax(q @ k.T / 5, axis=-1) @ v


def convolved(x: Any, w: Any, **options: Any) -> Any:
    return lax.conv_general_dilated(x, w, options.pop("strides", (1, 1)), options.pop("padding", "SAME"), **options)


# name: function, arguments, the most FLOP of what is left
PROGRAMS: dict[str, tuple[Program, tuple[Any, ...], float]] = {
    "a row of a network": (lambda a, b, c: jnp.maximum(jnp.tanh(a @ b) @ c, 0)[-1], (A, B, C), 2 * PRODUCT + N),
    "an element of a sum": (lambda a, b: (jnp.tanh(a) * b + jnp.exp(b))[1, 2], (A, B), 10),
    "rows of a softmax": (lambda a, b: jax.nn.softmax(a @ b)[:4], (A, B), 4 * PRODUCT + 40 * N),
    "rows of a softmax, dynamic": (lambda a, b, i: jax.nn.softmax(a @ b)[i], (A, B, I), PRODUCT + 10 * N),
    "rows of a softmax, gathered": (lambda a, b, i: jax.nn.softmax(a @ b)[i], (A, B, AT), 4 * PRODUCT + 40 * N),
    "rows of a normalised layer": (lambda a, b: layer_norm(a @ b)[2:4], (A, B), 2 * PRODUCT + 30 * N),
    "the last query": (lambda q, k, v: attention(q, k, v)[-1], (A, B, C), 2 * PRODUCT + 20 * N),
    "a query by index": (lambda q, k, v, i: attention(q, k, v)[i], (A, B, C, I), 2 * PRODUCT + 20 * N),
    "queries of a batch": (
        lambda q, k, v: jax.vmap(attention)(q, k, v)[:, -1],
        (array(3, N, N), array(3, N, N), array(3, N, N)),
        6 * PRODUCT + 60 * N,
    ),
    "a block by indices": (
        lambda a, b, i: lax.dynamic_slice(jnp.tanh(a @ b), (i, 2 * i), (2, 3)),
        (A, B, I),
        6 * 2 * N + 30,
    ),
    "a slice at a computed place": (
        lambda a, b: lax.dynamic_index_in_dim(jnp.tanh(a @ b), jnp.argmax(a[0]), 0, keepdims=False),
        (A, B),
        PRODUCT + 3 * N,
    ),
    "columns with gaps": (lambda a, b: jnp.sin(a @ b)[:, 1::5], (A, B), 5 * PRODUCT + 5 * N),
    "both ends": (lambda a, b: (jnp.sin(a @ b)[:2], jnp.cos(a @ b)[1:3]), (A, B), 3 * PRODUCT),
    "turned round": (lambda a, b: jnp.exp(a @ b)[::-1][:2], (A, B), 2 * PRODUCT),
    "half of a split": (lambda a, b: jnp.tanh(jnp.split(a @ b, 2, axis=1)[1]), (A, B), 12 * PRODUCT),
    "one of two joined": (lambda a, b, c: jnp.tanh(jnp.concatenate([a @ b, b @ c]))[N:], (A, B, C), N * PRODUCT),
    "over the seam": (
        lambda a, b, c: jnp.tanh(jnp.concatenate([a @ b, b @ c]))[N - 1 : N + 2],
        (A, B, C),
        3 * PRODUCT,
    ),
    "through a pad": (lambda a, b: jnp.pad(jnp.tanh(a @ b), 3)[:5], (A, B), 2 * PRODUCT),
    "through a reshape": (lambda a, b: jnp.tanh(a @ b).reshape(4, 6, N)[1], (A, B), 6 * PRODUCT),
    "a head of several": (lambda a, b: jnp.tanh((a @ b).reshape(N, 4, 6))[:, 2], (A, B), 6 * PRODUCT),
    "a maximum of some": (lambda a, b: jnp.max(jnp.tanh(a @ b), 0)[:3], (A, B), 4 * PRODUCT),
    "an early part of a cumulative sum": (
        lambda a, b: jnp.cumsum(jnp.tanh(a @ b), 0)[:2],
        (A, B),
        2 * PRODUCT + 4 * N,
    ),
    "sorted rows": (lambda a, b: jnp.sort(a @ b, axis=1)[:2], (A, B), 2 * PRODUCT + 12 * N),
    "a crop of a convolution": (
        lambda x, w: jnp.maximum(convolved(x, w), 0)[:, :, 4:6, :2],
        (IMAGE, KERNEL),
        2 * 2 * 4 * 4 * 27 + 32,
    ),
    "a crop with strides": (
        lambda x, w: convolved(x, w, strides=(2, 3), padding="VALID", rhs_dilation=(2, 1))[1, 2:4, 2, :3],
        (IMAGE, KERNEL),
        2 * 2 * 3 * 27,
    ),
    "a crop of two convolutions": (
        lambda x, w, v: convolved(jnp.tanh(convolved(x, w)), v)[:, :, 9, 9],
        (IMAGE, KERNEL, array(2, 4, 3, 3)),
        2 * 2 * 9 * 4 * 27 + 2 * 2 * 2 * 36,
    ),
    "columns of a solution": (
        lambda a, b: jnp.linalg.solve(a, jnp.tanh(a @ b))[:, 2:4],
        (A, B),
        2 / 3 * N**3 + 8 * N * N + 2 * PRODUCT,
    ),
    "one system of a batch": (
        lambda a, b: jnp.linalg.solve(a, b[..., None])[1, :, 0],
        (array(3, N, N), array(3, N)),
        2 / 3 * N**3 + 4 * N * N,
    ),
    "one factor of a batch": (
        lambda a: jnp.linalg.cholesky(a @ a.mT + 9 * jnp.eye(N))[2],
        (array(3, N, N),),
        2 * N**3 + N**3 / 3 + 2 * N * N,
    ),
    "part of a band": (lambda a, b: jnp.triu(a @ b, 2)[3:7, 5:9], (array(N, N), array(N, N)), 2 * 16 * N + 16),
    "row of a band": (lambda a, b: jnp.tril(a @ b)[N // 2], (array(N, N), array(N, N)), 2 * N * N + N),
    "band of a batch": (lambda a, b: jnp.tril(a @ b)[1], (array(3, N, N), array(3, N, N)), 2 * N**3 + N * N),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_only_what_is_read_is_computed(name: str) -> None:
    program, args, flops = PROGRAMS[name]
    assert count_graph(narrow(program, *args)).flops <= 1.1 * flops


@pytest.mark.parametrize(
    "program",
    [
        lambda a, b: jnp.tanh(a @ b),
        lambda a, b: ((a @ b)[0], jnp.sum(a @ b)),
        lambda a, b: (a @ b)[jnp.argmax(jnp.sum(a @ b, 1))],
        lambda a, b: jnp.concatenate([a, b])[: 2 * N],
    ],
)
def test_what_is_read_whole_is_computed_whole(program: Program) -> None:
    want = count_graph(normalise(capture(program, (A, B)).graph)).flops
    assert count_graph(narrow(program, A, B)).flops == want


def test_one_place_of_a_cumulative_maximum_is_a_maximum() -> None:
    graph = narrow(lambda a, b: lax.cummax(a @ b, 0)[4], A, B)
    assert "cummax" not in {node.op for node in graph}
    assert count_graph(graph).flops <= 5 * PRODUCT + 5 * N


# Folds of what was put in order

FOLDS: dict[str, tuple[Program, tuple[Any, ...], float]] = {
    "sum of joined": (lambda a, b: jnp.sum(jnp.concatenate([a, b, a * 2]), 0), (A, B), 5 * N * N),
    "maximum of joined": (lambda a, b: jnp.max(jnp.concatenate([a, b]), 0), (A, B), 2 * N * N + N),
    "sum of sorted": (lambda a: jnp.sum(jnp.sort(a, 1), 1), (A,), N * N),
    "maximum of reversed": (lambda a: jnp.max(a[::-1], 0), (A,), N * N),
    "sum of reversed": (lambda a: jnp.sum(a[:, ::-1], 1), (A,), N * N),
    "first of sorted": (lambda a: jnp.sort(a, axis=0)[0], (A,), N * N),
    "last of sorted, some": (lambda a: jnp.sort(a, axis=-1)[3:5, -1], (A,), 2 * N),
    "first of the order": (lambda a: jnp.argsort(a, axis=1)[:, 0], (A,), N * N),
    "first of the order, ties": (lambda a: jnp.argsort(jnp.round(a), axis=0)[0], (A,), 2 * N * N),
    "first of several largest": (lambda a: lax.top_k(a, 3)[0][:, 0], (A,), N * N),
    "place of the largest": (lambda a: lax.top_k(a, 3)[1][:, 0], (A,), N * N),
    "the largest alone": (lambda a: lax.top_k(a, 1)[0], (A,), N * N),
    "the largest alone, a row": (lambda a: lax.top_k(a, 1)[0][2, 0], (A,), N),
    "the largest and its place": (lambda a: lax.top_k(jnp.round(a), 1), (A,), 4 * N * N),
    "trace of kron": (lambda a, b: jnp.trace(jnp.kron(a[:4, :4], b[:5, :5])), (A, B), 800),
    "rows of kron": (lambda a, b: jnp.sum(jnp.kron(a[:4, :3], b[:5, :2]), 1), (A, B), 300),
    "mean of a pointwise convolution": (
        lambda x, w: jnp.mean(convolved(x, w[:, :, :1, :1], padding="VALID"), (2, 3)),
        (IMAGE, KERNEL),
        2 * 4 * 400 * 2 * 3 + 24,
    ),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", FOLDS)
def test_order_does_not_matter_for_folds(name: str) -> None:
    program, args, flops = FOLDS[name]
    before = normalise(capture(program, args).graph)
    after = normalise(folded(narrowed(before, Numerics.EXACT), Numerics.REASSOCIATE))
    assert count_graph(after).flops <= 1.02 * flops
    assert not {"sort", "top_k", "concatenate", "rev"} & {node.op for node in after}
    for want, got in zip(jax.tree.leaves(program(*args)), lower_graph(after)(list(args)), strict=True):
        assert want.dtype == got.dtype
        np.testing.assert_allclose(want, got, rtol=1e-4, atol=1e-5)
    assert folded(before, Numerics.EXACT) is before


@pytest.mark.parametrize(
    "program",
    [
        lambda a: jnp.argsort(a, axis=1, stable=False)[:, 0],
        lambda a: jnp.sum(jnp.sort(a, axis=1), 0),
        lambda a: (jnp.sort(a)[:, 0], jnp.sort(a)[:, 2]),
    ],
)
def test_orders_that_matter_stay(program: Program) -> None:
    after = folded(normalise(capture(program, (A,)).graph), Numerics.REASSOCIATE)
    assert "sort" in {node.op for node in after}


@pytest.mark.parametrize("index", [5, np.int32(5), jnp.asarray(5, jnp.uint8)])
def test_the_search_goes_on_after_reads_at_numbers_of_any_kind(index: Any) -> None:
    """A Python integer has a weak type: sums with it are as well typed as others."""

    def program(a: Any, b: Any, i: Any) -> Any:
        return jax.nn.softmax(a @ b @ a, 0)[:, i]

    result = egraph_opt.optimize(program, measure=False).plan(A, B, index)
    assert result.report.stop_reason == "saturated"
    assert count_graph(result.after).flops <= N * PRODUCT + 2 * PRODUCT
    np.testing.assert_allclose(result(A, B, index), program(A, B, index), rtol=1e-4, atol=1e-5)


REPLACED: dict[str, tuple[Program, float]] = {
    "elsewhere": (lambda a, b: (a @ b).at[3].set(0.0)[5:7], 2 * PRODUCT),
    "there": (lambda a, b: (a @ b).at[3].set(a[0])[3], 0),
    "on both sides": (lambda a, b: (a @ b).at[3:9, 2].set(1.0)[5:12, ::2], 7 * PRODUCT),
    "another column": (lambda a, b: (a @ b).at[:, -1].set(1.0)[5], PRODUCT),
    "added": (lambda a, b: (a @ b).at[3, 4].add(2.0)[2:5, ::3], 3 * PRODUCT + 1),
    "clamped": (lambda a, b: lax.dynamic_update_slice(a @ b, b[:3, :5], (N - 1, 2))[N - 4 :], 4 * PRODUCT),
}


@pytest.mark.parametrize("name", REPLACED)
def test_of_a_tensor_with_a_replaced_slice_what_is_read_is_computed(name: str) -> None:
    program, wanted = REPLACED[name]
    assert "scatter" not in capture(program, (A, B)).graph.op_counts()
    assert count_graph(narrow(program, A, B)).flops <= wanted


def test_slices_of_other_types_are_replaced() -> None:
    whole = jnp.arange(12, dtype=jnp.int32).reshape(3, 4)
    for program in (
        lambda x: x.at[1].add(5)[:2],
        lambda x: (x > 4).at[0, 1:3].set(True)[0],
        lambda x: x[:, :1].at[2, 0].set(7),
        lambda x: x.at[0:3].add(x),
    ):
        narrow(program, whole)


def test_places_that_nobody_reads_are_not_looked_up() -> None:
    """A batch of indices is cut before the gather; what stands at each index is read whole."""

    def program(table: Any, index: Any) -> Any:
        return jnp.sin(table)[index, index + 1][2:5]

    table, index = A, jnp.arange(24).reshape(6, 4) % (N - 1)
    graph = normalise(capture(program, (table, index)).graph)
    after = normalise(narrowed(graph, Numerics.EXACT))
    gathers = [node for node in after.nodes if node.op == "gather"]
    assert [node.type.shape[0] for node in gathers] == [3]
    np.testing.assert_array_equal(lower_graph(after)([table, index])[0], program(table, index))
