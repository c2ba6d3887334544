# SPDX-License-Identifier: Apache-2.0
"""What a stranger may give to ``rules lint``, ``check`` and ``bisect``: one clear line with the place, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from egraph_opt.cli import main
from egraph_opt.engine.literals import literal_fault
from egraph_opt.engine.rule import parse_rules
from egraph_opt.rules.check.run import check_rule

HEAD = ";; a law\n;; numerics: exact\n"
FILES: dict[str, tuple[str | bytes, str]] = {
    "empty.egg": ("", "empty.egg"),
    "binary.egg": (bytes(range(256)), "not UTF-8 text"),
    "attribute.egg": (HEAD + '(rewrite (ReduceMax "axis=1" ?x) ?x :name "a-b")', "attribute.egg:3: rule 'a-b'"),
    "spec.egg": (HEAD + '(rewrite (Einsum2 "ab,bc" ?x ?y) ?x :name "a-b")', "spec.egg:3: rule 'a-b'"),
    "constant.egg": (HEAD + '(rewrite (Tanh ?x) (Constant "float33 1") :name "a-b")', "'float33' is no element type"),
    "syntax.py": ("x = 1\ndef f(:\n", "syntax.py:2: "),
    "raises.py": ("x = 1\nraise ValueError('first\\nsecond')\n", "raises.py:2: ValueError: first second"),
    "leaves.py": ("import sys\n\nsys.exit(3)\n", "leaves.py:3: SystemExit: 3"),
    "nothing.py": ("x = 1\n", "no rules are defined there"),
    "free.py": (
        "import egraph_opt\n\nr = egraph_opt.rule(name='q', numerics='exact')(lambda a: -a, lambda b: b)\n",
        "free.py:3: rule 'q': 'b' is free on the right",
    ),
}


@pytest.fixture(params=FILES)
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    content, message = FILES[request.param]
    path = tmp_path / request.param
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path, message


def test_check(bad: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, message = bad
    assert main(["rules", "check", str(path)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_lint(bad: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, message = bad
    status = main(["rules", "lint", str(path)])
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert status == (2 if path.name == "binary.egg" else 1)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("ReduceMax", "axes=(1,)", ""),
        ("ReduceMax", "axes=(1, )", 'it is spelled "axes=(1,)"'),
        ("ReduceMax", "axes=(1", "do not parse"),
        ("ReduceMax", "axis=(1,)", "there is no attribute 'axis'; want axes"),
        ("Einsum2", "ab,bc->ac;2,3,4", ""),
        ("Einsum2", "ij,jk->ik;2,3,4", 'it is spelled "ab,bc->ac;2,3,4"'),
        ("Einsum2", "ab->ba;2,3", "is a spec of 1 operands"),
        ("Einsum1", "ab->ba;2,x", "is no einsum spec"),
        ("Reshape", "4,5", ""),
        ("Reshape", "(4, 5)", "is no shape"),
        ("Constant", "float32 1.0", ""),
        ("Constant", "float32 1", 'it is spelled "float32 1.0"'),
        ("Constant", "float32 x", "want an element type and a number"),
        ("Tanh", "anything", ""),
    ],
)
def test_literal(name: str, text: str, part: str) -> None:
    fault = literal_fault(name, text)
    assert part in fault
    assert bool(fault) == bool(part)


def test_the_engine_speaks_of_rules() -> None:
    (rule,) = parse_rules(HEAD + '(rewrite (Tanh ?x) ?other :name "a-b")', "pack.egg")
    assert "?other in the action is bound by nothing" in check_rule(rule).problem


def test_names_of_rules_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "good.egg"
    path.write_text(HEAD + '(rewrite (Not (Not ?x)) ?x :name "twice-not")')
    assert main(["rules", "check", str(path), "--rule", "twice-note"]) == 2
    assert "want e.g. twice-not\n" in capsys.readouterr().err
    assert main(["rules", "check", str(path), "--out", str(path)]) == 2
    assert "want a folder, this is a file" in capsys.readouterr().err
