# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules list``: rules with their class, place and law; families as one line or rule by rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from egraph_opt.engine import Rule, RuleSet
from egraph_opt.rules.packs import installed, load


def list_rules(path: str | Path | None, families: bool = False) -> Iterator[str]:
    """One line for each rule.

    Args:
        path: file, folder or name of an installed pack; the shipped rules and all installed packs without it.
        families: whether the rules of families are listed one by one, with their text.

    Raises:
        RuleError: something cannot be read.
    """
    if path is not None:
        yield from _lines(load(path), families)
        return
    yield from _lines(RuleSet.shipped(), families)
    for name, pack in installed().items():
        yield f"pack {name}:"
        yield from _lines(pack(), families)


def _lines(rules: RuleSet, families: bool) -> Iterator[str]:
    told: set[str] = set()
    for rule in rules:
        family = rule.notes.get("family")
        if family is None:
            yield _line(rule.name, rule)
        elif families:
            yield _line(rule.name, rule)
            yield f"    {rule}"
        elif family not in told:
            told.add(family)
            count = sum(other.notes.get("family") == family for other in rules)
            yield _line(f"{family}[{count} operations]", rule)


def _line(name: str, rule: Rule) -> str:
    law = rule.law + (f"  (off: {rule.notes['off']})" if "off" in rule.notes else "")
    return f"{name:34} {rule.numerics.name.lower():12} {Path(rule.path).name}:{rule.line}  {law}"
