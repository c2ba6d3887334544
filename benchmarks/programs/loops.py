# SPDX-License-Identifier: Apache-2.0
"""Loops and branches whose bodies do too much, and elementwise algebra."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import lu_factor, lu_solve
from jax.scipy.special import logsumexp

from egraph_opt.bench.case import case

from .draw import dense, positive, regular
from .kernels import spd_solve

STEPS = 50
exp, log, sqrt, tanh = jnp.exp, jnp.log, jnp.sqrt, jnp.tanh


def _shapes(words, **fixed):
    """Arguments by words of letters: n is the size, t the steps, the others are given."""

    def make(n):
        sizes = {"n": n, "k": max(2, n // 10), "t": STEPS, "b": 4, **fixed}
        return dense(*(tuple(sizes[c] for c in word) for word in words.split()))

    return make


def _positive(words):
    return lambda n: positive(*((n,) * len(word) for word in words.split()))


def repeat(step, x, steps=STEPS):
    """``step`` applied again and again, by a scan."""
    return lax.scan(lambda c, _: (step(c), None), x, None, length=steps)[0]


# M: bodies of loops and branches


def gradient_descent(A, x):
    return repeat(lambda x: x - 0.01 * (A.T @ A) @ x, x, 200)


def few_steps(A, x):
    return lax.fori_loop(0, 3, lambda i, x: x - 0.1 * (A.T @ A) @ x, x)


def few_steps_hand(A, x):
    return lax.fori_loop(0, 3, lambda i, x: x - 0.1 * (A.T @ (A @ x)), x)


def body_chain(A, B, x):
    return repeat(lambda x: tanh((A * jnp.sum(x)) @ B @ x), x)


def body_chain_hand(A, B, x):
    return repeat(lambda x: tanh(jnp.sum(x) * (A @ (B @ x))), x)


def body_factoring(A, B, X):
    return repeat(lambda X: tanh(A @ X + X @ B + A @ X), X)


def body_factoring_hand(A, B, X):
    return repeat(lambda X: tanh(2 * (A @ X) + X @ B), X)


def while_chain(A, x):
    def step(state):
        i, x = state
        y = jnp.outer(x, x) @ A @ x
        return i + 1, y / (1 + jnp.sqrt(jnp.sum(y * y)))

    return lax.while_loop(lambda s: s[0] < 10, step, (0, x))[1]


def while_chain_hand(A, x):
    def step(state):
        i, x = state
        y = x * (x @ (A @ x))
        return i + 1, y / (1 + jnp.sqrt(jnp.sum(y * y)))

    return lax.while_loop(lambda s: s[0] < 10, step, (0, x))[1]


def branch_chain(A, B, x):
    return lax.cond(jnp.sum(x) > 0, lambda: A @ B @ x, lambda: B.T @ A.T @ x)


def branch_chain_hand(A, B, x):
    return lax.cond(jnp.sum(x) > 0, lambda: A @ (B @ x), lambda: B.T @ (A.T @ x))


def equal_branches(A, B, x):
    return lax.cond(jnp.sum(x) > 0, lambda: (A + B) @ x, lambda: A @ x + B @ x)


def unread_carry(A, B, x):
    def step(carry, _):
        x, Y = carry
        return (tanh(A @ x), Y @ B), Y.sum()

    return lax.scan(step, (x, A), None, length=STEPS)[0][0]


def unread_carry_hand(A, B, x):
    return repeat(lambda x: tanh(A @ x), x)


def unread_outputs(A, x, xs):
    def step(carry, x):
        carry = tanh(A @ carry + x)
        return carry, (carry, A @ jnp.outer(carry, x))

    return lax.scan(step, x, xs)[1][0]


def unread_outputs_hand(A, x, xs):
    def step(carry, x):
        carry = tanh(A @ carry + x)
        return carry, carry

    return lax.scan(step, x, xs)[1]


def invariant_solve(A, x):
    return repeat(lambda x: tanh(jnp.linalg.solve(A, x)), x)


def invariant_solve_hand(A, x):
    factors = lu_factor(A)
    return repeat(lambda x: tanh(lu_solve(factors, x)), x)


def recurrent(W, U, xs):
    def step(h, x):
        h = tanh(h @ W + x @ U)
        return h, h

    return lax.scan(step, jnp.zeros(W.shape[0], W.dtype), xs)[1]


def recurrent_hand(W, U, xs):
    def step(h, x):
        h = tanh(h @ W + x)
        return h, h

    return lax.scan(step, jnp.zeros(W.shape[0], W.dtype), xs @ U)[1]


def recurrent_factored(W, U, xs):
    def step(h, x):
        h = tanh(h @ W + x @ U + h @ U)
        return h, h

    return lax.scan(step, jnp.zeros(W.shape[0], W.dtype), xs)[1]


def recurrent_factored_hand(W, U, xs):
    both, inputs = W + U, xs @ U

    def step(h, x):
        h = tanh(h @ both + x)
        return h, h

    return lax.scan(step, jnp.zeros(W.shape[0], W.dtype), inputs)[1]


def scanned_sum(A, xs):
    return lax.scan(lambda c, x: (c + A @ x, None), jnp.zeros(A.shape[0], A.dtype), xs)[0]


def scanned_outer(X, Y):
    n, m = X.shape[1], Y.shape[1]
    return lax.fori_loop(0, X.shape[0], lambda i, c: c + jnp.outer(X[i], Y[i]), jnp.zeros((n, m), X.dtype))


def mapped_chain(A, B, xs):
    return lax.map(lambda x: (A * x[0]) @ B @ x, xs)


def mapped_chain_hand(A, B, xs):
    return xs[:, :1] * ((xs @ B.T) @ A.T)


def loop_power(A):
    return lax.fori_loop(0, 15, lambda i, M: M @ A, A)


def loop_power_hand(A):
    for _ in range(4):
        A = A @ A
    return A


def linear_loop(A, X):
    return lax.fori_loop(0, 8, lambda i, X: X @ A, X) @ jnp.ones(A.shape[0], A.dtype)


def linear_loop_hand(A, X):
    y = lax.fori_loop(0, 8, lambda i, y: A @ y, jnp.ones(A.shape[0], A.dtype))
    return X @ y


def growing_product(A, xs):
    return lax.scan(lambda c, x: (c * x, None), jnp.ones_like(xs[0]), xs)[0] @ A


def constant_growth(x, a):
    return repeat(lambda x: a * x, x, 64)


def constant_growth_hand(x, a):
    return x * lax.integer_pow(a, 64)


def two_scans(A, x):
    def step(c, _):
        c = tanh(A @ c)
        return c, c

    return lax.scan(step, x, None, length=STEPS)[1], repeat(lambda c: tanh(A @ c), x)


def two_scans_hand(A, x):
    def step(c, _):
        c = tanh(A @ c)
        return c, c

    last, every = lax.scan(step, x, None, length=STEPS)
    return every, last


def loop_of_traces(A, xs):
    return lax.map(lambda x: jnp.trace(A @ jnp.diag(x) @ A.T), xs)


def loop_of_traces_hand(A, xs):
    return xs @ jnp.sum(A * A, 0)


def kalman_loop(P, H, xs):
    eye = jnp.eye(H.shape[0], dtype=H.dtype)

    def step(P, x):
        K = P @ H.T @ jnp.linalg.inv(H @ P @ H.T + eye)
        return P - K @ H @ P, K @ x

    return lax.scan(step, P, xs)[1]


def kalman_loop_hand(P, H, xs):
    eye = jnp.eye(H.shape[0], dtype=H.dtype)

    def step(P, x):
        V, W = H @ P, P @ H.T
        S = V @ H.T + eye
        Y = spd_solve(S, jnp.concatenate([V, x[:, None]], 1))
        return P - W @ Y[:, :-1], W @ Y[:, -1]

    return lax.scan(step, P, xs)[1]


def _kalman_arguments(n):
    k = max(2, n // 5)
    return jnp.diag(positive((n,))[0]), *dense((k, n), (10, k))


# K: algebra of elementwise functions


def log_of_product(x, y):
    return log(x) + log(y) - log(x * y * x)


def power_sum(x):
    return x**4.0 + x**3.0 + x**2.0


def power_sum_hand(x):
    y = x * x
    return y * (y + x + 1)


def softplus(x):
    return log(1 + exp(x)) - x


def stable_softmax(x):
    p = exp(x - jnp.max(x, -1, keepdims=True))
    p = p / jnp.sum(p, -1, keepdims=True)
    return -jnp.sum(p * log(p), -1)


def stable_softmax_hand(x):
    shifted = x - jnp.max(x, -1, keepdims=True)
    p = exp(shifted)
    total = jnp.sum(p, -1)
    return log(total) - jnp.sum(p * shifted, -1) / total


def gaussian_mixture(x, m):
    return log(jnp.sum(exp(-0.5 * (x - m) ** 2) * exp(-0.5 * m**2), -1))


def gaussian_mixture_hand(x, m):
    return log(jnp.sum(exp(-0.5 * (x * x) + x * m - m * m), -1))


CASES = (
    case("gradient descent, 200 steps", "M", gradient_descent, gradient_descent, _shapes("nn n"), 200),
    case("gradient descent, 3 steps", "M", few_steps, few_steps_hand, _shapes("nn n")),
    case("chain in a body", "M", body_chain, body_chain_hand, _shapes("nn nn n"), 200),
    case("factoring in a body", "M", body_factoring, body_factoring_hand, _shapes("nn nn nn"), 100),
    case("chain in a while", "M", while_chain, while_chain_hand, _shapes("nn n")),
    case("chains in branches", "M", branch_chain, branch_chain_hand, _shapes("nn nn n")),
    case("equal branches", "M", equal_branches, lambda A, B, x: (A + B) @ x, _shapes("nn nn n")),
    case("unread carry", "M", unread_carry, unread_carry_hand, _shapes("nn nn n"), 100),
    case("unread outputs", "M", unread_outputs, unread_outputs_hand, _shapes("nn n tn"), 100),
    case("invariant solve", "M", invariant_solve, invariant_solve_hand, lambda n: (regular(n), *dense((n,))), 100),
    case("recurrent network", "M", recurrent, recurrent_hand, _shapes("nn nn tn"), 100),
    case("recurrent network, shared weight", "M", recurrent_factored, recurrent_factored_hand, _shapes("nn nn tn"),
         100),
    case("sum by a scan", "M", scanned_sum, lambda A, xs: A @ xs.sum(0), _shapes("nn tn")),
    case("outer products by a loop", "M", scanned_outer, lambda X, Y: X.T @ Y, _shapes("tn tn"), 100),
    case("mapped chain", "M", mapped_chain, mapped_chain_hand, _shapes("nn nn tn"), 100),
    case("power by a loop", "M", loop_power, loop_power_hand, _shapes("nn"), 200),
    case("linear loop", "M", linear_loop, linear_loop_hand, _shapes("nn nn")),
    case("product by a scan", "M", growing_product, lambda A, xs: jnp.prod(xs, 0) @ A,
         lambda n: (*dense((n, n)), *positive((10, n)))),
    case("geometric growth", "M", constant_growth, constant_growth_hand, lambda n: (*dense((n,)), *positive((n,))),
         1000),
    case("two equal scans", "M", two_scans, two_scans_hand, _shapes("nn n"), 200),
    case("traces by a loop", "M", loop_of_traces, loop_of_traces_hand, _shapes("nn tn"), 100),
    case("Kalman gains in a scan", "M", kalman_loop, kalman_loop_hand, _kalman_arguments, 100),
    case("exp(log x) y", "K", lambda x, y: exp(log(x) + log(y)), lambda x, y: x * y, _positive("nn nn"),
         numerics="finite"),
    case("sqrt sqrt", "K", lambda x, y: sqrt(x) * sqrt(y) * sqrt(x), lambda x, y: x * sqrt(y), _positive("nn nn"),
         numerics="finite"),
    case("sin^2+cos^2", "K", lambda x, y: y * (jnp.sin(x) ** 2 + jnp.cos(x) ** 2), lambda x, y: y, _positive("nn nn"),
         numerics="finite"),
    case("log a + log b", "K", log_of_product, lambda x, y: -log(x), _positive("nn nn"),
         numerics="finite"),
    case("sinh/cosh", "K", lambda x: jnp.sinh(x) / jnp.cosh(x), tanh, _positive("nn")),
    case("powers", "K", power_sum, power_sum_hand, _positive("nn")),
    case("exp exp", "K", lambda x, y: exp(x) * exp(y) * exp(-x), lambda x, y: exp(y), _positive("nn nn"),
         numerics="finite"),
    case("softplus", "K", softplus, lambda x: log(1 + exp(-x)), _positive("nn")),
    case("sigmoid twice", "K", lambda x: 1 / (1 + exp(-x)) + 1 / (1 + exp(x)), jnp.ones_like, _positive("nn")),
    case("entropy of softmax", "K", stable_softmax, stable_softmax_hand, _shapes("nn")),
    case("log of softmax", "K", lambda x: log(jax.nn.softmax(x, -1)), lambda x: x - logsumexp(x, -1, keepdims=True),
         _shapes("nn")),
    case("exponents gathered", "K", gaussian_mixture, gaussian_mixture_hand, lambda n: dense((n, 1), (n, n))),
    case("common factor", "K", lambda x, y: tanh(x) * y + tanh(x) * x, lambda x, y: tanh(x) * (x + y),
         _shapes("nn nn")),
    case("absolute values", "K", lambda x, y: sqrt(x * x) * jnp.abs(y), lambda x, y: jnp.abs(x * y),
         _shapes("nn nn")),
    case("powers of powers", "K", lambda x: (x**1.5) ** 2.0 * x**-1.0, lambda x: x * x, _positive("nn"),
         numerics="finite"),
)  # fmt: skip
