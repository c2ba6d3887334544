# SPDX-License-Identifier: Apache-2.0
"""Matrices that are put together of blocks are not formed for a product with a vector."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt import optimize
from egraph_opt.ir import Graph


def drawn(*shapes: tuple[int, ...]) -> list[Any]:
    return [jnp.asarray(np.random.default_rng(i).normal(size=s), "float32") for i, s in enumerate(shapes)]


def matrices_joined(graph: Graph) -> int:
    return sum(node.op == "concatenate" and node.type.size > N * N for node in graph.nodes)


def normal(A: Any, B: Any, x: Any) -> Any:
    stacked = jnp.vstack([A, B])
    return stacked.T @ (stacked @ x)


N = 256
CASES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "two by two": (lambda A, B, C, D, x: jnp.block([[A, B], [C, D]]) @ x, [(N, N)] * 4 + [(2 * N,)]),
    "three": (lambda A, B, C, x: jnp.vstack([A, B, C]) @ x, [(N, N), (7, N), (2 * N, N), (N,)]),
    "four, from the left": (lambda A, B, C, D, x: x @ jnp.hstack([A, B, C, D]), [(N, N)] * 4 + [(N,)]),
    "both ways": (normal, [(N, N), (N, N), (N,)]),
    "a batch": (lambda A, B, x: jnp.einsum("bij,bj->bi", jnp.concatenate([A, B], 1), x), [(3, N, N)] * 2 + [(3, N)]),
}


@pytest.mark.parametrize("case", CASES)
def test_not_formed(case: str) -> None:
    function, shapes = CASES[case]
    args = drawn(*shapes)
    result = optimize(function, measure=False).plan(*args)
    assert matrices_joined(result.before) > matrices_joined(result.after) == 0
    np.testing.assert_allclose(result(*args), function(*args), rtol=1e-4, atol=1e-3)


def test_formed_for_a_matrix() -> None:
    """The product would be cut into pieces, for less than it takes."""
    args = drawn((N, N), (N, N), (N, N))
    result = optimize(lambda A, B, X: jnp.vstack([A, B]) @ X, measure=False, verify=False).plan(*args)
    assert "thin-product-of-joined-left" not in result.report.rules_fired
