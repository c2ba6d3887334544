# SPDX-License-Identifier: Apache-2.0
"""Rule files: shipped ones are well formed, faults are named by file and line, compilation adds what is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from egraph_opt.engine import RuleSet
from egraph_opt.engine.attributes import FUNCTIONS
from egraph_opt.engine.compile import active, call_in, compile_rules, mentioned
from egraph_opt.engine.facts import NAMES
from egraph_opt.engine.rule import parse_rules
from egraph_opt.engine.saturate import DELETING
from egraph_opt.engine.sexpr import variables
from egraph_opt.engine.words import vocabulary
from egraph_opt.errors import RuleError
from egraph_opt.ir.numerics import Numerics

RULES = RuleSet.shipped()

GOOD = """
;; a law
;; numerics: exact
;; source: somewhere
(rewrite (Einsum1 ?s (Einsum1 ?t ?x)) (Einsum1 ?r ?x)
  :when ((= ?r (compose ?s ?t))) :name "two-in-one")
"""


@pytest.mark.parametrize("rule", list(RULES), ids=lambda rule: rule.name)
def test_shipped_rule(rule: object) -> None:
    assert rule.law, "its law stands above it"  # type: ignore[attr-defined]
    reads, makes = mentioned(rule)  # type: ignore[arg-type]
    plain = {"=", "!=", "union", "set", "delete", "ordering-min", "ordering-max"} | NAMES
    known = set(vocabulary()) | plain | set(FUNCTIONS)
    assert {head.partition(".")[0] for head in reads | makes} <= known
    bound = {name for fact in rule.facts for name in variables(fact)}  # type: ignore[attr-defined]
    used = {name for action in rule.actions for name in variables(action)}  # type: ignore[attr-defined]
    assert used <= bound, "nothing on the right is free"


def test_only_the_normaliser_deletes_and_nothing_subsumes() -> None:
    actions = [(Path(rule.path).stem, str(action)) for rule in RULES for action in rule.actions]
    assert {stem for stem, action in actions if action.startswith("(delete")} == set(DELETING)
    assert not [action for _, action in actions if action.startswith("(subsume")]


def test_admitted() -> None:
    exact = RULES.admitted(Numerics.EXACT)
    assert 0 < len(exact) < len(RULES)
    assert all(rule.numerics is Numerics.EXACT for rule in exact)
    assert len(RULES.without(["regroup-left-x"])) == len(RULES) - 1


def test_rule_as_data() -> None:
    (rule,) = parse_rules(GOOD, "pack/theme.egg")
    assert (rule.name, rule.ruleset, rule.numerics, rule.law) == ("two-in-one", "theme", Numerics.EXACT, "a law")
    assert (rule.line, rule.notes["source"]) == (5, "somewhere")
    function, output, arguments = call_in(rule.facts[1]) or (None, "", ())
    assert (function and function.name, output, arguments) == ("compose", "", ("?s", "?t"))


def test_birewrite_is_two_rules() -> None:
    text = ';; l\n;; numerics: exact\n(birewrite (Add ?x ?y) (Add ?y ?x) :name "comm")'
    assert [rule.name for rule in parse_rules(text, "t.egg")] == ["comm=>", "comm<="]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('(rewrite (Add ?x ?y) (Add ?y ?x) :name "a")', "t.egg:1: rule 'a' states no class"),
        (';; numerics: roughly\n(rewrite ?x ?x :name "a")', "t.egg:2: rule 'a': numerics 'roughly'"),
        (";; numerics: exact\n(rewrite ?x ?x)", "t.egg:2: a rule without a name"),
        (';; numerics: exact\n(rewrite ?x :name "a")', "t.egg:2: rule 'a': want two parts after 'rewrite', got 1"),
        (';; numerics: exact\n(rewrite ?x ?y :name "a" :wen ())', "t.egg:2: option :wen is not known"),
        ("(let $x 1)", "t.egg:1: want 'rewrite', 'birewrite' or 'rule', got 'let'"),
        ("(rewrite", "t.egg:1: this '(' is never closed"),
        ("\n)", "t.egg:2: ')' closes nothing"),
        ("stray", "t.egg:1: 'stray' stands outside a form"),
        ('(rewrite "open', "is not readable"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rules(text, "t.egg")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"no \*.egg files"):
        RuleSet.load(tmp_path)
    with pytest.raises(RuleError, match=r"missing\.egg: No such file"):
        RuleSet.load(tmp_path / "missing.egg")
    for name in ("one", "two"):
        (tmp_path / f"{name}.egg").write_text(GOOD)
    with pytest.raises(RuleError, match="'two-in-one' is named as in"):
        RuleSet.load(tmp_path)
    assert len(RuleSet.load([tmp_path / "one.egg"])) == 1


def test_compilation_asks_and_stamps() -> None:
    rules = parse_rules(GOOD, "theme.egg")
    program = compile_rules(rules, vocabulary())
    assert program.stages == ("theme",)
    assert [f.name for f in program.functions] == ["compose"]
    assert "((ask.compose ?v1 ?v2)) :ruleset ask.theme)" in program.text
    assert '(set (why.Einsum1 ?r ?x) "two-in-one")' in program.text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("(compose ?s)", "compose takes 2 arguments, got 1"),
        ("(compose ?s ?q)", "?q in (compose ...) is bound by nothing"),
    ],
)
def test_attribute_calls_are_checked(call: str, message: str) -> None:
    rules = parse_rules(GOOD.replace("(compose ?s ?t)", call), "theme.egg")
    with pytest.raises(RuleError, match=r"theme\.egg:5: rule 'two-in-one'") as caught:
        compile_rules(rules, vocabulary())
    assert message in str(caught.value)


def test_only_rules_that_can_fire_are_loaded() -> None:
    names = {rule.name for rule in active(RULES, ["Einsum1"], vocabulary())}
    assert "einsum-of-einsum" in names
    assert "distribute-left" not in names
