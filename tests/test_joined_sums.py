# SPDX-License-Identifier: Apache-2.0
"""Sums of inner products become one inner product where that is a loop and a sum less, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.ir import Graph, Spec
from egraph_opt.lower import lower_graph
from egraph_opt.lower.joined_sums import joined

SHAPE = (12, 7)


def sums(graph: Graph) -> int:
    """Einsums that sum."""
    return sum(node.op == "einsum" and bool(Spec.parse(node.attr("spec")).summed) for node in graph.nodes)


def of(function, dtype="float32", count=4):
    args = [jnp.asarray(np.random.default_rng(i).standard_normal(SHAPE), dtype) for i in range(count)]
    return capture(function, args).graph, args


def row(x, y):
    return jnp.sum(x * y, 1)


FORMS = {
    "two products": (lambda a, b, c, d: row(jnp.tanh(a), b * c) + row(jnp.exp(b), d), 1),
    "signs and factors": (lambda a, b, c, d: -row(jnp.tanh(a), b) + 3 * row(jnp.sin(c), d) - row(jnp.cos(d), a), 1),
    "a plain sum": (lambda a, b, c, d: jnp.sum(jnp.tanh(a * b), 1) + row(jnp.exp(c), d), 1),
    "others stay": (lambda a, b, c, d: row(jnp.tanh(a), b) + a[:, 0] + row(jnp.exp(c), d), 1),
    "two kinds": (
        lambda a, b, c, d: jnp.sum(row(jnp.tanh(a), b)) + jnp.sum(jnp.exp(c) * d) + jnp.sum(jnp.sin(d) * b),
        3,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_joined(form: str) -> None:
    function, left = FORMS[form]
    graph, args = of(function)
    better = joined(graph)
    assert sums(graph) > sums(better) == left
    assert better.output_types == graph.output_types
    np.testing.assert_allclose(lower_graph(better)(args)[0], function(*args), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lower_graph(graph))(args)[0], function(*args), rtol=1e-5, atol=1e-5)


KEPT = {
    "stored tensors": lambda a, b, c, d: row(a, b) + row(c, d),
    "one alone": lambda a, b, c, d: row(jnp.tanh(a), b) + c[:, 0] + d[:, 1],
    "other dimensions": lambda a, b, c, d: row(jnp.tanh(a), b)[:7] + jnp.sum(jnp.tanh(c) * d, 0),
    "read again": lambda a, b, c, d: (s := row(jnp.tanh(a), b)) * (s + row(jnp.exp(c), d)),
}


@pytest.mark.parametrize("form", KEPT)
def test_kept(form: str) -> None:
    graph, _ = of(KEPT[form])
    assert joined(graph) is graph


def test_narrow_types_are_kept() -> None:
    """Each product would be rounded."""
    graph, _ = of(FORMS["two products"][0], "bfloat16")
    assert joined(graph) is graph
