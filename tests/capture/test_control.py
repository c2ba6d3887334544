# SPDX-License-Identifier: Apache-2.0
"""Control flow becomes nodes with sub-graphs; closed-over arrays become operands, structured constants move inside."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
W = RNG.standard_normal((4, 4)).astype(np.float32)

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "scan": (lambda x: lax.scan(lambda c, r: (c * 0.5 + r, c.sum()), x[0], x), (X,)),
    "scan-reverse": (lambda x: lax.scan(lambda c, r: (c + r, (c, r * 2)), x[0], x, reverse=True, unroll=2), (X,)),
    "scan-no-inputs": (lambda x: lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=4)[0], (X,)),
    "scan-sizes-of-one": (lambda x: lax.scan(lambda c, r: (c + r[None], c[0]), x[:1], x), (X,)),
    "scan-integer-carry": (lambda x: lax.scan(lambda c, r: ((c[0] + 1, c[1] + r * c[0]), c[0]), (0, x[0]), x), (X,)),
    "fori": (lambda x: lax.fori_loop(0, 5, lambda i, s: s + i * x, x), (X,)),
    "fori-dynamic": (lambda x, n: lax.fori_loop(0, n, lambda i, s: s * 1.1 + x[i % 3], x[0]), (X, 4)),
    "while": (lambda x: lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] * 1.1 + x), (0, x)), (X,)),
    "while-closes-over": (lambda x, n: lax.while_loop(lambda s: s.sum() < n, lambda s: s + jnp.abs(x), x), (X, 9.0)),
    "cond": (lambda x: lax.cond(x[0, 0] > 0, lambda a: a @ W, lambda a: -a, x), (X,)),
    "switch": (lambda i, x: lax.switch(i, [lambda a: a, lambda a: a * 2, lambda a: a @ a.T @ a], x), (2, X)),
    "switch-out-of-range": (lambda x: lax.switch(9, [lambda a: a, lambda a: a * 2], x), (X,)),
    "nested": (
        lambda x: lax.scan(
            lambda c, r: (
                lax.scan(lambda d, b: (d * b + c[0], d), r.sum(), r)[0] + c,
                lax.cond(c[0] > 0, lambda: lax.fori_loop(0, 3, lambda i, s: s + i * r, c), lambda: r),
            ),
            x[0],
            x,
        ),
        (X,),
    ),
    "map": (lambda x: lax.map(lambda r: r @ x.T, x), (X,)),
    "grad-of-scan": (jax.grad(lambda x: lax.scan(lambda c, r: (jnp.tanh(c * r), None), x[0], x)[0].sum()), (X,)),
    "vmap-of-while": (
        jax.vmap(lambda r: lax.while_loop(lambda s: s.sum() < 9, lambda s: s + jnp.abs(r) + 0.1, r)),
        (X,),
    ),
    "vmap-of-cond": (jax.vmap(lambda r: lax.cond(r[0] > 0, jnp.sin, jnp.cos, r)), (X,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_original(check: Any, name: str) -> None:
    fn, args = PROGRAMS[name]
    check(fn, *args, tolerance=1e-5)


def test_bodies_are_graphs_of_true_shapes(check: Any) -> None:
    graph = check(lambda x: lax.scan(lambda c, r: (c + r[None], c), x[:1], x), X).graph
    (body,) = graph.subgraphs()
    assert [t.shape for t in body.input_types] == [(1, 4), (4,)]
    assert [t.shape for t in body.output_types] == [(1, 4), (1, 4)]


def test_closed_over_arrays_become_operands(check: Any) -> None:
    inner = jax.jit(lambda v: v @ W)
    captured = check(
        lambda x: lax.scan(lambda c, r: (inner(c) + r, lax.cond(c[0] > 0, lambda: inner(r), lambda: r)), x[0], x), X
    )
    assert len(captured.constants) == 1
    assert len(captured.graph.inputs) == 2


def test_structured_constants_move_inside(check: Any) -> None:
    def f(x: Any) -> Any:
        scale, eye = jnp.full((4,), 0.5), jnp.eye(4)
        return lax.scan(lambda c, r: (c * scale + r @ eye, None), x[0], x)[0]

    graph = check(f, X).graph
    (scan,) = (n for n in graph if n.op == "scan")
    assert scan.attr("num_consts") == 0
    assert [n.op for n in scan.attr("body")] == ["input", "input", "einsum", "add"]


def test_known_branches_are_taken(check: Any) -> None:
    graph = check(lambda x: lax.cond(jnp.arange(3).sum() > 2, jnp.sin, jnp.cos, x), X).graph
    assert [n.op for n in graph] == ["input", "sin"]


def test_unreachable_platforms_do_not_count(check: Any) -> None:
    """``jnp.diag`` has a branch for a kernel language, which no Graph is lowered to."""
    graph = check(jnp.diag, W).graph
    assert "cond" not in graph.op_counts()
