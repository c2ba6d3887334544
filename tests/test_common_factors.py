# SPDX-License-Identifier: Apache-2.0
"""Common factors of sums of elementwise products: what is taken out, what is left, and that values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.adjoint import factored
from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount, count_graph
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise

N = 32
X, Y, Z = (np.random.default_rng(seed).normal(size=(N, N)) for seed in range(3))
U = np.random.default_rng(3).normal(size=N)


def form(function: Callable[..., Any], *args: Any) -> tuple[Graph, Graph]:
    """The program and its other form; both give the same values in double precision."""
    with jax.enable_x64(True):
        graph = normalise(capture(function, args, {}).graph)
        other = factored(graph, Numerics.REASSOCIATE, FlopCount().node_cost)
        for want, got in zip(lower_graph(graph)(args), lower_graph(other)(args), strict=True):
            assert np.allclose(want, got, rtol=1e-12, atol=1e-12)
    return graph, other


@pytest.mark.parametrize(
    ("program", "args", "operations"),
    [
        (lambda x, y, z: x * y + x * z, (X, Y, Z), 2),
        (lambda x, y: 2 * x + x * y, (X, Y), 2),
        (lambda x, y, z: x * y * z + y * x + z * x, (X, Y, Z), 4),
        (lambda x, y: x * (1 - y) - x - y * x, (X, Y), 2),
        (lambda x, y, u: x * u * y + x * u[:, None] * y, (X, Y, U), 3),
        (lambda x, y: 3 * x.T * y - 3 * y, (X, Y), 3),
        (lambda x, y, z: (x + 1) * z + (x + 1) * y, (X, Y, Z), 3),
        (lambda x, y: jnp.tanh(x) * y + jnp.tanh(x), (X, Y), 2),
    ],
)
def test_factors_are_taken_out(program: Callable[..., Any], args: tuple[Any, ...], operations: int) -> None:
    graph, other = form(program, *args)
    assert count_graph(other).flops <= count_graph(graph).flops
    assert count_graph(other).flops <= (operations + 0.2) * N * N


@pytest.mark.parametrize(
    ("program", "args"),
    [
        (lambda x, y, z: x * y + z, (X, Y, Z)),
        (lambda x, y, z: (x * y + x * z, x * y, x * z), (X, Y, Z)),
        (lambda x, y: (1 - x) * (1 + x) * y, (X, Y)),
        (lambda x: (1 - x) + x * (1 - x), (X,)),
        (lambda x, y: x @ y + x, (X, Y)),
    ],
)
def test_what_gains_nothing_is_left(program: Callable[..., Any], args: tuple[Any, ...]) -> None:
    graph, other = form(program, *args)
    assert other is graph


def test_terms_that_cancel_are_left() -> None:
    """``x - x`` is zero for finite x only."""
    graph, other = form(lambda x, y: (x * y + x) - x * (y + 1), X, Y)
    assert sum(node.op == "add" for node in other.nodes) == sum(node.op == "add" for node in graph.nodes)


def test_exact_programs_are_left() -> None:
    graph = normalise(capture(lambda x, y, z: x * y + x * z, (X, Y, Z), {}).graph, Numerics.EXACT)
    assert factored(graph, Numerics.EXACT, FlopCount().node_cost) is graph
