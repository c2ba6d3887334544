# SPDX-License-Identifier: Apache-2.0
"""Rediscovery: known laws are found again when the rules that know them are switched off, and no false law is found."""

import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.suggest.check import examine
from egraph_opt.rules.suggest.enumerate import Pair, enumerate_pairs
from egraph_opt.rules.suggest.general import generalised
from egraph_opt.rules.suggest.operators import THEMES, custom, operators
from egraph_opt.rules.suggest.run import Suggestions, suggest
from egraph_opt.rules.suggest.terms import Dims, Term
from egraph_opt.rules.suggest.verify import verify

RING = RuleSet(
    tuple(r for r in RuleSet.shipped() if r.ruleset in ("normalize", "contract", "distribute", "layout", "prepare"))
)
"""The rules about einsums and sums; those about other operations are switched off in these tests."""

BUDGET = 60.0


def suggested(ops: str, size: int, without: Sequence[str] = (), check: bool = False) -> Suggestions:
    return suggest([custom(ops.split(), size)], RING, without, budget=BUDGET, check=check)


def spellings(law: str) -> set[str]:
    """A law in both directions, with its variables numbered by appearance."""
    left, _, right = law.partition(" = ")
    found = set()
    for text in (f"{left} = {right}", f"{right} = {left}"):
        table: dict[str, str] = {}
        found.add(re.sub(r"\b[a-cs-z]\b", lambda m, t=table: t.setdefault(m.group(), f"v{len(t)}"), text))  # type: ignore[misc]
    return found


def laws(found: Suggestions) -> set[str]:
    assert not found.unfinished, "out of time"
    return {text for law in found.laws for text in spellings(law.law)}


PRODUCTS = ("einsum-of-product*",)
COPIES = ("normal-form", "einsum-*", "copy-*")
KNOWN = [
    ("matmul", 2, ("regroup-*",), ["(a @ b) @ c = a @ (b @ c)"]),
    ("transpose", 2, COPIES, ["a.T.T = a"]),
    ("neg", 2, COPIES, ["--x = x"]),
    ("sum_all sum_rows sum_columns sum", 2, ("einsum-of-einsum",),
     ["sum(sum(a, 1)) = sum(a)", "sum(sum(a, 0)) = sum(a)"]),
    ("twice matmul", 2, ("product-*", "normal-form"),
     ["(2.0 * a) @ b = 2.0 * (a @ b)", "a @ (2.0 * b) = 2.0 * (a @ b)"]),
    ("outer trace dot", 2, (*PRODUCTS, "normal-form"), ["trace(outer(x, y)) = x @ y"]),
    ("add", 2, ("sums", "normal-form"), ["y + x = x + y", "(x + y) + z = x + (y + z)"]),
    ("mul", 1, ("product-order", "normal-form"), ["y * x = x * y"]),
    ("sum_all add", 3, ("einsum-of-sum", "sums", "normal-form"), ["sum(a) + sum(b) = sum(a + b)"]),
    ("trace add twice", 3, (*COPIES, "sums"), ["trace(a + b) = trace(a) + trace(b)", "trace(a + a) = 2.0 * trace(a)"]),
]  # fmt: skip
"""Operations, size, what is switched off, laws that are found then and not otherwise."""

KNOWN_SLOW = [
    ("matmul transpose", 3, (*PRODUCTS, "product-*"), ["(a @ b.T).T = b @ a.T"]),
    ("matmul sum_all sum_rows sum_columns dot", 3, PRODUCTS, ["sum(b @ a) = sum(a, 1) @ sum(b, 0)"]),
    ("matmul trace transpose", 3, PRODUCTS, ["trace(a @ b) = trace(b @ a)"]),
    ("matmul diagonal transpose mul sum_columns", 3, PRODUCTS,
     ["diagonal(a @ b) = sum(a * b.T, 1)", "diagonal(a * b) = diagonal(a) * diagonal(b)"]),
    ("matmul add", 3, ("distribute-*", "sums"), ["a @ b + a @ c = a @ (b + c)"]),
    ("copies mul", 3, ("product-*", "normal-form"),
     ["broadcast_to(x, (k, n)) * broadcast_to(y, (k, n)) = broadcast_to(x * y, (k, n))"]),
    ("diag diagonal mul matmul", 3, (*COPIES, "product-*"),
     ["diagonal(diag(x)) = x", "diag(x) @ diag(y) = diag(x * y)", "diagonal(a @ diag(x)) = x * diagonal(a)"]),
    ("outer sum_all sum times mul", 3, (*PRODUCTS, "normal-form"),
     ["sum(outer(x, y)) = sum(x) * sum(y)", "sum(s * x) = s * sum(x)"]),
    ("transpose add neg", 3, (*COPIES, "sums"), ["a.T + b.T = (a + b).T", "-a.T = (-a).T"]),
    ("matvec vecmat dot transpose", 2, ("regroup-*", "normal-form", "product-*"),
     ["a.T @ x = x @ a", "(a @ x) @ y = x @ (y @ a)"]),
]  # fmt: skip

