# SPDX-License-Identifier: Apache-2.0
"""Whole programs, small: networks with their gradients and optimisers, solvers, convolutional and recurrent nets."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

RNG = np.random.default_rng(0)


def normal(*shape: int, scale: float = 0.3) -> Any:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def mlp(params: Any, x: Any) -> Any:
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


MLP = [(normal(6, 8), np.zeros(8, np.float32)), (normal(8, 3), np.zeros(3, np.float32))]


def mlp_step(params: Any, moments: Any, x: Any, y: Any) -> Any:
    """One step of Adam on the cross entropy."""

    def loss(params: Any) -> Any:
        picked = jnp.take_along_axis(jax.nn.log_softmax(mlp(params, x)), y[:, None], -1)
        return -picked.mean()

    value, grads = jax.value_and_grad(loss)(params)
    moments = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments, grads)
    return value, jax.tree.map(lambda p, m: p - 1e-3 * m / (jnp.sqrt(m * m) + 1e-8), params, moments), moments


def norm(x: Any, g: Any, b: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * g + b


def block(p: Any, x: Any, heads: int = 2) -> Any:
    b, t, d = x.shape
    q, k, v = jnp.split(norm(x, p["g"], p["b"]) @ p["qkv"], 3, -1)
    q, k, v = (a.reshape(b, t, heads, d // heads).transpose(0, 2, 1, 3) for a in (q, k, v))
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(d // heads)
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -1e9)
    mixed = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, -1), v)
    x = x + mixed.transpose(0, 2, 1, 3).reshape(b, t, d) @ p["o"]
    return x + jax.nn.gelu(norm(x, p["g"], p["b"]) @ p["up"]) @ p["down"]


BLOCK = {
    "g": np.ones(8, np.float32),
    "b": normal(8),
    "qkv": normal(8, 24),
    "o": normal(8, 8),
    "up": normal(8, 16),
    "down": normal(16, 8),
}


def rope(x: Any) -> Any:
    angles = jnp.arange(x.shape[1])[:, None] / 10000.0 ** (jnp.arange(0, x.shape[-1], 2) / x.shape[-1])
    cos, sin = jnp.cos(angles)[None, :, None], jnp.sin(angles)[None, :, None]
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)


def cell(c: Any, x: Any, w: Any, u: Any) -> Any:
    """A gated recurrent step."""
    z, r = jax.nn.sigmoid(x @ w[0] + c @ u[0]), jax.nn.sigmoid(x @ w[1] + c @ u[1])
    return z * c + (1 - z) * jnp.tanh(x @ w[2] + (r * c) @ u[2])


def pooled(x: Any, kernel: Any) -> Any:
    y = jax.nn.relu(lax.conv(x, kernel, (1, 1), "SAME"))
    window: Any = ((1, 1, 3, 3), (1, 1, 2, 2), "SAME")
    mean = lax.reduce_window(y, 0.0, lax.add, *window) / lax.reduce_window(jnp.ones_like(y), 0.0, lax.add, *window)
    return jnp.concatenate([mean, lax.reduce_window(y, -jnp.inf, lax.max, *window)], 1)


def kalman(m: Any, p: Any, z: Any, f: Any, h: Any) -> Any:
    m, p = f @ m, f @ p @ f.T + 0.1 * jnp.eye(4)
    s = h @ p @ h.T + jnp.eye(2)
    gain = jnp.linalg.solve(s, h @ p).T
    return m + gain @ (z - h @ m), (jnp.eye(4) - gain @ h) @ p, jnp.linalg.slogdet(s)[1]


def gaussian_process(theta: Any, x: Any, y: Any) -> Any:
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    k = jnp.exp(theta[0] - 0.5 * distance * jnp.exp(theta[1])) + jnp.exp(theta[2]) * jnp.eye(len(x))
    chol = jnp.linalg.cholesky(k)
    return 0.5 * y @ jax.scipy.linalg.cho_solve((chol, True), y) + jnp.log(jnp.diag(chol)).sum()


def hidden_markov(pi: Any, a: Any, o: Any) -> Any:
    step = lambda c, e: (jax.nn.logsumexp(c[:, None] + a, 0) + e, None)  # noqa: E731
    return jax.nn.logsumexp(lax.scan(step, pi + o[0], o[1:])[0])


def burgers(w: Any, v: Any, t: Any, x: Any) -> Any:
    u = lambda t, x: jnp.tanh(jnp.stack([t, x]) @ w) @ v  # noqa: E731
    ux = jax.grad(u, 1)
    return jax.grad(u)(t, x) + u(t, x) * ux(t, x) - 0.01 * jax.grad(ux, 1)(t, x)


def laplacian(w: Any, x: Any) -> Any:
    return jnp.trace(jax.jacfwd(jax.jacfwd(lambda z: jnp.tanh(z @ w).sum()))(x))


def wave(u: Any, v: Any) -> Any:
    def step(c: Any, _: Any) -> Any:
        u, v = c
        v = v + 0.1 * (sum(jnp.roll(u, s, a) for s in (1, -1) for a in (0, 1)) - 4 * u)
        return (u + 0.1 * v, v), None

    return lax.scan(step, (u, v), None, length=10)[0]


def routed(x: Any, r: Any, a: Any) -> Any:
    """Experts chosen by the two largest scores."""
    weights, index = lax.top_k(jax.nn.softmax(x @ r), 2)
    return jnp.einsum("td,edf,te->tf", x, a, (jax.nn.one_hot(index, 4) * weights[..., None]).sum(-2))


def messages(h: Any, w: Any, senders: Any, receivers: Any) -> Any:
    out = jax.ops.segment_sum(jax.nn.relu(jnp.concatenate([h[senders], h[receivers]], -1) @ w), receivers, len(h))
    return (out**2).mean()


def newton(x: Any) -> Any:
    f = lambda x: x**3 - 2 * x - 5  # noqa: E731
    return lax.while_loop(lambda s: jnp.abs(f(s)) > 1e-4, lambda s: s - f(s) / jax.grad(f)(s), x)


def spectral(w: Any) -> Any:
    k = jnp.fft.fftfreq(8, 1 / 8)
    kx, ky = jnp.meshgrid(k, k, indexing="ij")
    k2 = kx**2 + ky**2
    wh = jnp.fft.fft2(w)
    return jnp.fft.ifft2(1j * ky * wh * jnp.where(k2 == 0, 0, 1 / jnp.where(k2 == 0, 1, k2))).real


EDGES = [RNG.integers(0, 6, 12).astype(np.int32) for _ in range(2)]
MODELS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mlp": (mlp, (MLP, normal(5, 6))),
    "mlp-adam": (mlp_step, (MLP, jax.tree.map(np.zeros_like, MLP), normal(5, 6), np.zeros(5, np.int32))),
    "block": (block, (BLOCK, normal(2, 4, 8))),
    "block-grad": (jax.grad(lambda p, x: block(p, x).sum(), (0, 1)), (BLOCK, normal(1, 4, 8))),
    "block-scan": (
        lambda p, x: lax.scan(lambda x, q: (block(q, x), None), x, p)[0],
        (jax.tree.map(lambda a: np.stack([a, a]), BLOCK), normal(1, 4, 8)),
    ),
    "rope": (rope, (normal(1, 4, 2, 6),)),
    "gru": (
        lambda x, w, u: lax.scan(lambda c, r: (cell(c, r, w, u), None), jnp.zeros(4), x)[0],
        (normal(5, 3), normal(3, 3, 4), normal(3, 4, 4)),
    ),
    "pooled": (pooled, (normal(1, 2, 7, 7), normal(3, 2, 3, 3))),
    "pooled-grad": (jax.grad(lambda k, x: (pooled(x, k) ** 2).sum()), (normal(3, 2, 3, 3), normal(1, 2, 7, 7))),
    "kalman": (kalman, (normal(4), np.eye(4, dtype=np.float32), normal(2), normal(4, 4), normal(2, 4))),
    "gaussian-process": (jax.value_and_grad(gaussian_process), (np.zeros(3, np.float32), normal(6, 2), normal(6))),
    "hidden-markov": (jax.value_and_grad(hidden_markov, (0, 1)), (normal(3), normal(3, 3), normal(5, 3))),
    "burgers": (jax.vmap(burgers, (None, None, 0, 0)), (normal(2, 5), normal(5), normal(7), normal(7))),
    "laplacian": (jax.vmap(laplacian, (None, 0)), (normal(3, 5), normal(7, 3))),
    "wave": (wave, (normal(6, 6), normal(6, 6))),
    "routed": (routed, (normal(5, 6), normal(6, 4), normal(4, 6, 3))),
    "messages": (jax.grad(messages, (0, 1)), (normal(6, 3), normal(6, 4), *EDGES)),
    "newton": (newton, (np.float32(2),)),
    "spectral": (spectral, (normal(8, 8),)),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", MODELS)
def test_equals_the_original(check: Any, name: str) -> None:
    fn, args = MODELS[name]
    check(fn, *args, tolerance=2e-5)


def test_the_laplacian_has_no_identity_matrix(check: Any) -> None:
    """Tangent bases of nested derivatives are identities; capture leaves index renaming in their place."""
    fn, args = MODELS["laplacian"]
    graph = check(fn, *args, tolerance=2e-5).graph
    assert not {"eq", "iota", "select_n", "convert_element_type"} & set(graph.op_counts())


def test_optimisers_of_libraries(check: Any) -> None:
    optax = pytest.importorskip("optax")
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))

    def step(params: Any, state: Any, x: Any) -> Any:
        grads = jax.grad(lambda p: (mlp(p, x) ** 2).sum())(params)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    check(step, MLP, optimiser.init(MLP), normal(5, 6), tolerance=1e-5)


def test_layers_of_libraries(check: Any) -> None:
    linen = pytest.importorskip("flax.linen")
    net = linen.Sequential(
        [linen.Conv(4, (3, 3)), linen.relu, linen.BatchNorm(use_running_average=True), linen.Dense(3)]
    )
    x = normal(1, 5, 5, 2)
    check(net.apply, net.init(jax.random.key(0), x), x, tolerance=1e-5)
