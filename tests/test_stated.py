# SPDX-License-Identifier: Apache-2.0
"""Facts that are tested when the program runs: used where they hold, without effect where they do not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.derivative import stated_inputs
from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph
from egraph_opt.stated import holds

N = 24
RANDOM = np.random.default_rng(0)
A = RANDOM.standard_normal((N, N)).astype("float32")
B = RANDOM.standard_normal((N, N)).astype("float32")
ROWS = np.eye(N, dtype="float32")[RANDOM.permutation(N)]
CIRCLE = A[:, 0][(np.arange(N)[:, None] - np.arange(N)) % N]
HAVE = {
    "circulant": CIRCLE,
    "constant": np.full((N, N), 3.0, "float32"),
    "diagonal": np.diag(A[0]),
    "identity": np.eye(N, dtype="float32"),
    "lower_triangular": np.tril(A),
    "nonnegative": np.abs(A),
    "one_hot": ROWS[np.zeros(N, int)],
    "permutation": ROWS,
    "positive": np.abs(A) + 1,
    "symmetric": A + A.T,
    "toeplitz": CIRCLE,
    "tridiagonal": np.triu(np.tril(A, 1), -1),
    "unit_diagonal": A - np.diag(np.diag(A)) + np.eye(N, dtype="float32"),
    "upper_triangular": np.triu(A),
    "zero": np.zeros((N, N), "float32"),
    "banded:2,0": np.triu(np.tril(A), -2),
}


@pytest.mark.alike
@pytest.mark.parametrize("fact", HAVE)
def test_fact_is_tested_exactly(fact: str) -> None:
    x = HAVE[fact]
    assert holds(x, fact)
    assert holds(np.stack([x, x]), fact)
    spoilt = x.copy()
    spoilt[2, 9], spoilt[9, 2], spoilt[3, 3] = -1.5, -2.5, -3.5
    assert not holds(spoilt, fact)
    assert not holds(np.stack([x, spoilt]), fact)
    assert not holds(np.where(x == spoilt, x, np.nan), fact)


def test_signs_of_a_diagonal_matrix_are_about_its_diagonal() -> None:
    assert holds(np.diag(np.abs(A[0])), "diagonal", "positive")
    assert not holds(np.diag(-np.abs(A[0])), "diagonal", "positive")


def product(a: Any, b: Any) -> Any:
    return a @ b


def branches(graph: Graph) -> list[float]:
    """Arithmetic of the branches of the only choice, the one that is taken when the test fails first [flop]."""
    (node,) = [node for node in graph.nodes if node.op == "cond"]
    return [count_graph(branch).flops for branch in node.attr("branches")]


def planned(function: Any, *args: Any) -> Any:
    return egraph_opt.optimize(function, measure=False).plan(*args)


def test_each_case_has_a_program_of_its_own() -> None:
    result = planned(egraph_opt.guarded(product, a="diagonal"), A, B)
    assert result.report.improved
    assert branches(result.after) == [2 * N**3, N**2]
    for a in (A, HAVE["diagonal"], np.where(np.eye(N) == 1, np.nan, 0).astype("float32")):
        np.testing.assert_allclose(result(a, B), a @ B, rtol=1e-5, atol=1e-5)


def test_types_alone_are_enough() -> None:
    kind = jax.ShapeDtypeStruct((N, N), "float32")
    result = planned(egraph_opt.guarded(jnp.linalg.solve, a="lower_triangular"), kind, kind)
    assert result.report.improved
    assert result.report.verified
    plain, fast = branches(result.after)
    assert 2 * fast < plain


def test_facts_do_not_leak_out_of_their_branch() -> None:
    def both(a: Any, b: Any) -> Any:
        return a @ b, egraph_opt.guarded(product, a="zero", b=("symmetric", "toeplitz"))(a, b)

    result = planned(both, A, B)
    for value in result(A, B):
        np.testing.assert_allclose(value, A @ B, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("a", [A, HAVE["lower_triangular"]], ids=["general", "triangular"])
def test_transformations(a: Any) -> None:
    function = egraph_opt.optimize(egraph_opt.guarded(product, a="lower_triangular"), measure=False)

    def loss(f: Any, a: Any, b: Any) -> Any:
        return jnp.sum(jnp.sin(f(a, b)))

    got = jax.grad(lambda b: loss(function, a, b))(B)
    np.testing.assert_allclose(got, jax.grad(lambda b: loss(product, a, b))(B), rtol=1e-4, atol=1e-5)
    many = np.stack([a, A])
    np.testing.assert_allclose(jax.vmap(function, (0, None))(many, B), many @ B, rtol=1e-4, atol=1e-5)


def test_defaults_keywords_and_static_values() -> None:
    def scaled(a: Any, b: Any = B, *, power: int = 1) -> Any:
        return (a @ b) ** power

    guarded = egraph_opt.guarded(scaled, b="diagonal")
    np.testing.assert_allclose(guarded(A), A @ B, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(guarded(A, power=2, b=HAVE["diagonal"]), (A @ HAVE["diagonal"]) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"c": "diagonal"}, "no parameter 'c'; it has a, b"),
        ({"a": "orthogonal"}, "'orthogonal' cannot be tested in one pass; state it by assume"),
        ({"a": "diagnal"}, "did you mean 'diagonal'"),
        ({"a": "banded"}, "banded:LOW,HIGH"),
        ({"a": "banded:1"}, "banded:LOW,HIGH"),
    ],
)
def test_what_cannot_be_tested_is_refused(facts: dict[str, str], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        egraph_opt.guarded(product, **facts)


def test_shape_that_cannot_have_the_fact_is_refused() -> None:
    with pytest.raises(ArgumentError, match="symmetric"):
        egraph_opt.guarded(product, a="symmetric")(A[:3], B)


def files_of(graph: Graph) -> set[str]:
    own = {source.file for node in graph.nodes for source in node.sources}
    return own.union(*map(files_of, graph.subgraphs()))


def test_source_lines_are_the_users() -> None:
    def stated(a: Any, b: Any) -> Any:
        return egraph_opt.assume(a, "symmetric") @ b

    for function in (egraph_opt.guarded(product, a="diagonal"), stated):
        assert files_of(planned(function, A, B).before) == {__file__}


@pytest.mark.slow
def test_derivatives_along_directions_without_the_fact_are_those_of_the_original() -> None:
    def form(s: Any, x: Any) -> Any:
        return x @ jnp.linalg.inv(egraph_opt.assume(s, "positive_definite")) @ jnp.flip(x)

    S, x = jnp.asarray(A @ A.T / N + np.eye(N, dtype="float32")), jnp.asarray(B[0])
    function = egraph_opt.optimize(form, measure=False, verify=False, cost="flops")
    assert "cholesky" in function.plan(S, x).after.op_counts()
    for by in (0, 1):
        np.testing.assert_allclose(jax.grad(function, by)(S, x), jax.grad(form, by)(S, x), rtol=1e-4, atol=1e-5)
    assert " lu[" not in str(jax.make_jaxpr(jax.grad(function, 1))(S, x)), "of x the chosen program is differentiated"


def test_inputs_of_which_facts_are_stated() -> None:
    def inputs(function: Any, *args: Any) -> frozenset[int]:
        return stated_inputs(capture(function, args).graph)

    points, number, x = A[:, :2], np.float32(2.0), A[0]
    kernel = lambda p, t: jnp.exp(-t * jnp.sum((p[:, None] - p) ** 2, -1))  # noqa: E731
    assert not inputs(lambda p, t: egraph_opt.assume(kernel(p, t), "positive_definite") @ p, points, number)
    assert inputs(lambda a, b, x: egraph_opt.assume(a + b.T, "symmetric") @ x, A, B, x) == {0, 1}
    assert inputs(lambda t, a: egraph_opt.assume(a.reshape(N, N), "diagonal") * t, number, A.ravel()) == {1}
    assert 0 in inputs(egraph_opt.guarded(product, a="lower_triangular"), A, points)
    assert not inputs(lambda a: egraph_opt.assume(a, "positive"), A)
