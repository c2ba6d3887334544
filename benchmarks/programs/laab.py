# SPDX-License-Identifier: Apache-2.0
"""The tests of LAAB-Python in operator form, with the forms that the benchmark compares with.

Sankaran, Akbari Alashti, Psarras, Bientinesi: "Benchmarking the linear algebra awareness of TensorFlow and PyTorch",
2022. The benchmark takes n = 3000. Properties of arguments are declared, as their values are not looked at.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.linalg import block_diag

from egraph_opt import assume
from egraph_opt.bench.case import case

from .draw import banded, dense, lower
from .kernels import band_product, syrk, trmm

SIZE = 1000


def _two(n):
    return dense((n, n), (n, n))


def _three(n):
    return dense((n, n), (n, n), (n, n))


def _square(S):
    return S.T @ S


def _loop(A, B, V):
    return jnp.stack([A @ B + jnp.outer(V[i], V[i]) for i in range(3)])


def _hoisted(A, B, V):
    product = A @ B
    return jnp.stack([product + jnp.outer(V[i], V[i]) for i in range(3)])


CASES = (
    case("mm_sgemm", "A", lambda A, B: A.T @ B, lambda A, B: A.T @ B, _two, SIZE),
    case("mm_trmm", "F", lambda L, B: assume(L, "lower_triangular") @ B, trmm,
         lambda n: (lower(n), *dense((n, n))), SIZE),
    case("mm_syrk", "F", lambda A: A @ A.T, syrk, lambda n: dense((n, n)), SIZE),
    case("mm_tridiag", "F", lambda T, B: assume(T, "tridiagonal") @ B, band_product,
         lambda n: (banded(n), *dense((n, n))), SIZE),
    case("cse_addition", "B", lambda A, B: A.T @ B + A.T @ B, lambda A, B: 2 * (A.T @ B), _two, SIZE),
    case("cse_matmul_parenthesis", "B", lambda A, B: (A.T @ B).T @ (A.T @ B),
         lambda A, B: _square(A.T @ B), _two, SIZE),
    case("cse_matmul_no_parenthesis", "B", lambda A, B: (A.T @ B).T @ A.T @ B,
         lambda A, B: _square(A.T @ B), _two, SIZE),
    case("cse_suboptimal", "A", lambda A, B, y: A.T @ B @ A.T @ B @ y,
         lambda A, B, y: A.T @ (B @ (A.T @ (B @ y))), lambda n: dense((n, n), (n, n), (n, 1)), SIZE),
    case("matchain_rtol", "A", lambda H, x: H.T @ H @ x, lambda H, x: H.T @ (H @ x),
         lambda n: dense((n, n), (n, 1)), SIZE),
    case("matchain_ltor", "A", lambda H, y: y.T @ H.T @ H, lambda H, y: (y.T @ H.T) @ H,
         lambda n: dense((n, n), (n, 1)), SIZE),
    case("matchain_mixed", "A", lambda H, x, y: H.T @ y @ x.T @ H, lambda H, x, y: (H.T @ y) @ (x.T @ H),
         lambda n: dense((n, n), (n, 1), (n, 1)), SIZE),
    case("am_distributivity1", "C", lambda A, B, C: A @ B + A @ C, lambda A, B, C: A @ (B + C), _three, SIZE),
    case("am_distributivity2", "C", lambda A, H, x: (A - H.T @ H) @ x, lambda A, H, x: A @ x - H.T @ (H @ x),
         lambda n: dense((n, n), (n, n), (n, 1)), SIZE),
    case("am_transpose", "B", lambda A, B: B.T @ A @ A.T @ B, lambda A, B: _square(A.T @ B), _two, SIZE),
    case("am_blocked", "F", lambda A1, A2, B: block_diag(A1, A2) @ B,
         lambda A1, A2, B: jnp.concatenate([A1 @ B[: A1.shape[0]], A2 @ B[A1.shape[0] :]]),
         lambda n: dense((n // 2, n // 2), (n // 2, n // 2), (n // 2 * 2, n)), SIZE),
    case("cm_loops", "M", _loop, _hoisted, lambda n: dense((n, n), (n, n), (3, n)), SIZE),
    case("cm_partial_op_sum", "D", lambda A, B: (A + B)[2, 2], lambda A, B: A[2, 2] + B[2, 2], _two, SIZE),
    case("cm_partial_op_prod", "D", lambda A, B: (A @ B)[2, 2], lambda A, B: A[2] @ B[:, 2], _two, SIZE),
)  # fmt: skip
