# SPDX-License-Identifier: Apache-2.0
"""What scales large tensors is computed on few elements: what is found, what must not be, and that values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.adjoint import weights_gathered
from egraph_opt.adjoint.tame import Tame
from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.ir import Builder, Graph, Spec
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


M, N, C = array(40, 30), array(40, 30, seed=1), array(30, 40, seed=2)
U, V = array(40, seed=3), array(30, seed=4)


def gathered(function: Callable[..., Any], *args: Any) -> tuple[Graph, Graph]:
    """The program and its other form; both give the same values."""
    graph = normalise(capture(function, args, {}).graph)
    other = normalise(weights_gathered(graph, Numerics.REASSOCIATE))
    leaves = jax.tree.leaves(args)
    for want, got in zip(lower_graph(graph)(leaves), lower_graph(other)(leaves), strict=True):
        assert np.allclose(want, got, rtol=1e-5, atol=1e-5 * float(np.max(np.abs(want))))
    return graph, other


def large(graph: Graph, size: int = 1200) -> int:
    """Elementwise work on tensors of that size, copies aside."""
    count = 0
    for node in graph.nodes:
        if node.op == "input" or node.op == "constant" or not node.types[0].shape:
            continue
        copies = node.op == "einsum" and len(node.operands) == 1 and Spec.parse(node.attr("spec")).is_permutation
        summed = node.op == "einsum" and bool(Spec.parse(node.attr("spec")).summed)
        broadcast = node.op == "einsum" and len(node.operands) == 1
        count += int(np.prod(node.type.shape)) >= size and not (copies or summed or broadcast)
    return count


@pytest.mark.parametrize(
    ("program", "args", "left"),
    [
        (lambda m, u: m + m * u[:, None], (M, U), 1),
        (lambda m, v: m * v - 3 * m, (M, V), 1),
        (lambda m, u: (m + m * u[:, None]) * (1 - u[:, None]), (M, U), 1),
        (lambda m, c, u: c * u + (m * jnp.sin(u)[:, None]).T * 2 + c, (M, C, U), 3),
        (lambda m, u: jnp.where((u > 0)[:, None], m * u[:, None], 0), (M, U), 1),
        (lambda m, u: jnp.where((u > 0)[:, None], 0, m), (M, U), 1),
        (lambda m, u: jnp.where((u > 0)[:, None], m * u[:, None], 0.1 * m), (M, U), 1),
        (lambda m, u: jnp.where((u > 0)[:, None], m * u[:, None] + jnp.exp(u)[:, None], 0), (M, U), 2),
        (lambda m, u: (m * u[:, None]) / jnp.sum(u * u), (M, U), 1),
        (lambda m, u: (m * u[:, None]) / (2 + u * u)[:, None], (M, U), 1),
        (lambda m: m * jnp.float32(2.5) + jnp.tanh(m) * 2, (M,), 2),
    ],
)
def test_weights(program: Callable[..., Any], args: tuple[Any, ...], left: int) -> None:
    graph, other = gathered(program, *args)
    assert large(other) <= left <= large(graph)


@pytest.mark.parametrize(
    ("program", "args"),
    [
        (lambda m, n, u: jnp.where((u > 0)[:, None], m, n), (M, N, U)),
        (lambda m, u: jnp.where((u > 0)[:, None], jnp.log(m), 0), (M, U)),
        (lambda m, u: jnp.where((u > 0)[:, None], 1 / m, 0), (M, U)),
        (lambda m, u: jnp.where((u > 0)[:, None], jnp.exp(m), 0), (M, U)),
        (lambda m, u: m / u[:, None], (M, U)),
        (lambda m, n, u: m * u[:, None] + n * u[:, None] * 2, (M, N, U)),
        (lambda m, u, v: jnp.where((u > 0)[:, None], m * v, 0), (M, U, V)),
    ],
)
def test_what_is_left_alone(program: Callable[..., Any], args: tuple[Any, ...]) -> None:
    graph = normalise(capture(program, args, {}).graph)
    assert weights_gathered(graph, Numerics.REASSOCIATE) is graph


@pytest.mark.parametrize(
    ("make", "is_tame"),
    [
        (lambda m: jnp.exp(m - jnp.max(m, 1, keepdims=True)), True),
        (lambda m: jnp.exp(m - jax.lax.stop_gradient(jnp.max(m, 0, initial=-jnp.inf))), True),
        (lambda m: jnp.exp(-jnp.abs(m)), True),
        (lambda m: jnp.exp(-(m * m)), True),
        (lambda m: jnp.expm1(jnp.minimum(m, 0)) * m, True),
        (lambda m: jnp.expm1(jnp.where(m > 0, 0, m)), True),
        (lambda m: jnp.expm1(jnp.where(jnp.float32(0) < m, 0, m)), True),
        (lambda m: jnp.expm1(jnp.where(m <= 0, m, -jnp.abs(m))), True),
        (lambda m: jnp.exp(m - jnp.max(m)) + jnp.tanh(m) @ m.T @ m, True),
        (lambda m: jnp.exp(m), False),
        (lambda m: jnp.exp(jnp.where(m > 0, m, 0)), False),
        (lambda m: jnp.exp(jnp.where(m > 1, 0, m)), False),
        (lambda m: jnp.exp(m - jnp.min(m)), False),
        (lambda m: jnp.exp(m - jnp.max(m + m * m)), False),
        (lambda m: jnp.exp(jnp.abs(m) - m), False),
        (lambda m: jnp.exp(jnp.maximum(m, 0)), False),
        (lambda m: m * jnp.inf, False),
        (lambda m: m / jnp.abs(m), False),
        (lambda m: jnp.sinh(-jnp.abs(m)), False),
        (lambda m: jnp.tan(m), False),
    ],
)
def test_what_stays_finite(make: Callable[[Any], Any], is_tame: bool) -> None:
    graph = normalise(capture(make, (M,), {}).graph)
    builder = Builder()
    for node in graph.nodes:
        if node.op == "input":
            builder.input(node.type)
        else:
            builder.copy(node, node.operands)
    assert Tame(builder)(graph.outputs[0]) is is_tame


def test_exact_programs_are_left_alone() -> None:
    graph = normalise(capture(lambda m, u: m + m * u[:, None], (M, U), {}).graph, Numerics.EXACT)
    assert weights_gathered(graph, Numerics.EXACT) is graph


def test_masked_poles_stay_masked() -> None:
    """The mask hides infinities: they must not meet a zero."""

    def program(m: Any, u: Any) -> Any:
        safe = jnp.where((u > 0)[:, None], jnp.exp(m) * u[:, None], 0)
        return jnp.where((u > 0)[:, None], safe / m, 0) @ jnp.ones(30)

    m = np.where(U[:, None] > 0, M, np.float32(1000))
    m[U < 0, 0] = 0
    result = egraph_opt.optimize(program, measure=False, verify=False).plan(m, U)
    assert np.isfinite(np.asarray(program(m, U))).all()
    assert np.allclose(result(m, U), program(m, U), rtol=1e-4)


@pytest.mark.parametrize("act", [jax.nn.relu, jax.nn.softplus, jax.nn.sigmoid, jax.nn.elu], ids=lambda f: f.__name__)
def test_products_with_hessians_and_jacobians(act: Callable[[Any], Any]) -> None:
    A, x, v = array(50, 50), array(50, seed=1), array(50, seed=2)

    def energy(z: Any) -> Any:
        return jnp.sum(act(A @ z) ** 2)

    def jacobian(z: Any) -> Any:
        return act(A @ z)

    for program in (lambda x, v: jax.hessian(energy)(x) @ v, lambda x, v: v @ jax.jacfwd(jacobian)(x)):
        best = egraph_opt.optimize(program, measure=False, verify=False).plan(x, v)
        assert count_graph(best.after).contraction_flops <= 4 * 2 * 50 * 50
        want = program(x, v)
        assert np.allclose(best(x, v), want, rtol=1e-3, atol=1e-3 * float(np.max(np.abs(want))))
