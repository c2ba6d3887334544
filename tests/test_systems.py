# SPDX-License-Identifier: Apache-2.0
"""Systems with structure: bands, products of Kronecker, blocks. Work falls to that of the parts, values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import block_diag

from egraph_opt import assume, optimize
from egraph_opt.cost import count_graph

solve, inv, kron = jnp.linalg.solve, jnp.linalg.inv, jnp.kron


def drawn(seed: int, *shape: int) -> Any:
    """A well conditioned matrix, or any other array."""
    value = np.random.default_rng(seed).normal(size=shape)
    square = len(shape) > 1 and shape[-1] == shape[-2]
    return jnp.asarray(value + (4 * np.eye(shape[-1]) if square else 0), jnp.float32)


def share(function: Callable[..., Any], *args: Any) -> float:
    """Work of the optimised program over that of the original; both give the same values."""
    result = optimize(function, measure=False, cost="flops", budget=30.0).plan(*args)
    for found, wanted in zip(jax.tree.leaves(result(*args)), jax.tree.leaves(function(*args)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
    after, before = count_graph(result.after), count_graph(result.before)
    return (after.flops + 10 * after.transcendentals) / (before.flops + 10 * before.transcendentals)


def most_slow(cases: list[Any]) -> list[Any]:
    """The first three cases, and the others for slow runs."""
    return [*cases[:3], *(pytest.param(*one, marks=pytest.mark.slow) for one in cases[3:])]


def band(seed: int, *shape: int) -> Any:
    """Matrices of three diagonals."""
    return jnp.triu(jnp.tril(drawn(seed, *shape), 1), -1)


BANDS = [
    (lambda t, b: solve(assume(t, "tridiagonal"), b), (band(0, 20, 20), drawn(1, 20)), 0.1),
    (lambda t, b: solve(assume(t, "tridiagonal").T, b), (band(0, 20, 20), drawn(1, 20, 3)), 0.15),
    (lambda t, b: jax.vmap(solve)(assume(t, "tridiagonal"), b), (band(0, 2, 20, 20), drawn(1, 2, 20)), 0.1),
    (lambda A, b: solve(jnp.triu(jnp.tril(A, 1), -1), b), (drawn(0, 20, 20), drawn(1, 20)), 0.1),
    (lambda A, b: jnp.triu(jnp.tril(A, 1), -2) @ b, (drawn(0, 20, 20), drawn(1, 20)), 0.5),
    (lambda A, b: inv(jnp.tril(A)) @ b, (drawn(0, 20, 20), drawn(1, 20)), 0.05),
    (lambda A, b: solve(jnp.triu(A).T, b), (drawn(0, 20, 20), drawn(1, 20)), 0.1),
    (lambda A: jnp.diagonal(jnp.tril(A)) * 2.0, (drawn(0, 20, 20),), 0.1),
    (lambda L: jnp.tril(assume(L, "lower_triangular")) + 1.0, (jnp.tril(drawn(0, 20, 20)),), 0.6),
]


@pytest.mark.parametrize(("function", "args", "most"), most_slow(BANDS))
def test_bands(function: Callable[..., Any], args: tuple[Any, ...], most: float) -> None:
    assert share(function, *args) <= most


Q40, D40, X40 = jnp.linalg.qr(drawn(0, 40, 40))[0], 1.0 + jnp.abs(drawn(1, 40)), drawn(2, 40)
SCALED = [
    (lambda Q, d, x: solve(assume(Q, "orthogonal") * d, x), 0.2),
    (lambda Q, d, x: solve((d[:, None] * assume(Q, "orthogonal")).T, x), 0.2),
    (lambda Q, d, x: inv((assume(Q, "orthogonal") * d) @ Q.T) @ x, 0.05),
]


@pytest.mark.parametrize(("function", "most"), SCALED)
def test_scaled_rows_and_columns(function: Callable[..., Any], most: float) -> None:
    assert share(function, Q40, D40, X40) <= most


A, B, C, B3 = drawn(0, 4, 4), drawn(1, 5, 5), drawn(2, 3, 3), drawn(3, 20, 3)
KRON = [
    (lambda A, B, b: solve(kron(A, B), b), (A, B, B3), 0.15),
    (lambda A, B, b: solve(kron(A, B).T, b[:, 0]), (A, B, B3), 0.15),
    (lambda A, B, b: inv(kron(A, B)) @ b, (A, B, B3), 0.06),
    (lambda A, B: inv(kron(A, B)), (A, B), 0.1),
    (lambda B, b: solve(kron(jnp.eye(4), B), b), (B, B3), 0.15),
    (lambda A, b: solve(kron(A, jnp.eye(5)), b), (A, B3), 0.15),
    (lambda A, B, C: solve(kron(kron(A, B), C), jnp.ones(60)), (A, B, C), 0.02),
    (lambda A, B: jnp.linalg.slogdet(kron(A, B)), (A, B), 0.1),
    (lambda A, B, b: jax.vmap(lambda a, b: solve(kron(a, B), b))(A, b), (drawn(4, 2, 4, 4), B, drawn(5, 2, 20)), 0.15),
]


@pytest.mark.parametrize(("function", "args", "most"), most_slow(KRON))
def test_kron(function: Callable[..., Any], args: tuple[Any, ...], most: float) -> None:
    assert share(function, *args) <= most


Q, S = drawn(6, 4, 5), A @ A.T
BLOCKS = [
    (lambda A, B, b: solve(block_diag(A, B), b), (A, B, B3[:9]), 0.6),
    (lambda A, B, b: solve(block_diag(A, B).T, b[:, 0]), (A, B, B3[:9]), 0.6),
    (lambda A, B, C, b: solve(block_diag(A, B, C), b), (A, B, C, B3[:12]), 0.35),
    (lambda A, B: inv(block_diag(A, B)), (A, B), 0.35),
    (lambda A, B, C: jnp.linalg.slogdet(block_diag(A, B, C)), (A, B, C), 0.4),
    (lambda A, B, Q, b: solve(jnp.block([[A, jnp.zeros((4, 5))], [Q.T, B]]), b), (A, B, Q, B3[:9]), 0.75),
    (lambda A, B, Q, b: solve(jnp.block([[A, jnp.zeros((4, 5))], [Q.T, B]]).T, b), (A, B, Q, B3[:9]), 0.75),
    (lambda A, B, Q, b: solve(jnp.block([[A, Q], [jnp.zeros((5, 4)), B]]), b), (A, B, Q, B3[:9]), 0.75),
    (lambda A, B, Q, b: solve(jnp.block([[A, Q], [jnp.zeros((5, 4)), B]]).T, b), (A, B, Q, B3[:9]), 0.75),
    (lambda A, B, b: jax.vmap(lambda a, c: solve(block_diag(a, B), c))(A, b),
     (drawn(4, 2, 4, 4), B, drawn(5, 2, 9)), 0.6),
]  # fmt: skip


@pytest.mark.parametrize(("function", "args", "most"), most_slow(BLOCKS))
def test_blocks(function: Callable[..., Any], args: tuple[Any, ...], most: float) -> None:
    assert share(function, *args) <= most


@pytest.mark.slow
def test_schur_complement() -> None:
    large, side, small = drawn(7, 40, 40), drawn(8, 40, 4), drawn(9, 4, 4)

    def joined(A: Any, Q: Any, S: Any, b: Any) -> Any:
        return solve(jnp.block([[assume(A, "positive_definite"), Q], [Q.T, S]]), b)

    assert share(joined, large @ large.T / 40, side / 9, small, drawn(5, 44)) <= 0.65


def test_cholesky_of_own_product() -> None:
    """The factor has a positive diagonal, whatever the signs are in the operand."""
    lower = jnp.tril(drawn(2, 12, 12)) * jnp.where(jnp.arange(12) % 3 == 0, -1.0, 1.0)
    assert share(lambda L: jnp.linalg.cholesky(jnp.tril(L) @ jnp.tril(L).T), lower) <= 0.2
    assert share(lambda U: jnp.linalg.cholesky(assume(U, "upper_triangular").T @ U), lower.T) <= 0.2


def test_row_by_comparison() -> None:
    def row(a: Any, b: Any, i: Any) -> Any:
        return jnp.sum((jnp.arange(12) == i).astype(a.dtype)[:, None] * (a @ b), 0)

    for place in (3, -1, 20):
        assert share(row, drawn(0, 12, 12), drawn(1, 12, 12), jnp.int32(place)) <= 0.2


def test_quotient_by_number_is_a_multiple() -> None:
    assert share(lambda a: (a + a) / 2.0 + 0.0, drawn(0, 12, 12)) <= 0.2
