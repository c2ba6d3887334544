# SPDX-License-Identifier: Apache-2.0
"""The command ``egraph-opt rules suggest``: its options, and what it prints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError

if TYPE_CHECKING:
    from egraph_opt.rules.suggest.operators import Theme

BUDGET = 300.0
"""Seconds when none are given [s]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rules suggest``."""
    parser.add_argument("--theme", action="append", default=[], metavar="T", help="only these themes")
    parser.add_argument("--ops", metavar="A,B", help="one theme of these operations, over x, y and a, b")
    parser.add_argument("--size", type=_count, metavar="N", help="most operations in a term")
    parser.add_argument("--vars", type=_count, metavar="K", help="most variables of each type")
    parser.add_argument("--without", action="append", default=[], metavar="RULE", help="switch a rule off")


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10:
        raise argparse.ArgumentTypeError(f"want a number from 1 to 9, got {text!r}")
    return int(text)


def run(
    options: argparse.Namespace,
    rules: RuleSet,
    say: Callable[[object], None],
    progress: Callable[[str], None],
) -> str:
    """Suggest, and print the laws as rules.

    Args:
        options: as parsed.
        rules: in force.
        say: prints.
        progress: told what comes next.

    Returns:
        Everything that was found, as JSON text.

    Raises:
        ArgumentError: an operation, theme or rule is not known.
    """
    from egraph_opt.rules.suggest.run import suggest

    found = suggest(
        _themes(options.theme, options.ops),
        rules,
        options.without,
        options.size,
        options.vars,
        BUDGET if options.budget is None else options.budget,
        progress=progress,
    )
    for law in found.laws:
        say(law)
    for text in found.refused:
        say(f"# refused: {text}")
    late = f"; out of time in {', '.join(found.unfinished)}: give a larger --budget" if found.unfinished else ""
    laws = "law" if len(found.laws) == 1 else "laws"
    say(
        f"# {len(found.laws)} {laws} that the rules do not derive; {found.pairs} equal pairs among {found.terms} terms;"
        f" {len(found.refused)} refused by a sharper test{late}"
    )
    return json.dumps(found.to_json(), indent=1) + "\n"


def _themes(names: Sequence[str], ops: str | None) -> Sequence[Theme]:
    from egraph_opt.rules.suggest.operators import THEMES, custom

    for name in names:
        if name not in THEMES:
            raise ArgumentError(f"--theme {name}: no such theme; there are {', '.join(THEMES)}")
    if ops is not None and names:
        raise ArgumentError("--ops and --theme: give one of them")
    return [custom(ops.split(","))] if ops is not None else [THEMES[name] for name in names or THEMES]
