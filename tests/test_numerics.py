# SPDX-License-Identifier: Apache-2.0
"""What the classes of numerics promise, one case for each way in which it was or could be broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import RuleSet
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.search import SearchOptions, search

NAN, INF = np.nan, np.inf
f32, f16 = np.float32, np.float16


def programs(function: Callable[..., Any], arguments: list[Any], numerics: Numerics) -> list[Graph]:
    """The captured program, its normal form, and what a search finds."""
    graph = capture(function, arguments, numerics=numerics).graph
    rules = RuleSet.shipped().admitted(numerics)
    found = search(graph, SearchOptions(rules, numerics, 1.0, cost_model("flops", "cpu")))
    return [graph, normalise(graph, numerics), *(c.graph for c in found.candidates)]


def bits(value: Any) -> Any:
    """Bits of an array, with one NaN."""
    value = np.asarray(value)
    if value.dtype.kind == "c":
        return bits(value.real).tolist(), bits(value.imag).tolist()
    value = np.where(np.isnan(value), np.asarray(NAN, value.dtype), value) if value.dtype.kind == "f" else value
    return value.view(f"u{value.dtype.itemsize}")


EXACT: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "sum of three, in the order written": (
        lambda x, y, z: z + (x + y),
        [f32([1e8, 1]), f32([-1e8, INF]), f32([1.0, -INF])],
    ),
    "zeros beside a diagonal times NaN": (lambda x, y: jnp.diag(x) @ y, [f32([1, 0, 2]), f32([NAN, 1, INF])]),
    "minus the zeros beside a diagonal": (lambda x: -jnp.diag(x), [f32([1, -0.0, 2])]),
    "a constant summed over a product": (lambda x: jnp.dot(x, jnp.zeros(4)), [f32([1, -3, -1, 2])]),
    "an infinite constant": (lambda x: jnp.dot(x, jnp.full(3, INF)), [f32([1, -3, 2])]),
    "a negated factor": (lambda x, y: (-x) @ y, [f32([0, 0]), f32([1, 2])]),
    "a negated sum": (lambda x: jnp.sum(-x), [f32([0, 0])]),
    "a multiple summed": (lambda x: jnp.sum(3 * x), [f32([1e38, 1e38, -2e38])]),
    "two factors": (lambda x: (x * 1e30) * 1e30, [f32([1e-38, 1, 0])]),
    "a complex number doubled": (lambda x: x + x, [np.complex64([complex(INF, 1), complex(0, NAN)])]),
    "a difference with itself": (lambda x, y: x - x + y, [f32([NAN, INF, 1]), f32([1, 1, -0.0])]),
    "zero times": (lambda x: x * 0.0, [f32([NAN, INF, -1])]),
    "a sum with zero": (lambda x: x + 0.0, [f32([-0.0, 1])]),
    "a masked value": (lambda x: jnp.where(jnp.eye(2, dtype=bool), x, 0), [f32([[NAN, INF], [-0.0, -1]])]),
    "times the identity": (lambda x: jnp.eye(2) * x, [f32([[NAN, INF], [-0.0, -1]])]),
    "a broadcast summed": (lambda x: jnp.sum(jnp.broadcast_to(x, (3, 2)), 0), [f32([1.1, 2e38])]),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_changes_no_bit(name: str) -> None:
    function, arguments = EXACT[name]
    want = bits(function(*map(jnp.asarray, arguments)))  # compiled, XLA itself merges factors
    for graph in programs(function, arguments, Numerics.EXACT):
        (got,) = lower_graph(graph)(arguments)
        np.testing.assert_array_equal(bits(got), want, err_msg=str(graph))


REASSOCIATE: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "factors whose product overflows": (lambda x: (x * 1e30) * 1e30, [f32([1e-35, -2e-30, 0])]),
    "factors whose product vanishes": (lambda x: (x * 1e-30) * 1e-30, [f32([1e38, -1e36, 0])]),
    "factors that take turns": (lambda x: ((x * 1e30) * 1e-30) * 1e30, [f32([1e-28, 1, 0])]),
    "narrow factors whose product vanishes": (lambda x: (x * f16(1e-2)) * f16(1e-3), [f16([6e4, -3e4, 0])]),
    "a narrow size": (lambda x: jnp.sum(jnp.broadcast_to(x, (100_000, 2)), 0), [f16([0.1, -0.5])]),
    "a narrow size and its inverse": (lambda x: jnp.mean(jnp.broadcast_to(x, (70_000, 2)), 0), [f16([1.0, -3.0])]),
    "multiples in a sum": (
        lambda x, y: ((x * 1e30) * 1e30 + y) * 0.5 - y,
        [f32([1e-35, -2e-30, 0]), f32([1, 2, 3])],
    ),
    "NaN in a difference": (lambda x, y: x - x + y, [f32([NAN, INF, 1]), f32([1, 1, 1])]),
    "NaN in a difference of products": (
        lambda A, B, x: (A @ B) @ x - A @ (B @ x) + x,
        [np.eye(2, dtype=f32), np.ones((2, 2), f32), f32([NAN, 1])],
    ),
    "a tiny multiple and its reader": (lambda x, y: (x * 2.0**-120, (x * y) * 3.0), [f32([1e-20]), f32([1e10])]),
    "a huge multiple and its reader": (lambda x, y: (x * 2.0**120, (x * y) * 3.0), [f32([1e10]), f32([1e10])]),
    "narrow integers that wrap": (
        lambda x, y: (x * 100 + y * 100) * 3 - y * 44,
        [np.int8([1, -77, 127]), np.int8([5, 99, -128])],
    ),
    "unsigned differences": (lambda x, y: (x - y) * 3 - x, [np.uint8([1, 200]), np.uint8([7, 3])]),
    "integers, many factors": (lambda x: x * 2**30 * 2**30 * 2**30 + x, [np.int32([1, -5])]),
}


@pytest.mark.parametrize("name", REASSOCIATE)
def test_reassociate_keeps_finite_and_other_values(name: str) -> None:
    function, arguments = REASSOCIATE[name]
    want = jax.tree.leaves(function(*map(jnp.asarray, arguments)))
    tolerance = 5e-3 if arguments[0].dtype == np.float16 else 1e-5
    for graph in programs(function, arguments, Numerics.REASSOCIATE):
        for w, g in zip(want, lower_graph(graph)(arguments), strict=True):
            np.testing.assert_allclose(g, w, rtol=tolerance, err_msg=str(graph))


def test_settings_of_jax_belong_to_the_plan() -> None:
    def function(x: Any) -> Any:
        return x + jnp.arange(3).astype(float)

    optimized = egraph_opt.optimize(function, measure=False)
    x = jnp.ones(3, jnp.float32)
    assert optimized(x).dtype == np.float32
    with jax.enable_x64(True):
        assert optimized(x).dtype == jax.jit(function)(x).dtype == np.float64
    assert optimized(x).dtype == np.float32


def test_precision_of_products_belongs_to_the_plan() -> None:
    optimized = egraph_opt.optimize(lambda x, y: jnp.tanh(x @ y) @ y, measure=False)
    x = jnp.ones((3, 3))
    assert "HIGHEST" not in optimized.lower(x, x).as_text()
    with jax.default_matmul_precision("highest"):
        assert "HIGHEST" in optimized.lower(x, x).as_text()
