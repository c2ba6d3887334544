# SPDX-License-Identifier: Apache-2.0
"""Single elements of products are computed of rows and columns, at whatever places, and are NaN where they were."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.reads import picked

N, K, P = 20, 7, 5
RANDOM = np.random.default_rng(0)
A, B = (jnp.asarray(RANDOM.standard_normal(shape), jnp.float32) for shape in ((N, K), (K, N)))
T, U = (jnp.asarray(RANDOM.standard_normal((3, *shape)), jnp.float32) for shape in ((N, K), (K, N)))
ROWS, COLUMNS = (jnp.asarray(RANDOM.integers(-N, N, P), jnp.int32) for _ in range(2))
IS, JS = (jnp.asarray(RANDOM.integers(0, N, (3, P)), jnp.int32) for _ in range(2))
OUT = jnp.asarray(RANDOM.integers(-N, 2 * N, (2, P)), jnp.int32)
ONE = 2 * K
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "pairs": (lambda a, b, i, j: (a @ b)[i, j], (A, B, ROWS, COLUMNS), ONE * P),
    "grid": (lambda a, b, i, j: (a @ b)[i[:, None], j], (A, B, ROWS, COLUMNS), ONE * P * P),
    "turned": (lambda a, b, i, j: (b.T @ a.T)[i, j] / 3, (A, B, ROWS, COLUMNS), ONE * P),
    "window": (lambda t, b, i, j: (t @ b)[:, i, j], (T, B, ROWS, COLUMNS), 3 * ONE * P),
    "along rows": (lambda a, b, i: jnp.take_along_axis(a @ b, i[:, None] + jnp.zeros((1, 2), jnp.int32), 1),
                   (A, B, OUT.reshape(-1).repeat(2)), 2 * N * ONE),
    "along columns": (lambda a, b, i: jnp.take_along_axis(a @ b, i, 0), (A, B, IS[:1].repeat(4, 1)), N * ONE),
    "vmapped": (jax.vmap(lambda t, u, i, j: (t @ u)[i, j]), (T, U, IS, JS), 3 * P * ONE),
    "vmapped, one shared": (jax.vmap(lambda t, b, i, j: (t @ b)[i, j], (0, None, 0, 0)), (T, B, IS, JS), 3 * P * ONE),
    "vmapped, one pair": (jax.vmap(lambda t, u, i, j: (t @ u)[i, j]), (T, U, IS[:, 0], JS[:, 0]), 3 * ONE),
    "filled": (lambda a, b, i: (a @ b).at[i[0], i[1]].get(mode="fill"), (A, B, OUT), ONE * P),
    "clipped": (lambda a, b, i: (a @ b).at[i[0], i[1]].get(mode="clip"), (A, B, OUT), ONE * P),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_elements_of_products(name: str) -> None:
    function, args, wanted = PROGRAMS[name]
    graph = normalise(capture(function, args).graph)
    found = normalise(picked(graph, Numerics.REASSOCIATE))
    assert count_graph(found).flops <= wanted + 40 * P, found
    np.testing.assert_allclose(lower_graph(found)(list(args))[0], function(*args), rtol=1e-5, atol=1e-5)


def test_what_is_read_elsewhere_stays() -> None:
    def function(a: Any, b: Any, i: Any, j: Any) -> Any:
        product = a @ b
        return product[i, j], product

    graph = normalise(capture(function, (A, B, ROWS, COLUMNS)).graph)
    assert picked(graph, Numerics.REASSOCIATE) is graph
    result = egraph_opt.optimize(lambda a, b, i, j: (a @ b)[i, j], measure=False).plan(
        A[:2], B[:, :2], OUT % 2, OUT % 2
    )
    assert "gather" in result.after.op_counts(), "most elements are read, many of them several times"
