# SPDX-License-Identifier: Apache-2.0
"""Linear algebra: orders of products, factoring and expanding, sharing, solves, determinants, decompositions.

Sources: Golub and Van Loan, "Matrix Computations", 2013; Rasmussen and Williams, "Gaussian Processes for Machine
Learning", 2006; Petersen and Pedersen, "The Matrix Cookbook", 2012. One identity a case, in the spellings people use.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from egraph_opt import assume
from egraph_opt.bench.case import case

from .draw import dense, integers, lower, orthogonal, positive, regular, spd, symmetric
from .kernels import cho_solve, half_logdet, spd_solve

chol, det, inv, slogdet, solve = (getattr(jnp.linalg, f) for f in ("cholesky", "det", "inv", "slogdet", "solve"))
eye = jnp.eye


def _shapes(words, **fixed):
    """Arguments by words of letters: n is the size, the others are given."""

    def make(n):
        sizes = {"n": n, "h": max(1, n // 2), "b": 4, "r": max(1, n // 40), "k": max(1, n // 10), **fixed}
        return dense(*(() if word == "-" else tuple(sizes[c] for c in word) for word in words.split()))

    return make


def _complex(n):
    real, imaginary, x = dense((n, n), (n, n), (n,))
    return lax.complex(real, imaginary), lax.complex(x, x[::-1])


def _pd(x):
    return assume(x, "positive_definite")


def _spd_and(words, **fixed):
    return lambda n: (spd(n), *_shapes(words, **fixed)(n))


def _regular_and(words, **fixed):
    return lambda n: (regular(n), *_shapes(words, **fixed)(n))


# A: orders of products


def power(A):
    return A @ A @ A @ A @ A @ A @ A @ A


def power_hand(A):
    A2 = A @ A
    A4 = A2 @ A2
    return A4 @ A4


def polynomial(A, x):
    return (A @ A @ A + 2.0 * (A @ A) + A) @ x


def polynomial_hand(A, x):
    y = A @ x
    z = A @ y
    return A @ z + 2.0 * z + y


def two_outputs(A, B, C, x):
    return A @ B @ x, C @ A @ B @ x


def two_outputs_hand(A, B, C, x):
    y = A @ (B @ x)
    return y, C @ y


def batched_chain(X, Y, z):
    return jax.vmap(lambda x, y, v: x.T @ y @ v)(X, Y, z)


def batched_chain_hand(X, Y, z):
    return jnp.einsum("bji,bj->bi", X, jnp.einsum("bjk,bk->bj", Y, z))


def general_chain(A, B, x):
    product = lax.dot_general(A, B, (((0,), (1,)), ((), ())))
    return lax.dot_general(product, x, (((1,), (0,)), ((), ())))


def bilinear(A, B, x, y):
    return jnp.einsum("i,ij,jk,kl,l->", x, A, B, A, y, optimize=False)


def attention(Q, K, V):
    return jnp.einsum("bqd,bkd->bqk", Q, K) @ V


def attention_hand(Q, K, V):
    return Q @ jnp.einsum("bkd,bke->bde", K, V)


def tensor_network(a, b, c, d):
    return jnp.einsum("ia,jb,kc,abc->ijk", a, b, c, d, optimize=False)


def tensor_network_hand(a, b, c, d):
    d = jnp.tensordot(c, d, ((1,), (2,)))  # k a b
    d = jnp.tensordot(b, d, ((1,), (2,)))  # j k a
    return jnp.tensordot(a, d, ((1,), (2,)))


# B: sharing through transposes


def covariances(A, B):
    return A.T @ B, B.T @ A, (A.T @ B) @ (B.T @ A)


def covariances_hand(A, B):
    S = A.T @ B
    return S, S.T, S @ S.T


def symmetrised(A, B):
    return 0.5 * (A @ B + jnp.transpose(A @ B)), jnp.matmul(B.T, A.T)


def symmetrised_hand(A, B):
    S = A @ B
    return 0.5 * (S + S.T), S.T


# C: one product instead of many, and many instead of one


def factored(A, B, C, D):
    return A @ B + A @ C - A @ D


def two_sided(A, B, C, D):
    return A @ C + A @ D + B @ C + B @ D


def gates(X, W, U, h):
    return X @ W[0] + h @ U[0] + X @ W[1] + h @ U[1]


def square_of_sum(A, B, x):
    return (A @ A + A @ B + B @ A + B @ B) @ x


def square_of_sum_hand(A, B, x):
    C = A + B
    return C @ (C @ x)


def adapter(W, B, A, x):
    return (W + B @ A) @ x


def adapter_hand(W, B, A, x):
    return W @ x + B @ (A @ x)


def householder(A, v):
    n = A.shape[0]
    return (eye(n, dtype=A.dtype) - 2.0 * jnp.outer(v, v)) @ A


def householder_hand(A, v):
    return A - jnp.outer(2.0 * v, v @ A)


def centred(X):
    n = X.shape[0]
    C = eye(n, dtype=X.dtype) - jnp.ones((n, n), X.dtype) / n
    return X.T @ C @ X


def centred_hand(X):
    return X.T @ (X - X.mean(0))


def batched_factoring(X, Y, Z):
    return jnp.einsum("bij,bjk->bik", X, Y) + jax.vmap(jnp.dot)(X, Z)


# F: solves, inverses and decompositions


def weighted(A, b, C):
    return inv(A) @ b, inv(A) @ C


def weighted_hand(A, b, C):
    both = solve(A, jnp.concatenate([b[:, None], C], 1))
    return both[:, 0], both[:, 1:]


def leverages(X):
    return jnp.diag(X @ inv(_pd(X.T @ X)) @ X.T)


def leverages_hand(X):
    return jnp.sum(solve_triangular(chol(X.T @ X), X.T, lower=True) ** 2, 0)


def quadratic(A, x):
    return x @ inv(_pd(A)) @ x


def quadratic_hand(A, x):
    y = solve_triangular(chol(A), x, lower=True)
    return y @ y


def log_density(S, x, m):
    S, d = _pd(S), x.shape[0]
    distance = (x - m) @ inv(S) @ (x - m)
    return -0.5 * (distance + jnp.log(det(S)) + d * math.log(2 * math.pi))


def log_density_hand(S, x, m):
    L = chol(S)
    y = solve_triangular(L, x - m, lower=True)
    return -0.5 * (y @ y + 2 * half_logdet(L) + x.shape[0] * math.log(2 * math.pi))


def gaussian_process(K, y):
    K = _pd(K)
    return 0.5 * y @ solve(K, y) + 0.5 * slogdet(K)[1], inv(K) @ y


def gaussian_process_hand(K, y):
    L = chol(K)
    w = cho_solve(L, y)
    return 0.5 * y @ w + half_logdet(L), w


def woodbury(d, U, x):
    d = assume(d, "positive")
    return inv(jnp.diag(d) + U @ U.T) @ x


def woodbury_hand(d, U, x):
    DU = U / d[:, None]
    z = x / d
    small = eye(U.shape[1], dtype=U.dtype) + U.T @ DU
    return z - DU @ spd_solve(small, U.T @ z)


def determinant_lemma(d, U):
    d = assume(d, "positive")
    return slogdet(jnp.diag(d) + U @ U.T)[1]


def determinant_lemma_hand(d, U):
    small = eye(U.shape[1], dtype=U.dtype) + U.T @ (U / d[:, None])
    return jnp.sum(jnp.log(d)) + 2 * half_logdet(chol(small))


def rank_one_solve(A, u, v, b):
    return solve(A + jnp.outer(u, v), b), solve(A, b)


def rank_one_solve_hand(A, u, v, b):
    both = solve(A, jnp.stack([b, u], 1))
    x, y = both[:, 0], both[:, 1]
    return x - y * ((v @ x) / (1 + v @ y)), x


def push_through(A, b):
    n = A.shape[1]
    return inv(A.T @ A + 0.5 * eye(n, dtype=A.dtype)) @ A.T @ b


def push_through_hand(A, b):
    return A.T @ spd_solve(A @ A.T + 0.5 * eye(A.shape[0], dtype=A.dtype), b)


def hat_trace(X):
    return jnp.trace(X @ inv(X.T @ X) @ X.T)


def inverse_of_product(A, B, x):
    return inv(A @ B) @ x


def inverse_of_product_hand(A, B, x):
    return solve(B, solve(A, x))


def right_solve(A, B):
    return B @ inv(A)


def nested_inverse(A, B, x):
    return inv(inv(A) + inv(B)) @ x


def nested_inverse_hand(A, B, x):
    return A @ solve(A + B, B @ x)


def trace_of_solve(A, B):
    return jnp.trace(inv(_pd(A)) @ _pd(B))


def cholesky_of_gram(L):
    L = jnp.tril(L)
    return chol(L @ L.T)


def cholesky_of_gram_hand(L):
    # The factor has a positive diagonal; that of L may have any signs.
    return jnp.tril(L) * jnp.sign(jnp.diagonal(L))


def orthogonal_solve(A, b):
    Q, R = jnp.linalg.qr(A)
    return solve(Q, b), inv(R) @ (Q.T @ b), det(Q.T @ Q)


def orthogonal_solve_hand(A, b):
    Q, R = jnp.linalg.qr(A)
    c = Q.T @ b
    return c, solve_triangular(R, c), jnp.ones((), A.dtype)


def spectral(A):
    w, V = jnp.linalg.eigh(assume(A, "symmetric"))
    return V @ jnp.diag(w) @ V.T, jnp.trace(V @ jnp.diag(jnp.exp(w)) @ V.T)


def spectral_hand(A):
    # Both triangles of A are equal: eigh's product gives A back.
    return A, jnp.sum(jnp.exp(jnp.linalg.eigvalsh(A)))


def kalman_gradient(K, y):
    return jax.grad(lambda k: 0.5 * y @ solve(k, y) + 0.5 * slogdet(k)[1])(K)


def kalman_gradient_hand(K, y):
    inverse = inv(K)
    w = inverse @ y
    u = y @ inverse
    return 0.5 * (inverse.T - jnp.outer(u, w))


def log_det_of_product(A, B):
    return slogdet(_pd(A) @ _pd(B))[1]


def schur(A, B, D, x, y):
    S = jnp.block([[_pd(A), B], [B.T, D]])
    return solve(S, jnp.concatenate([x, y]))


def schur_hand(A, B, D, x, y):
    L = chol(A)
    W = solve_triangular(L, jnp.concatenate([B, x[:, None]], 1), lower=True)
    V, z = W[:, :-1], W[:, -1]
    second = solve(D - V.T @ V, y - V.T @ z)
    return jnp.concatenate([solve_triangular(L, z - V @ second, trans=1, lower=True), second])


def _schur_arguments(n):
    h = max(1, n // 10)
    B, x, y = dense((n, h), (n,), (h,))
    return spd(n), B, 4.0 * spd(h, 1), x, y


CASES = (
    case("A'ABx", "A", lambda A, B, x: A.T @ A @ B @ x, lambda A, B, x: A.T @ (A @ (B @ x)), _shapes("nn nn n")),
    case("tall and wide", "A", lambda A, B, C: A @ B @ C, lambda A, B, C: A @ (B @ C), _shapes("nk kn nk")),
    case("A^8", "A", power, power_hand, _shapes("nn")),
    case("polynomial times vector", "A", polynomial, polynomial_hand, _shapes("nn n")),
    case("shared chain", "A", two_outputs, two_outputs_hand, _shapes("nn nn nn n")),
    case("vmapped chain", "A", batched_chain, batched_chain_hand, _shapes("bnn bnn bn")),
    case("dot_general chain", "A", general_chain, lambda A, B, x: A.T @ (B.T @ x), _shapes("nn nn n")),
    case("bilinear form", "G", bilinear, lambda A, B, x, y: ((x @ A) @ B) @ (A @ y), _shapes("nn nn n n")),
    case("bfloat16 chain", "A", lambda A, B, x: jnp.dot(jnp.dot(A, B), x), lambda A, B, x: A @ (B @ x),
         lambda n: tuple(a.astype(jnp.bfloat16) for a in dense((n, n), (n, n), (n,)))),
    case("complex chain", "A", lambda A, x: A.conj().T @ A @ x, lambda A, x: A.conj().T @ (A @ x), _complex),
    case("conjugate of a product", "A", lambda A, x: (A @ A).conj().T @ x,
         lambda A, x: jnp.conj(A.T @ (A.T @ jnp.conj(x))), _complex),
    case("integer trace", "E", lambda A, B: jnp.trace(A @ B), lambda A, B: jnp.sum(A * B.T),
         lambda n: (integers(9, n, n), integers(9, n, n, seed=1))),
    case("linear attention", "G", attention, attention_hand, _shapes("bnk bnk bnk")),
    case("tensor network", "G", tensor_network, tensor_network_hand, _shapes("ka ka ka aaa", a=8), 200),
    case("covariances", "B", covariances, covariances_hand, _shapes("nh nh")),
    case("symmetrised product", "B", symmetrised, symmetrised_hand, _shapes("nn nn")),
    case("B'A'+AB transposed", "B", lambda A, B: B.T @ A.T + (A @ B).T, lambda A, B: 2.0 * (A @ B).T,
         _shapes("nk kn")),
    case("AB+AC-AD", "C", factored, lambda A, B, C, D: A @ (B + C - D), _shapes("nn nn nn nn")),
    case("(A+B)(C+D)", "C", two_sided, lambda A, B, C, D: (A + B) @ (C + D), _shapes("nn nn nn nn")),
    case("gates", "C", gates, lambda X, W, U, h: X @ (W[0] + W[1]) + h @ (U[0] + U[1]),
         _shapes("hn bnn bnn hn", b=2)),
    case("(A+B)^2 x", "C", square_of_sum, square_of_sum_hand, _shapes("nn nn n")),
    case("low-rank adapter", "C", adapter, adapter_hand, _shapes("nn nr rn n")),
    case("reflection", "C", householder, householder_hand, _shapes("nn n")),
    case("centred Gram matrix", "C", centred, centred_hand, _shapes("nk")),
    case("batched factoring", "C", batched_factoring, lambda X, Y, Z: X @ (Y + Z), _shapes("bnn bnn bnn")),
    case("scaled sum", "C", lambda A, B, x: 2.0 * (A @ x) - 0.5 * (A @ (B @ x)) + A @ x,
         lambda A, B, x: A @ (3.0 * x - 0.5 * (B @ x)), _shapes("nn nn n")),
    case("inv(A)b", "F", lambda A, b: inv(A) @ b, solve, _regular_and("n")),
    case("b'inv(A)", "F", lambda A, b: b @ inv(A), lambda A, b: solve(A.T, b), _regular_and("n")),
    case("B inv(A)", "F", right_solve, lambda A, B: solve(A.T, B.T).T, _regular_and("kn")),
    case("inv(A)b and inv(A)C", "F", weighted, weighted_hand, _regular_and("n nr")),
    case("solve, positive definite", "F", lambda A, b: solve(_pd(A), b), spd_solve, _spd_and("n")),
    case("solve, A'A+I", "F", lambda A, b: solve(A.T @ A + eye(A.shape[1], dtype=A.dtype), b),
         lambda A, b: spd_solve(A.T @ A + eye(A.shape[1], dtype=A.dtype), b), _shapes("nh h")),
    case("leverages", "F", leverages, leverages_hand, _shapes("nh")),
    case("solve, outer product", "F", lambda A, x, y: solve(A, jnp.outer(x, y)),
         lambda A, x, y: jnp.outer(solve(A, x), y), _regular_and("n n")),
    case("gradient of a form with an inverse", "F", lambda A, x: jax.grad(lambda M: x @ inv(M) @ x)(A),
         lambda A, x: -jnp.outer(solve(A.T, x), solve(A, x)), _regular_and("n")),
    case("quadratic form", "F", quadratic, quadratic_hand, _spd_and("n")),
    case("Gaussian log-density", "F", log_density, log_density_hand, _spd_and("n n"), 100),
    case("Gaussian process", "F", gaussian_process, gaussian_process_hand, _spd_and("n")),
    case("Woodbury", "F", woodbury, woodbury_hand, lambda n: (*positive((n,)), *_shapes("nr n")(n))),
    case("determinant lemma", "F", determinant_lemma, determinant_lemma_hand,
         lambda n: (*positive((n,)), *_shapes("nr")(n))),
    case("rank-one update of a solve", "F", rank_one_solve, rank_one_solve_hand, _regular_and("n n n")),
    case("push-through", "F", push_through, push_through_hand, _shapes("kn k")),
    case("trace of a projection", "F", hat_trace, lambda X: jnp.full((), X.shape[1], X.dtype), _shapes("nh")),
    case("inv(AB)x", "F", inverse_of_product, inverse_of_product_hand,
         lambda n: (regular(n), regular(n, 1), *dense((n,)))),
    case("inv(inv(A)+inv(B))x", "F", nested_inverse, nested_inverse_hand,
         lambda n: (spd(n), spd(n, 1), *dense((n,)))),
    case("inv(A')", "F", lambda A, b: inv(A.T).T @ b, solve, _regular_and("n")),
    case("trace(inv(A)B)", "F", trace_of_solve, lambda A, B: jnp.trace(spd_solve(A, B)),
         lambda n: (spd(n), spd(n, 1))),
    case("Cholesky of LL'", "F", cholesky_of_gram, cholesky_of_gram_hand, lambda n: (lower(n),)),
    case("QR, then solves", "F", orthogonal_solve, orthogonal_solve_hand, _regular_and("n")),
    case("eigendecomposition put together", "F", spectral, spectral_hand, lambda n: (symmetric(n),)),
    case("det(AB)", "F", lambda A, B: det(A @ B), lambda A, B: det(A) * det(B),
         lambda n: (orthogonal(n), orthogonal(n, 1))),
    case("log det(A)", "F", lambda A: jnp.log(det(_pd(A))), lambda A: 2 * half_logdet(chol(A)),
         lambda n: (spd(n),), 60),
    case("log det(AB)", "F", log_det_of_product,
         lambda A, B: 2 * (half_logdet(chol(A)) + half_logdet(chol(B))), lambda n: (spd(n), spd(n, 1))),
    case("det(inv(A))", "F", lambda A: det(inv(A)), lambda A: 1 / det(A), lambda n: (orthogonal(n),)),
    case("gradient of a Gaussian process", "F", kalman_gradient, kalman_gradient_hand, _spd_and("n")),
    case("Schur complement", "F", schur, schur_hand, _schur_arguments),
    case("batched inv(A)b", "F", lambda A, b: jnp.einsum("bij,bj->bi", inv(A), b),
         lambda A, b: solve(A, b[..., None])[..., 0], lambda n: (regular(n, 0, (4,)), *dense((4, n))), 100),
    case("least squares, vmapped", "F", jax.vmap(lambda X, y: inv(X.T @ X) @ X.T @ y),
         lambda X, y: spd_solve(jnp.einsum("bni,bnj->bij", X, X), jnp.einsum("bni,bn->bi", X, y)[..., None])[..., 0],
         _shapes("bnk bn")),
)  # fmt: skip
