# SPDX-License-Identifier: Apache-2.0
"""Parts of sorted tensors and of orders, and values read in their own order: the same, without a sort or a gather."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.reads import folded, narrowed, ordered

PARTS = {
    "first of a row": lambda x: jnp.sort(x, axis=1)[:, :3],
    "last of a column": lambda x: jnp.sort(x, axis=0)[-3:],
    "from the largest": lambda x: jnp.sort(x, axis=1)[:, ::-1][:, :2],
    "descending": lambda x: jnp.sort(x, axis=1, descending=True)[:, 1:3],
    "one in the middle": lambda x: jnp.sort(x, axis=1)[:, 3],
    "some rows": lambda x: jnp.sort(x, axis=1)[2:5, -3:-1],
    "places of the first": lambda x: jnp.argsort(x, axis=1)[:, :3],
    "places of the last": lambda x: jnp.argsort(x, axis=1)[:, -3:],
    "place of the last": lambda x: jnp.argsort(x, axis=0)[-1],
    "places from the largest": lambda x: jnp.argsort(-x, axis=0)[:3],
    "descending places": lambda x: jnp.argsort(x, axis=1, descending=True)[:, :3],
    "descending place": lambda x: jnp.argsort(x, axis=1, descending=True)[:, 0],
    "last of descending places": lambda x: jnp.argsort(x, axis=1, descending=True)[:, -2:],
    "the least by their places": lambda x: jnp.take_along_axis(x, jnp.argsort(x, axis=1)[:, :3], axis=1),
    "the largest by its place": lambda x: jnp.take_along_axis(x, jnp.argmax(x, axis=0, keepdims=True), axis=0),
}
ORDERS = {
    "by its own order": lambda x: x[jnp.argsort(x)],
    "backwards": lambda x: x[jnp.argsort(x)[::-1]],
    "by the order of its negative": lambda x: x[jnp.argsort(-x)],
    "descending": lambda x: x[jnp.argsort(x, descending=True)],
    "by the places of the largest": lambda x: x[lax.top_k(x, 4)[1]],
    "at the place of the least": lambda x: x[jnp.argmin(x)],
    "rows": lambda x: jnp.take_along_axis(x.reshape(6, 8), jnp.argsort(x.reshape(6, 8), axis=1), axis=1),
}
VALUES = np.random.default_rng(0).integers(-2, 3, 48).astype("float32")  # of many equal ones
VALUES[::7], VALUES[3::11] = -0.0, 0.5


def check(program, x):
    before = normalise(capture(program, (x,)).graph)
    after = narrowed(before, Numerics.REASSOCIATE)
    for change in (ordered, folded):
        after = normalise(change(after, Numerics.REASSOCIATE))
    want, (got,) = program(x), lower_graph(after)([x])
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    return {node.op for node in after}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", PARTS)
def test_the_first_and_last_few(name, dtype):
    used = check(PARTS[name], jnp.asarray(VALUES.reshape(6, 8), dtype))
    assert not {"sort", "gather"} & used


@pytest.mark.parametrize("name", ORDERS)
def test_values_in_their_own_order(name):
    assert not {"take", "gather", "dynamic_slice_in_dim"} & check(ORDERS[name], jnp.asarray(VALUES))


@pytest.mark.parametrize(
    "program",
    [
        lambda x: jnp.sort(x)[:30],
        lambda x: jnp.sort(x.astype("int32"))[:3],
        lambda x: jnp.argsort(x, stable=False)[:3],
        lambda x: (x + 1)[jnp.argsort(x)],
        lambda x: x[::-1][jnp.argsort(x)],
        lambda x: lax.sort((x, jnp.sin(x)), num_keys=1)[1][:3],
        lambda x: lax.sort((x, jnp.arange(48)), num_keys=2)[1][:3],
    ],
)
def test_other_orders_stay(program):
    assert "sort" in check(program, jnp.asarray(VALUES))


def test_the_largest_of_narrow_values_are_found_in_float32():
    x = jnp.asarray(VALUES, "bfloat16")
    graph = capture(lambda x: lax.top_k(x, 3), (x,)).graph
    after = folded(graph, Numerics.REASSOCIATE)
    (largest,) = (node for node in after.nodes if node.op == "top_k")
    assert after.nodes[largest.operands[0]].type.dtype == "float32"
    for got, want in zip(lower_graph(after)([x]), lax.top_k(x, 3), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
