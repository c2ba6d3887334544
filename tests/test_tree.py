# SPDX-License-Identifier: Apache-2.0
"""What holds for the files as such: heads, lengths, and nothing that belongs to one machine only."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("egraph_opt", "tests", "benchmarks", "examples")
SPDX = "# SPDX-License-Identifier: Apache-2.0"
MAX_LINES = 400
FORBIDDEN = {
    "path of one machine": re.compile(r"(?<![\w.\-~/])/(home|root|Users|work|opt)/"),
    "package registry": re.compile(r"(pypi|pythonhosted|anaconda|npmjs)\.(org|com)\b|index[-_]url|find[-_]links"),
}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tracked_text() -> Iterator[tuple[str, str]]:
    """Name and text of every tracked file that is text."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield name, data.decode("utf-8", errors="replace")


def test_every_module_has_a_head() -> None:
    found = []
    for path in modules(*FOLDERS):
        text = path.read_text("utf-8")
        if SPDX not in text.splitlines()[:2]:
            found.append(f"{path.relative_to(ROOT)}:1: no line '{SPDX}'")
        if not ast.get_docstring(ast.parse(text)):
            found.append(f"{path.relative_to(ROOT)}:1: no module docstring")
    assert not found, "\n" + "\n".join(found)


def test_modules_stay_short() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in modules("egraph_opt")}
    found = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > MAX_LINES]
    assert not found, "\n" + "\n".join(found)


def test_nothing_of_one_machine() -> None:
    found = [
        f"{name}:{number}: {what}: {line.strip()[:100]}"
        for name, text in tracked_text()
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]
    assert not found, "\n" + "\n".join(found)


def test_forbidden_patterns_bite() -> None:
    path, registry = FORBIDDEN.values()
    assert path.search("see " + "/".join(["", "home", "me", "model.onnx"]))
    assert not path.search("https://example.org/home/page")
    assert registry.search("https://" + ".".join(["files", "pythonhosted", "org"]))


def test_contributing_fits_one_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) <= 60


def test_constraints_are_names_and_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]


MARK = "## One line a file\n"


def file_table() -> str:
    """Every module with the first sentence of its docstring, folder by folder."""
    lines = [MARK]
    folders = ["", "ir", "ops", "cost", "engine", "extract", "frontends", "frontends/stablehlo"]
    folders += ["capture", "lower", "verify", "measure", "rules", "rules/check", "rules/define", "rules/lint"]
    folders += ["rules/suggest", "adjoint", "loops", "reads", "explain", "bisect", "bench"]
    package = ROOT / "egraph_opt"
    there = {path.parent.relative_to(package).as_posix().removeprefix(".") for path in package.rglob("*.py")}
    for folder in folders + sorted(there.difference(folders)):
        lines += [f"### {folder + '/' if folder else 'egraph_opt/'}", ""]
        for path in sorted((ROOT / "egraph_opt" / folder).glob("*.py")):
            doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            lines.append(f"- `{path.name}`: {' '.join(doc.partition(chr(10) * 2)[0].split())}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def test_architecture_lists_every_file() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert text.partition(MARK)[1:] == file_table().partition(MARK)[1:], "run: python tests/test_tree.py"


if __name__ == "__main__":
    page = ROOT / "ARCHITECTURE.md"
    page.write_text(page.read_text("utf-8").partition(MARK)[0].rstrip() + "\n\n" + file_table(), "utf-8")
