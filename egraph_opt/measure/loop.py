# SPDX-License-Identifier: Apache-2.0
"""A function run many times inside one compiled loop, such that XLA can neither hoist nor drop any of the work.

The inputs pass an optimization barrier together with the outputs of the turn before, so nothing is loop-invariant; the
outputs are carried whole, since of an output that is only looked at in one element only that element is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def repeated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled ``loop(count, *args)`` that returns the last of ``count`` runs' outputs, of random keys the data.

    Args:
        function: a JAX function of arrays (or trees of them) without effects.
    """

    def plain(*args: Any) -> Any:
        return jax.tree.map(_plain, function(*args))

    def loop(count: Any, *args: Any) -> Any:
        start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(plain, *args))

        def turn(_: Any, state: Any) -> Any:
            held, _ = lax.optimization_barrier(state)
            return held, plain(*held)

        return lax.fori_loop(0, count, turn, (args, start))[1]

    return jax.jit(loop)


def _plain(value: Any) -> Any:
    """A value as a loop can carry it: random keys as their data, nothing weakly typed."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(value)
    return lax.convert_element_type(value, value.dtype)
