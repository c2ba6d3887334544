# SPDX-License-Identifier: Apache-2.0
"""Loops as a whole: counted FLOP of what is left of them, and the values of the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture
from egraph_opt.cost import cost_model, count_graph
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops import improved
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise

N, T = 16, 10
Program = Callable[..., Any]


def array(*shape: int, seed: int = 0) -> jax.Array:
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(shape[-1])
    return jnp.asarray(values, jnp.float32)


def loops(graph: Graph) -> list[str]:
    return [node.op for node in graph if node.op in ("scan", "while", "cond")]


def better(program: Program, *args: Any, numerics: Numerics = Numerics.REASSOCIATE) -> Graph:
    """The program after the passes over loops, whose values are those of the original."""
    captured = capture(program, args, numerics=numerics)
    graph = normalise(captured.graph, numerics)
    result, _ = improved(graph, numerics, cost_model("roofline"))
    assert count_graph(result).flops <= 1.03 * count_graph(graph).flops + 1000
    leaves = [*jax.tree.leaves(args), *captured.constants]
    run = lower_graph(result)
    for want, got in zip(jax.tree.leaves(program(*args)), jax.jit(run)(leaves), strict=True):
        assert want.shape == got.shape
        assert want.dtype == got.dtype
        np.testing.assert_allclose(want, got, rtol=2e-4, atol=2e-5)
    return result


A, B, V = array(N, N), array(N, N, seed=1), array(N, seed=2)
XS = array(T, N, seed=3)


# What nobody reads


def unread_carry(a: Any, b: Any, z: Any) -> Any:
    def step(carry: Any, _: Any) -> Any:
        x, y = carry
        return (jnp.tanh(a @ x), y @ b), y.sum()

    return lax.scan(step, (z, a), None, length=T)[0][0]


def unread_in_a_while(a: Any, b: Any, z: Any) -> Any:
    def step(state: Any) -> Any:
        i, x, y = state
        return i + 1, jnp.tanh(a @ x), y @ b

    return lax.while_loop(lambda s: s[0] < jnp.sum(jnp.abs(z)) + 5, step, (0, z, a))[1]


def unread_of_a_branch(a: Any, b: Any, z: Any) -> Any:
    return lax.cond(jnp.sum(z) > 0, lambda: (a @ b, jnp.tanh(z)), lambda: (b @ a, jnp.sin(z)))[1]


def carried_for_nothing(a: Any, b: Any, z: Any) -> Any:
    def step(carry: Any, _: Any) -> Any:
        x, w = carry
        return (jnp.tanh(w @ x + b @ x), w), None

    return lax.scan(step, (z, a), None, length=T)[0]


@pytest.mark.parametrize(
    ("program", "flops"),
    [
        (unread_carry, T * 2 * N * N),
        (unread_in_a_while, 10 * (2 * N * N + 3 * N)),
        (unread_of_a_branch, 3 * N),
        (carried_for_nothing, T * 5 * N * N),
    ],
)
@pytest.mark.parametrize("numerics", [Numerics.EXACT, Numerics.REASSOCIATE])
def test_what_nobody_reads_is_dropped(program: Program, flops: float, numerics: Numerics) -> None:
    result = better(program, A, B, V, numerics=numerics)
    assert count_graph(result).flops <= 1.2 * flops
    for node in result:
        if node.op == "scan":
            assert node.attr("num_carry") == 1


def test_equal_carries_are_one() -> None:
    def program(a: Any, z: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            x, y = carry
            x, y = jnp.tanh(a @ x), jnp.tanh(a @ y)
            return (x, y), (x, y)

        return lax.scan(step, (z, z), None, length=T)

    result = better(program, A, V)
    assert count_graph(result).flops == T * 2 * N * N
    assert len(next(node for node in result if node.op == "scan").types) == 2


def test_carries_that_start_alike_are_kept_apart() -> None:
    def program(a: Any, b: Any, z: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            x, y = carry
            return (jnp.tanh(a @ x), jnp.tanh(b @ y)), None

        return lax.scan(step, (z, z), None, length=T)[0]

    assert count_graph(better(program, A, B, V)).flops == T * 4 * N * N


# What leaves the loop


def recurrent(a: Any, b: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(a @ h + b @ x)
        return h, a.T @ h

    return lax.scan(step, jnp.zeros(N), xs)[1]


def test_products_leave_on_both_sides() -> None:
    result = better(recurrent, A, B, XS)
    (body,) = (node.attr("body") for node in result if node.op == "scan")
    assert sum(node.op == "einsum" and len(node.operands) == 2 for node in body) == 1


def test_gradients_of_weights_are_summed_after_the_loop() -> None:
    result = better(jax.grad(lambda a, b, xs: jnp.sum(recurrent(a, b, xs) ** 2), argnums=(0, 1)), A, B, XS)
    for node in result:
        if node.op == "scan":
            inside = [n.types[0].shape for n in node.attr("body") if n.op == "einsum" and len(n.operands) == 2]
            assert (N, N) not in inside


GONE: dict[str, tuple[Program, tuple[Any, ...]]] = {
    "sum by a scan": (lambda a, xs: lax.scan(lambda c, x: (c + a @ x, None), jnp.ones(N), xs)[0], (A, XS)),
    "sum by a loop": (lambda a, xs: lax.fori_loop(0, T, lambda i, c: c + a @ xs[i], jnp.zeros(N)), (A, XS)),
    "sum of a part": (lambda a, xs: lax.fori_loop(2, 7, lambda i, c: c + a @ xs[i], jnp.zeros(N)), (A, XS)),
    "sum from the end": (
        lambda a, xs: lax.fori_loop(0, T, lambda i, c: c + a @ xs[T - 1 - i], jnp.zeros(N)),
        (A, XS),
    ),
    "sums of two kinds": (
        lambda a, xs: lax.scan(lambda c, x: ((c[0] + a @ x, c[1] + jnp.outer(x, x)), None), (V, A), xs)[0],
        (A, XS),
    ),
    "map": (lambda a, xs: lax.map(lambda x: jnp.tanh(a @ x) + x[0], xs), (A, XS)),
    "map from the end": (lambda a, xs: lax.scan(lambda c, x: (c, a @ x), 0.0, xs, reverse=True)[1], (A, XS)),
    "map over integers": (lambda a, xs: lax.map(lambda i: a @ xs[i] * i, jnp.arange(T)), (A, XS)),
    "map with a reduction": (
        lambda a, xs: lax.map(lambda x: jax.nn.softmax(a @ x) * jnp.max(jnp.cumsum(x)), xs),
        (A, XS),
    ),
    "map of choices": (lambda a, xs: lax.map(lambda x: jnp.where(x[0] > 0, a @ x, x[::-1]), xs), (A, XS)),
    "length one": (lambda a, xs: lax.scan(lambda c, x: (jnp.tanh(a @ c + x), c), V, xs[:1]), (A, XS)),
    "sum of counters": (lambda xs: lax.fori_loop(0, T, lambda i, c: c + i * xs, jnp.zeros_like(xs)), (XS,)),
}


@pytest.mark.parametrize("name", GONE)
def test_nothing_is_left_of_the_loop(name: str) -> None:
    program, args = GONE[name]
    assert not loops(better(program, *args))


def test_values_too_large_for_all_trips_stay_inside() -> None:
    def program(xs: Any) -> Any:
        return lax.map(lambda x: jnp.sum(jnp.tanh(x[:, None] * x)), xs)

    types = jax.ShapeDtypeStruct((300, 400), jnp.float32)
    graph = normalise(capture(program, (types,)).graph)
    assert improved(graph, Numerics.REASSOCIATE, cost_model("roofline"))[0] == graph


def test_exact_programs_keep_the_order_of_sums() -> None:
    program, args = GONE["sum by a scan"]
    assert loops(better(program, *args, numerics=Numerics.EXACT)) == ["scan"]


def test_effects_stay_in_order() -> None:
    seen: list[float] = []

    def program(a: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            jax.debug.callback(lambda v: seen.append(float(v)), x[0], ordered=True)
            return c + a @ x, a @ c

        return lax.scan(step, jnp.zeros(N), xs)[0]

    graph = normalise(capture(program, (A, XS)).graph)
    result, _ = improved(graph, Numerics.REASSOCIATE, cost_model("roofline"))
    jax.block_until_ready(jax.jit(lower_graph(result))([A, XS]))
    jax.effects_barrier()
    np.testing.assert_allclose(seen, XS[:, 0], rtol=1e-6)


# Closed forms


def power(count: int) -> Program:
    return lambda a: lax.fori_loop(0, count, lambda i, m: m @ a, a)


POWERS: dict[str, tuple[Program, tuple[Any, ...], float]] = {
    "a power": (power(15), (A,), 4 * 2 * N**3),
    "a power, odd": (power(12), (A,), 5 * 2 * N**3),
    "a power from the left": (lambda a: lax.fori_loop(0, 7, lambda i, m: a @ m, a), (A,), 3 * 2 * N**3),
    "a power of the transpose": (lambda a: lax.fori_loop(0, 7, lambda i, m: a.T @ m, a.T), (A,), 3 * 2 * N**3),
    "a power from one": (lambda a: lax.fori_loop(0, 8, lambda i, m: m @ a, jnp.eye(N)), (A,), 3 * 2 * N**3),
    "growth": (lambda a, x: lax.fori_loop(0, 64, lambda i, y: a * y, x), (1 + A / 20, B), 11 * N * N),
    "growth by a number": (lambda x: lax.fori_loop(0, 64, lambda i, y: 0.9 * y, x), (B,), N * N),
    "growth by rows": (lambda a, x: lax.fori_loop(0, 7, lambda i, y: y * a, x), (1 + V / 9, B), 8 * N * N),
    "from the other side": (
        lambda a, x: lax.fori_loop(0, 6, lambda i, y: y @ a, x) @ jnp.ones(N),
        (A, B),
        7 * 2 * N * N,
    ),
    "from the other side, left": (
        lambda a, x, z: z @ lax.fori_loop(0, 6, lambda i, y: a @ y, x),
        (A, B, V),
        7 * 2 * N * N,
    ),
    "from the other side, batched": (
        lambda a, x, z: jnp.einsum("bij,j->bi", lax.fori_loop(0, 6, lambda i, y: y @ a, x), z),
        (A, array(3, N, N), V),
        6 * 2 * N * N + 3 * 2 * N * N,
    ),
}


@pytest.mark.parametrize("name", POWERS)
def test_linear_loops_have_closed_forms(name: str) -> None:
    program, args, flops = POWERS[name]
    assert count_graph(better(program, *args)).flops <= 1.05 * flops


@pytest.mark.parametrize(
    "program",
    [
        lambda a, b: lax.fori_loop(0, 15, lambda i, m: m @ a, b),  # another start
        lambda a, b: lax.fori_loop(0, 15, lambda i, m: m @ a.T, a),  # another side
        lambda a, b: lax.fori_loop(0, 15, lambda i, m: a @ m.T, a),
    ],
)
def test_what_is_no_power_stays_a_loop(program: Program) -> None:
    assert "scan" in loops(better(program, A, B))


def test_growth_makes_no_infinity() -> None:
    """Large powers overflow before they meet a zero, or a number that is small enough."""

    def program(a: Any, x: Any) -> Any:
        return lax.fori_loop(0, 64, lambda i, y: a * y, x)

    a = jnp.asarray([3.0, 30.0, 1e3, 0.0, 1e-3, -2.0, 3.9, 1e30], jnp.float32)
    x = jnp.asarray([0.0, 0.0, -0.0, 5.0, 1e30, 1e-10, 1e-37, 0.0], jnp.float32)
    result = better(program, a, x)
    assert not loops(result)


# Two loops


def test_loops_that_share_work_are_one() -> None:
    def program(a: Any, z: Any) -> Any:
        every = lax.scan(lambda c, _: (jnp.tanh(a @ c),) * 2, z, None, length=T)[1]
        return every, lax.fori_loop(0, T, lambda i, c: jnp.tanh(a @ c), z) + every[0]

    result = better(program, A, V)
    assert loops(result) == ["scan"]
    assert count_graph(result).flops <= T * 2 * N * N + N


def test_loops_that_wait_for_each_other_stay_two() -> None:
    def program(a: Any, z: Any) -> Any:
        first = lax.fori_loop(0, T, lambda i, c: jnp.tanh(a @ c), z)
        return lax.fori_loop(0, T, lambda i, c: jnp.tanh(a @ c), first)

    assert loops(better(program, A, V)) == ["scan", "scan"]


# Transformations of what is left


def test_results_can_be_differentiated_and_batched() -> None:
    def program(a: Any, b: Any, xs: Any) -> Any:
        return recurrent(a, b, xs).sum() + power(5)(a).sum()

    graph = better(program, A, B, XS)
    run = lower_graph(graph)
    want = jax.grad(program)(A, B, XS)
    got = jax.grad(lambda a: run([a, B, XS])[0])(A)
    np.testing.assert_allclose(want, got, rtol=1e-3, atol=1e-4)
    many = jnp.stack([XS, 2 * XS])
    want = jax.vmap(lambda xs: program(A, B, xs))(many)
    np.testing.assert_allclose(want, jax.vmap(lambda xs: run([A, B, xs])[0])(many), rtol=1e-4)


# Only the last trip is read


def last_of(step: Callable[[Any, Any, Any], tuple[Any, Any]], reverse: bool = False) -> Program:
    def program(a: Any, xs: Any) -> Any:
        ys = lax.scan(lambda c, x: step(a, c, x), V, xs, reverse=reverse)[1]
        return ys[0 if reverse else -1]

    return program


LASTS: dict[str, Program] = {
    "the carry": last_of(lambda a, c, x: (jnp.tanh(a @ c + x),) * 2),
    "of the carry": last_of(lambda a, c, x: (jnp.tanh(c + x), jnp.sin(a @ jnp.tanh(c + x)))),
    "of the carry before": last_of(lambda a, c, x: (jnp.tanh(c + x), jnp.sin(a @ c) * x), reverse=True),
    "of what is between": last_of(lambda a, c, x: (jnp.tanh(c * x) + x, a @ jnp.tanh(c * x) + 1)),
    "of a slice": last_of(lambda a, c, x: (jnp.tanh(c * x), a @ x)),
}


@pytest.mark.parametrize("name", LASTS)
@pytest.mark.parametrize("numerics", [Numerics.EXACT, Numerics.REASSOCIATE])
def test_only_the_last_output_is_computed(name: str, numerics: Numerics) -> None:
    result = better(LASTS[name], A, XS, numerics=numerics)
    for node in result:
        assert node.op != "scan" or len(node.types) == node.attr("num_carry")
    products = T if name == "the carry" else 1
    assert count_graph(result).flops <= products * 2 * N * N + T * 5 * N


def test_the_last_and_more_is_stacked() -> None:
    def program(a: Any, xs: Any) -> Any:
        ys = lax.scan(lambda c, x: (jnp.tanh(a @ c + x),) * 2, V, xs)[1]
        return ys[-1], ys.sum(0)

    (scan,) = (node for node in better(program, A, XS, numerics=Numerics.EXACT) if node.op == "scan")
    assert len(scan.types) == scan.attr("num_carry") + 1


def test_steady_factorisations_stand_before_the_loop() -> None:
    def program(a: Any, z: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            factor = jnp.linalg.cholesky(a @ a.T + jnp.eye(N))
            return jnp.tanh(jnp.linalg.solve(a + 3 * jnp.eye(N), c) + jnp.diag(factor)), None

        return lax.scan(step, z, None, length=T)[0]

    result = better(program, A, V, numerics=Numerics.EXACT)
    (body,) = (node.attr("body") for node in result if node.op == "scan")
    assert "cholesky" in result.op_counts()
    assert "cholesky" not in body.op_counts()
