# SPDX-License-Identifier: Apache-2.0
"""Inner loops of ALS, GLM, SVM, MLR and PNMF as machine learning scripts write them, dense.

Wang, Hutchison, Leang, Howe, Suciu: "SPORES: sum-product optimization via relational equality saturation for large
scale linear algebra", VLDB 2020. Data have n rows and n/4 columns, factors have rank n/20.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from egraph_opt.bench.case import case

from .draw import dense, positive

SIZE, SMALL = 400, 8


def _factors(n):
    m, r = max(2, n // 4), max(2, n // 20)
    return dense((n, m), (n, r), (m, r))


def _positive_factors(n):
    m, r = max(2, n // 4), max(2, n // 20)
    return positive((n, m), (n, r), (r, m))


def _regression(n):
    m = max(2, n // 4)
    return dense((n, m), (n,), (m,), (m,))


def _classes(n):
    m, k = max(2, n // 4), 5
    X, P, V = dense((n, m), (n, k), (m, k))
    return X, jax.nn.softmax(P), V


# Expanding the square pays for sparse data only; dense, what is written is best.
def als_loss(X, U, V):
    return jnp.sum((X - U @ V.T) ** 2)


def als_step(X, U, V):
    residual = U @ V.T - X
    return residual @ V + 0.1 * U, residual.T @ U + 0.1 * V


def als_step_hand(X, U, V):
    return U @ (V.T @ V) - X @ V + 0.1 * U, V @ (U.T @ U) - X.T @ U + 0.1 * V


def pnmf_loss(X, W, H):
    return jnp.sum(W @ H) - jnp.sum(X * jnp.log(W @ H))


def pnmf_loss_hand(X, W, H):
    return W.sum(0) @ H.sum(1) - jnp.sum(X * jnp.log(W @ H))


def pnmf_update(X, W, H):
    H = H * (W.T @ (X / (W @ H))) / jnp.sum(W, 0)[:, None]
    return jnp.sum(W @ H), H


def pnmf_update_hand(X, W, H):
    columns = W.sum(0)
    H = H * (W.T @ (X / (W @ H))) / columns[:, None]
    return columns @ H.sum(1), H


def mlr_hessian(X, P, V):
    Q = P * (X @ V)
    return X.T @ (Q - P * jnp.sum(Q, 1, keepdims=True))


def mlr_propagation(X, P, V):
    p, x = P[:, :1], X
    return jnp.sum(p * x - p * p * x, 0)


def mlr_propagation_hand(X, P, V):
    p = P[:, 0]
    return (p - p * p) @ X


def glm_hessian(X, w, v, g):
    return X.T @ jnp.diag(w) @ X @ v + g


def glm_hessian_hand(X, w, v, g):
    return X.T @ (w * (X @ v)) + g


def glm_step(X, w, v, g):
    eta = X @ v
    mean = jnp.exp(eta)
    return X.T @ (mean[:, None] * X) @ g - X.T @ (w - mean)


def glm_step_hand(X, w, v, g):
    mean = jnp.exp(X @ v)
    return X.T @ (mean * (X @ g) - (w - mean))


def svm_gradient(X, y, w, d):
    out = 1 - y * (X @ w)
    active = (out > 0).astype(X.dtype)
    return w - X.T @ (out * active * y), d @ d + jnp.sum((X @ d) * active * (X @ d))


def svm_gradient_hand(X, y, w, d):
    out = 1 - y * (X @ w)
    active = (out > 0).astype(X.dtype)
    Xd = X @ d
    return w - X.T @ (out * active * y), d @ d + (Xd * active) @ Xd


def svm_line_search(X, y, w, d):
    steps = jnp.asarray([0.25, 0.5, 1.0], X.dtype)
    return jnp.stack([jnp.sum((1 - y * (X @ (w + s * d))) ** 2) for s in steps])


def svm_line_search_hand(X, y, w, d):
    base, slope = 1 - y * (X @ w), y * (X @ d)
    return jnp.stack([jnp.sum((base - s * slope) ** 2) for s in jnp.asarray([0.25, 0.5, 1.0], X.dtype)])


CASES = (
    case("ALS, loss", "H", als_loss, als_loss, _factors, SIZE, SMALL),
    case("ALS, step", "H", als_step, als_step_hand, _factors, SIZE, SMALL),
    case("PNMF, loss", "H", pnmf_loss, pnmf_loss_hand, _positive_factors, SIZE, SMALL),
    case("PNMF, update", "H", pnmf_update, pnmf_update_hand, _positive_factors, SIZE, SMALL),
    case("MLR, Hessian times matrix", "H", mlr_hessian, mlr_hessian, _classes, SIZE, SMALL),
    case("MLR, propagation", "H", mlr_propagation, mlr_propagation_hand, _classes, SIZE, SMALL),
    case("GLM, Hessian times vector", "H", glm_hessian, glm_hessian_hand, _regression, SIZE, SMALL),
    case("GLM, step", "H", glm_step, glm_step_hand, _regression, SIZE, SMALL),
    case("SVM, gradient", "H", svm_gradient, svm_gradient_hand, _regression, SIZE, SMALL),
    case("SVM, line search", "H", svm_line_search, svm_line_search_hand, _regression, SIZE, SMALL),
)
