# SPDX-License-Identifier: Apache-2.0
"""Sums over directions go before convolutions, selections, divisions and loops: what is found, what is not, values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.adjoint import directions_summed
from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount, count_graph
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops import improved
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def read(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Graph, list[Any]]:
    """The program and its leaves."""
    captured = capture(function, args, {})
    return normalise(captured.graph), [*jax.tree.leaves(args), *captured.constants]


def summed(function: Callable[..., Any], *args: Any) -> tuple[Graph, Graph, list[Any]]:
    """The program, its other form, and the leaves of both."""
    graph, leaves = read(function, args)
    other = directions_summed(graph, Numerics.REASSOCIATE, FlopCount().graph_seconds)
    other, _ = improved(other, Numerics.REASSOCIATE, FlopCount())
    return graph, other, leaves


A, B, X, V = array(12, 12), array(12, 12, seed=1), array(12), array(12, seed=2)
KERNEL, SECOND, IMAGE, TANGENT = array(3, 2, 3, 3), array(2, 3, 3, 3), array(2, 2, 6, 6), array(2, 2, 6, 6, seed=1)
STEPS = array(5, 12, seed=3)
POINTS, WAYS = array(4, 12), array(4, 12, seed=1)


def conv_net(x: Any, w: Any = KERNEL, u: Any = SECOND) -> Any:
    hidden = jax.nn.softplus(lax.conv_general_dilated(x, w, (1, 1), "SAME"))
    return lax.conv_general_dilated(hidden, u, (2, 1), "VALID", rhs_dilation=(1, 2))


def separable(x: Any, w: Any) -> Any:
    hidden = jnp.abs(lax.conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=2))
    return hidden[:, :, ::2]


def rnn(h: Any, steps: Any = STEPS) -> Any:
    return lax.scan(lambda h, z: (jax.nn.relu(A @ h + z), None), h, steps)[0]


def cell(h: Any, steps: Any = STEPS) -> Any:
    def step(state: Any, z: Any) -> Any:
        h, c = state
        c = jax.nn.sigmoid(A @ h) * c + jnp.tanh(B @ h + z)
        return (jnp.tanh(c), c), c

    return lax.scan(step, (h, h), steps)[1]


def jv(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v: jnp.tensordot(jax.jacfwd(f)(x), v, v.ndim)


def jvp(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v: jax.jvp(f, (x,), (v,))[1]


def vj(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v: jnp.tensordot(v, jax.jacrev(f)(x), v.ndim)


def vjp(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v: jax.vjp(f, x)[1](v)[0]


def basis(f: Callable[..., Any]) -> Callable[..., Any]:
    def product(x: Any, v: Any) -> Any:
        units = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        columns = jax.vmap(lambda e: jax.jvp(f, (x,), (e,))[1])(units)
        return jnp.einsum("s...,s->...", columns, v.ravel())

    return product


def hv(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v: jnp.tensordot(jax.hessian(f)(x), v, v.ndim)


def energy(x: Any) -> Any:
    return jnp.sum(jax.nn.softplus(conv_net(x)))


def losses(x: Any) -> Any:
    return jnp.sum(jnp.logaddexp(A @ x, jnp.abs(B @ x)))


def loop_energy(x: Any) -> Any:
    return jnp.sum(jnp.sin(rnn(x)))


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "conv-jv": (jv(conv_net), jvp(conv_net), (IMAGE, TANGENT)),
    "conv-basis": (basis(conv_net), jvp(conv_net), (IMAGE, TANGENT)),
    "conv-vj": (vj(conv_net), vjp(conv_net), (IMAGE, array(2, 2, 2, 2))),
    "conv-hv": (hv(energy), jvp(jax.grad(energy)), (IMAGE, TANGENT)),
    "conv-kernel-jv": (
        jv(lambda w: conv_net(IMAGE, w)),
        jvp(lambda w: conv_net(IMAGE, w)),
        (KERNEL, array(3, 2, 3, 3, seed=1)),
    ),
    "conv-groups": (
        jv(lambda x: separable(x, array(4, 1, 3, 3))),
        jvp(lambda x: separable(x, array(4, 1, 3, 3))),
        (IMAGE, TANGENT),
    ),
    "conv-points": (
        jax.vmap(jv(lambda x: conv_net(x[None]))),
        jax.vmap(jvp(lambda x: conv_net(x[None]))),
        (IMAGE, TANGENT),
    ),
    "softplus-laplacian": (
        jax.vmap(lambda x: jnp.trace(jax.jacfwd(jax.grad(lambda x: V @ jax.nn.softplus(A @ x)))(x))),
        lambda x: (jax.nn.sigmoid(x @ A.T) * (1 - jax.nn.sigmoid(x @ A.T)) * V) @ jnp.sum(A * A, 1),
        (POINTS,),
    ),
    "logaddexp-hv": (hv(losses), jvp(jax.grad(losses)), (X, V)),
    "rnn-jv": (jv(rnn), jvp(rnn), (X, V)),
    "rnn-vj": (vj(rnn), vjp(rnn), (X, V)),
    "rnn-hv": (hv(loop_energy), jvp(jax.grad(loop_energy)), (X, V)),
    "rnn-points": (jax.vmap(jv(rnn)), jax.vmap(jvp(rnn)), (POINTS, WAYS)),
    "rnn-stack-jv": (jv(cell), jvp(cell), (X, V)),
    "rnn-steps-jv": (jv(lambda z: rnn(X, z)), jvp(lambda z: rnn(X, z)), (STEPS, array(5, 12, seed=4))),
    "rnn-two-vectors": (
        lambda x, m: jax.jacfwd(rnn)(x) @ m,
        lambda x, m: jax.vmap(lambda v: jvp(rnn)(x, v), 1, 1)(m),
        (X, array(12, 2)),
    ),
    "loop-in-loop": (
        jv(lambda x: lax.fori_loop(0, 3, lambda i, h: rnn(h), x)),
        jvp(lambda x: lax.fori_loop(0, 3, lambda i, h: rnn(h), x)),
        (X, V),
    ),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", CASES)
def test_one_direction_is_as_cheap_as_by_hand(name: str) -> None:
    function, hand, args = CASES[name]
    _, other, leaves = summed(function, *args)
    by_hand, given = read(hand, args)
    want, got = (jax.jit(lower_graph(each))(all) for each, all in ((by_hand, given), (other, leaves)))
    for x, y in zip(want, got, strict=True):
        assert np.allclose(x, y, rtol=1e-3, atol=1e-4 * float(np.max(np.abs(x))))
    slack = 1.5 if name == "loop-in-loop" else 1.3  # the search merges loops in bodies
    assert count_graph(other).flops <= slack * count_graph(by_hand).flops


@pytest.mark.parametrize(
    ("program", "args"),
    [
        (lambda m, x, v: jnp.where(m, x, 0.0) @ v, (A > 0, B, V)),  # the mask differs between directions
        (lambda x, y, v: (x / y) @ v, (A, B, V)),
        (lambda x, y, v: jnp.where(x[:, :1] > 0, x * x, y) @ v, (A, B, V)),  # nothing is saved
        (lambda x, w, v: lax.conv(x, w, (1, 1), "SAME") @ v, (IMAGE, KERNEL, array(6))),  # v meets pixels, not images
        (lambda h, z: lax.scan(lambda h, z: (h * h + z[:, None], None), h, z)[0] @ V, (A, STEPS)),  # not linear
        (lambda h, z: lax.scan(lambda h, z: (h @ B + z[:, None], None), h, z)[0] @ V, (A, STEPS)),  # mixes directions
        (lambda h, z: V @ lax.scan(lambda h, z: (h + 1.0, None), h, z)[0], (A, STEPS)),  # affine
    ],
)
def test_other_programs_stay(program: Callable[..., Any], args: tuple[Any, ...]) -> None:
    graph, _ = read(program, args)
    assert directions_summed(graph, Numerics.REASSOCIATE, FlopCount().graph_seconds) == graph


def test_exact_programs_stay() -> None:
    function, _, args = CASES["rnn-jv"]
    graph, _ = read(function, args)
    assert directions_summed(graph, Numerics.EXACT, FlopCount().graph_seconds) is graph


def test_what_a_mask_hides_stays_hidden() -> None:
    """Infinities in what is not selected do not reach the result."""
    x = np.where(np.arange(12) % 2, np.float32(200), np.float32(-1))

    def hidden(x: Any, v: Any) -> Any:
        return jax.jacfwd(lambda x: A @ jnp.where(x < 0, jnp.exp(x), x))(x) @ v

    graph, other, leaves = summed(hidden, x, V)
    assert other != graph
    (got,) = lower_graph(other)(leaves)
    assert np.allclose(got, A @ np.where(x < 0, np.exp(-1) * V, V), rtol=1e-4)
