# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules check [PATH]``: one line a rule, counterexamples below the rules that are refused."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from pathlib import Path

from egraph_opt.engine.rule import Rule, base_name
from egraph_opt.errors import ArgumentError
from egraph_opt.rules.admission import remember
from egraph_opt.rules.check.run import QUICK_TRIALS, check_rule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--trials", type=_count, default=QUICK_TRIALS, metavar="N", help="check: instances of a rule (default 20)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="check: seed of the instances (default 0)")
    parser.add_argument("--rule", metavar="NAME", help="check: only the rule of this name")
    parser.add_argument("--out", type=Path, metavar="DIR", help="check: write counterexamples there as Python files")


def run(
    options: argparse.Namespace,
    rules: list[Rule],
    say: Callable[[object], None],
    progress: Callable[[str], None],
) -> int:
    """Check rules and print what was found; 1 when one is refused.

    Args:
        options: as ``add_arguments`` reads them.
        rules: what to check.
        say: prints a line.
        progress: told which rule is next.

    Raises:
        ArgumentError: no rule has the name asked for.
        OutputError: a counterexample cannot be written.
    """
    if options.rule is not None:
        names = {name: None for rule in rules for name in (rule.name, *_others(rule))}
        rules = [rule for rule in rules if options.rule in (rule.name, *_others(rule))]
        if not rules:
            close = difflib.get_close_matches(options.rule, names, 3, 0.5) or list(names)[:8]
            raise ArgumentError(f"--rule {options.rule}: no rule has this name; want e.g. {', '.join(close)}")
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise ArgumentError(f"--out {options.out}: want a folder, this is a file")
    refused = 0
    for rule in rules:
        progress(f"checking {rule.name}")
        verdict = check_rule(rule, options.trials, options.seed)
        say(verdict)
        if verdict.passed:
            remember([verdict.rule] if options.trials >= QUICK_TRIALS else [])
            continue
        refused += 1
        if verdict.counterexample is not None:
            say(verdict.counterexample)
            if options.out is not None:
                say(f"  wrote {verdict.counterexample.write(options.out)}")
    say(f"{len(rules)} rules, {refused} refused; {options.trials} trials each, seed {options.seed}")
    return 1 if refused else 0


def _others(rule: Rule) -> tuple[str, ...]:
    """Names that stand for the rule among others: of both directions, of all spellings, of its family."""
    return rule.name.rstrip("<=>"), base_name(rule.name), *(rule.notes.get("family", ""),)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"want a number of instances, at least 1, got {text!r}")
    return int(text)
