# SPDX-License-Identifier: Apache-2.0
"""Sums of what elementwise work makes: spelled as products with ones on a CPU, with the values of sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.ir import Node, Spec
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.ops import get_op


def primitives(function, *args):
    return [equation.primitive.name for equation in jax.make_jaxpr(function)(*args).jaxpr.eqns]


def is_product(node: Node) -> bool:
    """A matrix product: one whose operands do not hold the same letters."""
    if node.op != "einsum" or len(node.operands) != 2:
        return False
    first, second = Spec.parse(node.attr("spec")).inputs
    return set(first) != set(second)


COMPUTED = {
    # program, whether the sum is spelled as a product with ones
    "function": (lambda x, y: jnp.sum(jnp.tanh(x) * y, 1), True),
    "several operations": (lambda x, y: jnp.sum((x + y) * (x - 2.0 * y), 1), True),
    "over columns": (lambda x, y: jnp.sum(jnp.exp(x) * y, 0), True),
    "of all": (lambda x, y: jnp.sum(jnp.exp(x) * y), True),
    "one operand": (lambda x, y: jnp.sum(jnp.exp(x) + y, 1), True),
    "stored": (lambda x, y: jnp.sum(x * y, 1), False),
    "products": (lambda x, y: jnp.sum((x @ y.T) * (y @ x.T), 1), False),
    "small work, large sum": (lambda x, y: jnp.sum(x * jnp.tanh(y[0]), 1), False),
    "whole numbers": (lambda x, y: jnp.sum((x + y).astype(jnp.int32) * 3 + 1, 1), False),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_elementwise_work_before_a_sum_runs_as_one_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA:CPU takes such work apart when it can draw it into the kernel of the sum."""
    program, ones = COMPUTED[name]
    x, y = (jnp.asarray(np.random.default_rng(seed).standard_normal((24, 40)), jnp.float32) for seed in (0, 1))
    graph = normalise(capture(program, [x, y]).graph)
    spelled = primitives(lambda *leaves: lower_graph(graph)(leaves), x, y)
    products = sum(bool(Spec.parse(n.attr("spec")).summed) for n in graph.nodes if is_product(n))
    assert (spelled.count("dot_general") > products) == ones
    np.testing.assert_allclose(lower_graph(graph)([x, y])[0], program(x, y), rtol=2e-5, atol=2e-5)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = primitives(lambda *leaves: lower_graph(graph)(leaves), x, y)
    assert elsewhere.count("dot_general") == products
    assert "reduce_sum" in elsewhere


def test_a_sum_of_computed_values_takes_infinities_as_they_are() -> None:
    x = jnp.array([[1.0, jnp.inf], [jnp.nan, 0.0], [-jnp.inf, jnp.inf]], jnp.float32)
    got = get_op("einsum").lower(x, spec="ab->a;3,2", computed=True)
    np.testing.assert_array_equal(got, jnp.sum(x, 1))
    for dtype in (jnp.bfloat16, jnp.int8):
        y = jnp.full((3, 200), 1, dtype)
        got = get_op("einsum").lower(y, spec="ab->a;3,200", computed=True)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, get_op("einsum").lower(y, spec="ab->a;3,200"))
    cube = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4, 5)), jnp.float32)
    for spec in ("abc->a;3,4,5", "abc->ab;3,4,5", "abc->c;3,4,5", "abc->b;3,4,5", "abc->;3,4,5", "abc->ba;3,4,5"):
        got = get_op("einsum").lower(cube, spec=spec, computed=True)
        np.testing.assert_allclose(got, jnp.einsum(spec.split(";")[0], cube), rtol=1e-5, atol=1e-5)
