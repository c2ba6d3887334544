# SPDX-License-Identifier: Apache-2.0
"""Derivatives as people write them, whole Jacobians and Hessians or nested ``grad``, beside the forms that avoid them.

Hand forms push tangents forward or cotangents back, once. Sources: Griewank and Walther, "Evaluating derivatives",
2008; Raissi, Perdikaris, Karniadakis, "Physics-informed neural networks", JCP 378, 2019; Li et al., "Forward
Laplacian", 2023; Martens, "New insights on the natural gradient method", 2020.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import grad, hessian, jacfwd, jacrev, vmap

from egraph_opt.bench.case import case

from . import jacobians
from .draw import dense, positive, spd
from .kernels import cho_solve, hvp, jvp, spd_solve, vjp

tanh = jnp.tanh


def _shapes(words, **fixed):
    """Arguments by words of letters: n is the size, the others are given."""

    def make(n):
        sizes = {"n": n, "h": max(1, n // 2), "k": max(2, n // 10), "b": max(2, n // 2), **fixed}
        return dense(*(tuple(sizes[c] for c in word) for word in words.split()))

    return make


def layers(*weights):
    """``z -> tanh(W tanh(... z))``."""

    def run(z):
        for W in weights:
            z = tanh(W @ z)
        return z

    return run


def energy(*weights):
    return lambda z: jnp.sum(layers(*weights)(z))


# Jacobians of networks


def jacobian_trace(A, B, x):
    return jnp.trace(jacfwd(lambda z: tanh(A @ z) @ B)(x))


def jacobian_trace_hand(A, B, x):
    t = tanh(A @ x)
    return (1 - t * t) @ jnp.sum(A * B, 1)


def gauss_newton(A, B, x, v):
    J = jacfwd(layers(A, B))(x)
    return J.T @ J @ v


def gauss_newton_hand(A, B, x, v):
    f = layers(A, B)
    return vjp(f, x, jvp(f, x, v))


def weighted_gauss_newton(A, x, v):
    J = jacrev(lambda z: A @ tanh(z))(x)
    p = jax.nn.softmax(A @ tanh(x))
    return J.T @ (jnp.diag(p) - jnp.outer(p, p)) @ J @ v


def weighted_gauss_newton_hand(A, x, v):
    t = tanh(x)
    s = 1 - t * t
    p = jax.nn.softmax(A @ t)
    u = A @ (s * v)
    return s * ((p * u - p * (p @ u)) @ A)


def gradient_of_residual(A, x, y):
    J = jacfwd(lambda z: tanh(A @ z))(x)
    return J.T @ (tanh(A @ x) - y)


def gradient_of_residual_hand(A, x, y):
    t = tanh(A @ x)
    return ((t - y) * (1 - t * t)) @ A


def jacobian_norms(A, x):
    J = jacfwd(lambda z: tanh(A @ z))(x)
    return jnp.diag(J.T @ J), jnp.sum(J * J)


def jacobian_norms_hand(A, x):
    t = tanh(A @ x)
    d = ((1 - t * t) ** 2) @ (A * A)
    return d, d.sum()


def elementwise_jacobian(x, v):
    J = jacfwd(lambda z: jnp.sin(z) * jnp.exp(-z * z))(x)
    return jnp.diag(J), J @ v


def elementwise_jacobian_hand(x, v):
    d = jvp(lambda z: jnp.sin(z) * jnp.exp(-z * z), x, jnp.ones_like(x))
    return d, d * v


def divergence(A, x):
    return jnp.trace(jacrev(lambda z: z * jnp.sum(z * z) + A @ tanh(z))(x))


def divergence_hand(A, x):
    t = tanh(x)
    return (x.shape[0] + 2) * jnp.sum(x * x) + jnp.diagonal(A) @ (1 - t * t)


def softmax_jacobian(x, v):
    return jacrev(jax.nn.softmax)(x) @ v


def softmax_jacobian_hand(x, v):
    p = jax.nn.softmax(x)
    return p * (v - p @ v)


def determinant_of_flow(x, u, w):
    J = jacfwd(lambda z: z + u * tanh(w @ z))(x)
    return jnp.linalg.slogdet(J)[1]


def determinant_of_flow_hand(x, u, w):
    t = tanh(w @ x)
    return jnp.log(jnp.abs(1 + (1 - t * t) * (u @ w)))


def per_example_mean(W, X, y):
    def loss(W, x, t):
        return (tanh(x @ W).sum() - t) ** 2

    return vmap(grad(loss), (None, 0, 0))(W, X, y).mean(0)


def per_example_mean_hand(W, X, y):
    t = tanh(X @ W)
    error = 2 * (t.sum(1) - y) / X.shape[0]
    return X.T @ (error[:, None] * (1 - t * t))


def per_example_norms(W, X):
    gradients = vmap(grad(lambda W, x: jnp.sum(tanh(x @ W))), (None, 0))(W, X)
    return jnp.sum(gradients**2, (1, 2))


def per_example_norms_hand(W, X):
    t = tanh(X @ W)
    return jnp.sum(X * X, 1) * jnp.sum((1 - t * t) ** 2, 1)


def tangent_kernel(W, c, X):
    def output(W, x):
        return c @ tanh(W @ x)

    J = vmap(grad(output), (None, 0))(W, X)
    return jnp.einsum("aij,bij->ab", J, J)


def tangent_kernel_hand(W, c, X):
    t = tanh(X @ W.T)
    s = c * (1 - t * t)
    return (X @ X.T) * (s @ s.T)


# Hessians


def laplacian(A, x):
    return jnp.trace(hessian(energy(A))(x))


def _second(t):
    return -2 * t * (1 - t * t)


def laplacian_hand(A, x):
    return _second(tanh(A @ x)) @ jnp.sum(A * A, 1)


def hessian_diagonal(A, x):
    return jnp.diagonal(jacfwd(jacrev(energy(A)))(x))


def hessian_diagonal_hand(A, x):
    return _second(tanh(A @ x)) @ (A * A)


def separable_hessian(x, v):
    H = hessian(lambda z: jnp.sum(jnp.exp(z) * z))(x)
    return H @ v, jnp.trace(H)


def separable_hessian_hand(x, v):
    d = jnp.exp(x) * (x + 2)
    return d * v, d.sum()


def curvature(A, B, x, v):
    return v @ hessian(energy(A, B))(x) @ v


def curvature_hand(A, B, x, v):
    return jvp(lambda z: jvp(energy(A, B), z, v), x, v)


def regularised_hessian(A, x, v):
    f = lambda z: jnp.sum(tanh(A @ z)) + 0.5 * z @ z  # noqa: E731
    return hessian(f)(x) @ v


def regularised_hessian_hand(A, x, v):
    return hvp(energy(A), x, v) + v


def least_squares_newton(A, b, x):
    loss = lambda z: 0.5 * jnp.sum((A @ z - b) ** 2) + 0.5 * jnp.sum(z * z)  # noqa: E731
    return x - jnp.linalg.solve(hessian(loss)(x), grad(loss)(x))


def least_squares_newton_hand(A, b, x):
    H = A.T @ A + jnp.eye(A.shape[1], dtype=A.dtype)
    return x - spd_solve(H, A.T @ (A @ x - b) + x)


def logistic_hessian(X, w, v):
    return hessian(lambda w: jnp.sum(jax.nn.softplus(X @ w)))(w) @ v


def logistic_hessian_hand(X, w, v):
    p = jax.nn.sigmoid(X @ w)
    return (p * (1 - p) * (X @ v)) @ X


def mixed_partials(A, x, y, v):
    f = lambda x, y: tanh(x) @ A @ tanh(y)  # noqa: E731
    return jacfwd(grad(f, 0), 1)(x, y) @ v


def mixed_partials_hand(A, x, y, v):
    s, t = tanh(x), tanh(y)
    return (1 - s * s) * (A @ ((1 - t * t) * v))


def logsumexp_hessian(A, x, v):
    return hessian(lambda z: jax.nn.logsumexp(A @ z))(x) @ v


def logsumexp_hessian_hand(A, x, v):
    p, u = jax.nn.softmax(A @ x), A @ v
    return (p * u - p * (p @ u)) @ A


def batched_laplacian(W, c, X):
    u = lambda x: c @ tanh(W @ x)  # noqa: E731
    return vmap(lambda x: jnp.trace(hessian(u)(x)))(X)


def batched_laplacian_hand(W, c, X):
    return _second(tanh(X @ W.T)) @ (c * jnp.sum(W * W, 1))


def deep_laplacian(W, V, c, x):
    return jnp.trace(jacfwd(jacfwd(lambda z: c @ layers(W, V)(z)))(x))


def deep_laplacian_hand(W, V, c, x):
    s = tanh(W @ x)
    J = (1 - s * s)[:, None] * W
    t = tanh(V @ s)
    VJ = V @ J
    inner = V @ (_second(s) * jnp.sum(W * W, 1))
    return (c * _second(t)) @ jnp.sum(VJ * VJ, 1) + (c * (1 - t * t)) @ inner


# Gradients


def gradient_of_logdet(A, B):
    return grad(lambda A: jnp.linalg.slogdet(A)[1] + jnp.trace(A @ B))(A)


def gradient_of_logdet_hand(A, B):
    return jnp.linalg.inv(A).T + B.T


def gradient_of_trace(A, B, C):
    return grad(lambda B: jnp.trace(A @ B @ C))(B)


def gradient_of_sum(A, x):
    return grad(lambda x: jnp.sum(A @ x))(x), grad(lambda A: jnp.sum(A @ x))(A)


def gradient_of_sum_hand(A, x):
    return A.sum(0), jnp.broadcast_to(x, A.shape)


def gradient_of_quadratic(A, b, x):
    return grad(lambda x: 0.5 * x @ A @ x - b @ x + jnp.sum(A @ x))(x)


def gradient_of_quadratic_hand(A, b, x):
    return 0.5 * (A @ x + x @ A) - b + A.sum(0)


def gradient_of_frobenius(U, V, X):
    return grad(lambda U: 0.5 * jnp.sum((X - U @ V.T) ** 2))(U)


def gradient_of_frobenius_hand(U, V, X):
    return U @ (V.T @ V) - X @ V


def gradient_through_solve(A, b):
    return grad(lambda b: 0.5 * b @ jnp.linalg.solve(A, b))(b)


def gradient_through_solve_hand(A, b):
    lu = jax.scipy.linalg.lu_factor(A)
    return 0.5 * (jax.scipy.linalg.lu_solve(lu, b) + jax.scipy.linalg.lu_solve(lu, b, trans=1))


def gradient_of_cholesky_solve(K, y):
    def fit(y):
        return 0.5 * y @ cho_solve(jnp.linalg.cholesky(K), y)

    return grad(fit)(y)


def gradient_of_cholesky_solve_hand(K, y):
    return cho_solve(jnp.linalg.cholesky(K), y)


# Nested derivatives of networks of one or two variables, batched


def network(weights, *coordinates):
    """A tanh network of a few coordinates: the first matrix is wide, the last is a row."""
    z = jnp.stack(coordinates) @ weights[0]
    for W in weights[1:-1]:
        z = tanh(z) @ W
    return tanh(z) @ weights[-1]


def along(function, place):
    """Derivative in one coordinate, forward."""

    def run(weights, *xs):
        def one(x):
            return function(weights, *xs[:place], x, *xs[place + 1 :])

        return jax.jvp(one, (xs[place],), (jnp.ones_like(xs[place]),))[1]

    return run


def backward(function, place):
    """Derivative in one coordinate, as ``grad`` takes it."""
    return grad(function, place + 1)


def repeated(d, orders):
    """The network's derivative: one application of ``d`` for each coordinate in ``orders``."""
    f = network
    for place in orders:
        f = d(f, place)
    return f


