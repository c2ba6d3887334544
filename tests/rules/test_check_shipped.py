# SPDX-License-Identifier: Apache-2.0
"""Every shipped rule passes the quick check."""

from __future__ import annotations

import pytest

from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import Rule
from egraph_opt.rules.check.run import check_rule


@pytest.mark.parametrize("rule", list(RuleSet.shipped()), ids=lambda rule: rule.name)
def test_shipped_rules_pass(rule: Rule) -> None:
    verdict = check_rule(rule)
    assert verdict.passed, f"{verdict}\n{verdict.counterexample}"
    assert verdict.matches
