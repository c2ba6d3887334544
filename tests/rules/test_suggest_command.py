# SPDX-License-Identifier: Apache-2.0
"""The command ``egraph-opt rules suggest``: what it prints can be loaded, what it cannot do is said in one line."""

import json
from pathlib import Path

import pytest

from egraph_opt.cli import main
from egraph_opt.engine import RuleSet


def test_command_prints_loadable_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "laws.json"
    assert main(["rules", "suggest", "--ops", "max,abs", "--size", "2", "--json", str(target)]) == 0
    out = capsys.readouterr().out
    assert "(rewrite (Abs (Abs ?x)) (Abs ?x)" in out
    assert "checked: " in out
    assert any(law["law"] == "abs(abs(x)) = abs(x)" for law in json.loads(target.read_text("utf-8"))["laws"])
    (tmp_path / "mine.egg").write_text("".join(line + "\n" for line in out.splitlines() if not line.startswith("#")))
    assert len(RuleSet.load(tmp_path)) >= 1


@pytest.mark.parametrize(
    "arguments", [["--ops", "expp"], ["--theme", "none"], ["--without", "nothing"], ["--size", "0"], ["--vars", "x"]]
)
def test_unknown_names_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "suggest", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert arguments[1] in error


def test_documented_output(capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/suggest.md shows is what is printed."""
    page = (Path(__file__).resolve().parents[2] / "docs/suggest.md").read_text("utf-8")
    shown = page.partition("--ops abs,neg --size 2\n")[2].partition("...\n")
    assert main(["rules", "suggest", "--ops", "abs,neg", "--size", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(shown[0])
    assert out.endswith(shown[2].partition("```")[0])
