# SPDX-License-Identifier: Apache-2.0
"""More derivatives as people write them: other activations, softmax and norms, batches, scores, fields, hypergradients.

Part of the suite ``derivatives``. Sources: Hyvarinen, "Estimation of non-normalized statistical models by score
matching", 2005; Hutchinson, "A stochastic estimator of the trace", 1989; Amari, "Natural gradient works efficiently in
learning", 1998; Franceschi et al., "Bilevel programming for hyperparameter optimization", 2018.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import grad, hessian, jacfwd, jacrev, vmap

import egraph_opt
from egraph_opt.bench.case import case

from .draw import dense
from .kernels import hvp, jvp, vjp

tanh = jnp.tanh
softmax = jax.nn.softmax


def shapes(words, **fixed):
    """Arguments by words of letters: n is the size, the others are given."""

    def make(n):
        sizes = {"n": n, "h": max(1, n // 2), "k": max(2, n // 10), "b": max(2, n // 2), **fixed}
        return dense(*(tuple(sizes[c] for c in word) for word in words.split()))

    return make


def energy(act, A):
    return lambda z: jnp.sum(act(A @ z))


def two_layers(act, A, B):
    return lambda z: act(B @ act(A @ z))


def _second(t):
    """Second derivative of tanh, of its value."""
    return -2 * t * (1 - t * t)


# Softmax, norms and attention


def softmax_jvp(x, v):
    p = softmax(x)
    return p * (v - p @ v)


def softmax_normal(x, v):
    J = jacrev(softmax)(x)
    return J.T @ (J @ v)


def softmax_trace_hand(x):
    p = softmax(x)
    return 1 - p @ p


def softmax_batch(X, V):
    return jnp.einsum("bij,bj->bi", vmap(jacrev(softmax))(X), V)


def softmax_batch_hand(X, V):
    p = softmax(X, axis=1)
    return p * (V - jnp.sum(p * V, 1, keepdims=True))


def attention(K, V, q, u):
    return jacfwd(lambda q: softmax(K @ q) @ V)(q) @ u


def attention_hand(K, V, q, u):
    return softmax_jvp(K @ q, K @ u) @ V


def standardised(z):
    return (z - z.mean()) / jnp.sqrt(z.var() + 1e-5)


def to_sphere(z):
    return z / jnp.linalg.norm(z)


def root_mean_square(g, z):
    return g * z * jax.lax.rsqrt(jnp.mean(z * z) + 1e-6)


# Batches


def batched_normal(A, X, V):
    def one(x, v):
        J = jacrev(lambda z: tanh(A @ z))(x)
        return J.T @ (J @ v)

    return vmap(one)(X, V)


def batched_normal_hand(A, X, V):
    s = 1 - tanh(X @ A.T) ** 2
    return (s * s * (V @ A.T)) @ A


def batched_hvp(A, X, V):
    return vmap(lambda x, v: hessian(energy(tanh, A))(x) @ v)(X, V)


def batched_hvp_hand(A, X, V):
    return (_second(tanh(X @ A.T)) * (V @ A.T)) @ A


def trace_estimate(A, x, V):
    return jnp.mean(vmap(lambda v: v @ hessian(energy(tanh, A))(x) @ v)(V))


def trace_estimate_hand(A, x, V):
    return _second(tanh(A @ x)) @ jnp.sum((A @ V.T) ** 2, 1) / V.shape[0]


def score_matching(A, B, X):
    def score(x):
        return B @ tanh(A @ x)

    return jnp.mean(vmap(lambda x: 0.5 * jnp.sum(score(x) ** 2) + jnp.trace(jacfwd(score)(x)))(X))


def score_matching_hand(A, B, X):
    T = tanh(X @ A.T)
    return jnp.mean(0.5 * jnp.sum((T @ B.T) ** 2, 1) + (1 - T * T) @ jnp.sum(A * B.T, 1))


def batched_divergence(A, B, X):
    return vmap(lambda x: jnp.trace(jacrev(lambda z: B @ tanh(A @ z))(x)))(X)


def batched_divergence_hand(A, B, X):
    return (1 - tanh(X @ A.T) ** 2) @ jnp.sum(A * B.T, 1)


def field_divergence(A, b, x):
    return jnp.trace(jacfwd(lambda z: jnp.sin(A @ z + b) * z)(x))


def field_divergence_hand(A, b, x):
    u = A @ x + b
    return jnp.sum(jnp.sin(u)) + (jnp.cos(u) * x) @ jnp.diagonal(A)


def fisher_product(W, X, v):
    gradients = vmap(grad(lambda w, x: jnp.log(jax.nn.sigmoid(w @ x))), (None, 0))(W, X)
    return gradients.T @ (gradients @ v) / X.shape[0]


def fisher_product_hand(W, X, v):
    r = jax.nn.sigmoid(-X @ W)
    return X.T @ (r * r * (X @ v)) / X.shape[0]


def classifier_fisher(W, x, V):
    J, p = jacrev(lambda W: W @ x)(W), softmax(W @ x)
    return jnp.einsum("cij,cd,dkl,kl->ij", J, jnp.diag(p) - jnp.outer(p, p), J, V)


def classifier_fisher_hand(W, x, V):
    return jnp.outer(softmax_jvp(W @ x, V @ x), x)


# Hessians


def newton_decrement(A, x):
    g = grad(energy(tanh, A))(x)
    return g @ hessian(energy(tanh, A))(x) @ g


def newton_decrement_hand(A, x):
    t = tanh(A @ x)
    return _second(t) @ (A @ ((1 - t * t) @ A)) ** 2


def hessian_row(A, x):
    return hessian(energy(tanh, A))(x)[3]


def hessian_row_hand(A, x):
    return (_second(tanh(A @ x)) * A[:, 3]) @ A


def sigmoid_diagonal(A, x):
    return jnp.diagonal(hessian(energy(jax.nn.sigmoid, A))(x))


def sigmoid_diagonal_hand(A, x):
    s = jax.nn.sigmoid(A @ x)
    return (s * (1 - s) * (1 - 2 * s)) @ (A * A)


def mixed_hessian(A, x, y, v):
    f = lambda x, y: jnp.sum(tanh(A @ x + y))  # noqa: E731
    return jacfwd(jacrev(f, 0), 1)(x, y) @ v


def mixed_hessian_hand(A, x, y, v):
    return (_second(tanh(A @ x + y)) * v) @ A


# Derivatives of derivatives


def directional(A, B, x, v):
    return jvp(lambda y: jnp.sum(two_layers(tanh, A, B)(y)), x, v)


def grad_of_directional(A, B, x, v):
    return grad(lambda z: directional(A, B, z, v))(x)


def grad_of_optimised(A, B, x, v):
    return grad(egraph_opt.optimize(lambda z: directional(A, B, z, v), measure=False))(x)


def forward_by_reverse(A, B, x, v):
    return vjp(lambda u: vjp(two_layers(tanh, A, B), x, u), jnp.zeros_like(x), v)


def hvp_hand(A, B, x, v):
    return hvp(lambda y: jnp.sum(two_layers(tanh, A, B)(y)), x, v)


def after_one_step(X, y, Z, t, w, decay):
    """Loss on held-out data after a step of ridge regression."""
    loss = lambda w: jnp.sum((X @ w - y) ** 2) + decay * w @ w  # noqa: E731
    return jnp.sum((Z @ (w - 0.1 * grad(loss)(w)) - t) ** 2)


def hypergradient(X, y, Z, t, w):
    return grad(partial(after_one_step, X, y, Z, t, w))(0.3)


def _held_out(X, y, Z, t, w):
    return Z @ (w - 0.1 * (2 * (X.T @ (X @ w - y)) + 0.6 * w)) - t


def hypergradient_hand(X, y, Z, t, w):
    return -0.4 * (Z @ w) @ _held_out(X, y, Z, t, w)


def meta_gradient(X, y, Z, t, w):
    return grad(lambda w: after_one_step(X, y, Z, t, w, 0.3))(w)


def meta_gradient_hand(X, y, Z, t, w):
    g = 2 * Z.T @ _held_out(X, y, Z, t, w)
    return 0.94 * g - 0.2 * (X.T @ (X @ g))


ACTIVATIONS = {
    "sine": jnp.sin, "SiLU": jax.nn.silu, "GELU": jax.nn.gelu, "softplus": jax.nn.softplus, "ELU": jax.nn.elu,
    "squared ReLU": lambda z: jax.nn.relu(z) ** 2,
}  # fmt: skip


def _of_activation(name, act):
    """Products with a Hessian and with a Jacobian of networks of one activation."""
    return (
        case(f"H v, {name}", "L", lambda A, x, v: hessian(energy(act, A))(x) @ v,
             lambda A, x, v: hvp(energy(act, A), x, v), shapes("nn n n")),
        case(f"J v, {name}", "L", lambda A, B, x, v: jacrev(two_layers(act, A, B))(x) @ v,
             lambda A, B, x, v: jvp(two_layers(act, A, B), x, v), shapes("nn nn n n")),
    )  # fmt: skip


def _of_map(name, function, words, size=300):
    """Product with the Jacobian of a function whose last argument is differentiated."""
    return case(
        name, "L", lambda *args: jacfwd(partial(function, *args[:-2]))(args[-2]) @ args[-1],
        lambda *args: jvp(partial(function, *args[:-2]), args[-2], args[-1]), shapes(words), size,
    )  # fmt: skip


CASES = (
    case("v J of softmax", "L", lambda x, v: v @ jacfwd(softmax)(x), softmax_jvp, shapes("n n")),
    case("J v of log-softmax", "L", lambda x, v: jacfwd(jax.nn.log_softmax)(x) @ v, lambda x, v: v - softmax(x) @ v,
         shapes("n n")),
    case("trace of the softmax Jacobian", "L", lambda x: jnp.trace(jacrev(softmax)(x)), softmax_trace_hand,
         shapes("n")),
    case("J v of softmax, batched", "L", softmax_batch, softmax_batch_hand, shapes("bn bn"), 100),
    case("J'J v of softmax", "L", softmax_normal, lambda x, v: softmax_jvp(x, softmax_jvp(x, v)), shapes("n n")),
    case("H v of logsumexp", "L", lambda x, v: hessian(jax.nn.logsumexp)(x) @ v, softmax_jvp, shapes("n n")),
    case("J v of attention", "L", attention, attention_hand, shapes("nh nk h h")),
    _of_map("J v of layer normalisation", standardised, "n n"),
    _of_map("J v of x / |x|", to_sphere, "n n"),
    _of_map("J v of RMS normalisation", root_mean_square, "n n n"),
    _of_map("J v of x / (1 + x^2)", lambda z: z / (1 + z * z), "n n"),
    _of_map("J v, residual network", lambda A, B, z: (z + tanh(A @ z)) + tanh(B @ (z + tanh(A @ z))), "nn nn n n"),
    _of_map("J v, ReLU", lambda A, B, z: jax.nn.relu(B @ jax.nn.relu(A @ z)), "nn nn n n"),
    case("v J, softsign", "L", lambda A, x, v: v @ jacfwd(lambda z: jax.nn.soft_sign(A @ z))(x),
         lambda A, x, v: vjp(lambda z: jax.nn.soft_sign(A @ z), x, v), shapes("nn n n")),
    *(one for name, act in ACTIVATIONS.items() for one in _of_activation(name, act)),
    case("J'J v, batched", "L", batched_normal, batched_normal_hand, shapes("nn bn bn"), 100),
    case("H v, batched", "L", batched_hvp, batched_hvp_hand, shapes("nn bn bn"), 60),
    case("trace of H by Hutchinson", "L", trace_estimate, trace_estimate_hand, shapes("nn n kn"), 100),
    case("score matching", "L", score_matching, score_matching_hand, shapes("nn nn bn"), 100),
    case("divergence at many points", "L", batched_divergence, batched_divergence_hand, shapes("nh hn bh"), 100),
    case("divergence of a field", "L", field_divergence, field_divergence_hand, shapes("nn n n")),
    case("Fisher product, logistic", "L", fisher_product, fisher_product_hand, shapes("n bn n"), 200),
    case("Fisher product, softmax", "L", classifier_fisher, classifier_fisher_hand, shapes("kn n kn"), 100),
    case("Newton decrement", "L", newton_decrement, newton_decrement_hand, shapes("nn n")),
    case("a row of H", "L", hessian_row, hessian_row_hand, shapes("nn n")),
    case("diagonal of H, sigmoid", "L", sigmoid_diagonal, sigmoid_diagonal_hand, shapes("nn n")),
    case("mixed H v", "L", mixed_hessian, mixed_hessian_hand, shapes("nn n n n")),
    case("gradient of a directional derivative", "L", grad_of_directional, hvp_hand, shapes("nn nn n n")),
    case("gradient of an optimised function", "L", grad_of_optimised, hvp_hand, shapes("nn nn n n")),
    case("forward by two reverse", "L", forward_by_reverse, lambda A, B, x, v: jvp(two_layers(tanh, A, B), x, v),
         shapes("nn nn n n")),
    case("hypergradient of one step", "L", hypergradient, hypergradient_hand, shapes("nh n bh b h")),
    case("meta-gradient of one step", "L", meta_gradient, meta_gradient_hand, shapes("nh n bh b h")),
)  # fmt: skip
