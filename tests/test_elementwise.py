# SPDX-License-Identifier: Apache-2.0
"""Elementwise algebra and monotone reductions: what is left of programs, and what the default class must not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.cost.count import count_graph

RANDOM = np.random.default_rng(3)
SECONDS = 30.0


def positive(*shape: int, dtype: Any = jnp.float32) -> jax.Array:
    return jnp.asarray(RANDOM.uniform(0.5, 2.0, shape), dtype)


def planned(program: Callable[..., Any], *args: Any, numerics: str = "reassociate", cost: str | None = None) -> Any:
    result = egraph_opt.optimize(program, numerics=numerics, measure=False, budget=SECONDS, cost=cost).plan(*args)
    want, got = program(*args), result(*args)
    tolerance = 3e-2 if want.dtype == jnp.bfloat16 else 2e-5
    np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(want, np.float64), rtol=tolerance, atol=1e-6)
    return result


Program = Callable[..., Any]
CASES: dict[str, tuple[Program, Any, str, dict[str, int]]] = {
    "exponentials, broadcast": (
        lambda x, y: jnp.exp(x)[:, None] * jnp.exp(y), [(5,), (5, 7)], "reassociate", {"exp": 1}),
    "exponentials, contracted": (
        lambda x, y: jnp.sum(jnp.exp(y) * jnp.exp(x), 0), [(5, 7), (5, 7)], "reassociate", {"exp": 1}),
    "quotient of exponentials": (
        lambda x, y: jnp.exp(x) / jnp.exp(y), [(4, 3, 2), (4, 3, 2)], "reassociate", {"exp": 1, "div": 0}),
    "exponential undone": (
        lambda x, y: jnp.exp(x) * jnp.exp(y) * jnp.exp(-x), [(6, 2), (6, 2)], "finite",
        {"exp": 1, "add": 0}),
    "log of exp": (lambda x: jnp.log(jnp.exp(x.T) * 1.0) + x.T, [(4, 6)], "reassociate", {"exp": 0, "log": 0}),
    "log of a quotient": (
        lambda x, y: jnp.log(jnp.exp(x) / (y + jnp.exp(y))), [(4, 6), (4, 6)], "reassociate", {"div": 0}),
    "exp of logs": (lambda x, y: jnp.exp(jnp.log(y) + jnp.log(x)), [(3,), (3,)], "finite", {"exp": 0, "log": 0}),
    "logs of a ratio": (lambda x, y: jnp.log(x) - jnp.log(x * y), [(5,), (5,)], "finite", {"log": 1, "div": 0}),
    "logistic": (lambda x: 2 / (1 + jnp.exp(-x)) - 1, [(7, 3)], "reassociate", {}),
    "logistic of both signs": (
        lambda x: jax.nn.sigmoid(x) + jax.nn.sigmoid(-x), [(2, 3, 4)], "reassociate", {"logistic": 0}),
    "hyperbolic": (lambda x: jnp.sinh(x) / jnp.cosh(x), [(9,)], "reassociate", {"tanh": 1, "sinh": 0}),
    "circular": (lambda x: jnp.sin(x) / jnp.cos(x), [(9, 2)], "reassociate", {"tan": 1, "sin": 0}),
    "circle": (lambda x, y: (jnp.cos(x) ** 2 + jnp.sin(x) ** 2) * y, [(8,), (8,)], "finite", {"sin": 0, "cos": 0}),
    "circle, summed": (lambda x: jnp.sum(jnp.sin(x) ** 2 + jnp.cos(x) ** 2, 1), [(3, 4)], "finite", {"sin": 0}),
    "circle, among other terms": (
        lambda x, y: jnp.sin(x) ** 2 + y + jnp.cos(x) ** 2 - 2 * x, [(8,), (8,)], "finite", {"sin": 0, "cos": 0}),
    "logs, among other terms": (
        lambda x, y: jnp.log(x) + y + x * y - jnp.log(y), [(4, 3), (4, 3)], "finite", {"log": 1}),
    "exp of a long sum": (
        lambda x, y: jnp.exp(x + jnp.log(y) + x * y), [(4, 3), (4, 3)], "finite", {"log": 0, "exp": 1}),
    "root of a square": (lambda x: jnp.sqrt((x - 1) ** 2), [(5, 4)], "reassociate", {"sqrt": 0, "abs": 1}),
    "squares of roots": (lambda x, A: A @ (jnp.sqrt(x) * jnp.sqrt(x)), [(4,), (3, 4)], "finite", {"sqrt": 0}),
    "powers": (lambda x: x**3.0 - x**2.0 + x**0.5, [(3, 5)], "reassociate", {"pow": 0}),
    "power of a power": (lambda x: (x**2.5) ** 0.4 * x**0.5 * x**0.5, [(3, 5)], "finite", {"pow": 0}),
    "maximum of tanh": (lambda x: jnp.max(jnp.tanh(x), axis=(0, 2)), [(4, 5, 6)], "reassociate", {"tanh": 1}),
    "maximum of a transpose": (lambda x: jnp.max(3 * jnp.exp(x.T) + 1, 0), [(4, 60)], "reassociate", {}),
    "minimum of a falling function": (lambda x: jnp.min(5 - jax.nn.sigmoid(2 * x), 1), [(4, 60)], "reassociate", {}),
    "argmax of an increasing function": (
        lambda x: jnp.argmax(jnp.sinh(3 * x.T + 1), 1) * 1.0, [(7, 5)], "reassociate",
        {"sinh": 0, "add": 0, "argmax": 1}),
    "argmin of a falling function": (
        lambda x: jnp.argmin(-jnp.exp(x), 1) * 1.0, [(7, 5)], "reassociate", {"exp": 0, "argmin": 0, "argmax": 1}),
    "argmax of a function with ties": (  # many of its values round to 1
        lambda x: jnp.argmax(jnp.tanh(x), 1) * 1.0, [(7, 5)], "finite", {"tanh": 1}),
    "argmax where logarithms exist": (
        lambda x: jnp.argmax(jnp.log(x), 1) * 1.0, [(7, 5)], "finite", {"log": 0}),
    "argmax of a softmax": (
        lambda x: jnp.argmax(jax.nn.softmax(x, 0), 0) * 1.0, [(7, 5)], "reassociate", {"exp": 0, "div": 0}),
    "log of a softmax": (lambda x: jnp.log(jax.nn.softmax(x, 1)), [(4, 30, 5)], "reassociate", {"div": 0}),
    "normalised sum": (lambda x, v: jax.nn.softmax(x, -1) @ v, [(40, 30), (30,)], "reassociate", {}),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("name", CASES)
def test_what_is_left(name: str) -> None:
    program, shapes, numerics, counts = CASES[name]
    args = tuple(positive(*shape) for shape in shapes)
    result = planned(program, *args, numerics=numerics)
    found = result.after.op_counts()
    for op, count in counts.items():
        assert found.get(op, 0) == count, str(result.after)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("maximum of a transpose", 4),
        ("minimum of a falling function", 4 * 1.3),
        ("normalised sum", 40 * 30 + 40 * 0.5),
        ("log of a softmax", 4 * 30 * 5 + 4 * 5),
        ("logistic", 7 * 3 * 1.3),
    ],
)
def test_functions_are_evaluated_on_fewer_elements(name: str, most: float) -> None:
    program, shapes, numerics, _ = CASES[name]
    result = planned(program, *(positive(*shape) for shape in shapes), numerics=numerics, cost="flops")
    assert count_graph(result.after).transcendentals <= most * 1.001, str(result.after)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_narrow_types(dtype: Any) -> None:
    x = positive(6, 5, dtype=dtype)
    result = planned(lambda x: jnp.max(jnp.exp(x), 1) + 0 * x[:, 0], x, cost="flops")
    assert count_graph(result.after).transcendentals <= 6


@pytest.mark.parametrize(
    ("program", "most"),
    [
        (lambda z, x: (z @ z).conj().T @ x, 2),
        (lambda z, x: jnp.conj(z.conj() @ x + (z @ z).conj().sum(0)), 1),
        (lambda z, x: jnp.real(jnp.conj(z @ z @ x)) + jnp.real(x), 0),
    ],
)
def test_conjugates_do_not_keep_products_apart(program: Program, most: int) -> None:
    z, x = (jax.lax.complex(positive(*shape), positive(*shape) - 1) for shape in ((24, 24), (24,)))
    result = egraph_opt.optimize(program, measure=False, budget=SECONDS, cost="flops").plan(z, x)
    np.testing.assert_allclose(result(z, x), program(z, x), rtol=1e-3, atol=1e-3)
    assert count_graph(result.after).flops <= 4.5 * 2 * 4 * 24 * 24, result.after
    assert result.after.op_counts()["conj"] <= most


def test_complex_numbers_keep_their_branches() -> None:
    z = jnp.asarray([1 + 5j, -2 - 4j], jnp.complex64)
    for program in (lambda z: jnp.log(jnp.exp(z)), lambda z: jnp.sqrt(z * z), lambda z: (z**2.0) ** 0.5):
        result = egraph_opt.optimize(program, measure=False, numerics="finite", budget=SECONDS).plan(z)
        np.testing.assert_allclose(result(z), program(z), rtol=1e-5)


BIG = jnp.asarray([-200.0, -88.0, -3.0, -1.0, -1e-3, 1e-3, 0.5, 3.0, 80.0, 200.0, 1e19], jnp.float32)
"""Exponentials, squares and products of these overflow, vanish, or have no logarithm."""

DEFAULT: list[Program] = [
    lambda x, y: jnp.exp(jnp.log(x)) + y,
    lambda x, y: jnp.sqrt(x) * jnp.sqrt(x) + y,
    lambda x, y: jnp.log(x * x + 1) + jnp.log(y * y + 1),
    lambda x, y: (x**0.5) ** 2.0 + y,
    lambda x, y: x**-1.0 * x + y,
    lambda x, y: jnp.exp(x) / jnp.exp(y),
    lambda x, y: jnp.max(jnp.log(jnp.abs(x)) * y, keepdims=True) + x,
    lambda x, y: x**2.0 * y**-2.0,
    lambda x, y: 1 / (1 + jnp.exp(x)) * y,
]


@pytest.mark.parametrize("number", range(len(DEFAULT)))
def test_default_class_loses_no_finite_result(number: int) -> None:
    program = DEFAULT[number]
    x, y = (v.ravel() for v in jnp.meshgrid(BIG, BIG))
    result = egraph_opt.optimize(program, measure=False, verify=False, budget=SECONDS).plan(x, y)
    want, got = np.asarray(program(x, y)), np.asarray(result(x, y))
    assert np.isfinite(got)[np.isfinite(want)].all(), str(result.after)
    assert np.isnan(want)[np.isnan(got)].all(), str(result.after)


def test_empty_axes_have_no_maximum_to_move() -> None:
    def program(x: jax.Array) -> jax.Array:
        return jnp.max(jnp.exp(x), 1, initial=-jnp.inf)

    x = jnp.zeros((3, 0))
    result = egraph_opt.optimize(program, measure=False, budget=SECONDS).plan(x)
    np.testing.assert_array_equal(result(x), program(x))
