# SPDX-License-Identifier: Apache-2.0
"""Equal values merged and adjoints used: what is found, what must not be, and that values stay the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import grad, vmap

import egraph_opt
from egraph_opt.adjoint import adjoint_form
from egraph_opt.adjoint.known import Known
from egraph_opt.adjoint.merging import merge
from egraph_opt.adjoint.values import Values
from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount, count_graph
from egraph_opt.explain.checker import check
from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise

PRICE = FlopCount().graph_seconds
Network = Callable[[Any, Any], Any]


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).normal(size=shape) / np.sqrt(max(shape[0], 1))).astype(np.float32)


def graph_of(function: Callable[..., Any], *args: Any) -> Graph:
    return normalise(capture(function, args, {}).graph)


def found(function: Callable[..., Any], *args: Any) -> tuple[Graph, Graph, dict[str, int]]:
    """The program, its other form, and what was done; both give the same values."""
    graph = graph_of(function, *args)
    other, fired = adjoint_form(graph, Numerics.REASSOCIATE, PRICE)
    leaves = jax.tree.leaves(args)
    for want, got in zip(lower_graph(graph)(leaves), lower_graph(other)(leaves), strict=True):
        assert np.allclose(want, got, rtol=1e-4, atol=1e-4 * float(np.max(np.abs(want))))
    return graph, other, dict(fired)


def flops(graph: Graph) -> float:
    return count_graph(graph).flops


def weights(width: int, layers: int) -> list[Any]:
    return [array(width, seed=1), *(array(width, width, seed=k) for k in range(2, layers + 1)), array(width, seed=99)]


def network(act: Callable[[Any], Any], skip: bool = False) -> Network:
    """A scalar function of a scalar."""

    def run(p: Any, x: Any) -> Any:
        h = act(x * p[0])
        for W in p[1:-1]:
            h = act(h @ W) + h if skip else act(h @ W)
        return h @ p[-1]

    return run


def forward(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def nested(d: Callable[..., Any], n: int, f: Network, batch: bool) -> Callable[..., Any]:
    """``n`` derivatives of a network at one point or at many."""

    def run(p: Any, x: Any) -> Any:
        g = partial(f, p)
        for _ in range(n):
            g = d(g)
        return vmap(g)(x) if batch else g(x)

    return run


@pytest.mark.parametrize(
    ("act", "order", "layers", "skip", "points", "slack"),
    [
        (jnp.tanh, 2, 3, False, 24, 1.05),
        (jnp.tanh, 3, 3, True, 0, 1.08),
        (jnp.sin, 4, 3, False, 24, 1.05),
        (jax.nn.sigmoid, 3, 2, False, 24, 1.08),
        (lambda z: jnp.exp(-z * z), 3, 3, False, 24, 1.08),
        (jax.nn.silu, 2, 4, True, 24, 1.05),
    ],
    ids=["tanh 2", "tanh 3 with skips at one point", "sine 4", "sigmoid 3", "bump 3", "silu 2 with skips"],
)
def test_nested_grad_costs_what_nested_forward_derivatives_cost(
    act: Callable[[Any], Any], order: int, layers: int, skip: bool, points: int, slack: float
) -> None:
    p = weights(48, layers)
    x = array(points, seed=7) if points else np.float32(0.3)
    f = network(act, skip)
    before, after, fired = found(nested(grad, order, f, bool(points)), p, x)
    hand = graph_of(nested(forward, order, f, bool(points)), p, x)
    assert fired["adjoint"] > 0
    assert flops(after) <= slack * flops(hand) < 0.85 * flops(before)


def test_several_coordinates_and_orders() -> None:
    """A residual in time and space: slices of gradients, three derivatives at once."""

    def residual(d: Callable[..., Any], p: Any, points: Any) -> Any:
        def u(t: Any, x: Any) -> Any:
            h = jnp.sin(jnp.stack([t, x]) @ p[0])
            return jnp.sin(h @ p[1]) @ p[2]

        def at(q: Any) -> Any:
            t, x = q
            return d(d(u, 0), 0)(t, x) - d(d(u, 1), 1)(t, x) + u(t, x) * d(u, 1)(t, x)

        return vmap(at)(points)

    def along(f: Callable[..., Any], k: int) -> Callable[..., Any]:
        return lambda *a: jax.jvp(lambda z: f(*a[:k], z, *a[k + 1 :]), (a[k],), (jnp.ones_like(a[k]),))[1]

    args = [array(2, 40), array(40, 40, seed=1), array(40, seed=2)], array(32, 2, seed=3)
    before, after, _ = found(partial(residual, grad), *args)
    hand = graph_of(partial(residual, along), *args)
    assert flops(after) <= flops(hand) < 0.95 * flops(before)


def pairs(function: Callable[..., Any], numerics: Numerics = Numerics.REASSOCIATE) -> int:
    """How many nodes of a program of three square matrices are found equal to earlier ones."""
    args = [array(6, 6, seed=k) for k in range(3)]
    return merge(normalise(capture(function, args, {}).graph, numerics), numerics).count


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda x, y, z: (jnp.tanh((x + y) @ z), jnp.tanh(-3 * (x @ z).T - 3 * (y @ z).T)), 1),
        (lambda x, y, z: (jnp.tanh((x + y) * z), jnp.tanh(x * z + z * y)), 1),
        (lambda x, y, z: (jnp.sum(x @ y, 0), jnp.sum(x, 0) @ y), 1),
        (lambda x, y, z: ((x * y / 3 + z / 3) @ z, (x * y + z) @ z), 0),  # a third is no number of a computer
        (lambda x, y, z: (jnp.tanh(x) @ jnp.tanh(y), jnp.tanh(x) @ jnp.sinh(y)), 0),
        (lambda x, y, z: (x @ y, y @ x), 0),
        (lambda x, y, z: (x @ y, x @ y.T), 0),
        (lambda x, y, z: (x @ y, x * y), 0),
        (lambda x, y, z: (jnp.sum(x @ y), jnp.trace(x @ y)), 0),
    ],
    ids=[
        "distributed, transposed, scaled", "factored", "summed early", "thirds", "functions", "order", "transpose",
        "elementwise", "trace",
    ],
)  # fmt: skip
def test_values_tell_equal_polynomials(function: Callable[..., Any], count: int) -> None:
    assert pairs(function) == count


def test_what_cancels_is_not_the_same() -> None:
    """``x y + z z - z z`` is ``x y`` where ``z z`` is finite only."""

    def program(x: Any, y: Any, z: Any) -> Any:
        u = x * y + z * z
        return jnp.tanh(u), x * y, u - z * z

    assert pairs(program) == 0


def test_sizes_are_no_factors() -> None:
    """A sum over three equal elements is three times one of them; as a dimension may have any size, it is not found."""
    emitter = Emitter()
    graph = graph_of(lambda v: jnp.tanh(v), array(3))
    x = emitter.input(graph.input_types[0])
    values = Values(emitter, graph)
    known = Known(emitter, values)
    ones = emitter.add("sign", (x,), (), graph.input_types[0])
    total = emitter.einsum("a->;3", [ones])
    three = emitter.constant(3.0, "float32")
    for number in (three, total):
        assert known.find(number) == []
        known.add(number)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_no_multiples_of_each_other(seed: int) -> None:
    """Any two numbers agree up to a factor, and one quotient of residues in sixty is that of small numbers."""
    vectors = [array(n, seed=seed) for n in range(4, 44)]
    graph = graph_of(lambda vs: [part for v in vs for part in (jnp.sum(v * v), jnp.sum(v * jnp.sin(v)))], vectors)
    assert merge(graph, Numerics.REASSOCIATE).count == 0


def test_exact_programs_stay_as_they_are() -> None:
    graph = graph_of(nested(grad, 2, network(jnp.tanh), True), weights(12, 3), array(8))
    assert adjoint_form(graph, Numerics.EXACT, PRICE) == (graph, {})


def test_steps_are_equations() -> None:
    """Every pair that is said to be equal has equal values, and what the program became is among them."""
    p, x = weights(10, 3), array(6, seed=7)
    graph = graph_of(nested(grad, 3, network(jnp.tanh), True), p, x)
    steps: list[Any] = []
    adjoint_form(graph, Numerics.REASSOCIATE, PRICE, steps)
    (merged,) = steps
    numbers = [n for pair in merged.equal for n in pair]
    run = lower_graph(merged.emitter.build(numbers))
    values = run(jax.tree.leaves((p, x)))
    assert len(merged.equal) > 10
    for want, got in zip(values[::2], values[1::2], strict=True):
        assert np.allclose(want, got, rtol=1e-4, atol=1e-4 * float(np.max(np.abs(want))))


def test_a_certificate_joins_both_programs() -> None:
    f = nested(grad, 2, network(jnp.tanh), True)
    result = egraph_opt.optimize(f, measure=False, cost="flops").plan(weights(64, 3), array(48, seed=7))
    assert result.report.rules_fired["adjoint"] == 2
    explanation = result.explain()
    assert explanation.certificate is not None, explanation.proof.reason
    assert check(explanation.certificate) > 5
    assert "<a, L u> = <L' a, u>" in str(explanation)


def test_fourth_derivative_of_four_layers() -> None:
    """Nested ``grad`` at width 128 and 256 points: 2.02e8 flop as captured, 0.90e8 by nested forward derivatives."""

    def stacked(p: Any, x: Any) -> Any:
        h = jnp.stack([x]) @ p[0]
        for W in p[1:-1]:
            h = jnp.tanh(h) @ W
        return jnp.tanh(h) @ p[-1]

    p = [array(1, 128), array(128, 128, seed=1), array(128, 128, seed=2), array(128, seed=3)]
    graph = graph_of(nested(grad, 4, stacked, True), p, array(256, seed=4))
    after, _ = adjoint_form(graph, Numerics.REASSOCIATE, PRICE)
    assert flops(after) <= 1.0e8 < 0.5 * flops(graph)
