# SPDX-License-Identifier: Apache-2.0
"""Drawing instances of rules: how many draws one takes, and that conditions are asked no more often than needed."""

from __future__ import annotations

import random

import pytest

from egraph_opt.engine.rule import RuleSet
from egraph_opt.engine.sexpr import Form, read
from egraph_opt.rules.check.asked import Asked
from egraph_opt.rules.check.drawing import Drawer
from egraph_opt.rules.check.premises import read_premises
from egraph_opt.rules.check.profile import MisfitError

RULES = {rule.name: rule for rule in RuleSet.shipped()}
DRAWS_EACH = 40
"""Draws for one instance at most; some of these rules took several thousand when shapes were left to chance."""


@pytest.mark.parametrize(
    "name",
    ["solve-lower-blocks", "inverse-of-kron", "one-hot-row-sum-count", "one-hot-place-left", "solve-diagonal-blocks"],
)
def test_what_conditions_fix_together_is_drawn_together(name: str) -> None:
    drawer = Drawer(read_premises(RULES[name]), random.Random(3))
    made, against = drawer.draw(10, 10 * DRAWS_EACH)
    assert len(made) == 10, against.most_common(3)
    again, _ = drawer.draw(5, 5 * DRAWS_EACH)
    assert len(again) == 5


def test_every_element_type_has_its_turn_over_several_batches() -> None:
    drawer = Drawer(read_premises(RULES["product-order"]), random.Random(1))
    found: set[str] = set()
    for _ in range(4):
        made, _ = drawer.draw(6, 600)
        found |= {node.type.dtype for instance in made for node in instance.nodes}
    assert {"complex128", "int32", "float32", "float64", "bfloat16"} <= found


def test_equal_questions_are_asked_once_and_answered_alike() -> None:
    (call,) = read("(shrinks ?s 0)", "test")
    asked = Asked(None, call)
    assert asked.arguments == (("?s", None), ("0", 0))
    assert asked.answer(["ab,bc->c;2,3,4", 0]) == "" == asked.answer(["ab,bc->c;2,3,4", 0])
    for _ in range(2):
        with pytest.raises(MisfitError, match=r"\(shrinks \?s 0\) does not hold"):
            asked.answer(["a,b->ab;2,3", 0])
        with pytest.raises(MisfitError, match="refuses its arguments"):
            asked.answer(["no spec", 0])


def test_a_condition_on_one_variable_alone_is_told_from_others() -> None:
    alone, joined = (Asked(None, Form(call)) for call in read('(one-of ?d "int32 int64") (compose ?s ?t)', "test"))
    assert alone.asks_alone("?d")
    assert not alone.asks_alone("?s")
    assert not joined.asks_alone("?s")
    assert alone.holds("?d", "int64")
    assert not alone.holds("?d", "float32")
