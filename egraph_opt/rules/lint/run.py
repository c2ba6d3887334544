# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules lint``: every fault of all rule files at once, one line each, with the nearest right name.

The loader stops at its first fault. This reader goes on: a form that cannot be read costs one line, and the next one is
looked at all the same.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from egraph_opt.engine.families import ARITIES, operations
from egraph_opt.engine.literals import literal_faults
from egraph_opt.engine.rule import RuleSet, comment_above, files_of, rules_folder
from egraph_opt.engine.sexpr import Expr, Form, read
from egraph_opt.errors import RuleError
from egraph_opt.ops import Trait
from egraph_opt.rules.lint.body import body_faults
from egraph_opt.rules.lint.comparisons import comparison_faults
from egraph_opt.rules.lint.signatures import nearest
from egraph_opt.rules.packs import installed, load

CLASSES = ("exact", "reassociate", "finite")
KEYS = ("shapes", "numerics", "source", "needs", "off")
OPTIONS = (":when", ":name", ":over")
HEADS = ("rewrite", "birewrite", "rule")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\[[\w.]+\])?")
_KEY = re.compile(r"([A-Za-z]+)\s*:\s*(.*)")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault of a rule file.

    Args:
        path: file.
        line: where in it.
        rule: name of the rule, "" where that is not known.
        problem: what is wrong and what may have been meant.
    """

    path: str
    line: int
    rule: str
    problem: str

    def __str__(self) -> str:
        rule = f"rule {self.rule!r}: " if self.rule else ""
        return f"{self.path}:{self.line}: {rule}{self.problem}"


@dataclass(frozen=True, slots=True)
class Lint:
    """What a look at rule files found.

    Args:
        faults: in the order of files and lines.
        rules: number of rules that were looked at.
        files: number of files.
    """

    faults: tuple[Fault, ...]
    rules: int
    files: int


def lint(paths: str | Path | Iterable[str | Path]) -> Lint:
    """Look at rule files; a folder stands for its ``*.egg`` files, a Python file for the rules that it makes.

    Raises:
        RuleError: there is nothing to read.
    """
    files = _files(paths)
    faults: list[Fault] = []
    names: dict[str, str] = {rule.name: f"{rule.path}:{rule.line}" for rule in RuleSet.shipped()}
    own = {str(file.resolve()) for file in files}
    names = {name: place for name, place in names.items() if str(Path(place.rpartition(":")[0]).resolve()) not in own}
    rules, unread = 0, []
    for file in files:
        if file.suffix == ".py":
            rules += _defined(file, faults, names)
            continue
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            unread.append(Fault(str(file), 1, "", getattr(error, "strerror", None) or "not UTF-8 text"))
            continue
        found = list(_forms(text, str(file), faults))
        rules += len(found)
        if not found and not any(fault.path == str(file) for fault in faults):
            faults.append(Fault(str(file), 1, "", "there is no rule in this file; write one or remove it"))
        for form in found:
            faults += _form_faults(form, text.splitlines(), str(file), names)
    if len(unread) == len(files):
        raise RuleError(str(unread[0]))
    return Lint(tuple(sorted([*faults, *unread])), rules, len(files))


def _files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files to look at; the name of an installed pack stands for the files that its rules come from."""
    if isinstance(paths, str | Path) and not Path(paths).exists() and (pack := installed().get(str(paths))):
        return list(dict.fromkeys(Path(rule.path) for rule in pack()))
    return files_of(paths)


def _defined(file: Path, faults: list[Fault], names: dict[str, str]) -> int:
    """Look at the rules that a Python file makes; how many there are."""
    try:
        found = load(file)
    except RuleError as error:
        match = re.match(r"(.*?):(\d+): (?:rule '([^']*)': )?(.*)", str(error))
        place = (match.group(1), int(match.group(2)), match.group(3) or "") if match else (str(file), 1, "")
        faults.append(Fault(*place, match.group(4) if match else str(error).removeprefix(f"{file}: ")))
        return 0
    for rule in found:
        if rule.name in names:
            faults.append(
                Fault(str(file), rule.line, rule.name, f"named as the rule at {names[rule.name]}; give it another name")
            )
        problems = body_faults("rule", Form(rule.facts), Form(rule.actions), Form(()), rule.ruleset, False)
        faults += [Fault(str(file), rule.line, rule.name, text) for _, text in problems]
    return len(found)


def run(path: Path | None, say: Callable[[object], None]) -> int:
    """The command: says every fault of a path, of the shipped rules without one; returns the exit status."""
    found = lint(path or rules_folder())
    for fault in found.faults:
        say(fault)
    count = len(found.faults)
    files = f"{found.files} file{'s' * (found.files != 1)}"
    say(f"{found.rules} rules in {files}, {count or 'no'} fault{'s' * (count != 1)}")
    return 1 if found.faults else 0


