# SPDX-License-Identifier: Apache-2.0
"""Structured products as one writes them by hand in JAX: what the hand forms of several suites share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

LEVELS = 4
"""Depth of block recursions: a triangular product then takes 53 % of the full one."""


def trmm(L: Any, B: Any, levels: int = LEVELS) -> Any:
    """Product of a lower triangular matrix by block recursion."""
    n = L.shape[0]
    if levels == 0 or n < 2:
        return L @ B
    h = n // 2
    top = trmm(L[:h, :h], B[:h], levels - 1)
    return jnp.concatenate([top, L[h:, :h] @ B[:h] + trmm(L[h:, h:], B[h:], levels - 1)])


def syrk(A: Any, levels: int = LEVELS) -> Any:
    """``A @ A.T``: the half below the diagonal by block recursion, the other by symmetry."""
    n = A.shape[0]
    if levels == 0 or n < 2:
        return A @ A.T
    h = n // 2
    corner = A[h:] @ A[:h].T
    upper = jnp.concatenate([syrk(A[:h], levels - 1), corner.T], 1)
    return jnp.concatenate([upper, jnp.concatenate([corner, syrk(A[h:], levels - 1)], 1)])


def band_product(T: Any, B: Any, width: int = 1) -> Any:
    """Product of a banded matrix as shifted multiply-adds; ``B`` has one or two dimensions."""
    n = T.shape[0]
    tail = ((0, 0),) * (B.ndim - 1)
    total = 0.0
    for k in range(-width, width + 1):
        diagonal = jnp.diagonal(T, k)
        rows = B[max(k, 0) : n + min(k, 0)]
        part = diagonal.reshape(-1, *[1] * (B.ndim - 1)) * rows
        total = total + jnp.pad(part, ((max(-k, 0), max(k, 0)), *tail))
    return total


def spd_solve(A: Any, b: Any) -> Any:
    """Solution by Cholesky factors."""
    return cho_solve(jnp.linalg.cholesky(A), b)


def cho_solve(L: Any, b: Any) -> Any:
    """Solution of ``L @ L.T @ x = b``."""
    return solve_triangular(L, solve_triangular(L, b, lower=True), trans=1, lower=True)


def half_logdet(L: Any) -> Any:
    """Logarithm of the determinant of a triangular factor."""
    return jnp.sum(jnp.log(jnp.diagonal(L)))


def circulant(c: Any) -> Any:
    """The matrix whose column ``j`` is ``c`` shifted down by ``j``."""
    n = c.shape[0]
    i = jnp.arange(n)
    return c[(i[:, None] - i[None, :]) % n]


def circulant_product(c: Any, x: Any) -> Any:
    """Product with ``circulant(c)`` by the Fourier transform."""
    return jnp.fft.irfft(jnp.fft.rfft(c) * jnp.fft.rfft(x), c.shape[0])


def jvp(function: Any, x: Any, v: Any) -> Any:
    """Derivative along ``v``."""
    return jax.jvp(function, (x,), (v,))[1]


def vjp(function: Any, x: Any, v: Any) -> Any:
    """Derivative of ``<v, function(x)>``."""
    return jax.vjp(function, x)[1](v)[0]


def hvp(function: Any, x: Any, v: Any) -> Any:
    """Product of a Hessian with a vector."""
    return jax.jvp(jax.grad(function), (x,), (v,))[1]
