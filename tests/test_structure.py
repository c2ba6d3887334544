# SPDX-License-Identifier: Apache-2.0
"""Structure of tensors: what is stated, what follows from how a value is made, and which rules use it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt import assume
from egraph_opt.capture import capture
from egraph_opt.engine import Limits, Saturation
from egraph_opt.engine.rule import RuleSet, parse_rules
from egraph_opt.engine.structure import infer, stated
from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.structure import DECLARED, NOTHING, declared, names
from egraph_opt.rules.check.run import check_rule
from egraph_opt.verify import sample_inputs
from egraph_opt.verify.structured import fits

N = 24
MATRIX = jax.ShapeDtypeStruct((N, N), "float32")
VECTOR = jax.ShapeDtypeStruct((N,), "float32")


def facts(function, *types):
    """Names of what is known of the only result."""
    graph = capture(function, types or (MATRIX, MATRIX)).graph
    rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    saturation = Saturation(graph, rules, Limits(seconds=20, nodes=2000, iterations=4))
    try:
        snapshot = saturation.run()
        known = {snapshot.of_number[saturation.numbers[n]]: s for n, s in stated(graph).items()}
        return names(infer(snapshot, saturation.encoder, known).get(saturation.roots()[0], NOTHING))
    finally:
        saturation.close()


def check_values(value, known):
    """Whether an array has all the facts of its name."""
    turned = np.swapaxes(value, -1, -2)
    eye = np.eye(value.shape[-1])
    tests = {
        "symmetric": lambda: np.allclose(value, turned, atol=1e-5),
        "diagonal": lambda: np.allclose(value, np.triu(np.tril(value)), atol=1e-6),
        "lower_triangular": lambda: np.allclose(value, np.tril(value), atol=1e-6),
        "upper_triangular": lambda: np.allclose(value, np.triu(value), atol=1e-6),
        "tridiagonal": lambda: np.allclose(value, np.triu(np.tril(value, 1), -1), atol=1e-6),
        "positive_semidefinite": lambda: np.linalg.eigvalsh(value).min() >= -1e-3 * abs(value).max(),
        "positive_definite": lambda: np.linalg.eigvalsh(value).min() > 0,
        "orthogonal": lambda: np.allclose(turned @ value, eye, atol=1e-4),
        "nonnegative": lambda: value.min() >= 0,
        "permutation": lambda: ((value == 0) | (value == 1)).all() and (value.sum(-1) == 1).all(),
        "identity": lambda: np.allclose(value, eye),
    }  # fmt: skip
    return [name for name in known if name in tests and not tests[name]()]


MADE = (
    (lambda A, B: assume(A, "symmetric").T, {"symmetric"}),
    (lambda A, B: assume(A, "lower_triangular").T, {"upper_triangular"}),
    (lambda A, B: assume(A, "lower_triangular") @ assume(B, "lower_triangular"), {"lower_triangular"}),
    (lambda A, B: assume(A, "lower_triangular") + 2 * assume(B, "diagonal"), {"lower_triangular"}),
    (lambda A, B: assume(A, "tridiagonal") * B, {"tridiagonal"}),
    (lambda A, B: A.T @ assume(B, "positive_definite") @ A, {"symmetric", "positive_semidefinite"}),
    (lambda A, B: A.T @ A + 2.0 * assume(B, "positive_definite"), {"positive_definite"}),
    (lambda A, B: A + A.T + assume(B, "symmetric"), {"symmetric"}),
    (lambda A, B: assume(A, "orthogonal") @ assume(B, "orthogonal").T, {"orthogonal"}),
    (lambda A, B: assume(A, "permutation").T, {"permutation", "nonnegative"}),
    (lambda A, B: jnp.tanh(assume(A, "symmetric")), {"symmetric"}),
    (lambda A, B: jnp.tanh(assume(A, "diagonal")), {"diagonal"}),
    (lambda A, B: jnp.diag(jnp.exp(A[0])) @ assume(B, "diagonal"), {"diagonal"}),
    (lambda A, B: jnp.linalg.qr(A)[0], {"orthogonal"}),
    (lambda A, B: jnp.linalg.eigh(A)[1], {"orthogonal"}),
)  # fmt: skip


@pytest.mark.parametrize(("function", "want"), MADE)
def test_facts_follow_from_how_a_value_is_made(function, want):
    known = facts(function)
    assert known >= want
    graph = capture(function, (MATRIX, MATRIX)).graph
    inputs = sample_inputs(graph, 3)
    assert check_values(np.asarray(function(*inputs), np.float64), known) == []


NOT = (
    (lambda A, B: jnp.exp(assume(A, "diagonal")), "diagonal"),
    (lambda A, B: -assume(A, "positive_definite"), "positive_semidefinite"),
    (lambda A, B: A.T @ B @ A + assume(B, "lower_triangular"), "symmetric"),
    (lambda A, B: assume(A, "symmetric") @ assume(B, "symmetric"), "symmetric"),
    (lambda A, B: assume(A, "orthogonal") * 2.0, "orthogonal"),
    (lambda A, B: assume(A, "lower_triangular") @ assume(B, "lower_triangular").T, "lower_triangular"),
    (lambda A, B: assume(A, "positive_definite") - assume(B, "positive_definite"), "positive_semidefinite"),
    (lambda A, B: assume(A, "tridiagonal") @ assume(B, "tridiagonal"), "tridiagonal"),
)  # fmt: skip


@pytest.mark.parametrize(("function", "fact"), NOT)
def test_facts_that_do_not_follow(function, fact):
    assert fact not in facts(function)


@pytest.mark.parametrize("fact", sorted(DECLARED - {"banded"}))
@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (5, 3)])
def test_drawn_inputs_have_what_is_stated_of_them(fact, shape):
    if not fits(shape, [fact]):
        return
    graph = capture(lambda x: assume(x, fact), (jax.ShapeDtypeStruct(shape, "float32"),)).graph
    (value,) = sample_inputs(graph, 1)
    assert value.shape == shape
    assert check_values(value.astype(np.float64), names(declared([fact], shape))) == []


def test_assume_is_an_identity_that_composes():
    x = jnp.arange(9.0).reshape(3, 3)
    assert assume(x, "symmetric") is x
    assert jnp.array_equal(jax.jit(lambda v: assume(v, "symmetric", "banded", bandwidth=1))(x), x)
    assert jnp.array_equal(jax.vmap(lambda v: assume(v, "symmetric"), 2, 2)(jnp.ones((3, 3, 2))), jnp.ones((3, 3, 2)))
    assert jnp.array_equal(jax.grad(lambda v: (assume(v, "symmetric") ** 2).sum())(x), 2 * x)
    assert jnp.array_equal(jax.jvp(lambda v: assume(v, "symmetric"), (x,), (x + 1,))[1], x + 1)
    graph = capture(jax.vmap(lambda v: assume(v, "symmetric") @ v, 2), (jnp.ones((3, 3, 2)),)).graph
    assert Graph.parse(str(graph)) == graph


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: assume(x, "symetric"), "did you mean 'symmetric'"),
        (lambda x: assume(x[0], "symmetric"), "is about matrices"),
        (lambda x: assume(x[:1], "symmetric"), r"no array of shape \(1, 3\) can be 'symmetric'"),
        (lambda x: assume(x, "symmetric", bandwidth=2), "goes with the fact 'banded'"),
    ],
)
def test_what_cannot_be_stated(call, message):
    with pytest.raises(ArgumentError, match=message):
        call(jnp.ones((3, 3)))


def after(function, *types):
    """Arithmetic of the optimised program [flop], which computes what the original does."""
    types = types or (MATRIX, MATRIX, VECTOR)
    result = egraph_opt.optimize(function, measure=False, cost="flops").plan(*types)
    assert result.report.rejected == []
    assert not any(node.op == "assume" for node in result.after.nodes) or not result.report.improved
    return result.report.flops_after


PROGRAMS = (
    (lambda A, B, x: assume(A, "diagonal") @ (B @ x), 2 * N * N + N),
    (lambda A, B, x: B @ assume(A, "diagonal"), N * N),
    (lambda A, B, x: jnp.sum(assume(A, "diagonal"), 0) + x, N),
    (lambda A, B, x: assume(A, "orthogonal").T @ (A @ x), 0),
    (lambda A, B, x: x @ assume(A, "orthogonal") @ A.T + x, N),
    (lambda A, B, x: jnp.sum((assume(A, "orthogonal") @ B) * (A @ B)), 2 * N * N),
    (lambda A, B, x: jnp.linalg.norm(assume(A, "orthogonal") @ x) ** 2, 2 * N + 1),
    (lambda A, B, x: assume(A, "symmetric") @ x + A.T @ x, 2 * N * N + N),
    (lambda A, B, x: jax.vmap(lambda r: assume(A, "orthogonal").T @ (A @ r))(B), 0),
    (lambda A, B, x: jnp.tril(jnp.ones((N, N))) @ x, N),
    (lambda A, B, x: A @ jnp.triu(jnp.ones((N, N)), 1), N * N),
    (lambda A, B, x: (jnp.arange(N)[:, None] > jnp.arange(N)).astype("float32").T @ A, N * N),
    (lambda A, B, x: jnp.einsum("ij,bi->bj", jnp.where(jnp.arange(N)[:, None] >= jnp.arange(N), 1.0, 0.0), A), N * N),
    (lambda A, B, x: (lambda K: K.T @ K)(jnp.einsum("ir,jr->ijr", A, B).reshape(-1, N)), 4 * N**3 + N * N),
    (lambda A, B, x: jnp.einsum("ab,cd->acbd", A, B).reshape(N * N, N * N) @ jnp.tile(x, N), 4 * N**3),
)  # fmt: skip


@pytest.mark.parametrize(("function", "flops"), PROGRAMS)
def test_products_use_structure(function, flops):
    assert after(function) <= flops


@pytest.mark.parametrize(("size", "columns", "cumulated"), [(64, (100,), False), (2048, (), True)])
def test_triangles_of_ones_are_cumulative_sums_where_these_are_cheaper(size, columns, cumulated):
    types = [jax.ShapeDtypeStruct((size, *columns), "float32")]
    result = egraph_opt.optimize(lambda x: jnp.tril(jnp.ones((size, size))) @ x, measure=False).plan(*types)
    assert ("cumsum" in {node.op for node in result.after.nodes}) == cumulated


def test_false_rules_about_structure_are_refused():
    text = """;;; false.egg
