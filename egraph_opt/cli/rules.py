# SPDX-License-Identifier: Apache-2.0
"""The command ``egraph-opt rules``: list, lint, check, statistics, suggestions."""

from __future__ import annotations

import argparse

from egraph_opt.cli.interrupts import INTERRUPTS
from egraph_opt.cli.output import check_writable, say, say_now
from egraph_opt.cli.output import progress as show_progress
from egraph_opt.cli.planning import load_model, options_of
from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError
from egraph_opt.frontends import write_atomically
from egraph_opt.rules.check import command as check_command
from egraph_opt.rules.lint import run as lint
from egraph_opt.rules.listing import list_rules
from egraph_opt.rules.packs import load as load_rules
from egraph_opt.rules.suggest import command as suggest_command


def rules(options: argparse.Namespace) -> int:
    """Do what ``egraph-opt rules ACTION`` asks for."""
    if options.action == "check":
        with show_progress() as progress:
            return check_command.run(options, options.path, say_now, progress)
    if len(options.path) > 1:
        raise ArgumentError(f"rules {options.action}: want one path, got {' '.join(map(str, options.path))}")
    options.path = options.path[0] if options.path else None
    if options.action == "stats":
        return _rule_statistics(options)
    if options.action == "lint":
        return lint.run(options.path, say)
    if options.action == "list":
        for line in list_rules(options.path, options.families):
            say(line)
        return 0
    rules = load_rules(options.path) if options.path else RuleSet.shipped()
    return _suggest_rules(options, rules)


def _suggest_rules(options: argparse.Namespace, rules: RuleSet) -> int:
    if options.json is not None:
        check_writable("--json", options.json)
    with show_progress() as progress:
        text = suggest_command.run(options, rules, say, progress)
    if options.json is not None:
        write_atomically(options.json, text.encode())
        say(f"# wrote {options.json}")
    return 0


def _rule_statistics(options: argparse.Namespace) -> int:
    if options.path is None:
        raise ArgumentError("rules stats: want a model file, as in: egraph-opt rules stats MODEL")
    if options.json is not None:
        check_writable("--json", options.json)
    from egraph_opt.rules.statistics import model_statistics

    options.no_measure = True
    wanted = options_of(options)
    with show_progress() as progress:
        progress("loading")
        model = load_model(options, options.path)
        progress("searching")
        found = model_statistics(model, wanted)
    INTERRUPTS.check()
    if options.json is not None:
        write_atomically(options.json, found.to_json().encode())
    say(found)
    return 0
