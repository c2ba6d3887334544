# SPDX-License-Identifier: Apache-2.0
"""Laws that do not hold: all are refused, each with a counterexample."""

from __future__ import annotations

from pathlib import Path

import pytest

from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import Rule
from egraph_opt.rules.check.run import check_rule

FALSE = list(RuleSet.load(Path(__file__).parents[1] / "false_rules"))


@pytest.mark.alike
@pytest.mark.parametrize("rule", FALSE, ids=lambda rule: rule.name)
def test_false_rules_are_refused(rule: Rule) -> None:
    verdict = check_rule(rule)
    assert not verdict.passed
    assert verdict.counterexample is not None, verdict.problem
    assert verdict.counterexample.python()


def test_there_are_enough_false_rules() -> None:
    assert len(FALSE) >= 60