def order(n, d, *args):
    """Derivative of order ``n`` in the only coordinate at a batch of points."""
    *weights, x = args
    return vmap(partial(repeated(d, (0,) * n), weights))(x)


def residual(name, d, *args):
    """Residual of a partial differential equation at points (t, x) or (x, y)."""
    *weights, points = args

    def at(p):
        def u(*orders):
            return repeated(d, orders)(weights, p[0], p[1])

        return {
            "heat": lambda: u(0) - u(1, 1),
            "Burgers": lambda: u(0) + u() * u(1) - 0.01 * u(1, 1),
            "KdV": lambda: u(0) + 6 * u() * u(1) + u(1, 1, 1),
            "Kuramoto-Sivashinsky": lambda: u(0) + u() * u(1) + u(1, 1) + u(1, 1, 1, 1),
            "wave": lambda: u(0, 0) - u(1, 1),
            "biharmonic": lambda: u(0, 0, 0, 0) + 2 * u(0, 0, 1, 1) + u(1, 1, 1, 1),
        }[name]()

    return vmap(at)(points)


def _network_arguments(inputs, hidden, points):
    """Weights of ``hidden`` layers of width n, then points."""

    def make(n):
        count = min(points, 4 * n)
        shapes = [(inputs, n), *[(n, n)] * (hidden - 1), (n,)]
        x = dense(*shapes, (count,) if inputs == 1 else (count, inputs))
        return *x[:-1], 0.5 * x[-1]

    return make


