# SPDX-License-Identifier: Apache-2.0
"""Programs of scientific computing: nested derivatives, linear algebra, time stepping, probabilistic models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.bench.case import unscored

from .arrays import Built, Program, Random
from .neural import mlp, mlp_params

tanh_mlp = partial(mlp, act=jnp.tanh)


def burgers_residual(sizes: Sequence[int] = (2, 20, 20, 20, 20, 1), points: int = 1000) -> Built:
    """Residual u_t + u u_x - (0.01/pi) u_xx of a network at collocation points (Raissi et al., JCP 378, 2019)."""
    random = Random()

    def residual(params: Any, t: jax.Array, x: jax.Array) -> jax.Array:
        def u(t: jax.Array, x: jax.Array) -> jax.Array:
            return tanh_mlp(params, jnp.stack([t, x]))[0]

        u_x = jax.grad(u, 1)
        return jax.grad(u, 0)(t, x) + u(t, x) * u_x(t, x) - 0.01 / math.pi * jax.grad(u_x, 1)(t, x)

    args = mlp_params(random, sizes), random.normal(points), random.normal(points)
    return jax.vmap(residual, (None, 0, 0)), args


def network_laplacian(sizes: Sequence[int] = (3, 64, 64, 64, 1), points: int = 256) -> Built:
    """Laplacian of a network as the trace of ``jacfwd`` of ``jacfwd``, at points in space."""
    random = Random()

    def laplacian(params: Any, x: jax.Array) -> jax.Array:
        return jnp.trace(jax.jacfwd(jax.jacfwd(lambda z: tanh_mlp(params, z)[0]))(x))

    return jax.vmap(laplacian, (None, 0)), (mlp_params(random, sizes), random.normal(points, sizes[0]))


def gaussian_process(points: int = 200, features: int = 4) -> Built:
    """Negative log marginal likelihood and its gradient (Rasmussen and Williams, 2006, equation 2.30)."""
    random = Random()

    def loss(log_params: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        length, signal, noise = jnp.exp(log_params)
        distance = ((x[:, None] - x[None]) ** 2).sum(-1)
        kernel = signal**2 * jnp.exp(-0.5 * distance / length**2) + (noise**2 + 1e-6) * jnp.eye(points)
        factor = jnp.linalg.cholesky(kernel)
        weights = jax.scipy.linalg.cho_solve((factor, True), y)
        constant = 0.5 * points * math.log(2 * math.pi)
        return 0.5 * y @ weights + jnp.log(jnp.diag(factor)).sum() + constant

    return jax.value_and_grad(loss), (jnp.zeros(3), random.normal(points, features), random.normal(points))


def kalman_step(state: int = 8, seen: int = 3) -> Built:
    """Prediction, update and log likelihood of a Kalman filter (Kalman, 1960)."""
    random = Random()

    def step(
        mean: jax.Array, cov: jax.Array, z: jax.Array, move: jax.Array, Q: jax.Array, H: jax.Array, R: jax.Array
    ) -> Any:
        mean = move @ mean
        cov = move @ cov @ move.T + Q
        innovation = H @ cov @ H.T + R
        gain = jnp.linalg.solve(innovation, H @ cov).T
        error = z - H @ mean
        likelihood = -0.5 * (error @ jnp.linalg.solve(innovation, error) + jnp.linalg.slogdet(innovation)[1])
        return mean + gain @ error, (jnp.eye(state) - gain @ H) @ cov, likelihood

    eye = jnp.eye(state)
    args = random.normal(state), eye, random.normal(seen), eye, 0.1 * eye, random.normal(seen, state), jnp.eye(seen)
    return step, args


def runge_kutta_4(f: Callable[[Any], Any], state: Any, dt: float) -> Any:
    """One step of the classical Runge-Kutta method for ``state' = f(state)``."""

    def moved(slope: Any, scale: float) -> Any:
        return jax.tree.map(lambda s, k: s + scale * k, state, slope)

    k1 = f(state)
    k2 = f(moved(k1, dt / 2))
    k3 = f(moved(k2, dt / 2))
    k4 = f(moved(k3, dt))
    return jax.tree.map(lambda s, a, b, c, d: s + dt / 6 * (a + 2 * b + 2 * c + d), state, k1, k2, k3, k4)


def n_body(bodies: int = 16, steps: int = 100) -> Built:
    """Softened gravity, all pairs, by Runge-Kutta steps in a loop."""
    random = Random()

    def acceleration(x: jax.Array, mass: jax.Array) -> jax.Array:
        apart = x[None] - x[:, None]
        inverse = ((apart**2).sum(-1) + 1e-2) ** -1.5
        return (mass[None, :, None] * apart * inverse[..., None]).sum(1)

    def run(x: jax.Array, velocity: jax.Array, mass: jax.Array) -> Any:
        def slope(state: Any) -> Any:
            return state[1], acceleration(state[0], mass)

        return lax.fori_loop(0, steps, lambda _, state: runge_kutta_4(slope, state, 0.01), (x, velocity))

    return run, (random.normal(bodies, 3), random.normal(bodies, 3, scale=0.02), jnp.ones(bodies))


