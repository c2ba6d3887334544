# SPDX-License-Identifier: Apache-2.0
"""After saturation every e-node of every class has the value of its class, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.engine import Limits
from egraph_opt.engine.testing import faults

tanh = jnp.tanh
N, K = 5, 2

Types = dict[str, tuple[int, ...]]
SHAPES: Types = {
    **dict.fromkeys("ABC", (N, N)),
    **dict.fromkeys("UV", (N, K)),
    **dict.fromkeys("xyv", (N,)),
    "R": (3, N),
    "S": (N, 4),
    **dict.fromkeys("PQ", (3, 4, N, N)),
    "T": (3, 4, N),
    "b": (3,),
    "s": (),
}


def net1(A: Any, B: Any, z: Any) -> Any:
    return jnp.sum(tanh(A @ z))


def net2(A: Any, B: Any, z: Any) -> Any:
    return jnp.sum(tanh(tanh(A @ z) @ B))


def layer(A: Any, B: Any, z: Any) -> Any:
    return tanh(tanh(A @ z) @ B)


def hvp(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda A, B, x, v: jax.hessian(lambda z: f(A, B, z))(x) @ v


def shared(A: Any, B: Any, x: Any, y: Any) -> Any:
    outer = x[:, None] * y[None, :]
    return jnp.sum(outer * A) + jnp.sum(outer * B), A * outer + B * outer


PROGRAMS: dict[str, tuple[Callable[..., Any], str, int]] = {
    # name: program, its arguments, bound of the e-nodes
    "chain": (lambda A, R, S, x: R @ A @ S @ S.T @ A.T @ x, "ARSx", 200),
    "transposes": (lambda A, B, y: (A.T @ B).T @ (B.T @ A).T @ y + (B @ A.T @ y), "ABy", 200),
    "low rank": (lambda A, U, V, x: (A - U @ V.T) @ (A + V @ U.T) @ x, "AUVx", 600),
    "gram": (lambda A, B: B.T @ A @ A.T @ B, "AB", 100),
    "traces": (lambda A, B, C: jnp.trace(A @ B @ C) + jnp.trace(B @ C) - 2 * jnp.trace(A), "ABC", 300),
    "diagonals": (lambda A, B, x: jnp.diag(A @ B) + jnp.diagonal(jnp.diag(x) @ A) + jnp.diag(A) * x, "ABx", 300),
    "diag eye": (lambda A, x: jnp.diag(x) @ A @ jnp.diag(x) + (A + 3.0 * jnp.eye(N)) @ A, "Ax", 400),
    "kron": (lambda A, B, x, y: jnp.kron(A, B) @ jnp.kron(x, y), "ABxy", 300),
    "sums": (lambda A, B, C, x: (2.0 * A - B) @ x - 0.5 * (C @ x) + 3.0 * ((A - C) @ x), "ABCx", 600),
    "scales": (lambda A, B, s: (0.25 * A) @ (s * B) * 4.0 - 3.0 * (A @ B) / 7.0, "ABs", 300),
    "shared operands": (shared, "ABxy", 500),
    "factors": (lambda A, B, C: A @ B + A @ C + B @ C + A * B + A * C, "ABC", 500),
    "batched": (lambda p, q, t: jnp.einsum("abij,abjk,abk->abi", p, q, t), "PQT", 200),
    "rank 4": (
        lambda p, q, b: jnp.einsum("abij,cbjk,a->ck", p, q, b) + jnp.einsum("abij,abjk->ik", p, q).sum(),
        "PQb",
        600,
    ),
    "means": (lambda A, B, R: jnp.mean(R @ (A - B), 0) - (R @ A).mean() + jnp.sum(jnp.ones((4, N)) @ A), "ABR", 600),
    "softmax": (lambda A, B, x: jax.nn.softmax(A @ x) @ B - jax.nn.softmax(x) @ (A + B), "ABx", 600),
    "J v": (lambda A, B, x, v: jax.jacfwd(lambda z: layer(A, B, z))(x) @ v, "ABxv", 1200),
    "v J": (lambda A, B, x, v: v @ jax.jacrev(lambda z: layer(A, B, z))(x), "ABxv", 1200),
    "trace J": (lambda A, B, x: jnp.trace(jax.jacfwd(lambda z: layer(A, B, z))(x)), "ABx", 1200),
    "H v, one layer": (hvp(net1), "ABxv", 2500),
    "H v, two layers": (hvp(net2), "ABxv", 3500),
    "trace H": (lambda A, B, x: jnp.trace(jax.hessian(lambda z: net1(A, B, z))(x)), "ABx", 2500),
    "grad": (lambda A, B, x: jax.grad(lambda a, b: net2(a, b, x) + jnp.sum(a * b), (0, 1))(A, B), "ABx", 1200),
}


def values(names: str, dtype: str) -> list[Any]:
    random = np.random.default_rng(7)
    reals = [random.standard_normal(SHAPES[name]) for name in names]
    if dtype.startswith("int"):
        return [np.asarray(np.round(3 * x), dtype) for x in reals]
    if dtype.startswith("complex"):
        return [np.asarray(x + 1j * random.standard_normal(x.shape), dtype) for x in reals]
    return [np.asarray(x, dtype) for x in reals]


def check(name: str, dtype: str = "float64") -> None:
    program, names, bound = PROGRAMS[name]
    with jax.enable_x64(True):
        inputs = values(names, dtype)
        graph = capture(program, inputs).graph
        found, snapshot, _ = faults(graph, inputs, limits=Limits(seconds=20, nodes=bound, iterations=12))
        assert not found, "\n".join(found[:5])
        assert snapshot.size <= 2 * bound


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_classes_are_of_one_value(name: str) -> None:
    check(name)


@pytest.mark.alike
@pytest.mark.parametrize("name", ["chain", "gram", "traces", "kron", "factors", "batched", "rank 4", "shared operands"])
@pytest.mark.parametrize("dtype", ["int32", "int8", "complex128"])
def test_other_rings(name: str, dtype: str) -> None:
    check(name, dtype)
