# SPDX-License-Identifier: Apache-2.0
"""The command ``rules check``: several paths, several processes, and what it tells when it is interrupted."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from egraph_opt import cli
from egraph_opt.engine.rule import parse_rules
from egraph_opt.rules.check import command
from egraph_opt.rules.check.run import check_rule

RULES = {
    "mine.egg": ';; right\n;; numerics: exact\n(rewrite (Max ?x ?x) ?x :name "right")\n'
    ';; wrong\n;; numerics: exact\n(rewrite (Max ?x ?y) ?x :name "wrong")\n',
    "more.egg": ';; low\n;; numerics: exact\n(rewrite (Min ?x ?x) ?x :name "low")\n',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = tmp_path / "rules"
    found.mkdir()
    for name, text in RULES.items():
        (found / name).write_text(text)
    return found


def test_several_paths(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(folder / name) for name in RULES]
    assert cli.main(["rules", "check", *paths, "--trials", "5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 rules, 1 refused; 5 trials each, seed 0"
    assert [line.split()[:3] for line in lines[-3:-1]] == [["mine.egg", "2", "1"], ["more.egg", "1", "0"]]


def test_a_rule_of_two_paths_is_checked_once(folder: Path) -> None:
    names = [rule.name for rule in command.chosen([folder, folder / "more.egg"], None)]
    assert sorted(names) == ["low", "right", "wrong"]


def test_other_actions_take_one_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "list", str(folder / "mine.egg"), str(folder / "more.egg")]) == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_processes_find_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*more: str) -> list[str]:
        assert cli.main(["rules", "check", str(folder), "--trials", "5", *more]) == 1
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if not line.startswith(("mine.egg", "more.egg"))]  # their times differ

    assert told() == told("--jobs", "2")


def test_an_interrupt_tells_what_was_found(folder: Path) -> None:
    options = argparse.Namespace(trials=5, seed=0, rule=None, out=None, jobs=1)
    said: list[object] = []
    stages: list[str] = []

    def progress(text: str) -> None:
        stages.append(text)
        if len(stages) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command.run(options, [folder], said.append, progress)
    assert stages[0] == "checking right (1 of 3)"
    assert said[-1] == "1 of 3 rules, 0 refused; 5 trials each, seed 0"


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    rules = tmp_path / "mine.egg"
    rules.write_text(';; |-x| = x\n;; numerics: exact\n(rewrite (Abs ?x) ?x :name "abs-dropped")\n')
    assert cli.main(["rules", "check", str(rules), "--out", str(tmp_path / "file" / "inner")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"egraph-opt: --out {tmp_path}/file/inner: cannot be written (")


def test_inputs_of_two_instances_have_two_names() -> None:
    """A rule that says that all instances are one constant: two of them show that they are not."""
    text = ';; a\n;; numerics: reassociate\n(rewrite (Exp ?x) (Constant "float32 1.0") :when ((= "scalar" (shape ?x))'
    (rule,) = parse_rules(f'{text} (= "float32" (dtype ?x))) :name "all-one")', "theme.egg")
    found = check_rule(rule).counterexample
    assert found is not None
    assert len(set(found.before.names)) == len(found.before.names)
