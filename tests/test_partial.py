# SPDX-License-Identifier: Apache-2.0
"""Programs of which only a part of a result is read: counted FLOP of the part, and the values of the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt import optimize
from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount, count_graph
from egraph_opt.engine import RuleSet
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.lower.python import to_python
from egraph_opt.search import SearchOptions, search

N = 48
Program = Callable[..., Any]

# name: function, number of matrices, FLOP of the best form
PROGRAMS: dict[str, tuple[Program, int, float]] = {
    "a row": (lambda a, b: (a @ b)[3], 2, 2 * N * N),
    "rows": (lambda a, b: (a @ b)[3:9], 2, 12 * N * N),
    "rows with a stride": (lambda a, b: (a @ b)[::2], 2, N**3),
    "an element": (lambda a, b: (a @ b)[3, 4], 2, 2 * N),
    "a block": (lambda a, b: (a @ b)[3:7, 10:20], 2, 80 * N),
    "a column of a chain": (lambda a, b, c: (a @ b @ c)[:, 4], 3, 4 * N * N),
    "a row of a transposed product": (lambda a, b: (a.T @ b).T[5], 2, 2 * N * N),
    "one product of a batch": (lambda a, b: (a.reshape(4, 12, N) @ b)[2], 2, 24 * N * N),
    "a row of a sum": (lambda a, b, c: (a @ b + c)[3], 3, 2 * N * N + N),
    "rows of joined matrices": (lambda a, b, c: (jnp.concatenate([a, b]) @ c)[3:25], 3, 44 * N * N),
    "rows over the seam": (lambda a, b, c: (jnp.concatenate([a, b]) @ c)[N - 2 : N + 2], 3, 8 * N * N),
    "maxima of some rows": (lambda a, b: jnp.max(a @ b, axis=1)[3:6], 2, 6 * N * N + 3 * N),
    "arguments of some rows": (lambda a, b: jnp.argmax(a @ b, axis=1)[:2], 2, 4 * N * N + 2 * N),
    "the last of a cumulative sum": (lambda a, b: jnp.cumsum(a @ b, axis=0)[-1], 2, 3 * N * N),
    "the first of a cumulative sum": (lambda a, b: jnp.cumsum(a @ b, axis=0)[:2], 2, 4 * N * N + 2 * N),
    "a part of a reshaped product": (lambda a, b: (a @ b).reshape(N, 6, -1)[4], 2, 2 * N * N),
    "the end of a reversed product": (lambda a, b: (a @ b)[::-1][:5], 2, 10 * N * N),
    "one of the split parts": (lambda a, b: jnp.split(a @ b, 4, axis=1)[2], 2, N**3 / 2),
    "a slice of a slice": (lambda a, b: (a @ b)[4:20][3:5], 2, 4 * N * N),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_only_what_is_read_is_computed(name: str) -> None:
    function, count, want = PROGRAMS[name]
    random = np.random.default_rng(0)
    matrices = [jnp.asarray(random.standard_normal((N, N)), jnp.float32) for _ in range(count)]
    graph = capture(function, matrices).graph
    rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    found = search(graph, SearchOptions(rules, Numerics.REASSOCIATE, 2.0, FlopCount())).candidates[0]
    assert count_graph(found.graph).flops <= 1.02 * want < count_graph(graph).flops
    (value,) = jax.jit(lower_graph(found.graph))(matrices)
    np.testing.assert_allclose(value, function(*matrices), rtol=1e-4, atol=1e-4)


ONE, MANY = np.int32(7), np.array([3, 40, 3, 11, 47], np.int32)

# name: function of two or three matrices, index arguments, FLOP of the best form
COMPUTED: dict[str, tuple[Program, int, list[Any], float]] = {
    "a row": (lambda a, b, i: (a @ b)[i], 2, [ONE], 2 * N * N),
    "a column": (lambda a, b, i: (a @ b)[:, i], 2, [ONE], 2 * N * N),
    "an element": (lambda a, b, i: (a @ b)[i, i], 2, [ONE], 2 * N),
    "rows from": (lambda a, b, i: jax.lax.dynamic_slice_in_dim(a @ b, i, 5, 0), 2, [ONE], 10 * N * N),
    "a row of a sum": (lambda a, b, c, i: (a @ b + 2 * c)[i], 3, [ONE], 2 * N * N + 2 * N),
    "a row of a chain": (lambda a, b, c, i: (a @ b @ c)[i], 3, [ONE], 4 * N * N),
    "the maximum of a row": (lambda a, b, i: jnp.max(a @ b, axis=1)[i], 2, [ONE], 2 * N * N + N),
    "rows": (lambda a, b, j: (a @ b)[j], 2, [MANY], 10 * N * N),
    "columns": (lambda a, b, j: (a @ b)[:, j], 2, [MANY], 10 * N * N),
    "rows by take": (lambda a, b, j: jnp.take(a @ b, j, axis=0), 2, [MANY], 10 * N * N),
    "a block": (lambda a, b, j: (a @ b)[j][:, j], 2, [MANY], 50 * N),
    "rows of an elementwise product": (lambda a, b, j: (a * b)[j], 2, [MANY], 5 * N),
    "maxima of rows": (lambda a, b, j: jnp.max(a @ b, axis=1)[j], 2, [MANY], 10 * N * N + 5 * N),
    "a batch of rows": (lambda a, b, i: jax.vmap(lambda k: (a @ b)[k])(i), 2, [MANY], 10 * N * N),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("name", COMPUTED)
def test_computed_places(name: str) -> None:
    function, count, indices, want = COMPUTED[name]
    random = np.random.default_rng(0)
    arguments = [jnp.asarray(random.standard_normal((N, N)), jnp.float32) for _ in range(count)]
    arguments += map(jnp.asarray, indices)
    graph = capture(function, arguments).graph
    rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    found = search(graph, SearchOptions(rules, Numerics.REASSOCIATE, 2.0, FlopCount())).candidates[0]
    assert count_graph(found.graph).flops <= 1.02 * want + 40 < count_graph(graph).flops
    (value,) = jax.jit(lower_graph(found.graph))(arguments)
    np.testing.assert_allclose(value, function(*arguments), rtol=1e-4, atol=1e-4)


def test_places_out_of_bounds() -> None:
    """Indices are clamped or filled as the original does it."""
    a, b = jnp.asarray(np.random.default_rng(0).standard_normal((2, N, N)), jnp.float32)
    j = jnp.asarray([0, N, -1, -N - 3, 5], jnp.int32)
    for function in (
        lambda a, b, j: jnp.take(a @ b, j, axis=0),
        lambda a, b, j: jnp.take(a @ b, j, axis=1, mode="clip"),
        lambda a, b, j: jnp.take(a @ b, j, axis=0, mode="fill", fill_value=7.0),
        lambda a, b, j: (a @ b)[j],
        lambda a, b, j: jax.lax.dynamic_slice_in_dim(a @ b, j[1], 3, 1),
        lambda a, b, j: (a @ b)[j[3]],
    ):
        graph = capture(function, [a, b, j]).graph
        rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
        found = search(graph, SearchOptions(rules, Numerics.REASSOCIATE, 2.0, FlopCount())).candidates[0]
        source: dict[str, Any] = {}
        exec(to_python(found.graph, "again"), source)
        for run in (lambda *args, f=found: lower_graph(f.graph)(args)[0], source["again"]):
            np.testing.assert_allclose(run(a, b, j), function(a, b, j), rtol=1e-4, atol=1e-4)


def test_ends_of_sorted_tensors() -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal(500), jnp.float32)
    for function in (lambda x: jnp.sort(x)[-1], lambda x: jnp.sort(x)[0]):
        graph = capture(function, [x]).graph
        rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
        found = search(graph, SearchOptions(rules, Numerics.REASSOCIATE, 2.0, FlopCount())).candidates[0]
        assert found.fired["read-fold"] == 1
        np.testing.assert_array_equal(lower_graph(found.graph)([x])[0], function(x))


def test_numbers_filled_in_do_not_meet_the_zeros_around_a_diagonal() -> None:
    """``diag(x)[i]`` beyond the end is NaN as a whole, of ``diag(x[i])`` only the diagonal would be."""
    x, i = jnp.ones((2, 3)), jnp.asarray([0, 5, 1])

    def read(x: jax.Array, i: jax.Array) -> jax.Array:
        return jnp.take(jax.vmap(jnp.diag)(x), i, axis=0)

    result = optimize(read, measure=False, verify=False).plan(x, i)
    np.testing.assert_array_equal(result(x, i), read(x, i))
    assert result.why_not("take-of-einsum").verdict == "condition"
