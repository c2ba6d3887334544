# SPDX-License-Identifier: Apache-2.0
"""Rules as data, read from ``rules/*.egg``.

A rule is a ``rewrite``, ``birewrite`` or ``rule`` of egglog with a comment block right above it: the law in its first
line, then ``numerics:`` with exactly one class, and optional ``shapes:``, ``source:``, ``needs:``, ``off:`` lines.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from egraph_opt.engine.families import PLACEHOLDER, expanded
from egraph_opt.engine.sexpr import Expr, Form, read
from egraph_opt.errors import RuleError
from egraph_opt.ir.numerics import Numerics

_KEYS = ("shapes", "numerics", "source", "needs", "off")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rewrite rule.

    Args:
        name: unique over all loaded files.
        ruleset: stage in which it runs; the stem of its file.
        facts: what must hold, attribute functions included.
        actions: what is then added.
        numerics: class of the numerics contract.
        law: the law in mathematics, first line of the comment.
        notes: the further lines of the comment by key.
        path: file.
        line: line of the rule.
    """

    name: str
    ruleset: str
    facts: tuple[Expr, ...]
    actions: tuple[Expr, ...]
    numerics: Numerics
    law: str
    notes: dict[str, str] = field(default_factory=dict, compare=False, hash=False)
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"(rule ({' '.join(map(str, self.facts))}) ({' '.join(map(str, self.actions))}) :name {self.name!r})"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in the order of their files."""

    rules: tuple[Rule, ...]

    @staticmethod
    def load(paths: str | Path | Iterable[str | Path]) -> RuleSet:
        """Read rule files; a folder stands for its ``*.egg`` files.

        Raises:
            RuleError: a file is missing or not well formed, or two rules have one name.
        """
        rules: list[Rule] = []
        for file in files_of(paths):
            rules += load_file(str(file))
        seen: dict[str, Rule] = {}
        for rule in rules:
            if rule.name in seen:
                first = seen[rule.name]
                raise RuleError(f"{rule.path}:{rule.line}: rule {rule.name!r} is named as in {first.path}:{first.line}")
            seen[rule.name] = rule
        return RuleSet(tuple(rules))

    @staticmethod
    def watch(paths: str | Path | Iterable[str | Path]) -> Source:
        """Files and folders as ``load`` reads them, to be read again when they change.

        Raises:
            RuleError: a file is missing or not well formed now.
        """
        listed = [paths] if isinstance(paths, str | Path) else list(paths)
        return Source(lambda: RuleSet.load(listed), listed)

    @staticmethod
    def shipped() -> RuleSet:
        """The rules that come with the package."""
        return _shipped()

    def admitted(self, numerics: Numerics) -> RuleSet:
        """Rules up to a numerics class that are not switched off."""
        return RuleSet(tuple(r for r in self.rules if r.numerics <= numerics and "off" not in r.notes))

    def without(self, names: Iterable[str]) -> RuleSet:
        """All rules but the named ones."""
        drop = set(names)
        return RuleSet(tuple(r for r in self.rules if r.name not in drop))

    def __add__(self, other: RuleSet) -> RuleSet:
        return RuleSet(self.rules + other.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)


class Source:
    """Rules that are read again when the files they come from have changed.

    Args:
        read: gives the rules.
        paths: files and folders that are watched.
    """

    def __init__(self, read: Callable[[], RuleSet | None], paths: Iterable[str | Path]) -> None:
        self._read, self._paths = read, list(map(Path, paths))
        self._mark = self._look()
        self.rules = read()

    def refresh(self) -> bool:
        """Read again if a file has changed; whether the rules are others now.

        A file that is not well formed leaves the rules as they were, with one warning for each such state.
        """
        mark = self._look()
        if mark == self._mark:
            return False
        self._mark = mark
        try:
            rules = self._read()
        except RuleError as error:
            warnings.warn(f"{error}; the rules as they were before are kept", stacklevel=5)
            return False
        changed = rules != self.rules
        self.rules = rules
        return changed

    def _look(self) -> Mapping[Path, tuple[int, int]]:
        """Time and size of every file; a folder also shows which files it holds."""
        found: dict[Path, tuple[int, int]] = {}
        for path in self._paths:
            for file in [*path.glob("*.egg"), path] if path.is_dir() else [path]:
                try:
                    status = file.stat()
                except OSError:
                    continue
                found[file] = (status.st_mtime_ns, status.st_size)
        return found


def base_name(name: str) -> str:
    """Name of a rule without the number of its spelling: ``assoc[2]`` is ``assoc``."""
    stem, bracket, rest = name.partition("[")
    return stem if bracket and rest[:-1].isdigit() else name


def stage_of(path: str) -> str:
    """Ruleset of a file: its stem, with what the engine cannot take in a name replaced."""
    return re.sub(r"[^A-Za-z0-9-]", "-", Path(path).stem)


def files_of(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Rule files that paths stand for: a folder is its ``*.egg`` files.

    Raises:
        RuleError: there are none.
    """
    files: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        files += sorted(path.glob("*.egg")) if path.is_dir() else [path]
    if not files:
        raise RuleError(f"{paths}: no *.egg files there")
    return files


