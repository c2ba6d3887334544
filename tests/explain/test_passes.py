# SPDX-License-Identifier: Apache-2.0
"""Certificates of programs that were changed as a whole before the e-graph: loops, partial reads, stated facts."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import egraph_opt
from egraph_opt.explain.checker import CertificateError, check, digest

X = jnp.linspace(-1.0, 1.0, 48).reshape(6, 8)
W = jnp.linspace(-0.2, 0.3, 64).reshape(8, 8)


def unread(x: Any, w: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        a, b = carry
        return (jnp.tanh(a @ w + row), b @ w @ w), jnp.sin(b)

    return lax.scan(step, (x[0], x[1]), x)[0][0]


def split(x: Any, w: Any) -> Any:
    return lax.scan(lambda c, row: (jnp.sin(c) + row @ w, None), x[0], x)[0]


def nested(x: Any, w: Any) -> Any:
    def outer(c: Any, row: Any) -> Any:
        inner = lax.scan(lambda d, _: (jnp.tanh(d @ w), d), c + row, None, length=3)
        return inner[0], inner[1][-1] * 0.0

    return lax.scan(outer, x[0], x)[0]


def part(x: Any, w: Any) -> Any:
    return jax.nn.softmax(jnp.exp(x @ w), axis=-1)[2]


def stated(x: Any, w: Any) -> Any:
    return egraph_opt.assume(w, "diagonal") @ (x.T @ x)


def weighted(x: Any, w: Any) -> Any:
    """Work on a Jacobian's rows that needs to be done on few elements only."""
    u = x[:, 0]
    wide = jnp.sin(x @ w)
    return (wide + wide * u[:, None]) * (1 - u[:, None])


PROGRAMS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (unread, split, nested, part, stated, weighted)}


def explained(name: str) -> Any:
    args = (X, jnp.diag(W[0]) if name == "stated" else W)
    return egraph_opt.optimize(PROGRAMS[name], measure=False, cost="flops").plan(*args).explain()


@pytest.mark.parametrize("name", PROGRAMS)
def test_replays(name: str) -> None:
    explanation = explained(name)
    assert explanation.result.report.improved
    assert explanation.check() == ""
    assert explanation.certificate["steps"]


@pytest.mark.parametrize(
    ("name", "passes"), [("unread", ["loop-unread"]), ("part", ["read-part"]), ("weighted", ["row-factors"])]
)
def test_tells_the_pass(name: str, passes: list[str]) -> None:
    explanation = explained(name)
    assert passes in [step.get("passes") for step in explanation.certificate["steps"]]
    assert f"{passes[0]}: " in str(explanation)


def test_another_body_is_refused() -> None:
    told = explained("unread").certificate
    assert told["bodies"]
    for number in range(len(told["bodies"])):
        changed = copy.deepcopy(told)
        rows, _ = changed["bodies"][number]
        rows.append(["neg", "", [len(rows) - 1], rows[-1][3]])
        changed["bodies"][number][1][0] = len(rows) - 1
        del changed["digest"]
        changed["digest"] = digest(changed)
        with pytest.raises(CertificateError, match=r"a body is not told|differ"):
            check(changed)


@pytest.mark.slow
def test_the_program_of_a_kernel_that_only_the_chain_meets_is_told() -> None:
    """The kernel of the loss stands in the e-graph, and not in the gradient that was chosen."""

    def loss(w, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(x @ w), y[:, None], -1)[:, 0].mean()

    args = jnp.ones((32, 10)), jnp.ones((64, 32)), jnp.zeros(64, "int32")
    result = egraph_opt.optimize(jax.value_and_grad(loss), measure=False, verify=False).plan(*args)
    told = json.loads(result.explain().to_json())
    assert any("cross_entropy_labels" in row[1] for row in told["terms"])
    assert len(told["bodies"]) == 1
    assert check(told) == len(told["steps"]) > 0
