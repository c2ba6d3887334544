# SPDX-License-Identifier: Apache-2.0
"""What the program files share: random arrays, and the entry of their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Built = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Program:
    """A program in two sizes.

    Args:
        builder: gives the function and its arguments; its defaults are the size to measure.
        small: keywords of ``builder`` for a size that tests can afford.
    """

    builder: Callable[..., Built]
    small: Mapping[str, Any] = field(default_factory=dict)

    def build(self, small: bool = False) -> Built:
        """Function and arguments."""
        return self.builder(**(self.small if small else {}))


class Random:
    """Random arrays, the same for every run."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> jax.Array:
        """Normal values of the given standard deviation, float32."""
        return jnp.asarray(self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale))

    def weight(self, *shape: int) -> jax.Array:
        """A weight whose first dimension is summed over: products with it keep the scale of their input."""
        return self.normal(*shape, scale=shape[0] ** -0.5)

    def integers(self, high: int, *shape: int) -> jax.Array:
        """Integers from 0 to ``high - 1``, int32."""
        return jnp.asarray(self._random.integers(0, high, shape), jnp.int32)


def stacked(trees: list[Any]) -> Any:
    """Equal trees as one tree with a new leading dimension, as a scan over layers takes them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