def _forms(text: str, path: str, faults: list[Fault]) -> Iterator[Form]:
    """Forms of a file; where it cannot be read as a whole, those of its parts that can."""
    lines = text.splitlines()
    begun = sum(line.startswith(tuple(f"({head}" for head in HEADS)) for line in lines)
    with contextlib.suppress(RuleError):
        forms = read(text, path)
        if len(forms) >= begun:  # else one that is not closed has swallowed the next
            yield from forms
            return
    starts = [i for i, line in enumerate(lines) if line.startswith(("(", ")")) or i == 0]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        part = "\n" * start + "\n".join(lines[start:end])
        try:
            yield from read(part, path)
        except RuleError as error:
            match = re.match(r".*?:(\d+): (.*)", str(error))
            assert match is not None, "the reader says the line"
            faults.append(Fault(path, int(match.group(1)), "", match.group(2)))


def _form_faults(form: Form, lines: list[str], path: str, names: dict[str, str]) -> list[Fault]:
    head = form[0] if form and isinstance(form[0], str) else ""
    if head not in HEADS:
        return [Fault(path, form.line, "", f"want a rule, got {str(head or form)[:30]!r}{nearest(head, HEADS)}")]
    problems: list[tuple[int, str]] = []
    positional, options = _options(form, problems)
    name = str(options[":name"]).strip('"') if ":name" in options else ""
    problems += [
        (form.line, text) for text in (*_name_faults(name, path, form.line, names), *_comment_faults(form, lines))
    ]
    if len(positional) != 2:
        problems.append((form.line, f"want two parts after {head!r}, got {len(positional)}"))
    else:
        left, right = positional
        when = options.get(":when", Form(()))
        if not isinstance(when, Form) or (when and isinstance(when[0], str)):
            problems.append((form.line, "':when' wants a list of conditions: ((...) (...))"))
            when = Form(())
        over = ":over" in options
        problems += body_faults(head, left, right, when, Path(path).stem, over)
        problems += literal_faults(form)
        problems += comparison_faults(Form((left, right, when)))
        if over:
            problems += _family_faults(str(options[":over"]).strip('"'), form.line)
    return [Fault(path, line or form.line, name, text) for line, text in dict.fromkeys(problems)]


def _family_faults(traits: str, line: int) -> Iterator[tuple[int, str]]:
    try:
        operations(traits, "")
    except RuleError as error:
        known = [*ARITIES, *(trait.name.lower().replace("_", "-") for trait in Trait)]
        strange = next((w for w in traits.split() if w.removeprefix("not-") not in known), "")
        meant = nearest(strange.removeprefix("not-"), known) if strange else ""
        text = str(error).removeprefix(": ")
        yield line, f"{text.partition(';')[0]}{meant}" if meant else text


def _options(form: Form, problems: list[tuple[int, str]]) -> tuple[list[Expr], dict[str, Expr]]:
    positional: list[Expr] = []
    options: dict[str, Expr] = {}
    items = list(form[1:])
    while items:
        item = items.pop(0)
        if not (isinstance(item, str) and item.startswith(":")):
            positional.append(item)
            continue
        if item == ":ruleset":
            problems.append((form.line, "option :ruleset does nothing: the name of the file is the ruleset"))
        elif item not in OPTIONS:
            problems.append((form.line, f"option {item} is not known{nearest(item, OPTIONS)}"))
        elif item in options:
            problems.append((form.line, f"option {item} is given twice"))
        if not items or (isinstance(items[0], str) and items[0].startswith(":")):
            problems.append((form.line, f"option {item} has no value"))
        else:
            options[item] = items.pop(0)
    return positional, options


def _name_faults(name: str, path: str, line: int, names: dict[str, str]) -> Iterator[str]:
    if not name:
        yield 'a rule without a name; add :name "what-happens"'
        return
    if not _NAME.fullmatch(name):
        plain = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        yield f"the name is not kebab-case; want {plain!r}"
    if name in names:
        yield f"named as the rule at {names[name]}; give it another name"
    names.setdefault(name, f"{path}:{line}")


def _comment_faults(form: Form, lines: list[str]) -> Iterator[str]:
    comment = comment_above(lines, form.line)
    pairs = [(match.group(1), match.group(2)) for text in comment if (match := _KEY.fullmatch(text))]
    classes = [value for key, value in pairs if key == "numerics"]
    law = [text for text in comment if text and not text.startswith(tuple(f"{k}:" for k in KEYS))]
    misspelt = [key for key, _ in pairs if key not in KEYS and nearest(key, KEYS).startswith("; did")]
    for key in misspelt:
        yield f"key {key!r} in the comment is not known{nearest(key, KEYS)}"
    if not classes and not misspelt:
        yield f"states no numerics class; write ';; numerics: {CLASSES[0]}' above it, or {' or '.join(CLASSES[1:])}"
    if len(classes) > 1 or any(len(re.findall(r"[a-z]+", value)) > 1 for value in classes):
        yield f"states several numerics classes; want one of {', '.join(CLASSES)}"
    elif classes and classes[0] not in CLASSES:
        yield f"numerics {classes[0]!r} is no class{nearest(classes[0], CLASSES)}"
    if not [text for text in law if not _KEY.fullmatch(text) or text.split(":")[0] not in misspelt]:
        yield "states no law; write it as ';; left = right' in the line above"
