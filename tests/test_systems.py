# SPDX-License-Identifier: Apache-2.0
"""Systems with structure: bands, products of Kronecker, blocks. Work falls to that of the parts, values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    result = optimize(function, measure=False, cost="flops").plan(*args)
    for found, wanted in zip(jax.tree.leaves(result(*args)), jax.tree.leaves(function(*args)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
    after, before = count_graph(result.after), count_graph(result.before)
    return (after.flops + 10 * after.transcendentals) / (before.flops + 10 * before.transcendentals)


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


@pytest.mark.parametrize(("function", "args", "most"), BANDS)
def test_bands(function: Callable[..., Any], args: tuple[Any, ...], most: float) -> None:
    assert share(function, *args) <= most


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


@pytest.mark.parametrize(("function", "args", "most"), KRON)
def test_kron(function: Callable[..., Any], args: tuple[Any, ...], most: float) -> None:
    assert share(function, *args) <= most
