# SPDX-License-Identifier: Apache-2.0
"""The 25 application expressions of Linnea, with their properties declared.

Barthels, Psarras, Bientinesi: "Linnea: automatic generation of efficient linear algebra programs", ACM TOMS 47(3),
2021, with the sources of each expression. Dimensions keep the paper's proportions at a fifth of its sizes. Hand forms
factor what is positive definite, solve instead of inverting, and use the lemmas of Woodbury and of push-through.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from egraph_opt import assume
from egraph_opt.bench.case import case

from .draw import dense, lower, positive, regular, spd, symmetric, upper
from .kernels import cho_solve, spd_solve

chol, eye, inv, solve = jnp.linalg.cholesky, jnp.eye, jnp.linalg.inv, jnp.linalg.solve
SIZE, SMALL = 200, 2


def sized(k, *sizes):
    """The paper's sizes in thousandths of ``k``, at least 2."""
    return tuple(max(2, size * k // 1000) for size in sizes)


def _pd(x):
    return assume(x, "positive_definite")


def _psd(x):
    return assume(x, "positive_semidefinite")


def _weights(n):
    return jnp.diag(positive((n,))[0])


# 1-2: least squares, generalised least squares


def gls(X, M, y):
    M = _pd(M)
    return inv(X.T @ inv(M) @ X) @ X.T @ inv(M) @ y


def gls_hand(X, M, y):
    L = chol(M)
    V = solve_triangular(L, X, lower=True)
    return spd_solve(V.T @ V, V.T @ solve_triangular(L, y, lower=True))


# 3-4: optimisation (interior points)


def optimization(A, W, b, c):
    W = assume(W, "diagonal", "positive_definite")
    return W @ (A.T @ inv(A @ W @ A.T) @ b - c)


def optimization_hand(A, W, b, c):
    w = jnp.diagonal(W)
    return w * (A.T @ spd_solve((A * w) @ A.T, b) - c)


def two_optimizations(A, W, b, c, x):
    W = assume(W, "diagonal", "positive_definite")
    feasible = W @ A.T @ inv(A @ W @ A.T) @ (b - A @ x)
    optimal = W @ (A.T @ inv(A @ W @ A.T) @ A @ x - c)
    return feasible, optimal


def two_optimizations_hand(A, W, b, c, x):
    w = jnp.diagonal(W)
    L, Ax = chol((A * w) @ A.T), A @ x
    return w * (A.T @ cho_solve(L, b - Ax)), w * (A.T @ cho_solve(L, Ax) - c)


# 5: signal processing


def signal(A, B, R, L, y):
    L = assume(L, "diagonal", "positive")
    left = inv(inv(A.T) @ B.T @ B @ inv(A) + R.T @ L @ R)
    return left @ inv(A.T) @ B.T @ B @ inv(A) @ y


def signal_hand(A, B, R, L, y):
    C = solve(A.T, B.T).T
    return spd_solve(C.T @ C + R.T @ (jnp.diagonal(L)[:, None] * R), C.T @ (C @ y))


# 6: inversion of a triangular matrix by blocks


def triangular_inversion(L00, L10, L11, L20, L21, L22):
    L00, L11, L22 = (assume(L, "lower_triangular") for L in (L00, L11, L22))
    return L10 @ inv(L00), L20 + inv(L22) @ L21 @ inv(L11) @ L10, inv(L11), -inv(L22) @ L21


def triangular_inversion_hand(L00, L10, L11, L20, L21, L22):
    Y = solve_triangular(L22, L21, lower=True)
    X10 = solve_triangular(L00, L10.T, trans=1, lower=True).T
    X20 = L20 + Y @ solve_triangular(L11, L10, lower=True)
    return X10, X20, solve_triangular(L11, eye(L11.shape[0], dtype=L11.dtype), lower=True), -Y


def triangular_blocks(k):
    n, m = sized(k, 2000, 200)
    return lower(n), *dense((m, n)), lower(m, 1), *dense((n, n), (n, m)), lower(n, 2)


# 7-9: ensemble Kalman filter


def ensemble(B, H, R, Xb, Y):
    B, R = _pd(B), _pd(R)
    return Xb + inv(inv(B) + H.T @ inv(R) @ H) @ (Y - H @ Xb)


def ensemble_hand(B, H, R, Xb, Y):
    HB, Z = H @ B, Y - H @ Xb
    return Xb + B @ Z - HB.T @ spd_solve(R + HB @ H.T, HB @ Z)


def ensemble_gain(B, H, R, Xb, Y):
    B, R = _pd(B), _pd(R)
    return inv(inv(B) + H.T @ inv(R) @ H) @ H.T @ inv(R) @ (Y - H @ Xb)


def ensemble_gain_hand(B, H, R, Xb, Y):
    HB = H @ B
    return HB.T @ spd_solve(R + HB @ H.T, Y - H @ Xb)


def ensemble_factor(X, H, R, Xb, Y):
    X, R = assume(X, "lower_triangular"), _psd(R)
    return X @ (H @ X).T @ inv(R + H @ X @ (H @ X).T) @ (Y - H @ Xb)


def ensemble_factor_hand(X, H, R, Xb, Y):
    V = H @ X
    return X @ (V.T @ spd_solve(R + V @ V.T, Y - H @ Xb))


def ensemble_arguments(first, observed, states, members):
    def make(k):
        n, m, N = sized(k, states, observed, members)
        return first(n), *dense((m, n)), spd(m, 1), *dense((n, N), (m, N))

    return make


# 10-11: image restoration


def restoration(H, y, v, u, lam, sigma):
    lam, sigma = assume(lam, "positive"), assume(sigma, "positive")
    weight = lam * sigma
    return inv(H.T @ H + weight * eye(H.shape[1], dtype=H.dtype)) @ (H.T @ y + weight * (v - u))


def restoration_hand(H, y, v, u, lam, sigma):
    weight = lam * sigma
    r = H.T @ y + weight * (v - u)
    return (r - H.T @ spd_solve(H @ H.T + weight * eye(H.shape[0], dtype=H.dtype), H @ r)) / weight


def projection(H, x, y):
    H_dag = H.T @ inv(H @ H.T)
    return H_dag, H_dag @ y + (eye(H.shape[1], dtype=H.dtype) - H_dag @ H) @ x


def projection_hand(H, x, y):
    H_dag = spd_solve(H @ H.T, H).T
    return H_dag, x + H_dag @ (y - H @ x)


# 12-15: randomised matrix inversion


def inversion_rows(W, S, A, X):
    W, n = _pd(W), X.shape[0]
    core = S @ inv(S.T @ A @ W @ A.T @ S) @ S.T
    return core, X + W @ A.T @ core @ (eye(n, dtype=X.dtype) - A @ X)


def inversion_rows_hand(W, S, A, X):
    V = A.T @ S
    WV = W @ V
    L = chol(V.T @ WV)
    return S @ cho_solve(L, S.T), X + WV @ cho_solve(L, S.T - V.T @ X)


def inversion_columns(W, S, A, X):
    W, n = _pd(W), X.shape[0]
    core = S @ inv(S.T @ A.T @ W @ A @ S) @ S.T
    return core, X + (eye(n, dtype=X.dtype) - X @ A.T) @ core @ A.T @ W


def inversion_columns_hand(W, S, A, X):
    V = A @ S
    WV = W @ V
    L = chol(V.T @ WV)
    return S @ cho_solve(L, S.T), X + (S - X @ (A.T @ S)) @ cho_solve(L, WV.T)


def inversion_symmetric(W, S, A, X):
    W, A, X = _pd(W), assume(A, "symmetric"), assume(X, "symmetric")
    core = S @ inv(S.T @ A @ W @ A @ S) @ S.T
    T = core @ A @ W
    M = X @ A - eye(X.shape[0], dtype=X.dtype)
    return core, T, M, X - M @ T - (M @ T).T + T.T @ (A @ X @ A - A) @ T


def inversion_symmetric_hand(W, S, A, X):
    V = A @ S
    WV = W @ V
    L = chol(V.T @ WV)
    K = cho_solve(L, WV.T)
    M = X @ A - eye(X.shape[0], dtype=X.dtype)
    MS = M @ S
    MT = MS @ K
    return S @ cho_solve(L, S.T), S @ K, M, X - MT - MT.T + K.T @ ((V.T @ MS) @ K)


def inversion_positive(S, A, X):
    A, X, one = _pd(A), assume(X, "symmetric"), eye(X.shape[0], dtype=X.dtype)
    core = S @ inv(S.T @ A @ S) @ S.T
    return core + (one - core @ A) @ X @ (one - A @ core)


def inversion_positive_hand(S, A, X):
    V = A @ S
    T = spd_solve(S.T @ V, S.T).T
    Y = V.T @ X
    return X + T @ (S.T - Y + (Y @ V) @ T.T) - Y.T @ T.T


def inversion_arguments(*first):
    def make(k):
        n, q = sized(k, 5000, 500)
        weight = [f(n, 2) for f in first[:-2]]
        return *weight, *dense((n, q)), first[-2](n), first[-1](n, 1)

    return make


# 16-17: stochastic Newton method


def newton(B, A, W, k):
    B, n, l = _pd(B), A.shape[1], W.shape[1]
    inner = inv((k - 1) * eye(l, dtype=A.dtype) + W.T @ A @ B @ A.T @ W)
    return k / (k - 1) * B @ (eye(n, dtype=A.dtype) - A.T @ W @ inner @ W.T @ A @ B)


def newton_hand(B, A, W, k):
    V = A.T @ W
    BV = B @ V
    inner = (k - 1) * eye(W.shape[1], dtype=A.dtype) + V.T @ BV
    return k / (k - 1) * (B - BV @ spd_solve(inner, BV.T))


def newton_start(A, W, lam):
    n, l = A.shape[1], W.shape[1]
    lam = assume(lam, "positive")
    inner = inv(lam * eye(l, dtype=A.dtype) + W.T @ A @ A.T @ W)
    return (eye(n, dtype=A.dtype) - A.T @ W @ inner @ W.T @ A) / lam


def newton_start_hand(A, W, lam):
    V = A.T @ W
    inner = lam * eye(W.shape[1], dtype=A.dtype) + V.T @ V
    return (eye(A.shape[1], dtype=A.dtype) - V @ spd_solve(inner, V.T)) / lam


# 18-21: Tikhonov regularisation


def tikhonov(A, G, b):
    return inv(A.T @ A + G.T @ G) @ A.T @ b


def tikhonov_hand(A, G, b):
    return spd_solve(A.T @ A + G.T @ G, A.T @ b)


def ridge(A, b, alpha):
    alpha = assume(alpha, "positive")
    return inv(A.T @ A + alpha * eye(A.shape[1], dtype=A.dtype)) @ A.T @ b


def ridge_hand(A, b, alpha):
    return spd_solve(A.T @ A + alpha * eye(A.shape[1], dtype=A.dtype), A.T @ b)


def general_tikhonov(A, P, Q, b, x0):
    P, Q = _psd(P), _psd(Q)
    return inv(Q + A.T @ P @ A) @ (A.T @ P @ b + Q @ x0)


def general_tikhonov_hand(A, P, Q, b, x0):
    PA = P @ A
    return spd_solve(Q + A.T @ PA, PA.T @ b + Q @ x0)


def shifted_tikhonov(A, P, Q, b, x0):
    P, Q = _psd(P), _psd(Q)
    return x0 + inv(A.T @ P @ A + Q) @ A.T @ P @ (b - A @ x0)


def shifted_tikhonov_hand(A, P, Q, b, x0):
    PA = P @ A
    return x0 + spd_solve(A.T @ PA + Q, PA.T @ (b - A @ x0))


def regular_arguments(k):
    n, m = sized(k, 3000, 200)
    return *dense((n, m)), spd(n), spd(m), *dense((n,), (m,))


# 22-24: linear minimum mean square error estimators; 25: Kalman filter


def estimator(A, Cx, Cz, x, y):
    Cx, Cz = _psd(Cx), _psd(Cz)
    return Cx @ A.T @ inv(A @ Cx @ A.T + Cz) @ (y - A @ x) + x


def estimator_hand(A, Cx, Cz, x, y):
    V = A @ Cx
    return V.T @ spd_solve(V @ A.T + Cz, y - A @ x) + x


def information_estimator(A, Cx, Cz, x, y):
    Cx, Cz = _pd(Cx), _pd(Cz)
    return inv(A.T @ inv(Cz) @ A + inv(Cx)) @ A.T @ inv(Cz) @ (y - A @ x) + x


def filter_step(A, C, Cz, x, y):
    C, Cz = _psd(C), _psd(Cz)
    K = C @ A.T @ inv(Cz + A @ C @ A.T)
    return K, x + K @ (y - A @ x), (eye(C.shape[0], dtype=C.dtype) - K @ A) @ C


def filter_step_hand(A, C, Cz, x, y):
    V = A @ C
    K = spd_solve(Cz + V @ A.T, V).T
    return K, x + K @ (y - A @ x), C - K @ V


def estimator_arguments(states, observed):
    def make(k):
        n, m = sized(k, states, observed)
        return *dense((m, n)), spd(n), spd(m, 1), *dense((n,), (m,))

    return make


def _of(*sizes):
    """Arguments given as shapes over the paper's sizes."""
    numbers, shapes = sizes

    def make(k):
        known = dict(zip("nmql", sized(k, *numbers), strict=False))
        return dense(*(tuple(known[c] for c in shape) for shape in shapes.split()))

    return make


def _gls_arguments(k):
    n, m = sized(k, 2500, 500)
    return *dense((n, m)), spd(n), *dense((n,))


def _optimization_arguments(k):
    n, m = sized(k, 2000, 1000)
    return *dense((m, n)), _weights(n), *dense((m,), (n,))


def _two_optimizations_arguments(k):
    A, W, b, c = _optimization_arguments(k)
    return A, W, b, c, c[::-1]


def _signal_arguments(k):
    (n,) = sized(k, 2000)
    return regular(n), regular(n, 1), upper(n)[:-1], _weights(n - 1), *dense((n,))


def _restoration_arguments(k):
    return *_of((5000, 1000), "mn m n n")(k), *positive((), (), seed=1)


def _newton_arguments(k):
    n, m, _, l = sized(k, 1000, 5000, 2, 625)
    return spd(n), *dense((m, n), (m, l)), positive((), seed=3)[0] + 2


def _newton_start_arguments(k):
    return *_newton_arguments(k)[1:3], positive((), seed=1)[0]


def _one(name, function, hand, make):
    return case(name, "F", function, hand, make, SIZE, SMALL)


CASES = (
    _one("01 least squares", lambda X, y: inv(X.T @ X) @ X.T @ y, lambda X, y: spd_solve(X.T @ X, X.T @ y),
         _of((2500, 500), "nm n")),
    _one("02 generalised least squares", gls, gls_hand, _gls_arguments),
    _one("03 optimisation", optimization, optimization_hand, _optimization_arguments),
    _one("04 optimisation, two steps", two_optimizations, two_optimizations_hand, _two_optimizations_arguments),
    _one("05 signal processing", signal, signal_hand, _signal_arguments),
    _one("06 triangular inversion", triangular_inversion, triangular_inversion_hand, triangular_blocks),
    _one("07 ensemble Kalman filter", ensemble, ensemble_hand, ensemble_arguments(spd, 2000, 2000, 200)),
    _one("08 ensemble Kalman gain", ensemble_gain, ensemble_gain_hand, ensemble_arguments(spd, 1000, 5000, 200)),
    _one("09 ensemble Kalman factor", ensemble_factor, ensemble_factor_hand,
         ensemble_arguments(lower, 1000, 5000, 200)),
    _one("10 image restoration", restoration, restoration_hand, _restoration_arguments),
    _one("11 image restoration, projection", projection, projection_hand, _of((5000, 1000), "mn n m")),
    _one("12 randomised inversion, rows", inversion_rows, inversion_rows_hand,
         inversion_arguments(spd, regular, regular)),
    _one("13 randomised inversion, columns", inversion_columns, inversion_columns_hand,
         inversion_arguments(spd, regular, regular)),
    _one("14 randomised inversion, symmetric", inversion_symmetric, inversion_symmetric_hand,
         inversion_arguments(spd, symmetric, symmetric)),
    _one("15 randomised inversion, positive", inversion_positive, inversion_positive_hand,
         inversion_arguments(spd, symmetric)),
    _one("16 stochastic Newton", newton, newton_hand, _newton_arguments),
    _one("17 stochastic Newton, start", newton_start, newton_start_hand, _newton_start_arguments),
    _one("18 Tikhonov", tikhonov, tikhonov_hand, _of((3000, 200), "nm mm n")),
    _one("19 ridge regression", ridge, ridge_hand,
         lambda k: (*_of((3000, 200), "nm n")(k), *positive((), seed=2))),
    _one("20 generalised Tikhonov", general_tikhonov, general_tikhonov_hand, regular_arguments),
    _one("21 generalised Tikhonov, shifted", shifted_tikhonov, shifted_tikhonov_hand, regular_arguments),
    _one("22 estimator", estimator, estimator_hand, estimator_arguments(2000, 1500)),
    _one("23 estimator, information form", information_estimator, estimator_hand, estimator_arguments(2000, 1500)),
    _one("24 estimator, recursive", filter_step, filter_step_hand, estimator_arguments(2000, 1500)),
    _one("25 Kalman filter", filter_step, filter_step_hand, estimator_arguments(400 * 3, 400 * 3)),
)  # fmt: skip