def rules_folder() -> Path:
    """Folder of the shipped rules: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).resolve().parents[1] / "_rules"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "rules"


@lru_cache(maxsize=1)
def _shipped() -> RuleSet:
    return RuleSet.load(rules_folder())


def load_file(path: str) -> list[Rule]:
    """Rules of one file.

    Raises:
        RuleError: the file is missing or not well formed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    return parse_rules(text, path)


def parse_rules(text: str, path: str) -> list[Rule]:
    """Rules in rule text; ``path`` names it in messages, its stem is the ruleset."""
    lines = text.splitlines()
    rules: list[Rule] = []
    for form in read(text, path):
        head = form[0] if form else ""
        if head not in ("rewrite", "birewrite", "rule"):
            raise RuleError(f"{path}:{form.line}: want 'rewrite', 'birewrite' or 'rule', got {str(head)[:30]!r}")
        for instance, op in expanded(form, path):
            made = _rules(instance, comment_above(lines, form.line), path)
            rules += [_of_family(rule, op) for rule in made] if op else made
    return rules


def _of_family(rule: Rule, op: str) -> Rule:
    """A rule of a family, under its own name: ``reshape-of-elementwise[Tanh]``."""
    notes = {**rule.notes, "family": rule.name}
    return replace(rule, name=f"{rule.name}[{op}]", law=rule.law.replace(PLACEHOLDER, op), notes=notes)


def comment_above(lines: list[str], line: int) -> list[str]:
    """The comment block right above a line, without its semicolons."""
    block: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.startswith(";;") or text.startswith(";;;"):
            break
        block.append(text.removeprefix(";;").strip())
    return block[::-1]


def _rules(form: Form, comment: list[str], path: str) -> list[Rule]:
    where = f"{path}:{form.line}"
    positional, options = _options(form, where)
    if "name" not in options:
        raise RuleError(f'{where}: a rule without a name; add :name "what-happens"')
    name = str(options["name"]).strip('"')
    notes = {key: text.split(":", 1)[1].strip() for text in comment for key in _KEYS if text.startswith(f"{key}:")}
    law = next((text for text in comment if not text.startswith(tuple(f"{k}:" for k in _KEYS))), "")
    if "numerics" not in notes:
        how = "write ';; numerics: exact' right above it, with no empty line between"
        raise RuleError(f"{where}: rule {name!r} states no class; {how}")
    if notes["numerics"] not in ("exact", "reassociate", "finite"):
        raise RuleError(f"{where}: rule {name!r}: numerics {notes['numerics']!r}; want exact, reassociate or finite")
    if len(positional) != 2:
        raise RuleError(f"{where}: rule {name!r}: want two parts after {form[0]!r}, got {len(positional)}")
    stem = stage_of(path)
    base = Rule(name, stem, (), (), Numerics.parse(notes["numerics"]), law, notes, path, form.line)
    left, right = positional
    when = options.get("when", Form(()))
    if not isinstance(when, Form):
        raise RuleError(f"{where}: rule {name!r}: ':when' wants a list of conditions")
    if form[0] == "rule":
        if not isinstance(left, Form) or not isinstance(right, Form):
            raise RuleError(f"{where}: rule {name!r}: want (rule (facts...) (actions...) ...)")
        return [replace(base, facts=tuple(left), actions=tuple(right))]

    def one(lhs: Expr, rhs: Expr, name: str) -> Rule:
        facts = (Form(("=", "?result", lhs), form.line), *when)
        return replace(base, name=name, facts=facts, actions=(Form(("union", "?result", rhs), form.line),))

    if form[0] == "rewrite":
        return [one(left, right, name)]
    return [one(left, right, f"{name}=>"), one(right, left, f"{name}<=")]


def _options(form: Form, where: str) -> tuple[list[Expr], dict[str, Expr]]:
    positional: list[Expr] = []
    options: dict[str, Expr] = {}
    items = list(form[1:])
    while items:
        item = items.pop(0)
        if isinstance(item, str) and item.startswith(":"):
            if not items:
                raise RuleError(f"{where}: option {item} has no value")
            options[item[1:]] = items.pop(0)
        else:
            positional.append(item)
    unknown = set(options) - {"when", "name", "ruleset", "over"}
    if unknown:
        raise RuleError(f"{where}: option :{sorted(unknown)[0]} is not known; there are :when, :ruleset and :name")
    return positional, options