def _nested(n, hidden, size, points=256):
    """A derivative of order n: by nested ``grad``, and by nested ``jvp``."""
    return case(
        f"order {n}, {hidden + 1} layers, nested grad", "L", partial(order, n, backward), partial(order, n, along),
        _network_arguments(1, hidden, points), size, 3,
    )  # fmt: skip


def _pde(name, hidden=2, size=64):
    """A residual: by nested ``grad``, and by nested ``jvp``."""
    return case(
        f"{name} residual", "L", partial(residual, name, backward), partial(residual, name, along),
        _network_arguments(2, hidden, 128), size, 3,
    )  # fmt: skip


CASES = (
    case("J v, jacfwd", "L", lambda A, B, x, v: jacfwd(layers(A, B))(x) @ v,
         lambda A, B, x, v: jvp(layers(A, B), x, v), _shapes("nn nn n n")),
    case("J v, jacrev", "L", lambda A, B, x, v: jacrev(layers(A, B))(x) @ v,
         lambda A, B, x, v: jvp(layers(A, B), x, v), _shapes("nn nn n n")),
    case("v J, jacfwd", "L", lambda A, B, x, v: v @ jacfwd(layers(A, B))(x),
         lambda A, B, x, v: vjp(layers(A, B), x, v), _shapes("nn nn n n")),
    case("J V, few columns", "L", lambda A, B, x, V: jacrev(layers(A, B))(x) @ V,
         lambda A, B, x, V: vmap(partial(jvp, layers(A, B), x), 1, 1)(V), _shapes("nn nn n nk")),
    case("trace J", "L", jacobian_trace, jacobian_trace_hand, _shapes("nn nn n")),
    case("J'J v", "L", gauss_newton, gauss_newton_hand, _shapes("nn nn n n")),
    case("Gauss-Newton with softmax", "L", weighted_gauss_newton, weighted_gauss_newton_hand, _shapes("nn n n")),
    case("J'r", "L", gradient_of_residual, gradient_of_residual_hand, _shapes("nn n n")),
    case("column norms of J", "L", jacobian_norms, jacobian_norms_hand, _shapes("nn n")),
    case("elementwise Jacobian", "L", elementwise_jacobian, elementwise_jacobian_hand, _shapes("n n")),
    case("divergence", "L", divergence, divergence_hand, _shapes("nn n")),
    case("softmax Jacobian", "L", softmax_jacobian, softmax_jacobian_hand, _shapes("n n")),
    case("log-determinant of a planar flow", "L", determinant_of_flow, determinant_of_flow_hand,
         lambda n: (*dense((n,)), *positive((n,)), 0.1 * positive((n,), seed=1)[0]), 100),
    case("Jacobian of a linear map", "L", lambda A, B, x: jacrev(lambda z: A @ (B @ z))(x) @ x,
         lambda A, B, x: A @ (B @ x), _shapes("nn nn n")),
    case("mean of per-example gradients", "L", per_example_mean, per_example_mean_hand, _shapes("nn bn b"), 100),
    case("norms of per-example gradients", "L", per_example_norms, per_example_norms_hand, _shapes("nn bn"), 100),
    case("neural tangent kernel", "L", tangent_kernel, tangent_kernel_hand, _shapes("nn n bn"), 64),
    case("H v, 1 layer", "L", lambda A, x, v: hessian(energy(A))(x) @ v, lambda A, x, v: hvp(energy(A), x, v),
         _shapes("nn n n")),
    case("H v, 2 layers", "L", lambda A, B, x, v: hessian(energy(A, B))(x) @ v,
         lambda A, B, x, v: hvp(energy(A, B), x, v), _shapes("nn nn n n")),
    case("H v, jacrev of grad", "L", lambda A, x, v: jacrev(grad(energy(A)))(x) @ v,
         lambda A, x, v: hvp(energy(A), x, v), _shapes("nn n n")),
    case("Laplacian, 1 layer", "L", laplacian, laplacian_hand, _shapes("nn n")),
    case("Laplacian, 2 layers", "L", deep_laplacian, deep_laplacian_hand, _shapes("nn nn n n"), 100),
    case("Laplacian at many points", "L", batched_laplacian, batched_laplacian_hand, _shapes("nk n bk"), 100),
    case("diagonal of H", "L", hessian_diagonal, hessian_diagonal_hand, _shapes("nn n")),
    case("separable Hessian", "L", separable_hessian, separable_hessian_hand, _shapes("n n")),
    case("v'Hv", "L", curvature, curvature_hand, _shapes("nn nn n n")),
    case("H v with a quadratic", "L", regularised_hessian, regularised_hessian_hand, _shapes("nn n n")),
    case("Hessian of x'Ax", "L", lambda A, x: hessian(lambda z: z @ A @ z)(x), lambda A, x: A + A.T,
         _shapes("nn n")),
    case("Newton step of least squares", "L", least_squares_newton, least_squares_newton_hand, _shapes("nh n h")),
    case("logistic regression H v", "L", logistic_hessian, logistic_hessian_hand, _shapes("nh h h")),
    case("mixed partials times v", "L", mixed_partials, mixed_partials_hand, _shapes("nn n n n")),
    case("logsumexp H v", "L", logsumexp_hessian, logsumexp_hessian_hand, _shapes("nn n n")),
    case("gradient of logdet and trace", "L", gradient_of_logdet, gradient_of_logdet_hand,
         lambda n: (spd(n), *dense((n, n)))),
    case("gradient of a trace", "L", gradient_of_trace, lambda A, B, C: (C @ A).T, _shapes("nn nn nn")),
    case("gradient of a sum", "L", gradient_of_sum, gradient_of_sum_hand, _shapes("nn n")),
    case("gradient of a quadratic", "L", gradient_of_quadratic, gradient_of_quadratic_hand, _shapes("nn n n")),
    case("gradient of ||X-UV'||", "L", gradient_of_frobenius, gradient_of_frobenius_hand, _shapes("nk nk nn")),
    case("gradient through a solve", "L", gradient_through_solve, gradient_through_solve_hand,
         lambda n: (spd(n), *dense((n,)))),
    case("gradient through Cholesky", "L", gradient_of_cholesky_solve, gradient_of_cholesky_solve_hand,
         lambda n: (spd(n), *dense((n,)))),
    _nested(2, 2, 128),
    _nested(2, 3, 128),
    _nested(3, 2, 128),
    _nested(4, 2, 64),
    _nested(4, 3, 128),
    _pde("heat"),
    _pde("Burgers"),
    _pde("wave"),
    _pde("KdV"),
    _pde("Kuramoto-Sivashinsky", 2, 32),
    _pde("biharmonic", 1, 64),
    *jacobians.CASES,
)  # fmt: skip
