# SPDX-License-Identifier: Apache-2.0
"""Where rules come from: the shipped ones, files and folders, installed packages, objects; and files that change.

A ``RuleSet`` is used exactly as it is. Anything else is added to the shipped rules: a path, a ``Rule``, what
``egraph_opt.rule`` returns, the name of an installed pack, or a list of these.
"""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from egraph_opt.engine import Rule, RuleSet
from egraph_opt.engine.literals import literal_faults
from egraph_opt.engine.rule import Source
from egraph_opt.engine.sexpr import Form
from egraph_opt.errors import ArgumentError, EgraphOptError, RuleError
from egraph_opt.rules.define.function_rule import FunctionRule

GROUP = "egraph_opt.rules"
"""Entry points of installed packages: each gives a folder, a function that returns one, or a ``RuleSet``."""


def collect(given: Any) -> RuleSet | None:
    """Rules as the ``rules=`` option takes them; None for the shipped ones.

    Raises:
        RuleError: a file is missing or not well formed, or two rules of one name differ.
        ArgumentError: it is none of the forms above.
    """
    if given is None or isinstance(given, RuleSet):
        return given
    added = [rule for item in _items(given) for rule in _rules_of(item)]
    return _joined(RuleSet.shipped(), added)


def load(path: str | Path) -> RuleSet:
    """Rules of a file or folder, of a Python file that defines some, or of an installed pack.

    Raises:
        RuleError: it cannot be read, or holds no rules.
    """
    file = Path(path)
    if not file.exists():
        packs = installed()
        if str(path) not in packs:
            named = f" ({', '.join(sorted(packs))})" if packs else ""
            raise RuleError(f"{path}: there is no such file or folder, and no installed pack{named} of this name")
        return packs[str(path)]()
    if file.suffix != ".py":
        return _of_text(file)
    names = _names(file)
    found = [rule for value in names.values() for rule in _held(value)]
    if not found:
        raise RuleError(
            f"{path}: no rules are defined there; assign what egraph_opt.rule gives, or a list of it, to a name"
        )
    return _joined(RuleSet(()), found)


def installed() -> dict[str, Callable[[], RuleSet]]:
    """Packs of installed packages by name; each is read when it is called."""
    return {point.name: lambda point=point: _installed(point) for point in entry_points(group=GROUP)}  # type: ignore[misc]


def source_of(given: Any) -> Source:
    """The source of what the ``rules=`` option takes, its files watched."""
    if isinstance(given, Source):
        return given
    paths = [Path(p) for p in _items(given) if isinstance(p, str | Path) and Path(p).exists()]
    return Source(lambda: collect(given), paths)


def _of_text(file: Path) -> RuleSet:
    """Rules of rule files, whose texts are looked at: the engine would say less of them."""
    rules = RuleSet.load(file)
    if not rules:
        raise RuleError(f"{file}: there is no rule in it")
    for rule in rules:
        for line, fault in literal_faults(Form((*rule.facts, *rule.actions))):
            raise RuleError(f"{rule.path}:{line or rule.line}: rule {rule.name!r}: {fault}")
    return rules


def _names(file: Path) -> dict[str, Any]:
    """What a Python file defines."""
    try:
        return runpy.run_path(str(file), run_name="__rules__")
    except OSError as error:
        raise RuleError(f"{file}: {error.strerror}") from None
    except EgraphOptError:
        raise
    except SyntaxError as error:
        raise RuleError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except (Exception, SystemExit) as error:  # whatever the user's file raises is what the message says
        text = " ".join(str(error).split())
        raise RuleError(f"{file}:{_line(error, str(file))}: {type(error).__name__}: {text}") from error


def _line(error: BaseException, path: str) -> int:
    """Line of a file that an error comes from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return (lines[-1] if lines else None) or 1


def _held(value: Any) -> Iterator[Rule]:
    """Rules that a name of a Python file stands for, or a list or a mapping of them does."""
    if isinstance(value, Rule):
        yield value
    elif isinstance(value, FunctionRule | RuleSet):
        yield from value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Rule | FunctionRule | RuleSet):
                yield from _held(item)


def _items(given: Any) -> list[Any]:
    if given is None:
        return []
    single = isinstance(given, str | Path | Rule | RuleSet | FunctionRule)
    return [given] if single or not isinstance(given, Iterable) else list(given)


def _rules_of(item: Any) -> Iterable[Rule]:
    if isinstance(item, Rule):
        return [item]
    if isinstance(item, RuleSet | FunctionRule):
        return item
    if not isinstance(item, str | Path):
        kind = type(item).__name__
        raise ArgumentError(f"rules: want paths, rules or a RuleSet, got {kind}; load files with RuleSet.load")
    return load(item)


def _joined(rules: RuleSet, added: Iterable[Rule]) -> RuleSet:
    """Both, the same rule once.

    Raises:
        RuleError: two rules have one name and differ.
    """
    known = {rule.name: rule for rule in rules}
    for rule in added:
        other = known.setdefault(rule.name, rule)
        if (str(other), other.numerics) != (str(rule), rule.numerics):
            place = f"{other.path}:{other.line}"
            raise RuleError(
                f"{rule.path}:{rule.line}: rule {rule.name!r} is another rule than that of {place}; rename it"
            )
    return RuleSet(tuple(known.values()))


def _installed(point: Any) -> RuleSet:
    try:
        found = point.load()
        found = found() if callable(found) else found
    except EgraphOptError:
        raise
    except (Exception, SystemExit) as error:  # whatever the package raises is what the message says
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise RuleError(f"rule pack {point.name!r} ({point.value}) cannot be loaded: {text}") from error
    if isinstance(found, RuleSet):
        return found
    if isinstance(found, str | Path):
        return RuleSet.load(found)
    raise RuleError(f"rule pack {point.name!r} ({point.value}): want a folder or a RuleSet, got {type(found).__name__}")