ELEMENTWISE = [
    ("tanh neg", 2, ["-tanh(x) = tanh(-x)"]),
    ("exp neg reciprocal", 3, ["1.0 / exp(x) = exp(-x)", "1.0 / (1.0 / x) = x"]),
    ("max min", 2, ["max(x, x) = x", "max(x, y) = max(y, x)", "max(x, min(x, y)) = x"]),
    ("abs neg", 2, ["abs(abs(x)) = abs(x)", "abs(-x) = abs(x)"]),
    ("concat head tail rev", 3,
     ["split(concatenate([x, y]), 2)[0] = x",
      "concatenate([x[::-1], y[::-1]]) = concatenate([y, x])[::-1]"]),
    ("rev neg reduce_max reduce_min", 3, ["max(-x) = -min(x)", "max(x[::-1]) = max(x)"]),
]  # fmt: skip
"""Laws of operations that no rule about einsums knows."""

ELEMENTWISE_SLOW = [
    ("exp log mul add", 3, ["log(exp(x)) = x", "exp(x) * exp(y) = exp(x + y)", "log(x * exp(y)) = y + log(x)"]),
    ("abs neg sqrt mul", 3, ["sqrt(x * x) = abs(x)", "abs(x) * abs(y) = abs(x * y)", "abs(x * x) = x * x"]),
    ("max min neg", 4, ["max(-x, -y) = -min(x, y)"]),
    ("floor ceil neg", 3, ["floor(ceil(x)) = ceil(x)", "ceil(-x) = -floor(x)"]),
    ("div neg mul", 2, ["x / (y / z) = (x / y) * z", "-x / y = x / -y"]),
]


@pytest.mark.parametrize(("ops", "size", "without", "expected"), KNOWN, ids=lambda v: v if isinstance(v, str) else "")
def test_known_laws_are_found_again(ops: str, size: int, without: Sequence[str], expected: list[str]) -> None:
    with_rules, without_them = laws(suggested(ops, size)), laws(suggested(ops, size, without))
    for law in expected:
        assert spellings(law) & without_them, f"{law}: not among {sorted(without_them)}"
        assert not spellings(law) & with_rules, f"{law}: the rules do not derive it"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ops", "size", "without", "expected"), KNOWN_SLOW, ids=lambda v: v if isinstance(v, str) else ""
)
def test_more_known_laws_are_found_again(ops: str, size: int, without: Sequence[str], expected: list[str]) -> None:
    test_known_laws_are_found_again(ops, size, without, expected)


@pytest.mark.parametrize(("ops", "size", "expected"), ELEMENTWISE, ids=lambda v: v if isinstance(v, str) else "")
def test_laws_without_rules_are_found(ops: str, size: int, expected: list[str]) -> None:
    found = laws(suggested(ops, size))
    for law in expected:
        assert spellings(law) & found, f"{law}: not among {sorted(found)}"


@pytest.mark.slow
@pytest.mark.parametrize(("ops", "size", "expected"), ELEMENTWISE_SLOW, ids=lambda v: v if isinstance(v, str) else "")
def test_more_laws_without_rules_are_found(ops: str, size: int, expected: list[str]) -> None:
    test_laws_without_rules_are_found(ops, size, expected)


def test_enough_laws_are_in_the_tables() -> None:
    assert sum(len(row[-1]) for row in (*KNOWN, *KNOWN_SLOW)) >= 20


def term(op: str, *args: Term) -> Term:
    operator = operators()[op]
    dims = operator.result([arg.dims for arg in args])
    assert dims is not None
    return Term(operator, args, dims)


def variable(name: str, dims: Dims = ("n",)) -> Term:
    return Term(None, (), dims, name)