;; x' = x
;; numerics: reassociate
(rule ((= ?e (Einsum1 ?s ?x)) (is "toeplitz" ?x) (= ?r (mirrored ?s 0))) ((union ?e (Einsum1 ?r ?x))) :name "a")
;; Q Q' = 1 although only the columns are orthonormal.
;; numerics: reassociate
(rule ((= ?e (Einsum2 ?s ?q ?q)) (is "orthonormal_columns" ?q) (= ?r (gram-identity ?s "rows")) (= ?d (dtype ?q))
       (= ?k (constant-text ?d "1.0"))) ((union ?e (Einsum1 ?r (Constant ?k)))) :name "b")
;; A triangular matrix taken for a diagonal one.
;; numerics: reassociate
(rule ((= ?e (Einsum1 ?s ?x)) (is "lower_triangular" ?x) (= ?r (sum-of-diagonal ?s))) ((union ?e (Einsum1 ?r ?x)))
  :name "c")
"""
    for rule in parse_rules(text, "false.egg"):
        verdict = check_rule(rule, 60)
        assert not verdict.passed
        assert verdict.counterexample is not None, verdict


LARGE = 96
SQUARE = jax.ShapeDtypeStruct((LARGE, LARGE), "float32")
DENSE = 2 * LARGE**3
ROUTINES = (
    (lambda A, B: assume(A, "lower_triangular") @ B, 0.65),
    (lambda A, B: B @ assume(A, "lower_triangular"), 0.65),
    (lambda A, B: assume(A, "upper_triangular").T @ B.T, 0.65),
    (lambda A, B: jnp.tril(A) @ B, 0.66),
    (lambda A, B: jnp.triu(A, 1).T @ B, 0.66),
    (lambda A, B: B @ jnp.where(jnp.arange(LARGE)[:, None] >= jnp.arange(LARGE), A, 0), 0.66),
    (lambda A, B: A @ A.T, 0.63),
    (lambda A, B: jnp.einsum("ki,kj->ij", A, A) + 1.0, 0.64),
    (lambda A, B: assume(A, "tridiagonal") @ B, 0.03),
    (lambda A, B: B.T @ assume(A, "banded", bandwidth=(0, 2)), 0.03),
    (lambda A, B: jnp.triu(jnp.tril(A, 2), -1) @ B, 0.07),
    (lambda A, B: jnp.triu(jnp.tril(A), 1) @ B + A, 0.01),
)  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize(("function", "share"), ROUTINES)
def test_routines_take_products_with_structure(function, share):
    assert after(function, SQUARE, SQUARE) <= share * DENSE


@pytest.mark.parametrize(
    "function",
    [lambda A: A.transpose(0, 2, 1) @ A, lambda A: jnp.einsum("bij,bkj->bki", A, A), lambda A: jnp.tril(A) @ A],
)
def test_batches_of_products_with_structure(function):
    assert after(function, jax.ShapeDtypeStruct((3, LARGE, LARGE), "float32")) <= 3 * 0.66 * DENSE


def test_programs_with_routines_are_written_as_source():
    result = egraph_opt.optimize(lambda A, B: (A @ A.T, jnp.tril(A) @ B), measure=False, cost="flops").plan(
        SQUARE, SQUARE
    )
    source = result.to_python()
    names: dict = {}
    exec(compile(source, "source", "exec"), names)
    a, b = np.random.default_rng(0).standard_normal((2, LARGE, LARGE)).astype(np.float32)
    gram, product = next(f for n, f in names.items() if "lambda" in n)(a, b)
    np.testing.assert_allclose(gram, a @ a.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(product, np.tril(a) @ b, rtol=1e-3, atol=1e-3)
