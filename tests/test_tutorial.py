# SPDX-License-Identifier: Apache-2.0
"""``docs/your-first-rule.md`` runs: files are written, Python is executed, commands say what stands below them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from egraph_opt.cli import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your-first-rule.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def console(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run ``$ egraph-opt ...``; the lines below are in its output, ``[1]`` is its exit status."""
    command, *lines = block.splitlines()
    status = re.fullmatch(r"\[(\d)\]", lines[-1])
    expected = lines[:-1] if status else lines
    assert main(command.removeprefix("$ egraph-opt ").split()) == (int(status.group(1)) if status else 0)
    output = capsys.readouterr().out
    for line in expected:
        assert line in output, f"{command}: {line!r} is not in {output}"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    kinds = set()
    for match in BLOCK.finditer(text):
        kind, name, block = match.groups()
        kinds.add(kind)
        line = text.count("\n", 0, match.start()) + 1
        if kind == "egg":
            Path(name).write_text(block)
        elif kind == "python":
            # The line numbers of the page: what fails says where it stands.
            exec(compile("\n" * line + block, str(PAGE), "exec"), names)
        elif kind == "console":
            console(block, capsys)
    assert kinds == {"egg", "python", "console", "toml"}
