# SPDX-License-Identifier: Apache-2.0
"""The table of rules, docs/rules.md, made from the rule files: ``python -m egraph_opt.rules.document > docs/rules.md``.

Examples are made by the engine, see ``document_example``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from egraph_opt.engine import Rule, RuleSet
from egraph_opt.rules.document_example import example

_HEAD = """# Rules

Made from `rules/*.egg` by `python -m egraph_opt.rules.document`; do not edit. How to write rules:
[rules/README.md](../rules/README.md).

The classes say what a rule may change: `exact` nothing, not a bit; `reassociate` rounding; `finite` what happens where
values are infinite, not a number, or overflow. The examples are what the engine does with the rule alone to a small
program, drawn at random; `→` stands between what it matched and what it made equal to it.
"""


def page(rules: RuleSet | None = None, examples: bool = True) -> str:
    """Text of the page; without examples it takes no time."""
    chosen = rules or RuleSet.shipped()
    parts = [_HEAD.rstrip()]
    for path, group in groupby(chosen, key=lambda rule: rule.path):
        parts += [
            "",
            f"## {Path(path).stem}",
            "",
            _theme(path),
            "",
            "| rule | law | class | example |",
            "|---|---|---|---|",
        ]
        parts += [_row(rule, members, examples) for rule, members in _families(list(group))]
    return "\n".join(parts) + "\n"


def _theme(path: str) -> str:
    """The comment at the head of a file, as a paragraph."""
    lines = []
    for line in Path(path).read_text("utf-8").splitlines():
        if not line.startswith(";;;"):
            break
        lines.append(line.removeprefix(";;;").strip())
    text = " ".join(lines)
    return text.partition(" -- ")[2].strip() or text


def _families(rules: list[Rule]) -> Iterator[tuple[Rule, list[Rule]]]:
    """Rules, with the members of each family behind its first one."""
    told: set[str] = set()
    for rule in rules:
        family = rule.notes.get("family")
        if family is None:
            yield rule, [rule]
        elif family not in told:
            told.add(family)
            yield rule, [other for other in rules if other.notes.get("family") == family]


def _row(rule: Rule, members: list[Rule], examples: bool) -> str:
    family = rule.notes.get("family")
    place = f"[{Path(rule.path).name}:{rule.line}](../rules/{Path(rule.path).name}#L{rule.line})"
    name = f"`{family or rule.name}`<br>{place}"
    law = rule.law
    if family:
        law = law.replace(_operation(rule.name).strip("`"), "Op")
        names = ", ".join(_operation(member.name) for member in members)
        law = f"{law.rstrip('.')}. A family of {len(members)}: {names}."
    if "off" in rule.notes:
        law += f" Off: {rule.notes['off']}"
    shown = example(rule) if examples else None
    text = f"`{shown.before}` → `{shown.after}`" if shown else "none found"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (name, law, rule.numerics.name.lower(), text)) + " |"


def _operation(name: str) -> str:
    return f"`{name.partition('[')[2].rstrip(']')}`"


if __name__ == "__main__":
    sys.stdout.write(page())
