# SPDX-License-Identifier: Apache-2.0
"""A wrong rule is named among the shipped ones, in few runs, with a small program that shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.bisect.run import bisect
from egraph_opt.bisect.shrink import cut, shrink
from egraph_opt.capture import capture
from egraph_opt.cli import main
from egraph_opt.engine import Limits, RuleSet
from egraph_opt.engine.rule import parse_rules
from egraph_opt.ir import Graph

A, B, U, X = np.ones((9, 9)), np.ones((9, 9)), np.ones((9, 3)), np.ones(9)
LIMITS = Limits(seconds=60, nodes=800, iterations=6)

PLANTED: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "a product's operands exchanged, their spec not": (
        "contract",
        "(rule ((= ?e (Einsum2 ?s ?x ?y)) (= ?r (swap ?s))) ((union ?e (Einsum2 ?r ?x ?y)))",
        lambda a, b, u, x: (a @ b @ u).sum() + x @ (a + b) @ x,
    ),
    "one function for another": (
        "elementwise",
        "(rewrite (Tanh ?x) (Sinh ?x)",
        lambda a, b, u, x: jnp.tanh(a @ b @ u) + jnp.exp(u),
    ),
    "a summand dropped": (
        "sums",
        "(rewrite (Add ?x (Einsum2 ?s ?y ?z)) ?x",
        lambda a, b, u, x: a @ x + b @ x + jnp.tanh(x),
    ),
    "a factor dropped": (
        "scale",
        "(rewrite (Einsum1 ?s ?x) ?x :when ((link ?s))",
        lambda a, b, u, x: (2.0 * a) @ (b @ u) + 3.0 * u,
    ),
    "a maximum taken out of an exponential": (
        "order",
        "(rewrite (Exp (Max ?x ?y)) (Max ?x (Exp ?y))",
        lambda a, b, u, x: jnp.exp(jnp.maximum(x, a @ x)) + b @ x,
    ),
    "a logarithm undone by the wrong function": (
        "domain",
        "(rewrite (Log (Cosh ?x)) ?x",
        lambda a, b, u, x: jnp.log(jnp.cosh(a @ b @ x)),
    ),
    "the wrong operand distributed over": (
        "distribute",
        "(rewrite (Einsum2 ?s (Add ?x ?y) ?z) (Add (Einsum2 ?s ?x ?z) (Einsum2 ?s ?x ?z))",
        lambda a, b, u, x: (a + b) @ (b @ u),
    ),
}


def with_planted(theme: str, text: str) -> RuleSet:
    planted = parse_rules(f';; false\n;; numerics: reassociate\n{text} :name "planted")', f"pack/{theme}.egg")
    return RuleSet.shipped() + RuleSet(tuple(planted))


def captured(program: Callable[..., Any]) -> Graph:
    return capture(program, [np.asarray(v, np.float32) for v in (A, B, U, X)]).graph


@pytest.mark.parametrize("name", PLANTED)
def test_planted_rules_are_named(name: str) -> None:
    theme, text, program = PLANTED[name]
    rules = with_planted(theme, text)
    found = bisect(captured(program), rules, LIMITS)
    assert found.rule is not None
    assert found.rule.name == "planted"
    assert found.runs <= math.log2(len(rules)) + 1
    assert found.graph is not None
    inner = [node for node in found.graph if node.op not in ("input", "constant")]
    assert len(inner) <= 3, "the program is small"
    assert all(n <= 4 for node in found.graph for n in node.type.shape), "and its dimensions are"
    assert f"pack/{theme}.egg:3" in str(found)
    assert "law: false" in str(found)
    assert found.want.shape == found.graph.output_types[0].shape
    assert found.got is None or found.got.shape != found.want.shape or not np.allclose(found.got, found.want)


def test_a_rule_that_needs_another_one_first() -> None:
    """Left alone on the program it never fires; on the terms that were met it does."""
    text = "(rewrite (Sinh (Sinh ?x)) (Sinh ?x)"
    helper = parse_rules(
        ';; sinh is odd\n;; numerics: reassociate\n(rewrite (Abs (Sinh ?x)) (Sinh (Abs ?x)) :name "helper")', "h.egg"
    )
    rules = with_planted("h", text) + RuleSet(tuple(helper))
    graph = captured(lambda a, b, u, x: jnp.sinh(jnp.abs(jnp.sinh(a @ x))))
    found = bisect(graph, rules, LIMITS)
    assert found.rule is not None
    assert found.rule.name == "planted"
    assert "helper" in found.fired


def test_a_deep_rule_that_needs_another_one_first() -> None:
    """Each level of the pattern is made by the helper: no term of the program is spelled so."""
    text = "(rewrite (Sinh (Sinh (Sinh (Abs ?x)))) (Sinh (Sinh (Abs ?x)))"
    helper = parse_rules(
        ';; sinh is odd\n;; numerics: reassociate\n(rewrite (Abs (Sinh ?x)) (Sinh (Abs ?x)) :name "helper")', "h.egg"
    )
    rules = with_planted("h", text) + RuleSet(tuple(helper))
    graph = captured(lambda a, b, u, x: jnp.abs(jnp.sinh(jnp.sinh(jnp.sinh(0.1 * (a @ x))))))
    found = bisect(graph, rules, LIMITS)
    assert found.rule is not None
    assert found.rule.name == "planted"
    assert found.runs <= math.log2(len(rules)) + 1


def test_a_rule_that_is_wrong_inside_a_loop() -> None:
    rules = with_planted("elementwise", "(rewrite (Tanh ?x) (Sinh ?x)")
    graph = captured(lambda a, b, u, x: lax.fori_loop(0, 3, lambda i, s: jnp.tanh(a @ s), x))
    found = bisect(graph, rules, LIMITS)
    assert found.rule is not None
    assert found.rule.name == "planted"


def test_no_rule_is_wrong() -> None:
    found = bisect(captured(lambda a, b, u, x: jnp.tanh(a @ b @ u) + (a + b) @ u), RuleSet.shipped(), LIMITS)
    assert found.rule is None
    assert not found.found
    assert str(found).startswith("no rule is wrong")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = jax.jit(lambda a, x: jnp.tanh(a @ a @ x))
    shapes = jax.ShapeDtypeStruct((5, 5), np.float32), jax.ShapeDtypeStruct((5,), np.float32)
    model = tmp_path / "model.jaxexport"
    model.write_bytes(jax.export.export(program)(*shapes).serialize())
    pack = tmp_path / "pack.egg"
    pack.write_text(';; tanh x = x\n;; numerics: reassociate\n(rewrite (Tanh ?x) ?x :name "planted")\n')
    assert main(["bisect", str(model)]) == 0
    assert "no rule is wrong" in capsys.readouterr().out
    assert main(["bisect", str(model), "--rules", str(pack)]) == 1
    out = capsys.readouterr().out
    assert "rule 'planted' is wrong" in out
    assert f"{pack}:3" in out
    assert main(["bisect", str(model), "--numerics", "exact", "--rules", str(pack)]) == 0
    assert "not asked: 1 of 1 rules" in capsys.readouterr().out
    assert main(["bisect", str(tmp_path / "none.jaxexport")]) == 2


def test_shrink_keeps_what_is_asked_for() -> None:
    graph = captured(lambda a, b, u, x: jnp.exp(jnp.sin(a @ x) + jnp.cos(b @ x)))
    small = shrink(graph, [], lambda g: any(node.op == "sin" for node in g))
    assert [node.op for node in small] == ["input", "sin"]
    assert small.nodes[1].type.shape == (2,)


def test_cut_keeps_inputs_that_are_read() -> None:
    graph = captured(lambda a, b, u, x: a @ x + b @ u[:, 0])
    number = next(n for n, node in enumerate(graph.nodes) if node.op == "einsum")
    part = cut(graph, [number])
    assert len(part.inputs) == len(graph.nodes[number].operands)


def test_terms_of_wrong_shapes_end_the_search_with_one_line() -> None:
    rules = with_planted("contract", PLANTED["a product's operands exchanged, their spec not"][1])

    def program(a: Any, b: Any, u: Any, x: Any) -> Any:
        return jnp.tanh(a @ b @ u).sum() + 2.0 * (x @ (a + b) @ x) + jnp.exp(jnp.maximum(x, a @ x)).sum()

    result = egraph_opt.optimize(program, rules=rules, unchecked=True, measure=False).plan(A, B, U, X)
    assert "did a rule make terms of wrong shapes?" in result.report.stop_reason
    assert "\n" not in result.report.stop_reason
