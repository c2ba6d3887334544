# SPDX-License-Identifier: Apache-2.0
"""Rows read and added up by index: products go to the side with fewer rows, and scatters into zeros are sums by id."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.lower import lower_graph

NODES, EDGES, WIDE, THIN = 20, 300, 16, 4
RANDOM = np.random.default_rng(0)
H = jnp.asarray(RANDOM.standard_normal((NODES, WIDE)), jnp.float32)
E = jnp.asarray(RANDOM.standard_normal((EDGES, WIDE)), jnp.float32)
W = jnp.asarray(RANDOM.standard_normal((WIDE, WIDE)), jnp.float32)
V = jnp.asarray(RANDOM.standard_normal((WIDE, THIN)), jnp.float32)
S, T = (jnp.asarray(RANDOM.integers(0, NODES, EDGES)) for _ in range(2))
LAYER = 2 * NODES * WIDE * WIDE

# name: function, arguments, FLOP of the products and sums of the best form
PROGRAMS = {
    "a layer of read rows": (lambda h, w, s: h[s] @ w, (H, W, S), LAYER),
    "transposed": (lambda h, w, s: w.T @ h[s].T, (H, W, S), LAYER),
    "a layer of sums": (lambda e, w, t: jax.ops.segment_sum(e @ w, t, NODES), (E, W, T), EDGES * WIDE + LAYER),
    "at add": (lambda e, w, t: jnp.zeros((NODES, WIDE)).at[t].add(e @ w), (E, W, T), EDGES * WIDE + LAYER),
    "messages": (
        lambda h, w, s, t: jax.ops.segment_sum(h[s] @ w, t, NODES),
        (H, W, S, T),
        EDGES * WIDE + LAYER,
    ),
    "messages to fewer features": (
        lambda h, v, s, t: jax.ops.segment_sum(h[s], t, NODES) @ v,
        (H, V, S, T),
        EDGES * THIN + 2 * NODES * WIDE * THIN,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_products_are_of_fewer_rows(name):
    function, args, flops = PROGRAMS[name]
    result = egraph_opt.optimize(function, measure=False).plan(*args)
    extra = 6 * EDGES  # indices, negative ones counted from the end
    assert count_graph(result.after).flops <= 1.05 * flops + extra < count_graph(result.before).flops
    np.testing.assert_allclose(result(*args), function(*args), rtol=1e-4, atol=1e-4)


IDS = jnp.asarray([[0, 4, 9, -1], [2, 2, 5, 4]])
ROWS = jnp.arange(24.0).reshape(2, 4, 3)
SCATTERS = {
    "dropped": lambda x, i: jnp.zeros((5, 3)).at[i].add(x, mode="drop"),
    "clipped": lambda x, i: jnp.zeros((5, 3)).at[i].add(x, mode="clip"),
    "by segment": lambda x, i: jax.ops.segment_sum(x.reshape(8, 3), i.reshape(8), 5),
    "one feature": lambda x, i: jnp.zeros((5, 1)).at[i].add(x[..., :1]),
    "numbers": lambda x, i: jnp.zeros(5).at[i].add(x[..., 0]),
    "one row": lambda x, i: jax.ops.segment_sum(x.reshape(8, 3), i.reshape(8), 1),
    "gradient of a lookup": jax.grad(lambda x, i: jnp.sum(jnp.sin(x.reshape(8, 3)[i]))),
}


@pytest.mark.parametrize("name", SCATTERS)
def test_scatters_into_zeros_are_sums_by_id(name):
    graph = capture(SCATTERS[name], (ROWS, IDS)).graph
    assert "segment_sum" in {node.op for node in graph.nodes}
    np.testing.assert_array_equal(lower_graph(graph)([ROWS, IDS])[0], SCATTERS[name](ROWS, IDS))


@pytest.mark.parametrize(
    "program",
    [
        lambda x, i: jnp.ones((5, 3)).at[i].add(x),
        lambda x, i: jnp.zeros((5, 3)).at[i].max(x),
        lambda x, i: jnp.zeros((3, 9)).at[:, i].add(x.transpose(2, 0, 1)),
        lambda x, i: jnp.zeros((5, 5, 3)).at[i, i].add(x),
    ],
)
def test_other_scatters_stay(program):
    graph = capture(program, (ROWS, jnp.abs(IDS) % 5)).graph
    assert "segment_sum" not in {node.op for node in graph.nodes}
    np.testing.assert_array_equal(lower_graph(graph)([ROWS, jnp.abs(IDS) % 5])[0], program(ROWS, jnp.abs(IDS) % 5))