X, Y, Z, A, B = variable("x"), variable("y"), variable("z"), variable("a", ("n", "n")), variable("b", ("n", "n"))
FALSE = [
    (term("sqrt", term("mul", X, X)), X),
    (term("exp", term("log", X)), X),
    (term("mul", X, term("reciprocal", X)), term("exp", term("add", X, term("neg", X)))),
    (term("log", term("mul", X, Y)), term("add", term("log", X), term("log", Y))),
    (term("transpose", term("matmul", A, B)), term("matmul", term("transpose", A), term("transpose", B))),
    (term("matmul", A, B), term("matmul", B, A)),
    (term("max", term("neg", X), term("neg", Y)), term("neg", term("max", X, Y))),
    (term("reduce_max", term("add", X, Y)), term("add", term("reduce_max", X), term("reduce_max", Y))),
    (term("floor", term("add", X, Y)), term("add", term("floor", X), term("floor", Y))),
    (term("concat", X, Y), term("concat", Y, X)),
    (term("sum_rows", A), term("sum_columns", A)),
    (term("abs", term("add", X, Y)), term("add", term("abs", X), term("abs", Y))),
    (term("round", term("half", X)), term("half", term("round", X))),
    (term("sign", X), term("mul", X, term("rsqrt", term("mul", X, X)))),
]


@pytest.mark.parametrize(("left", "right"), FALSE, ids=lambda t: repr(t))
def test_false_laws_are_refused(left: Term, right: Term) -> None:
    assert examine(Pair(left, right)).fault


CLASSES = [
    (term("transpose", term("transpose", A)), A, "EXACT"),
    (term("neg", term("max", X, Y)), term("min", term("neg", X), term("neg", Y)), "EXACT"),
    (term("max", X, term("min", X, Y)), X, "FINITE"),
    (term("mul", X, term("reciprocal", Y)), term("div", X, Y), "REASSOCIATE"),
    (term("log", term("exp", X)), X, "FINITE"),
    (term("mul", term("exp", X), term("exp", Y)), term("exp", term("add", X, Y)), "REASSOCIATE"),
    (term("exp", term("add", X, Y)), term("mul", term("exp", X), term("exp", Y)), "FINITE"),
    (term("sum", term("add", X, Y)), term("add", term("sum", X), term("sum", Y)), "REASSOCIATE"),
    (term("abs", term("sqrt", X)), term("sqrt", X), "REASSOCIATE"),
]


@pytest.mark.parametrize(("left", "right", "numerics"), CLASSES, ids=lambda v: repr(v))
def test_numerics_class(left: Term, right: Term, numerics: str) -> None:
    verdict = examine(Pair(left, right))
    assert not verdict.fault
    assert verdict.numerics.name == numerics


def test_laws_are_stated_at_their_most_general_shapes() -> None:
    pair = Pair(term("trace", term("matmul", A, B)), term("trace", term("matmul", B, A)))
    assert generalised(pair).variables() == {"a": ("n", "m"), "b": ("m", "n")}
    pair = Pair(term("sum_all", term("mul", A, B)), term("trace", term("matmul", A, term("transpose", B))))
    assert generalised(pair).variables() == {"a": ("n", "m"), "b": ("n", "m")}


def test_definitions_run_and_agree() -> None:
    """Both functions of a definition from JAX functions compute the same on arrays of the shapes it states."""
    found = suggest([THEMES["vectors"], THEMES["sums"]], RING, PRODUCTS, size=2, budget=BUDGET, check=False)
    sizes = {"n": 3, "m": 4, "p": 5, "k": 2}
    random = np.random.default_rng(0)
    tried = 0
    for law in found.laws:
        lines = law.rule.splitlines()
        if not lines[0].startswith("egraph_opt.rule("):
            continue
        left, right = (eval(text.strip().rstrip(","), {"jnp": jnp, "lax": lax, "jax": jax}) for text in lines[1:3])
        arguments = [random.standard_normal([sizes[d] for d in dims]) for dims in law.shapes.values()]
        np.testing.assert_allclose(left(*arguments), right(*arguments), rtol=1e-4, atol=1e-5)
        tried += 1
    assert tried >= 2


def test_the_checker_has_the_last_word() -> None:
    found = {law.law: law for law in suggested("exp log", 2, check=True).laws}
    assert found["log(exp(x)) = x"].numerics == "finite", "the logarithm overflows where x does not"
    assert found["log(exp(x)) = x"].instances
    refused = verify(Pair(term("abs", X), X), "wrong", Numerics.FINITE)
    assert refused.problem
    assert not refused.text


def test_first_terms_of_classes_differ() -> None:
    found = enumerate_pairs(custom(["neg", "add"], 2), 10.0)
    assert found.complete
    assert found.classes + len(found.pairs) <= found.terms
    assert "--x" in {repr(pair.left) for pair in found.pairs}


def test_operators_of_wrong_names() -> None:
    with pytest.raises(ArgumentError, match="no such operation"):
        custom(["matmull"])
