# SPDX-License-Identifier: Apache-2.0
"""``result.why_not``: a table of questions, each with the verdict and the evidence that must come."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import parse_rules
from egraph_opt.errors import ArgumentError
from egraph_opt.explain.verdict import VERDICTS, WhyNot
from egraph_opt.result import Result

N = 60
A, X, S = np.ones((N, N), np.float32), np.ones(N, np.float32), np.ones((N, 2), np.float32)
HERE = Path(__file__).name

PACK = """
;; tanh x = sinh x / cosh x
;; numerics: reassociate
(rewrite (Tanh ?x) (Div (Sinh ?x) (Cosh ?x)) :name "tanh-of-sinh")
;; tanh x = tanh |x| sign x, for matrices
;; numerics: reassociate
(rewrite (Tanh ?x) (Exp (Log (Tanh ?x))) :when ((= ?s (shape ?x)) (= ?s "60,60")) :name "matrices-only")
;; exp in double precision
;; numerics: reassociate
(rewrite (Tanh ?x) (Exp (Log (Tanh ?x))) :when ((= "float64" (dtype ?x))) :name "double-only")
;; tanh x = (1 - exp(-2x)) / (1 + exp(-2x))
;; numerics: reassociate
;; off: it overflows
(rewrite (Tanh ?x) (Exp (Log (Tanh ?x))) :name "off-rule")
;; log(exp x) = x
;; numerics: finite
(rewrite (Log (Exp ?x)) ?x :name "log-of-exp")
;; the same once more
;; numerics: reassociate
(rewrite (Tanh ?x) (Div (Sinh ?x) (Cosh ?x)) :name "twin")
;; a large tensor is summed late
;; numerics: reassociate
(rewrite (Einsum2 ?s ?x (Einsum2 ?t ?y ?z)) (Einsum2 ?s ?x (Einsum2 ?t ?y ?z)) :when ((shrinks ?t 1)) :name "shrinking")
"""


def rules() -> RuleSet:
    return RuleSet.shipped() + RuleSet(tuple(parse_rules(PACK, "pack/own.egg")))


def chain(a: Any, b: Any, x: Any) -> Any:
    return a @ b @ x + jnp.tanh(a @ x)  # chain


def alone(a: Any, b: Any, x: Any) -> Any:
    """A chain of which nothing can be merged with a product beside it."""
    return a @ b @ x + jnp.tanh(x)  # alone


def products(a: Any, b: Any, x: Any) -> Any:
    return a @ (b @ x)  # products


def logs(a: Any, b: Any, x: Any) -> Any:
    return jnp.log(jnp.exp(x)) + a @ b @ x  # logs


def written(a: Any, b: Any, x: Any) -> Any:
    return jnp.tanh(a @ b @ x) + jnp.sinh(a @ b @ x) / jnp.cosh(a @ b @ x)  # written


def mixed(a: Any, b: Any, x: Any) -> Any:
    return x @ (a + b) @ x + jnp.trace(a @ b)


def line(mark: str) -> str:
    text = Path(__file__).read_text("utf-8").splitlines()
    return f"{HERE}:{next(i for i, row in enumerate(text, 1) if row.endswith(f'# {mark}'))}"


@functools.cache
def plan(program: Callable[..., Any], **options: Any) -> Result:
    options = {"rules": rules(), "unchecked": True, "measure": False, "budget": 20.0, **options}
    return egraph_opt.optimize(program, **options).plan(A, A, X)


@dataclass(frozen=True, slots=True)
class Fixture:
    program: Callable[..., Any]
    question: str | Callable[..., Any]
    verdict: str
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    line: str = ""


TABLE: dict[str, Fixture] = {
    "no such rule": Fixture(chain, "tanh-of-sin", "no-such-rule", "did you mean tanh-of-sinh"),
    "class": Fixture(logs, "log-of-exp", "not-admitted", "numerics='reassociate' does not admit", {"value": "finite"}),
    "off": Fixture(chain, "off-rule", "switched-off", "it overflows", {"value": "it overflows"}),
    "used": Fixture(chain, "regroup-right-y", "used", "nodes of the chosen program", {"value": "2"}),
    "constructor absent": Fixture(
        chain, "log-of-exp", "absent", "has no Exp", {"value": "Exp, Log"}, {"numerics": "finite"}
    ),
    "pattern absent": Fixture(
        chain,
        "distribute-left",
        "absent",
        "there is input",
        {"condition": "(Add ?x ?y)", "value": "there is input"},
        line="chain",
    ),
    "shape": Fixture(
        chain,
        "matrices-only",
        "condition",
        '(= "60" "60,60") fails',
        {"condition": '(= ?s "60,60")', "bindings": {"?s": "60"}},
        line="chain",
    ),
    "element type": Fixture(
        chain,
        "double-only",
        "condition",
        "it is float32",
        {"condition": '(= "float64" (dtype ?x))', "value": "it is float32"},
        line="chain",
    ),
    "guard": Fixture(
        products,
        "shrinking",
        "condition",
        f'(shrinks "ab,b->a;{N},{N}" 1) fails: false',
        {
            "condition": "(shrinks ?t 1)",
            "value": "false",
            "bindings": {"?s": f"ab,b->a;{N},{N}", "?t": f"ab,b->a;{N},{N}"},
        },
        line="products",
    ),
    "attribute function undefined": Fixture(
        products,
        "regroup-right-y",
        "condition",
        "fails: undefined",
        {"value": "undefined", "condition": "(= ?pair (regroup.pair ?s ?t 1 0))"},
        line="products",
    ),
    "fact": Fixture(
        chain, "frozen-product", "condition", "(frozen ?x) fails: false", {"condition": "(frozen ?x)"}, line="chain"
    ),
    "dearer": Fixture(chain, "tanh-of-sinh", "dearer", "most of all"),
    "another rule was first": Fixture(chain, "twin", "other-rule", "made it", {"other": ("tanh-of-sinh",)}),
    "the program has it": Fixture(written, "tanh-of-sinh", "other-rule", "made it", {"other": ("the program",)}),
    "budget": Fixture(
        chain,
        "regroup-right-y",
        "budget",
        "the search ended before it could match (time)",
        {"value": "time"},
        {"budget": 0.0},
    ),
    "spelling": Fixture(mixed, "product-order", "spelling", "spells products one way"),
}


@pytest.mark.parametrize("name", TABLE)
def test_rules(name: str) -> None:
    row = TABLE[name]
    answer = plan(row.program, **row.options).why_not(row.question)
    assert answer.verdict == row.verdict, str(answer)
    assert row.reason in str(answer)
    for key, value in row.fields.items():
        assert getattr(answer, key) == value, key
    if row.line:
        assert line(row.line) in answer.lines


def test_dearer_names_the_term() -> None:
    answer = plan(alone).why_not("tanh-of-sinh")
    assert answer.term is not None
    assert answer.term.text.split("(")[0] in ("div", "sinh", "cosh")
    assert answer.term.seconds is not None
    assert answer.term.seconds > 0
    assert answer.costs is not None
    assert answer.costs[0] > answer.costs[1]
    assert any(line("alone") == place for place in answer.term.lines)


class TestPrograms:
    def test_the_chosen_one(self) -> None:
        assert plan(alone).why_not(lambda a, b, x: a @ (b @ x) + jnp.tanh(x)).verdict == "winner"

    def test_a_dearer_one_by_its_largest_product(self) -> None:
        answer = plan(chain).why_not(lambda a, b, x: (a @ b) @ x + jnp.tanh(a @ x))
        assert answer.verdict == "dearer"
        assert answer.term is not None
        assert answer.term.text == f"einsum[spec=ab,bc->ac;{N},{N},{N}](f32[{N},{N}], f32[{N},{N}])"
        assert answer.term.flops == 2 * N**3

    def test_a_dearer_one_in_flop(self) -> None:
        answer = plan(chain, cost="flops").why_not(lambda a, b, x: (a @ b) @ x + jnp.tanh(a @ x))
        assert answer.term is not None
        assert answer.term.seconds is None
        assert "kflop" in str(answer)

    def test_a_dearer_one_that_no_rule_reaches(self) -> None:
        def mine(a: Any, b: Any, x: Any) -> Any:
            return a @ (b @ x) + jnp.cosh(a @ x) * jnp.tanh(a @ x) / jnp.cosh(a @ x)

        answer = plan(chain, rules=None).why_not(mine)
        assert answer.verdict == "dearer"
        assert answer.question == "mine"
        assert answer.term is not None
        assert any(text.startswith("tanh") for text in answer.present)
        assert any(text.startswith("cosh") for text in answer.missing)
        assert not any(text.startswith("tanh") for text in answer.missing)

    @pytest.mark.parametrize("sizes", [(4, 64, 64, 64), (64, 64, 64, 4)], ids=["left", "right"])
    def test_the_dearer_grouping(self, sizes: tuple[int, int, int, int]) -> None:
        """The search keeps to cheap groupings, so the other one is not even in the e-graph."""
        m, k, n, p = sizes
        types = [jax.ShapeDtypeStruct(s, "float32") for s in ((m, k), (k, n), (n, p))]
        best, other = (lambda a, b, c: (a @ b) @ c, lambda a, b, c: a @ (b @ c))[:: 1 if m < p else -1]
        answer = egraph_opt.optimize(best, measure=False).plan(*types).why_not(other)
        assert answer.verdict == "dearer"
        assert answer.term is not None
        assert answer.term.flops == 2 * 64**3

    def test_a_cheaper_one_that_no_rule_reaches(self) -> None:
        found = egraph_opt.optimize(lambda a, b: jnp.sum(a @ b), measure=False, rules=RuleSet(())).plan(A, A)
        answer = found.why_not(lambda a, b: jnp.sum(a, 0) @ jnp.sum(b, 1))
        assert answer.verdict == "not-found"
        assert answer.costs is not None
        assert answer.costs[0] < answer.costs[1]
        assert "no rule that numerics='reassociate' admits" in answer.reason

    def test_another_function(self) -> None:
        answer = plan(chain).why_not(lambda a, b, x: a @ (b @ x) + jnp.tanh(x))
        assert answer.verdict == "not-equal"
        assert float(answer.value) > 0.01

    def test_a_graph(self) -> None:
        result = plan(chain)
        answer = result.why_not(result.before)
        assert answer.verdict == "dearer"
        assert result.why_not(result.after).verdict == "winner"

    def test_other_arguments(self) -> None:
        with pytest.raises(ArgumentError, match="returns"):
            plan(chain).why_not(lambda a, b, x: a @ b)
        other = egraph_opt.optimize(lambda a: a @ a, measure=False).plan(A).before
        with pytest.raises(ArgumentError, match="why_not: want the name of a rule, a Graph or a function, got int"):
            plan(chain).why_not(3)
        with pytest.raises(ArgumentError, match=r"too many positional arguments; the call has 3 arguments$"):
            plan(chain).why_not(lambda: 1)
        with pytest.raises(ArgumentError, match="want a program of the same arguments"):
            plan(chain).why_not(other)


def test_a_program_that_the_timing_refused() -> None:
    found = plan(chain)
    report = dataclasses.replace(found.report, improved=False, rules_fired={}, decision="the original: it is faster")
    answer = dataclasses.replace(found, report=report).why_not("regroup-right-y")
    assert answer.verdict == "rejected"
    assert answer.value == "the original: it is faster"
    assert answer.costs is not None
    assert answer.costs[0] < answer.costs[1]


def test_verdicts_are_a_fixed_set() -> None:
    assert {row.verdict for row in TABLE.values()} <= set(VERDICTS)
    with pytest.raises(AssertionError):
        WhyNot("q", "perhaps", "")
