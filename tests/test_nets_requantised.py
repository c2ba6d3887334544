# SPDX-License-Identifier: Apache-2.0
"""Rounding of what was dequantised: left out where it changes nothing, through layouts and pools; else kept."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.nets.requantised import requantised
from egraph_opt.normalise import normalise

SCALE, ZERO = np.float32(0.0437), 3
SHAPE = (4, 6, 8)


def q(x: Any, scale: Any = SCALE, zero: int = ZERO, dtype: Any = jnp.int8) -> Any:
    info = jnp.iinfo(dtype)
    return jnp.clip(jnp.round(x / scale) + zero, info.min, info.max).astype(dtype)


def dq(x: Any, scale: Any = SCALE, zero: int = ZERO) -> Any:
    return (x.astype(jnp.int32) - zero).astype(jnp.float32) * scale


def again(x: Any, scale: Any = SCALE, zero: int = ZERO, dtype: Any = jnp.int8) -> Any:
    return dq(q(x, scale, zero, dtype), scale, zero)


def pooled(x: Any, pad: int = 0) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2), (1, 2, 2), ((0, 0), (pad, pad), (pad, pad)))


def rounds(graph: Graph) -> int:
    return sum(node.op == "round" for node in graph.nodes)


def both(function: Callable[..., Any], *args: Any) -> tuple[Graph, Graph]:
    """The program before and after; what they give is equal to the last bit."""
    graph = normalise(capture(function, args, {}, fold_constants=True).graph)
    new = normalise(requantised(graph), Numerics.EXACT)
    leaves = [*args, *(np.zeros(t.shape, t.dtype) for t in graph.input_types[len(args) :])]
    for a, b in zip(*(jax.jit(lower_graph(g))(leaves) for g in (graph, new)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return graph, new


X = jnp.asarray(np.random.default_rng(0).standard_normal(SHAPE) * 4, jnp.float32).at[0, 0, 0].set(jnp.inf)
SAME: list[Callable[..., Any]] = [
    lambda x: again(again(x)),
    lambda x: again(again(x).transpose(2, 0, 1)),
    lambda x: again(again(x).reshape(24, 8)),
    lambda x: again(again(x)[1:, ::2]),
    lambda x: again(again(x)[::-1]),
    lambda x: again(jnp.concatenate([again(x), again(2 * x)], 1)),
    lambda x: again(pooled(again(x))),
    lambda x: again(pooled(again(x), 1)),
    lambda x: again(again(x).max(-1)),
    lambda x: again(jax.nn.relu(again(x))),
    lambda x: again(jnp.clip(again(x), 0, dq(jnp.int8(100)))),
    lambda x: again(jnp.repeat(again(x)[..., None], 2, -1).reshape(4, 6, 16)),
    lambda x: again(again(x, SCALE, 128, jnp.uint8).swapaxes(0, 1), SCALE, 128, jnp.uint8),
    lambda x: again(again(x), SCALE, 5),  # whole numbers are moved and cut, no more
    lambda x: again(again(x), SCALE, 128, jnp.uint8),
    lambda x: dq(q(again(x).reshape(-1), SCALE / 2, 0, jnp.int16), SCALE / 2, 0),
]


@pytest.mark.parametrize("number", range(len(SAME)))
def test_rounding_again_is_left_out(number: int) -> None:
    before, after = both(SAME[number], X)
    assert rounds(before) > rounds(after)
    assert rounds(after) == (2 if number == 5 else 1)


OTHER: list[Callable[..., Any]] = [
    lambda x: again(again(x), 2 * SCALE),
    lambda x: again(again(x), SCALE * np.float32(1.01)),
    lambda x: again(again(x) + again(2 * x)),
    lambda x: again(again(x).mean(-1)),
    lambda x: again(again(x) * np.float32(1.004)),
    lambda x: again(again(x) + SCALE / 2),
    lambda x: again(jnp.maximum(again(x), SCALE / 3)),
    lambda x: again(jnp.tanh(again(x))),
    lambda x: again(jnp.pad(again(x), ((0, 0), (1, 1), (0, 0)), constant_values=0.3)),
    lambda x: again(jnp.concatenate([again(x), again(x, SCALE / 2)], 0)),
    lambda x: again(pooled(again(x), 2)),
]


@pytest.mark.parametrize("number", range(len(OTHER)))
def test_rounding_that_changes_something_stays(number: int) -> None:
    before, after = both(OTHER[number], X)
    assert rounds(before) == rounds(after)


def test_narrow_numbers_that_are_dequantised_and_quantised_are_what_they_were() -> None:
    x = jnp.asarray(np.arange(-128, 128).reshape(16, 16), jnp.int8)
    assert rounds(both(lambda x: q(dq(x)), x)[1]) == 0
    assert rounds(both(lambda x: q(dq(x, SCALE, 0), SCALE, 1), x)[1]) == 0  # moved by one
    assert rounds(both(lambda x: x + jnp.int8(3) + q(dq(x)), x)[1]) == 0


def test_a_program_tells_of_it() -> None:
    run = egraph_opt.optimize(SAME[6], measure=False, numerics="exact")
    report = run.plan(X).report
    assert report.rules_fired["requantise"] == 1
    np.testing.assert_array_equal(run(X), jax.jit(SAME[6])(X))


def test_effects_stay_where_they_are() -> None:
    def printed(x: Any) -> Any:
        y = again(x)
        jax.debug.callback(seen.append, y[0, 0, 1])
        return again(y)

    seen: list[Any] = []
    graph = normalise(capture(printed, (X,), {}).graph)
    new = requantised(graph)
    assert rounds(new) < rounds(graph)
    jax.block_until_ready(jax.jit(lower_graph(new))([X]))
    jax.effects_barrier()
    assert len(seen) == 1
