# SPDX-License-Identifier: Apache-2.0
"""Rules that were never checked are refused; a passed check is remembered by the text of the rule."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import pytest

import egraph_opt
from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import parse_rules
from egraph_opt.errors import RuleError
from egraph_opt.options import make_options
from egraph_opt.rules.admission import cache_path, refuse_unchecked, unchecked
from egraph_opt.rules.check.run import check_rules

TEXT = ';; max(x, x) = x\n;; numerics: exact\n(rewrite (Max ?x ?x) ?x :name "mine")\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_shipped_rules_need_no_check() -> None:
    refuse_unchecked(RuleSet.shipped())
    assert make_options(rules=RuleSet.shipped()).rules is not None


def test_unchecked_rules_are_refused(folder: Path) -> None:
    path = folder / "mine.egg"
    path.write_text(TEXT)
    with pytest.raises(
        RuleError, match=r"rule 'mine' .*mine\.egg:3\) was never checked; run .*unchecked=True"
    ) as caught:
        egraph_opt.optimize(jnp.tanh, rules=path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RuleError, match="was never checked"):
        egraph_opt.optimize(jnp.tanh, rules=RuleSet.load(path))
    assert make_options(rules=path, unchecked=True).rules is not None


def test_a_passed_check_lets_a_rule_in_until_it_is_edited() -> None:
    rules = parse_rules(TEXT, "mine.egg")
    assert unchecked(rules) == rules
    assert [v.passed for v in check_rules(rules)] == [True]
    assert not unchecked(rules)
    assert not unchecked(parse_rules("\n" + TEXT.replace("mine", "renamed"), "other.egg")), "only its meaning counts"
    assert unchecked(parse_rules(TEXT.replace("exact", "finite"), "mine.egg"))
    assert unchecked(parse_rules(TEXT.replace("Max", "Min"), "mine.egg"))


def test_a_refused_rule_stays_out() -> None:
    rules = parse_rules(TEXT.replace("?x ?x", "?x ?y"), "mine.egg")
    assert [v.passed for v in check_rules(rules)] == [False]
    assert unchecked(rules)


def test_too_few_trials_do_not_count() -> None:
    rules = parse_rules(TEXT, "mine.egg")
    assert check_rules(rules, trials=3)[0].passed
    assert unchecked(rules)


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1, 2]", "\x00"])
def test_a_broken_memory_is_an_empty_one(content: str) -> None:
    cache_path().parent.mkdir(parents=True)
    cache_path().write_text(content)
    rules = parse_rules(TEXT, "mine.egg")
    assert unchecked(rules)
    check_rules(rules)
    assert not unchecked(rules)


def test_rules_of_two_functions_are_remembered_by_what_their_functions_do() -> None:
    def made(limit: int) -> list[egraph_opt.engine.rule.Rule]:
        law = egraph_opt.rule(name="wide-max", numerics="exact", when=lambda a: a.shape[0] < limit)
        return list(law(lambda a: jnp.maximum(a, a), lambda a: a))

    rules = made(100)
    assert all(v.passed for v in check_rules(rules))
    assert not unchecked(rules)
    assert not unchecked(made(100))
    assert unchecked(made(7))
