# SPDX-License-Identifier: Apache-2.0
"""Our counts of whole programs against XLA's own analysis of the compiled program, where that counts (no loops)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.lower import lower_graph


def mlp(w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
    return jax.nn.relu(x @ w) @ v


def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    weights = jax.nn.softmax(jnp.einsum("hqd,hkd->hqk", q, k) / 4.0)
    return jnp.einsum("hqk,hkd->hqd", weights, v)


def norm(x: jax.Array, g: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * g[None]


PROGRAMS: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
    (mlp, ((64, 256), (256, 32), (128, 64))),
    (jax.grad(lambda *a: mlp(*a).sum(), (0, 1)), ((64, 256), (256, 32), (128, 64))),
    (attention, ((4, 64, 32),) * 3),
    (norm, ((128, 256), (256,))),
]


@pytest.mark.parametrize(("function", "shapes"), PROGRAMS, ids=["mlp", "gradient", "attention", "norm"])
def test_counts_match_the_compiled_program(function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...]) -> None:
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    graph = capture(function, args).graph
    analysis = jax.jit(lower_graph(graph)).lower(args).compile().cost_analysis() or {}
    count = count_graph(graph)
    # How often cheap work is repeated differs from release to release.
    assert count.flops == pytest.approx(analysis["flops"], rel=0.3)
    assert count.bytes == pytest.approx(analysis["bytes accessed"], rel=0.4)
