# SPDX-License-Identifier: Apache-2.0
"""Families: a template is one rule for each operation with its traits, through the same loader."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.cli import main
from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import parse_rules
from egraph_opt.errors import RuleError
from egraph_opt.ops import Trait, all_ops

HEAD = ";; Op twice is Op\n;; numerics: exact\n"


def test_one_rule_for_each_operation() -> None:
    text = HEAD + '(rewrite (Op (Op ?x)) (Op ?x) :over "unary elementwise not-monotone" :name "twice")'
    rules = parse_rules(text, "theme.egg")
    names = [op.constructor for op in all_ops().values() if op.arity == 1 and Trait.ELEMENTWISE in op.traits]
    assert {f"twice[{name}]" for name in ("Abs", "Sign", "Cos")} <= {rule.name for rule in rules}
    assert {rule.name[6:-1] for rule in rules} <= set(names) - {"Exp", "Tanh"}
    (absolute,) = (rule for rule in rules if rule.name == "twice[Abs]")
    assert (absolute.law, absolute.notes["family"]) == ("Abs twice is Abs", "twice")
    assert str(absolute.facts[0]) == "(= ?result (Abs (Abs ?x)))"


@pytest.mark.parametrize(
    ("over", "body", "message"),
    [
        ("unary sparkling", "(Op ?x) (Op ?x)", "does not know 'sparkling'; there are unary"),
        ("binary involution", "(Op ?x ?y) ?x", "selects no operation"),
        ("unary elementwise", "(Exp ?x) ?x", "':over' without Op"),
    ],
)
def test_faults(over: str, body: str, message: str) -> None:
    with pytest.raises(RuleError, match=r"^theme\.egg:3: ") as caught:
        parse_rules(f'{HEAD}(rewrite {body} :over "{over}" :name "a")', "theme.egg")
    assert message in str(caught.value)


def test_shipped_families_share_work() -> None:
    def program(x: jnp.ndarray) -> jnp.ndarray:
        return jnp.exp(x.reshape(12)).reshape(3, 4) @ jnp.exp(x).T

    x = jnp.linspace(0.0, 1.0, 12).reshape(3, 4)
    result = egraph_opt.optimize(program, measure=False, budget=10.0).plan(x)
    assert result.after.op_counts()["exp"] == 1
    assert result.search.saturation.rules["elementwise-of-reshape[Exp]"].matches
    np.testing.assert_allclose(result(x), program(x), rtol=1e-5)


def test_listed_as_families(capsys: pytest.CaptureFixture[str]) -> None:
    families = Counter(rule.notes["family"] for rule in RuleSet.shipped() if "family" in rule.notes)
    assert len(families) >= 2
    assert main(["rules", "list"]) == 0
    short = capsys.readouterr().out
    assert main(["rules", "list", "--families"]) == 0
    long = capsys.readouterr().out
    for family, count in families.items():
        assert f"{family}[{count} operations]" in short
        members = [rule.name for rule in RuleSet.shipped() if rule.notes.get("family") == family]
        assert not any(name in short for name in members)
        assert all(name in long for name in members)
    assert "(rule ((= ?result (Tanh (Reshape ?r ?x)))" in long


def test_a_file_may_be_called_anything(tmp_path: Path) -> None:
    for name in ("load", "my rules", "2d", "a"):
        (tmp_path / f"{name}.egg").write_text(
            f';; l\n;; numerics: exact\n(rewrite (Abs (Abs ?x)) (Abs ?x) :name "r{len(name)}")\n'
        )
    rules = RuleSet.load(tmp_path)
    assert {rule.ruleset for rule in rules} == {"load", "my-rules", "2d", "a"}
    result = egraph_opt.optimize(
        lambda x: jnp.abs(jnp.abs(x)), rules=rules, unchecked=True, measure=False, cost="flops"
    )
    assert result.plan(jnp.ones(3)).after.op_counts()["abs"] == 1
