# SPDX-License-Identifier: Apache-2.0
"""Systems of equations: how they are captured, what they cost, what rules make of them, and their derivatives."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
import pytest
from jax import lax

from egraph_opt import assume, optimize
from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.lower import lower_graph
from egraph_opt.lower.python import to_python

N, M, K, Z = 40, 6, 4, 3
"""Size of systems, columns, rank of updates, batch."""
FACTOR = 2 * N**3 / 3

inv, solve = jnp.linalg.inv, jnp.linalg.solve


def random(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng((seed, *shape)).standard_normal(shape), jnp.float32)


def regular(*shape: int, seed: int = 1) -> jax.Array:
    """Well-conditioned matrices that are not symmetric."""
    return random(*shape, seed=seed) / shape[-1] ** 0.5 + 3 * jnp.eye(shape[-1])


def definite(*shape: int, seed: int = 2) -> jax.Array:
    a = random(*shape, seed=seed)
    return jnp.einsum("...ij,...kj->...ik", a, a) / shape[-1] + jnp.eye(shape[-1])


A, B, C = regular(N, N), regular(N, N, seed=5), random(N, M)
b, c = random(N), random(N, seed=3)
BATCH, RIGHT = regular(Z, N, N), random(Z, N)
S = definite(N, N)
U, V = random(N, K), random(K, N)

CAPTURED: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "vector": (solve, (A, b), "lu_solve"),
    "matrix": (solve, (A, C), "lu_solve"),
    "square right-hand side": (solve, (A, B), "lu_solve"),
    "batch": (solve, (BATCH, RIGHT[..., None]), "lu_solve"),
    "inverse": (inv, (BATCH,), "lu_solve"),
    "vmap over right-hand sides": (jax.vmap(solve, (None, 1)), (A, C), "lu_solve"),
    "vmap over other axes": (jax.vmap(solve, (2, 1)), (jnp.moveaxis(BATCH, 0, 2), RIGHT.T), "lu_solve"),
    "vmap of vmap": (jax.vmap(jax.vmap(solve, (None, 1)), (0, None)), (BATCH, C), "lu_solve"),
    "size one": (solve, (A[:1, :1], b[:1]), ""),
    "columns of size one": (solve, (BATCH[:1], RIGHT[:1, :, None]), "lu_solve"),
    "complex": (lambda a, b: solve(a + 1j * a.T, b), (A, b), "lu_solve"),
    "lower": (lambda a, b: jsl.solve_triangular(a, b, lower=True), (A, b), "solve"),
    "unit upper, transposed": (lambda a, b: jsl.solve_triangular(a, b, trans=1, unit_diagonal=True), (A, C), "solve"),
    "from the right": (lambda a, b: lax.linalg.triangular_solve(a, b, lower=True), (A, C.T), "solve"),
    "Cholesky": (lambda a, b: jsl.cho_solve(jsl.cho_factor(a), b), (S, b), "solve"),
    "positive definite": (lambda a, b: jsl.solve(a, b, assume_a="pos"), (S, b), "solve"),
    "slogdet": (jnp.linalg.slogdet, (-A,), "lu_log_abs_det"),
    "slogdet, vmap": (jax.vmap(jnp.linalg.slogdet, 2), (jnp.moveaxis(BATCH, 0, 2),), "lu_sign_det"),
    "det": (jnp.linalg.det, (A / 3,), "lu_sign_det"),
    "LU factors": (lambda a, b: jsl.lu_solve(jsl.lu_factor(a), b, trans=1), (A, b), "lu_factors"),
    "gradient": (jax.grad(lambda a, b: (solve(a, b) ** 2).sum(), (0, 1)), (A, b), "lu_solve"),
    "gradient of log-determinant": (jax.grad(lambda a: jnp.linalg.slogdet(a)[1]), (A,), "lu_solve"),
}


def close(got: Any, want: Any) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4 * (1 + float(jnp.max(jnp.abs(y), initial=0.0))))


@pytest.mark.alike
@pytest.mark.parametrize("name", CAPTURED)
def test_captured(name: str) -> None:
    function, args, op = CAPTURED[name]
    captured = capture(function, args)
    ops = {node.op for node in captured.graph.nodes}
    assert "opaque" not in ops
    assert not op or op in ops
    want = jax.tree.leaves(function(*args))
    close(lower_graph(captured.graph)([*args]), want)
    names: dict[str, Any] = {}
    exec(to_python(captured.graph, "f"), names)
    close(names["f"](*args), want)


def test_equal_factorisations_run_once() -> None:
    graph = capture(lambda a, b, c: (solve(a, b), solve(a, c), jnp.linalg.slogdet(a)[1]), (A, b, C)).graph
    assert [node.op for node in graph.nodes].count("lu_factors") == 1
    assert count_graph(graph).flops == pytest.approx(FACTOR + 2 * N * N * (1 + M), rel=0.02)
    run = lower_graph(graph)
    text = str(jax.jit(lambda *leaves: run(leaves)).lower(A, b, C).compile().as_text())
    assert len(re.findall(r'custom_call_target="\w*getrf\w*"', text)) <= 1


def test_other_solvers_are_opened_and_keep_their_derivative() -> None:
    def by_conjugate_gradients(s: Any, b: Any) -> Any:
        return jax.scipy.sparse.linalg.cg(lambda x: s @ x, b, maxiter=100)[0].sum()

    captured = capture(by_conjugate_gradients, (S, b))
    assert captured.custom_derivatives == ("custom_linear_solve",)
    close(jax.grad(optimize(by_conjugate_gradients))(S, b), jax.grad(by_conjugate_gradients)(S, b))


def eye(n: int) -> jax.Array:
    return jnp.eye(n, dtype=jnp.float32)


CHOLESKY = N**3 / 3
SEARCHED: dict[str, tuple[Callable[..., Any], tuple[Any, ...], float]] = {
    "inverse times matrix": (lambda a, c: jnp.einsum("ij,jk->ki", inv(a), c), (A, C), FACTOR + 2 * N * N * M),
    "matrix times inverse": (lambda a, c: c.T @ inv(a), (A, C), FACTOR + 2 * N * N * M),
    "bilinear form": (lambda a, b, c: b @ inv(a) @ c, (A, b, c), FACTOR + 2 * N * N),
    "transposed inverse": (lambda a, b, c: (inv(a.T) @ b, inv(2.0 * a) @ c), (A, b, c), FACTOR + 4 * N * N),
    "sum of an inverse": (lambda a: inv(a).sum(1), (A,), FACTOR + 2 * N * N),
    "batched, one right-hand side": (
        lambda a, b: jnp.einsum("zij,j->zi", inv(a), b), (BATCH, b), Z * (FACTOR + 2 * N * N),
    ),
    "vmapped form": (
        jax.vmap(lambda a, b: b @ inv(a) @ b), (BATCH, RIGHT), Z * (FACTOR + 2 * N * N),
    ),
    "inverse of a product": (lambda a, d, b: inv(a.T @ d) @ b, (A, B, b), 2 * (FACTOR + 2 * N * N)),
    "inverse of an inverse": (lambda a, d, b: inv(inv(a) @ d) @ b, (A, B, b), FACTOR + 4 * N * N),
    "sum of inverses": (lambda a, d, b: inv(inv(a) + inv(d)) @ b, (A, B, b), FACTOR + 6 * N * N + N * N),
    "projected column": (lambda a, c, b: solve(a, c) @ (c.T @ b), (A, C, b), FACTOR + 2 * N * N),
    "Woodbury": (
        lambda u, v, b: solve(0.5 * eye(N) + u @ v, b), (U / 5, V / 5, b), 2 * N * K * K + 12 * N * K + 1000,
    ),
    "push-through": (
        lambda u, v, c: inv(eye(N) + u @ v) @ u @ (v @ c), (U / 5, V / 5, C), 2 * N * K * (K + 3 * M) + 1500,
    ),
    "rank one": (
        lambda a, b, c: (solve(a, b), solve(a + jnp.outer(c, b), b)), (A, b, c), FACTOR + 4 * N * N + 20 * N,
    ),
    "determinant of a product": (
        lambda a, d: jnp.linalg.slogdet(a @ d.T)[1], (A, B), 2 * FACTOR + 30 * N,
    ),
    "solve and determinant": (
        lambda a, b: inv(a.T) @ b + jnp.linalg.slogdet(3.0 * a)[1], (A, b), FACTOR + 2 * N * N + 30 * N,
    ),
    "normal equations": (
        lambda c, b: inv(c.T @ c) @ c.T @ b, (C, b), 2 * N * M * M + 2 * N * M + M**3 + 2 * M * M,
    ),
    "outer product": (lambda a, b, d: solve(a, jnp.outer(b, d[0])), (A, b, B), FACTOR + 3 * N * N),
    "gradient of a form": (
        lambda a, b: jax.grad(lambda m: b @ inv(m) @ b)(a), (A, b), FACTOR + 6 * N * N,
    ),
    "leverages": (
        lambda c: jnp.diag(c @ inv(assume(c.T @ c, "positive_definite")) @ c.T), (C,),
        3 * N * M * M + M**3 / 3 + 2 * N * M,
    ),
    "quadratic form": (
        lambda s, b: b @ solve(assume(s, "positive_definite"), b), (S, b), CHOLESKY + N * N + 4 * N,
    ),
    "definite by construction": (
        lambda c, b: solve(c @ c.T + 2.0 * eye(N), b) @ b, (C[:, :2], b), CHOLESKY + 2 * N * N,
    ),
}  # fmt: skip


QUICK = {"inverse times matrix", "transposed inverse", "outer product", "Woodbury", "leverages"}
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SEARCHED]


@pytest.mark.parametrize("name", CASES)
def test_searched(name: str) -> None:
    function, args, wanted = SEARCHED[name]
    result = optimize(function, measure=False, budget=20.0, cost="flops").plan(*args)
    assert count_graph(result.after).flops <= 1.05 * wanted + 100, result.after
    close(result(*args), function(*args))


def loss(s: Any, x: Any) -> Any:
    return x @ inv(s) @ x + jnp.linalg.slogdet(s)[1]


def test_derivative_of_a_searched_program() -> None:
    optimized = optimize(loss, measure=False, budget=20.0)
    close(jax.grad(optimized, (0, 1))(S, b), jax.grad(loss, (0, 1))(S, b))


@pytest.mark.slow
def test_other_transformations_of_searched_programs() -> None:
    optimized = optimize(loss, measure=False, budget=20.0)
    close(optimize(jax.grad(loss, (0, 1)), measure=False, budget=20.0)(S, b), jax.grad(loss, (0, 1))(S, b))
    close(jax.vmap(optimized, (None, 1))(S, C), jax.vmap(loss, (None, 1))(S, C))
