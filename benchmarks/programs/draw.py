# SPDX-License-Identifier: Apache-2.0
"""Arguments of the cases: random arrays with the structure that a case speaks of, the same for every run.

Floats are in JAX's default precision: float32, or float64 where that is enabled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Normal values; products over the last dimension keep the scale of the other operand."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return values / np.sqrt(shape[-1]) if len(shape) > 1 else values


def _array(values: Any, dtype: Any = None) -> jax.Array:
    return jnp.asarray(np.asarray(values), dtype)


def dense(*shapes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Arrays of the given shapes, all different."""
    return tuple(_array(_normal(*shape, seed=i)) for i, shape in enumerate(shapes))


def positive(*shapes: tuple[int, ...], seed: int = 0) -> tuple[jax.Array, ...]:
    """Arrays of values between 0.5 and 1.5."""
    return tuple(_array(np.random.default_rng([seed + i, *s]).uniform(0.5, 1.5, s)) for i, s in enumerate(shapes))


def regular(n: int, seed: int = 0, batch: tuple[int, ...] = ()) -> jax.Array:
    """A matrix far from singular, without symmetry."""
    return _array(2.0 * np.eye(n) + 0.5 * _normal(*batch, n, n, seed=seed))


def spd(n: int, seed: int = 0, batch: tuple[int, ...] = ()) -> jax.Array:
    """A symmetric positive definite matrix."""
    return _array(_spd(n, seed, batch))


@lru_cache(maxsize=4)
def _spd(n: int, seed: int, batch: tuple[int, ...]) -> Any:
    root = _normal(*batch, n, n, seed=seed)
    return root @ np.swapaxes(root, -1, -2) + np.eye(n)


def symmetric(n: int, seed: int = 0) -> jax.Array:
    """A symmetric matrix far from singular."""
    root = _normal(n, n, seed=seed)
    return _array(2.0 * np.eye(n) + 0.25 * (root + root.T))


def lower(n: int, seed: int = 0) -> jax.Array:
    """A lower triangular matrix far from singular."""
    return _array(np.tril(0.5 * _normal(n, n, seed=seed)) + 2.0 * np.eye(n))


def upper(n: int, seed: int = 0) -> jax.Array:
    """An upper triangular matrix far from singular."""
    return lower(n, seed).T


def banded(n: int, width: int = 1, seed: int = 0) -> jax.Array:
    """A matrix with ``width`` diagonals beside the main one on either side."""
    full = _normal(n, n, seed=seed) * np.sqrt(n)
    return _array(np.triu(np.tril(full, width), -width) * 0.25 + 2.0 * np.eye(n))


def orthogonal(n: int, seed: int = 0) -> jax.Array:
    """An orthogonal matrix."""
    return _array(np.linalg.qr(_normal(n, n, seed=seed))[0])


def permutation(n: int, seed: int = 0) -> jax.Array:
    """An order of ``n`` things, int32."""
    return _array(np.random.default_rng([seed, n]).permutation(n), np.int32)


def integers(high: int, *shape: int, seed: int = 0) -> jax.Array:
    """Integers from 0 to ``high - 1``, int32."""
    return _array(np.random.default_rng([seed, *shape]).integers(0, high, shape), np.int32)


def masks(*shape: int, seed: int = 0) -> jax.Array:
    """Random bools."""
    return _array(np.random.default_rng([seed, *shape]).random(shape) < 0.5, np.bool_)
