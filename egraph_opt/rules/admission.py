# SPDX-License-Identifier: Apache-2.0
"""Which rules ``optimize`` may use: the shipped ones, and those whose check was passed before.

A passed check is remembered by the text of the rule, so a rule that is edited must be checked again, and by the version
of the package. The memory is one JSON file in the user's cache folder; a file that cannot be read counts as empty.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import CodeType
from typing import Any

from egraph_opt.engine.compile import call_in
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.errors import EgraphOptError, RuleError
from egraph_opt.frontends import write_atomically
from egraph_opt.rules.lint.body import engine_faults

_SHIPPED = ("egraph_opt.engine", "egraph_opt.ir")
"""Where functions live that the version of the package stands for."""

MOST = 20_000
"""Entries that are kept."""


def cache_path() -> Path:
    """File that remembers passed checks."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "egraph_opt" / "checked.json"


def key(rule: Rule) -> str:
    """What a passed check is remembered by: the rule's text and class, its own Python functions, the version here."""
    parts = [_version(), rule.numerics.name, *map(str, rule.facts), "=>", *map(str, rule.actions)]
    for fact in rule.facts:
        call = call_in(fact)
        if call is not None and not str(getattr(call[0].call, "__module__", "")).startswith(_SHIPPED):
            parts.append(_code(call[0].call))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@functools.cache
def _version() -> str:
    """Version of this package; read once, since a key is made for each of hundreds of rules."""
    return version("egraph_opt")


def _code(function: Any, depth: int = 0) -> str:
    """What a Python function does, as far as its byte code and what it closes over tell."""
    code = getattr(function, "__code__", None)
    if code is None or depth > 4:
        return f"{type(function).__name__} {function!r}"
    constants = [_constant(c) for c in code.co_consts]
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    closed = [_code(item, depth + 1) if callable(item) else repr(item) for item in cells]
    return f"{code.co_code.hex()} {code.co_names} {constants} {closed} {getattr(function, '__defaults__', None)!r}"


def _constant(value: Any) -> str:
    return value.co_code.hex() if isinstance(value, CodeType) else repr(value)


def remember(rules: Iterable[Rule]) -> None:
    """Note that rules passed their check; without a cache folder that can be written, nothing is kept."""
    path = cache_path()
    known = _known(path)
    fresh = [k for k in map(key, rules) if k not in known]
    if not fresh:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps([*known, *fresh][-MOST:]).encode())
    except (OSError, EgraphOptError):
        return  # the check itself was done; only the next one is not spared


def unchecked(rules: Iterable[Rule]) -> list[Rule]:
    """Rules that are neither shipped nor known to have passed."""
    shipped = {key(rule) for rule in RuleSet.shipped()}
    others = [(rule, key(rule)) for rule in rules]
    others = [(rule, k) for rule, k in others if k not in shipped]
    if not others:
        return []
    known = set(_known(cache_path()))
    return [rule for rule, k in others if k not in known]


def refuse_faulty(rules: Iterable[Rule]) -> None:
    """Refuse rules with words that nobody knows, or with a wrong number of arguments: they would never match.

    Raises:
        RuleError: there is one; the message begins with its file and line.
    """
    shipped = {id(rule) for rule in RuleSet.shipped()}
    for rule in rules:
        for line, fault in engine_faults(rule) if id(rule) not in shipped else ():
            raise RuleError(f"{rule.path}:{line or rule.line}: rule {rule.name!r}: {fault}")


def refuse_unchecked(rules: Iterable[Rule]) -> None:
    """Let only shipped and checked rules through.

    Raises:
        RuleError: a rule was never checked; the message says what to do.
    """
    found = unchecked(rules)
    if not found:
        return
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = f"{first.path}:{first.line}" if first.path else "made in this process"
    raise RuleError(
        f"rule {first.name!r} ({where}){more} was never checked; "
        f"run `egraph-opt rules check {first.path or 'FILE'}`, call `egraph_opt.rules.check.run.check_rules`, "
        "or pass unchecked=True (--unchecked)"
    )


def _known(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [k for k in found if isinstance(k, str)] if isinstance(found, list) else []
