# SPDX-License-Identifier: Apache-2.0
"""Writes the example models beside this file: ``python examples/models/make_models.py``.

Each is a function as people write it, exported with ``jax.export``. Weights are arguments, so the files hold programs
only. README.md here says what they are and what to expect of them.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

FOLDER = Path(__file__).resolve().parent

# The exported files name source lines: from the repository's root, not from where it happens to lie.
jax.config.update("jax_hlo_source_file_canonicalization_regex", r"^.*/(?=examples/models/|site-packages/)")


def float32(*shape: int) -> jax.ShapeDtypeStruct:
    """The type of one array."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def mlp(params: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """A tanh network with one output, for one point x[d]."""
    *hidden, (last, offset) = params
    for weight, bias in hidden:
        x = jnp.tanh(x @ weight + bias)
    return (x @ last + offset)[0]


def pinn_mlp(params: list[tuple[jax.Array, jax.Array]], points: jax.Array) -> jax.Array:
    """Residual of the Poisson equation ``lap u = -d pi^2 prod sin(pi x)`` at points[b,d], u a network."""

    def residual(x: jax.Array) -> jax.Array:
        hessian = jax.jacfwd(jax.jacfwd(mlp, argnums=1), argnums=1)(params, x)
        source = x.shape[0] * jnp.pi**2 * jnp.prod(jnp.sin(jnp.pi * x))
        return jnp.trace(hessian) + source

    return jax.vmap(residual)(points)


def pinn_types(dim: int = 10, width: int = 128, depth: int = 3, batch: int = 256) -> tuple[Any, ...]:
    """Types of params and points: the ten-dimensional Poisson problem that the literature on such networks uses."""
    sizes = [dim, *[width] * depth, 1]
    params = [(float32(m, n), float32(n)) for m, n in itertools.pairwise(sizes)]
    return params, float32(batch, dim)


def layer_norm(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Normalise the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5) * scale + shift


def transformer_block(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """A pre-norm block with causal attention on x[b,t,c]; four heads."""
    batch, length, width = x.shape
    normed = layer_norm(x, params["scale1"], params["shift1"])
    heads = jnp.reshape(normed @ params["qkv"], (batch, length, 3, 4, width // 4))
    query, key, value = (heads[:, :, i] for i in range(3))
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(width // 4)
    causal = jnp.tril(jnp.ones((length, length), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9), axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(batch, length, width)
    x = x + mixed @ params["out"]
    hidden = jax.nn.gelu(layer_norm(x, params["scale2"], params["shift2"]) @ params["up"] + params["up_bias"])
    return x + hidden @ params["down"] + params["down_bias"]


def transformer_types(batch: int = 4, length: int = 128, width: int = 128) -> tuple[Any, ...]:
    """Types of params and x."""
    matrices = {
        "qkv": float32(width, 3 * width),
        "out": float32(width, width),
        "up": float32(width, 4 * width),
        "down": float32(4 * width, width),
    }
    vectors = {name: float32(width) for name in ("scale1", "shift1", "scale2", "shift2", "down_bias")}
    return matrices | vectors | {"up_bias": float32(4 * width)}, float32(batch, length, width)


def kalman_step(model: dict[str, jax.Array], mean: jax.Array, covariance: jax.Array, seen: jax.Array) -> Any:
    """Predict and update of a Kalman filter, as the textbook writes it."""
    move, observe, drift, noise = model["move"], model["observe"], model["drift"], model["noise"]
    mean = move @ mean
    covariance = move @ covariance @ move.T + drift
    innovation = observe @ covariance @ observe.T + noise
    gain = covariance @ observe.T @ jnp.linalg.inv(innovation)
    mean = mean + gain @ (seen - observe @ mean)
    covariance = (jnp.eye(mean.shape[0]) - gain @ observe) @ covariance
    return mean, covariance


def kalman_types(states: int = 256, seen: int = 16) -> tuple[Any, ...]:
    """Types of model, mean, covariance and observation."""
    model = {
        "move": float32(states, states),
        "observe": float32(seen, states),
        "drift": float32(states, states),
        "noise": float32(seen, seen),
    }
    return model, float32(states), float32(states, states), float32(seen)


MODELS: list[tuple[Callable[..., Any], tuple[Any, ...], tuple[str, ...]]] = [
    (pinn_mlp, pinn_types(), ("cpu", "cuda")),
    (transformer_block, transformer_types(), ("cpu", "cuda")),
    (kalman_step, kalman_types(), ("cpu",)),  # LAPACK's factorisation has no twin of the same name elsewhere
]


def main() -> None:
    """Write all models."""
    for function, types, platforms in MODELS:
        exported = jax.export.export(jax.jit(function), platforms=platforms)(*types)
        path = FOLDER / f"{function.__name__}.jaxexport"
        path.write_bytes(exported.serialize())
        print(f"wrote {path.name}: {path.stat().st_size:,} bytes, for {', '.join(platforms)}")


if __name__ == "__main__":
    main()
