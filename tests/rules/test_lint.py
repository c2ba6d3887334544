# SPDX-License-Identifier: Apache-2.0
"""``rules lint``: every fault at once, with file, line, rule and the nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from egraph_opt.cli import main
from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import rules_folder
from egraph_opt.errors import RuleError
from egraph_opt.rules.lint import lint

GOOD = ";; a law\n;; numerics: exact\n"
FAULTS: list[tuple[str, int, str]] = [
    ('(rewrite (Tanhh ?x) ?x :name "a-b")', 3, "there is no constructor 'Tanhh'; did you mean Tanh"),
    ('(rewrite (Mul ?x ?y) ?x :name "a-b")', 3, "no constructor Mul: a product is an einsum: (Einsum2 ?s ?x ?y)"),
    ('(rewrite (MatMul ?x ?y) ?x :name "a-b")', 3, '(= "ab,bc->ac" (letters ?s))'),
    ('(rewrite (Transpose ?x) ?x :name "a-b")', 3, "a transpose is an einsum"),
    ('(rewrite (Sub ?x ?y) ?x :name "a-b")', 3, "x - y is (Add ?x (Einsum1 ?s ?y))"),
    ('(rewrite (Sum ?x) ?x :name "a-b")', 3, "a sum over axes is an einsum"),
    ('(rewrite (Add ?x) ?x :name "a-b")', 3, "Add takes 2 arguments, got 1"),
    ('(rewrite (Tanh ?x ?y) ?x :name "a-b")', 3, "Tanh takes 1 argument, got 2"),
    ('(rewrite (Tanh "x") ?y :name "a-b")', 3, '"x" is text where a tensor is wanted'),
    ('(rewrite (Einsum1 (Tanh ?x) ?x) ?x :name "a-b")', 3, "(Tanh ...) is a tensor where text is wanted"),
    ('(rewrite (Einsum1 ?x ?x) ?x :name "a-b")', 3, "?x is text elsewhere and a tensor here"),
    ('(rewrite (Tanh x) (Tanh x) :name "a-b")', 3, "'x' is no variable; write ?x for one"),
    ('(rewrite (Tanh ?x)\n  (Tanh ?z) :name "a-b")', 4, "?z in the right side is bound by nothing"),
    (
        '(rewrite (Einsum1 ?s ?x) ?x\n  :when ((is-copy ?t)) :name "a-b")',
        4,
        "?t in the (is-copy ...) is bound by nothing",
    ),
    (
        '(rewrite (Einsum1 ?s ?x) ?x :when ((= ?r (composse ?s ?s))) :name "a-b")',
        3,
        "there is no attribute function or fact 'composse'; did you mean compose",
    ),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((= ?r (compose ?s))) :name "a-b")', 3, "compose takes 2 arguments, got 1"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((= ?r (compose ?s ?s))) :name "a-b")', 3, "?r is computed and never read"),
    (
        '(rewrite (Einsum1 ?s ?x) (Einsum1 ?r ?x) :when ((= ?r (absorb.plane ?s ?s 0))) :name "a-b")',
        3,
        "absorb has no result 'plane'; did you mean absorb.plain",
    ),
    (
        '(rewrite (Einsum1 ?s ?x) (Einsum1 ?r ?x) :when ((= ?r (absorb ?s ?s 0))) :name "a-b")',
        3,
        "absorb has several results; name one of absorb.plain",
    ),
    ('(rewrite (Einsum1 ?s ?x) (Einsum1 (swap ?s) ?x) :name "a-b")', 3, "(swap ...) cannot stand inside a term"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((= ?r (is-copy ?s))) :name "a-b")', 3, "is a condition without a value"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((compose ?s 3)) :name "a-b")', 3, "3 is a number where text is wanted"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((Tanh ?x)) :name "a-b")', 3, "(Tanh ...) is a tensor and no condition"),
    ('(rewrite (ReduceMax "axes=0" ?x) ?x :name "a-b")', 3, "axes is a whole number; want a tuple, as in axes=(0, 2)"),
    ('(rewrite (Cumsum "axis=0, reverse=1" ?x) ?x :name "a-b")', 3, "want a truth value, as in reverse=False"),
    ('(rewrite (ConvertElementType "new_dtype=int8" ?x) ?x :name "a-b")', 3, "as in \"new_dtype=dtype('float32')\""),
    ('(rewrite ?x (Tanh ?x) :name "a-b")', 3, "the left side is a variable: it matches anything"),
    ("(rewrite (Tanh ?x) ?x)", 3, "a rule without a name"),
    ('(rewrite (Tanh ?x) ?x :name "TanhOf x")', 3, "not kebab-case; want 'tanh-of-x'"),
    ('(rewrite (Tanh ?x) ?x :name "product-order")', 3, "named as the rule at"),
    ('(rewrite (Tanh ?x) ?x :wen () :name "a-b")', 3, "option :wen is not known; did you mean :when"),
    ('(rewrite (Tanh ?x) ?x :ruleset a :name "a-b")', 3, "option :ruleset does nothing"),
    ("(rewrite (Tanh ?x) ?x :name)", 3, "option :name has no value"),
    ('(rewrite (Tanh ?x) :name "a-b")', 3, "want two parts after 'rewrite', got 1"),
    ('(rewritte (Tanh ?x) ?x :name "a-b")', 3, "want a rule, got 'rewritte'; did you mean rewrite"),
    ('(rule ((= ?e (Tanh ?x))) ((delete (Tanh ?x))) :name "a-b")', 3, "delete stands only in normalize.egg and simp"),
    ('(rule ((= ?e (Tanh ?x))) ((unoin ?e ?x)) :name "a-b")', 3, "did you mean union"),
    ('(rule ((= ?e (Tanh ?x))) ((union ?e ?y)) :name "a-b")', 3, "?y in the action is bound by nothing"),
    ('(rule (= ?e (Tanh ?x)) (union ?e ?x) :name "a-b")', 3, "want (rule ((fact) ...) ((action) ...)"),
    ('(rewrite (Tanh ?x) ?x :when ((= "flaot32" (dtype ?x))) :name "a-b")', 3, "did you mean float32"),
    ('(rewrite (Tanh ?x) ?x :when ((= "4, 5" (shape ?x))) :name "a-b")', 3, "it is spelled '4,5'"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((= "ab-ba" (letters ?s))) :name "a-b")', 3, "want e.g. 'ab,bc->ac'"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((= "ij->ji" (letters ?s))) :name "a-b")', 3, "it is spelled 'ab->ba'"),
    ('(rewrite (Einsum1 ?s ?x) ?x :when ((= "2.0" (scale-of ?s))) :name "a-b")', 3, "it is spelled '2'"),
    ('(rewrite (Op ?x) ?x :over "unary elementwse" :name "a-b")', 3, "did you mean elementwise"),
    ('(rewrite (Op ?x) ?x :over "unary binary" :name "a-b")', 3, "selects no operation"),
    (f'(rewrite {"(Tanh " * 2000}?x{")" * 2000} ?x :name "a-b")', 3, "more than 100 '(' inside each other"),
    ('(birewrite (Tanh ?x) (Add ?x ?y) :name "a-b")', 3, "?y in the right side is bound by nothing"),
]


@pytest.mark.parametrize(("text", "line", "problem"), FAULTS)
def test_fault(text: str, line: int, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "pack.egg"
    file.write_text(GOOD + text + "\n")
    found = lint(file).faults
    assert [fault for fault in found if problem in str(fault) and fault.line == line], "\n".join(map(str, found))
    assert all(str(fault).startswith(f"{file}:") and "\n" not in str(fault) for fault in found)


@pytest.mark.parametrize(
    ("comment", "problem"),
    [
        (";; a law", "states no numerics class"),
        (";; a law\n;; numerics: exakt", "numerics 'exakt' is no class; did you mean exact?"),
        (";; a law\n;; numerics: exact, finite", "states several numerics classes"),
        (";; a law\n;; numerics: exact\n;; numerics: finite", "states several numerics classes"),
        (";; a law\n;; numeric: exact", "key 'numeric' in the comment is not known; did you mean numerics?"),
        (";; numerics: exact", "states no law"),
        (";; a law\n;; numerics: exact\n", "states no law"),
    ],
)
def test_comment(comment: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "pack.egg").write_text(f'{comment}\n(rewrite (Tanh ?x) ?x :name "a-b")\n')
    assert problem in "\n".join(map(str, lint(tmp_path).faults))


def test_every_fault_of_all_files_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.egg").write_text(GOOD + '(rewrite (Tanhh ?x) ?y :name "a-b")\n\n(rewrite (Exp ?x) ?x)\n')
    (tmp_path / "two.egg").write_text(
        GOOD + '(rewrite (Exp ?x) ?x :name "a-b"\n\n' + GOOD + '(rewrite (Cos ?x) (Coss ?x) :name "c-d")\n)\n'
    )
    (tmp_path / "three.egg").write_text("; nothing\n")
    assert main(["rules", "lint", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    for place, problem in (
        ("one.egg:3", "'Tanhh'"),
        ("one.egg:3", "?y"),
        ("one.egg:5", "without a name"),
        ("one.egg:5", "no numerics class"),
        ("two.egg:3", "never closed"),
        ("two.egg:7", "'Coss'; did you mean Cos"),
        ("two.egg:8", "')' closes nothing"),
        ("three.egg:1", "no rule in this file"),
    ):
        assert [line for line in lines if place in line and problem in line], (place, problem, lines)


def test_shipped_rules_have_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert not lint(rules_folder()).faults
    assert main(["rules", "lint"]) == 0
    assert "no faults" in capsys.readouterr().out


def test_nothing_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuleError, match=r"no \*\.egg files there"):
        lint(tmp_path)
    assert main(["rules", "lint", str(tmp_path / "missing.egg")]) == 2
    assert "missing.egg:1: No such file" in capsys.readouterr().err
    (tmp_path / "binary.egg").write_bytes(b"\xff\xfe\x00")
    assert main(["rules", "lint", str(tmp_path / "binary.egg")]) == 2


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "pack.egg"
    file.write_bytes(b"\xef\xbb\xbf" + (GOOD + '(rewrite (Abs (Abs ?x)) (Abs ?x) :name "a-b")\n').encode())
    assert not lint(file).faults
    assert [rule.law for rule in RuleSet.load(file)] == ["a law"]
