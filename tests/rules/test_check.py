# SPDX-License-Identifier: Apache-2.0
"""The rule checker: false laws are refused with a counterexample, true ones and all shipped ones pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from egraph_opt import cli
from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import Rule, parse_rules
from egraph_opt.rules.check.run import check_rule

TESTS = Path(__file__).parents[1]
TRUE = list(RuleSet.load(TESTS / "true_rules"))
SHIPPED = list(RuleSet.shipped())


def one(text: str) -> Rule:
    (rule,) = parse_rules(text, "theme.egg")
    return rule


@pytest.mark.alike
@pytest.mark.parametrize("rule", TRUE, ids=lambda rule: rule.name)
def test_true_rules_pass(rule: Rule) -> None:
    verdict = check_rule(rule)
    assert verdict.passed, f"{verdict}\n{verdict.counterexample}"
    assert verdict.matches


def test_there_are_enough_true_rules() -> None:
    assert len(TRUE) >= 25


def test_a_rule_that_never_fires_is_refused() -> None:
    verdict = check_rule(
        one(';; a\n;; numerics: exact\n(rewrite (Max ?x ?y) ?x :when ((= "no type" (dtype ?x))) :name "a")')
    )
    assert "never fired" in verdict.problem
    assert not verdict.matches


def test_a_word_that_nobody_knows_is_named() -> None:
    text = ';; a\n;; numerics: exact\n(rewrite (Max ?x ?y) ?x :when ((= ?n (shapely ?x)) (shrinks ?n 0)) :name "a")'
    assert "shapely" in check_rule(one(text)).problem


def test_a_function_with_a_wrong_number_of_arguments_is_named() -> None:
    text = ';; a\n;; numerics: exact\n(rewrite (Max ?x ?y) ?x :when ((= ?n (shape ?x)) (= ?r (fill ?n))) :name "a")'
    verdict = check_rule(one(text))
    assert "fill takes 2 arguments, got 1" in verdict.problem
    assert not verdict.trials


def test_the_same_seed_finds_the_same() -> None:
    rule = one(';; a\n;; numerics: reassociate\n(rewrite (Sin (Add ?x ?y)) (Sin ?x) :name "a")')
    first, second = check_rule(rule, seed=3), check_rule(rule, seed=3)
    assert first.problem == second.problem
    assert str(first.counterexample) == str(second.counterexample)


def test_counterexamples_are_small_and_run(tmp_path: Path) -> None:
    law = "(rewrite (Tanh (Add ?x ?y)) (Add (Tanh ?x) (Tanh ?y))"
    rule = one(f';; a\n;; numerics: reassociate\n{law} :name "tanh of sum")')
    found = check_rule(rule).counterexample
    assert found is not None
    assert found.before.output_types[0].size <= 2
    assert len(str(found).splitlines()) <= 5
    path = found.write(tmp_path)
    ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "tanh((" in ran.stdout
    assert "they differ" in ran.stdout


def test_counterexamples_hold_special_values() -> None:
    same = '(= "float32" (dtype ?x)) (= ?m (shape ?x)) (= ?m (shape ?y))'
    rule = one(f';; a\n;; numerics: exact\n(rewrite (Max ?x (Min ?x ?y)) ?x :when ({same}) :name "a")')
    found = check_rule(rule).counterexample
    assert found is not None
    assert any(np.isnan(v).any() for v in found.inputs)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "mine.egg"
    path.write_text(
        ';; right\n;; numerics: exact\n(rewrite (Max ?x ?x) ?x :name "right")\n'
        ';; wrong\n;; numerics: exact\n(rewrite (Max ?x ?y) ?x :name "wrong")\n'
    )
    assert cli.main(["rules", "check", str(path), "--out", str(tmp_path / "out")]) == 1
    text = capsys.readouterr().out
    assert "mine.egg:3: rule 'right': ok, 20 instances" in text
    assert "mine.egg:6: rule 'wrong': refused: " in text
    assert (tmp_path / "out" / "wrong.py").is_file()
    assert cli.main(["rules", "check", str(path), "--rule", "right", "--trials", "5"]) == 0
    assert cli.main(["rules", "check", str(path), "--rule", "rihgt"]) == 2
    assert cli.main(["rules", "check", str(path), "--trials", "0"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.name)
def test_shipped_rules_pass_many_trials(rule: Rule) -> None:
    verdict = check_rule(rule, 2000)
    assert verdict.passed, f"{verdict}\n{verdict.counterexample}"
