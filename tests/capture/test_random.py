# SPDX-License-Identifier: Apache-2.0
"""Random programs over small shapes, sizes of 0 and 1 among them: captured and lowered they compute the same."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from jax import lax

MAX_SIZE = 300
SHAPES = [(), (1,), (3,), (1, 3), (3, 1), (3, 3), (2, 3), (2, 1, 3), (1, 1), (0, 3)]

UNARY: list[Callable[[Any], Any]] = [
    jnp.sin,
    jnp.tanh,
    jnp.negative,
    jnp.square,
    lambda x: x**3,
    lambda x: x * 2.5 - 1,
    lambda x: x.T,
    lambda x: x.sum(),
    lambda x: x.sum(0, keepdims=True) if x.ndim else x,
    lambda x: x.mean(-1) if x.ndim and x.shape[-1] else x,
    lambda x: x.max(-1) if x.ndim and x.shape[-1] else x,
    lambda x: x[None],
    lambda x: x[..., None],
    jnp.ravel,
    jnp.squeeze,
    lambda x: jnp.flip(x),
    lambda x: x[..., :1] if x.ndim else x,
    lambda x: x[0] if x.ndim and x.shape[0] else x,
    lambda x: jnp.where(x > 0, x, 0),
    lambda x: jnp.concatenate([x, x[:1]]) if x.ndim else x,
    lambda x: jnp.cumsum(x, 0) if x.ndim else x,
    lambda x: jnp.diag(x) if x.ndim in (1, 2) and x.size else x,
    lambda x: jnp.trace(x) if x.ndim == 2 and x.size else x,
    lambda x: jnp.tril(x) if x.ndim == 2 else x,
    lambda x: jax.nn.softmax(x) if x.ndim and x.size else x,
    lambda x: x.astype(jnp.int32) // 2 + 1.0,
    lambda x: jnp.broadcast_to(x, (2, *x.shape)),
    lambda x: jnp.pad(x, 1) if x.ndim else x,
    lambda x: jnp.stack([x, x * 2], -1),
    lambda x: jnp.tile(x, 2),
    lambda x: x @ jnp.eye(x.shape[-1]) if x.ndim else x,
    lambda x: lax.scan(lambda c, r: (c * 0.5 + r, c), x[0], x)[1] if x.ndim and x.shape[0] else x,
    lambda x: lax.cond(x.sum() > 0, lambda: x, lambda: -x),
    lambda x: jax.vmap(jnp.sum)(x) if x.ndim else x,
    lambda x: jax.grad(lambda y: (jnp.sin(y) * y).sum())(x),
]


def _fits(x: Any, y: Any) -> bool:
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return True


BINARY: list[Callable[[Any, Any], Any]] = [
    lambda x, y: x + y if _fits(x, y) else x,
    lambda x, y: x - y if _fits(x, y) else x,
    lambda x, y: x * y if _fits(x, y) else y,
    lambda x, y: jnp.maximum(x, y) if _fits(x, y) else y,
    lambda x, y: x / (jnp.abs(y) + 1) if _fits(x, y) else x,
    lambda x, y: jnp.where(x > y, x, y * 2) if _fits(x, y) else x,
    lambda x, y: x @ y if x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0] else x,
    lambda x, y: x @ y.T if x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1] else x,
    lambda x, y: jnp.outer(x, y) if x.size * y.size < MAX_SIZE else x,
    lambda x, y: jnp.concatenate([x, y]) if x.ndim and x.shape[1:] == y.shape[1:] and y.ndim else y,
    lambda x, y: jnp.tensordot(x, y, ([0], [0])) if x.ndim and y.ndim and x.shape[0] == y.shape[0] else x,
]

STEP = st.tuples(st.booleans(), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))


@given(
    shapes=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3),
    steps=st.lists(STEP, min_size=1, max_size=8),
    seed=st.integers(0, 9),
)
def test_random_programs(check: Any, shapes: list[tuple[int, ...]], steps: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    args = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    def program(*values: Any) -> Any:
        pool = [jnp.asarray(v) for v in values]
        for two, op, i, j in steps:
            x, y = pool[-1 - i % len(pool)], pool[j % len(pool)]
            result = BINARY[op % len(BINARY)](x, y) if two else UNARY[op % len(UNARY)](x)
            if result.size <= MAX_SIZE and result.ndim <= 4:
                pool.append(result)
        return pool[-3:]

    check(program, *args, tolerance=1e-4)