def hidden_markov(states: int = 16, steps: int = 50) -> Built:
    """Log likelihood of a hidden Markov model by a scan, and its gradient (Rabiner, Proc. IEEE 77(2), 1989)."""
    random = Random()

    def likelihood(start: jax.Array, transition: jax.Array, observed: jax.Array) -> jax.Array:
        def forward(alpha: jax.Array, seen: jax.Array) -> tuple[jax.Array, None]:
            return jax.nn.logsumexp(alpha[:, None] + transition, 0) + seen, None

        return jax.nn.logsumexp(lax.scan(forward, start + observed[0], observed[1:])[0])

    start = jax.nn.log_softmax(random.normal(states))
    transition = jax.nn.log_softmax(random.normal(states, states), -1)
    return jax.value_and_grad(likelihood, (0, 1)), (start, transition, random.normal(steps, states))


def message_passing(nodes: int = 200, edges: int = 800, width: int = 32, rounds: int = 3) -> Built:
    """Loss and gradient of a graph network: gather, MLP, segment sum (Battaglia et al., 2018)."""
    random = Random()
    hidden = 2 * width
    params = {name: mlp_params(random, (2 * width, hidden, width)) for name in ("message", "update")}

    def loss(params: Any, h: jax.Array, senders: jax.Array, receivers: jax.Array) -> jax.Array:
        for _ in range(rounds):
            messages = mlp(params["message"], jnp.concatenate([h[senders], h[receivers]], -1))
            gathered = jax.ops.segment_sum(messages, receivers, nodes)
            h = h + mlp(params["update"], jnp.concatenate([h, gathered], -1))
        return (h**2).mean()

    graph = random.integers(nodes, edges), random.integers(nodes, edges)
    return jax.value_and_grad(loss), (params, random.normal(nodes, width), *graph)


def spectral_navier_stokes(size: int = 64) -> Built:
    """One semi-implicit step of the vorticity equation on a periodic square, by Fourier transforms."""
    random = Random()
    wave = jnp.fft.fftfreq(size, 1 / size)
    kx, ky = jnp.meshgrid(wave, wave, indexing="ij")
    square = kx**2 + ky**2
    inverse = jnp.where(square == 0, 0, 1 / jnp.where(square == 0, 1, square))

    def step(vorticity: jax.Array) -> jax.Array:
        spectrum = jnp.fft.fft2(vorticity)
        stream = spectrum * inverse
        u = jnp.fft.ifft2(1j * ky * stream).real
        v = -jnp.fft.ifft2(1j * kx * stream).real
        w_x = jnp.fft.ifft2(1j * kx * spectrum).real
        w_y = jnp.fft.ifft2(1j * ky * spectrum).real
        advected = jnp.fft.fft2(-(u * w_x + v * w_y))
        return jnp.fft.ifft2((spectrum + 1e-3 * advected) / (1 + 1e-6 * square)).real

    return step, (random.normal(size, size),)


def wave_equation(size: int = 128, steps: int = 200) -> Built:
    """Finite differences in time for the wave equation on a periodic square, by a scan."""
    random = Random()

    def step(state: Any, _: None) -> tuple[Any, None]:
        u, v = state
        laplacian = sum(jnp.roll(u, shift, axis) for shift in (1, -1) for axis in (0, 1)) - 4 * u
        v = v + 0.1 * laplacian
        return (u + 0.1 * v, v), None

    def run(u: jax.Array, v: jax.Array) -> Any:
        return lax.scan(step, (u, v), None, length=steps)[0]

    return run, (random.normal(size, size), jnp.zeros((size, size)))


def newton_root() -> Built:
    """Root of x^3 - 2x - 5 by Newton's method in a while loop (Newton's own example, 1669)."""

    def f(x: jax.Array) -> jax.Array:
        return x**3 - 2 * x - 5

    def root(x: jax.Array) -> jax.Array:
        return lax.while_loop(lambda x: jnp.abs(f(x)) > 1e-5, lambda x: x - f(x) / jax.grad(f)(x), x)

    return root, (jnp.float32(2.0),)


def linear_algebra_mix(size: int = 12) -> Built:
    """Value and gradient through eigenvalues, singular values, determinant, exponential and QR."""
    random = Random()

    def total(a: jax.Array) -> jax.Array:
        gram = a @ a.T
        parts = [
            jnp.linalg.eigh(gram)[0].sum(),
            jnp.linalg.svd(a)[1].sum(),
            jnp.linalg.det(gram),
            jax.scipy.linalg.expm(0.1 * a).sum(),
            jnp.linalg.qr(a)[1].sum(),
        ]
        return sum(parts, start=jnp.float32(0.0))

    return jax.value_and_grad(total), (random.normal(size, size),)


PROGRAMS = {
    "burgers_residual": Program(burgers_residual, {"sizes": (2, 8, 8, 1), "points": 16}),
    "network_laplacian": Program(network_laplacian, {"sizes": (3, 8, 8, 1), "points": 16}),
    "gaussian_process": Program(gaussian_process, {"points": 12, "features": 2}),
    "kalman_step": Program(kalman_step),
    "n_body": Program(n_body, {"bodies": 4, "steps": 10}),
    "hidden_markov": Program(hidden_markov, {"states": 4, "steps": 8}),
    "message_passing": Program(message_passing, {"nodes": 10, "edges": 30, "width": 4, "rounds": 2}),
    "spectral_navier_stokes": Program(spectral_navier_stokes, {"size": 8}),
    "wave_equation": Program(wave_equation, {"size": 16, "steps": 10}),
    "newton_root": Program(newton_root),
    "linear_algebra_mix": Program(linear_algebra_mix, {"size": 4}),
}

CASES = unscored(PROGRAMS)
