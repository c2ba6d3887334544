# SPDX-License-Identifier: Apache-2.0
"""docs/rules.md is what the rule files say, and its examples are what the engine does."""

from pathlib import Path

import pytest

from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import parse_rules
from egraph_opt.rules.document import page
from egraph_opt.rules.document_example import RuleExample, example

ROOT = Path(__file__).resolve().parents[2]


PAGE = (ROOT / "docs/rules.md").read_text("utf-8")


def without_examples(page: str) -> list[str]:
    """Lines of the page; of a rule's row what the rule file says, without the example, which is drawn at random."""
    return [line.rsplit(" | ", 1)[0] if line.startswith("| `") else line for line in page.splitlines()]


def test_page_is_fresh() -> None:
    command = "python -m egraph_opt.rules.document > docs/rules.md"
    assert without_examples(PAGE) == without_examples(page(examples=False)), f"run `{command}`"


def test_page_names_every_rule_once() -> None:
    rows = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    names = [rule.notes.get("family", rule.name) for rule in RuleSet.shipped()]
    assert rows == list(dict.fromkeys(names))


def test_every_rule_has_an_example() -> None:
    assert "none found" not in PAGE


@pytest.mark.slow
def test_examples_are_found_again() -> None:
    assert "none found" not in page()


def one(text: str) -> RuleExample | None:
    (rule,) = parse_rules(text, "mine.egg")
    return example(rule)


def test_example_is_what_the_rule_does() -> None:
    law = ';; A law.\n;; numerics: exact\n(rewrite (Neg ?x) ?x :name "wrong")'.replace("Neg", "Tanh")
    found = one(law)
    assert found == RuleExample("tanh(x)", "x")
    found = one(';; A law.\n;; numerics: exact\n(rewrite (Max ?x ?y) (Max ?y ?x) :name "max-swaps")')
    assert found == RuleExample("max(x, y)", "max(y, x)")


def test_rule_that_cannot_match_has_no_example() -> None:
    assert one(';; A law.\n;; numerics: exact\n(rewrite (Exp ?x) ?x :when ((!= ?x ?x)) :name "never")') is None
