# SPDX-License-Identifier: Apache-2.0
"""Structured matrices, built in the program or declared: products and solves that use the structure.

Sources: Golub and Van Loan, "Matrix Computations", 2013, chapters 4 and 12; Van Loan, "The ubiquitous Kronecker
product", 2000.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag, solve_triangular

from egraph_opt import assume
from egraph_opt.bench.case import case

from .draw import banded, dense, integers, lower, orthogonal, permutation, positive, regular, spd, symmetric, upper
from .kernels import band_product, cho_solve, circulant, circulant_product, spd_solve, syrk, trmm

det, diag, eye, inv, solve = jnp.linalg.det, jnp.diag, jnp.eye, jnp.linalg.inv, jnp.linalg.solve


def _shapes(words, **fixed):
    """Arguments by words of letters: n is the size, the others are given."""

    def make(n):
        sizes = {"n": n, "h": max(1, n // 2), "b": 4, "r": max(1, n // 40), "k": max(2, n // 10), **fixed}
        return dense(*(tuple(sizes[c] for c in word) for word in words.split()))

    return make


def _built(maker, words):
    return lambda n: (maker(n), *_shapes(words)(n))


def scaled(A, d, B):
    return diag(d) @ A @ diag(d) @ B


def scaled_hand(A, d, B):
    return (d[:, None] * A * d) @ B


def diagonal_algebra(d, e, x):
    D, E = diag(d), diag(e)
    return inv(D @ E + E) @ x, det(D)


def diagonal_algebra_hand(d, e, x):
    return x / (d * e + e), jnp.prod(d)


def shifted_identity(A, x):
    n = A.shape[0]
    return (0.5 * eye(n, dtype=A.dtype) + A) @ (A - 2.0 * eye(n, dtype=A.dtype)) @ x


def shifted_identity_hand(A, x):
    y = A @ x - 2.0 * x
    return 0.5 * y + A @ y


def selected(ids, table):
    return jax.nn.one_hot(ids, table.shape[0], dtype=table.dtype) @ table


def permuted(order, A):
    P = eye(A.shape[0], dtype=A.dtype)[order]
    return P @ A @ P.T


def permutation_solve(order, b):
    return solve(eye(b.shape[0], dtype=b.dtype)[order], b)


def permutation_solve_hand(order, b):
    return jnp.zeros_like(b).at[order].set(b)


def histogram(ids, weights):
    return jax.nn.one_hot(ids, 50, dtype=weights.dtype).T @ weights


def histogram_hand(ids, weights):
    return jnp.zeros(50, weights.dtype).at[ids].add(weights)


def triangular(A, B):
    return jnp.tril(A) @ B


def triangular_hand(A, B):
    return trmm(jnp.tril(A), B)


def upper_product(U, B):
    return assume(U, "upper_triangular") @ B


def upper_product_hand(U, B):
    return trmm(U[::-1, ::-1], B[::-1])[::-1]


def triangular_solve_declared(L, b):
    return solve(assume(L, "lower_triangular"), b)


def triangular_inverse(L, b):
    L = jnp.tril(L)
    return inv(L) @ b, det(L)


def triangular_inverse_hand(L, b):
    return solve_triangular(L, b, lower=True), jnp.prod(jnp.diagonal(L))


def triangular_factor_reuse(A, b):
    L = jnp.linalg.cholesky(assume(A, "positive_definite"))
    return inv(L.T) @ inv(L) @ b, det(A)


def triangular_factor_reuse_hand(A, b):
    L = jnp.linalg.cholesky(A)
    return cho_solve(L, b), jnp.prod(jnp.diagonal(L)) ** 2


def second_difference(x):
    n = x.shape[0]
    D = 2.0 * eye(n, dtype=x.dtype) - eye(n, k=1, dtype=x.dtype) - eye(n, k=-1, dtype=x.dtype)
    return D @ D @ x


def _difference(x):
    padded = jnp.pad(x, 1)
    return 2.0 * x - padded[2:] - padded[:-2]


def tridiagonal_solve(T, b):
    return solve(assume(T, "tridiagonal"), b)


def tridiagonal_solve_hand(T, b):
    low = jnp.pad(jnp.diagonal(T, -1), (1, 0))
    high = jnp.pad(jnp.diagonal(T, 1), (0, 1))
    return jax.lax.linalg.tridiagonal_solve(low, jnp.diagonal(T), high, b[:, None])[:, 0]


def masked_band(A, x):
    i = jnp.arange(A.shape[0])
    return jnp.where(abs(i[:, None] - i[None]) <= 2, A, 0) @ x


def orthogonal_inverse(Q, A, b):
    Q = assume(Q, "orthogonal")
    return inv(Q) @ A @ b, Q.T @ Q @ b


def orthogonal_inverse_hand(Q, A, b):
    return Q.T @ (A @ b), b


def orthogonal_norm(Q, A):
    return jnp.sum((assume(Q, "orthogonal") @ A) ** 2)


def symmetric_sum(A, B):
    A, B = assume(A, "symmetric"), assume(B, "symmetric")
    return A @ B + (B @ A).T, A @ B - B.T @ A.T


def symmetric_sum_hand(A, B):
    S = A @ B
    return 2.0 * S, S - S.T


def gram_of_product(A, B):
    return A @ B @ B.T @ A.T


def kronecker_product(A, B, x):
    return jnp.kron(A, B) @ x


def kronecker_product_hand(A, B, x):
    return (A @ x.reshape(A.shape[1], B.shape[1]) @ B.T).reshape(-1)


def kronecker_solve(A, B, x):
    return solve(jnp.kron(A, B), x)


def kronecker_solve_hand(A, B, x):
    X = solve(A, x.reshape(A.shape[0], B.shape[0]))
    return solve(B, X.T).T.reshape(-1)


def kronecker_mixed(A, B, C, D):
    return jnp.kron(A, B) @ jnp.kron(C, D)


def kronecker_sum(A, B, x):
    one, two = (eye(M.shape[0], dtype=M.dtype) for M in (A, B))
    return (jnp.kron(A, two) + jnp.kron(one, B)) @ x


def kronecker_sum_hand(A, B, x):
    X = x.reshape(A.shape[0], B.shape[0])
    return (A @ X + X @ B.T).reshape(-1)


def block_solve(A, B, x):
    return solve(block_diag(A, B), x)


def block_solve_hand(A, B, x):
    h = A.shape[0]
    return jnp.concatenate([solve(A, x[:h]), solve(B, x[h:])])


def block_zero(A, B, x):
    n = A.shape[0]
    zero = jnp.zeros((n, n), A.dtype)
    return jnp.block([[A, zero], [B, A]]) @ x


def block_zero_hand(A, B, x):
    n = A.shape[0]
    return jnp.concatenate([A @ x[:n], B @ x[:n] + A @ x[n:]])


def circulant_solve(c, b):
    return solve(circulant(c), b)


def circulant_solve_hand(c, b):
    return jnp.fft.irfft(jnp.fft.rfft(b) / jnp.fft.rfft(c), c.shape[0])


def _dominant(n):
    c, b = dense((n,), (n,))
    return 0.1 * c + jnp.zeros(n, c.dtype).at[0].set(2.0), b


def low_rank_power(U, V, x):
    A = U @ V.T
    return A @ A @ A @ x


def low_rank_power_hand(U, V, x):
    for _ in range(3):
        x = U @ (V.T @ x)
    return x


def fourier_matrix(x):
    n = x.shape[0]
    return jnp.fft.ifft(jnp.fft.fft(x)).real * n


def ones_product(A):
    n = A.shape[0]
    return jnp.ones((n, n), A.dtype) @ A


def zero_block(A, x):
    return jnp.triu(jnp.tril(A), 1) @ x + A @ x


CASES = (
    case("diag(d) A diag(d) B", "F", scaled, scaled_hand, _shapes("nn n nn")),
    case("A diag(d) x", "F", lambda A, d, x: A @ diag(d) @ x, lambda A, d, x: A @ (d * x), _shapes("nn n n")),
    case("diagonal algebra", "F", diagonal_algebra, diagonal_algebra_hand,
         lambda n: (*positive((n,), (n,)), *dense((n,))), 100),
    case("declared diagonal", "F", lambda D, A: assume(D, "diagonal") @ A, lambda D, A: jnp.diagonal(D)[:, None] * A,
         lambda n: (diag(positive((n,))[0]), *dense((n, n)))),
    case("declared diagonal solve", "F", lambda D, b: solve(assume(D, "diagonal"), b),
         lambda D, b: b / jnp.diagonal(D), lambda n: (diag(positive((n,))[0]), *dense((n,)))),
    case("shifted identity", "F", shifted_identity, shifted_identity_hand, _shapes("nn n")),
    case("one-hot product", "F", selected, lambda ids, table: table[ids],
         lambda n: (integers(n, n), *dense((n, n)))),
    case("permutation from both sides", "F", permuted, lambda order, A: A[order][:, order], _built(permutation, "nn")),
    case("permutation solve", "F", permutation_solve, permutation_solve_hand, _built(permutation, "n")),
    case("histogram by one-hot", "F", histogram, histogram_hand, lambda n: (integers(50, 10 * n), *dense((10 * n,)))),
    case("tril product", "F", triangular, triangular_hand, _shapes("nn nn")),
    case("declared upper product", "F", upper_product, upper_product_hand, _built(upper, "nn")),
    case("declared lower solve", "F", triangular_solve_declared, lambda L, b: solve_triangular(L, b, lower=True),
         _built(lower, "n")),
    case("inverse and determinant of tril", "F", triangular_inverse, triangular_inverse_hand, _built(lower, "n"), 60),
    case("Cholesky factors inverted", "F", triangular_factor_reuse, triangular_factor_reuse_hand, _built(spd, "n"),
         60),
    case("tridiagonal product", "F", lambda T, B: assume(T, "tridiagonal") @ B, band_product, _built(banded, "nk")),
    case("tridiagonal times vector", "F", lambda T, x: x @ assume(T, "tridiagonal"),
         lambda T, x: band_product(T.T, x), _built(banded, "n")),
    case("tridiagonal solve", "F", tridiagonal_solve, tridiagonal_solve_hand, _built(banded, "n")),
    case("second differences", "F", second_difference, lambda x: _difference(_difference(x)), _shapes("n")),
    case("masked band", "F", masked_band, lambda A, x: band_product(A, x, 2), _shapes("nn n")),
    case("orthogonal inverse", "F", orthogonal_inverse, orthogonal_inverse_hand, _built(orthogonal, "nn n")),
    case("norm under rotation", "F", orthogonal_norm, lambda Q, A: jnp.sum(A * A), _built(orthogonal, "nn")),
    case("symmetric products", "F", symmetric_sum, symmetric_sum_hand,
         lambda n: (symmetric(n), symmetric(n, 1))),
    case("Gram matrix", "F", lambda X: X.T @ X, lambda X: syrk(X.T), _shapes("nn")),
    case("Gram matrix of a product", "F", gram_of_product, lambda A, B: syrk(A @ B), _shapes("nn nn")),
    case("kron times vector", "F", kronecker_product, kronecker_product_hand,
         lambda n: dense((n, n), (n, n), (n * n,)), 40),
    case("kron solve", "F", kronecker_solve, kronecker_solve_hand,
         lambda n: (regular(n), regular(n, 1), *dense((n * n,))), 25),
    case("kron times kron", "F", kronecker_mixed, lambda A, B, C, D: jnp.kron(A @ C, B @ D), _shapes("nn nn nn nn"),
         25),
    case("Kronecker sum", "F", kronecker_sum, kronecker_sum_hand, lambda n: dense((n, n), (n, n), (n * n,)), 30),
    case("block-diagonal product", "F", lambda A, B, C: block_diag(A, B) @ C,
         lambda A, B, C: jnp.concatenate([A @ C[: A.shape[0]], B @ C[A.shape[0] :]]),
         lambda n: dense((n, n), (n, n), (2 * n, n)), 150),
    case("block-diagonal solve", "F", block_solve, block_solve_hand,
         lambda n: (regular(n), regular(n, 1), *dense((2 * n,)))),
    case("block with zeros", "F", block_zero, block_zero_hand, lambda n: dense((n, n), (n, n), (2 * n,))),
    case("circulant product", "F", lambda c, x: circulant(c) @ x, circulant_product, _shapes("n n"), 500),
    case("declared circulant product", "F", lambda C, x: assume(C, "circulant") @ x,
         lambda C, x: circulant_product(C[:, 0], x), lambda n: (circulant(dense((n,))[0]), *dense((n,))), 500),
    case("circulant solve", "F", circulant_solve, circulant_solve_hand, _dominant, 200),
    case("inverse Fourier transform", "F", fourier_matrix, lambda x: x * x.shape[0], _shapes("n"), 1000),
    case("low-rank power", "F", low_rank_power, low_rank_power_hand, _shapes("nr nr n")),
    case("matrix of ones", "F", ones_product, lambda A: jnp.broadcast_to(A.sum(0), A.shape), _shapes("nn")),
    case("triangles that do not meet", "F", zero_block, lambda A, x: A @ x, _shapes("nn n")),
    case("outer-product update", "F", lambda A, u, v, x: (A + jnp.outer(u, v)) @ x,
         lambda A, u, v, x: A @ x + u * (v @ x), _shapes("nn n n n")),
    case("declared positive definite, batched", "F",
         lambda A, b: solve(assume(A, "positive_definite"), b[..., None])[..., 0],
         lambda A, b: spd_solve(A, b[..., None])[..., 0], lambda n: (spd(n, 0, (4,)), *dense((4, n))), 100),
)  # fmt: skip
