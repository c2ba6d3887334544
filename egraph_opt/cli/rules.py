# SPDX-License-Identifier: Apache-2.0
"""The command ``egraph-opt rules``: list, lint, check, statistics, suggestions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from egraph_opt.bench.options import seconds
from egraph_opt.cli.interrupts import INTERRUPTS
from egraph_opt.cli.output import check_writable, say, say_now
from egraph_opt.cli.output import progress as show_progress
from egraph_opt.cli.planning import load_model, options_of
from egraph_opt.engine import RuleSet
from egraph_opt.frontends import write_atomically
from egraph_opt.rules.check import command as check_command
from egraph_opt.rules.lint import run as lint
from egraph_opt.rules.listing import list_rules
from egraph_opt.rules.packs import load as load_rules
from egraph_opt.rules.suggest import command as suggest_command


def add_actions(actions: Any, shapes: argparse.ArgumentParser, search: argparse.ArgumentParser) -> None:
    """Add ``list``, ``lint``, ``check``, ``stats`` and ``suggest``.

    Args:
        actions: sub-parsers of ``egraph-opt rules``.
        shapes: the option about open sizes of models.
        search: options of searches.
    """
    where = {"nargs": "?", "type": Path, "metavar": "PATH", "help": "rule file or folder; the shipped rules without it"}
    one = actions.add_parser("list", help="rules with their classes and laws, a line each")
    one.add_argument("path", **where)
    one.add_argument("--families", action="store_true", help="list the rules of families one by one")
    one.set_defaults(run=_list)
    one = actions.add_parser("lint", help="every fault of rule files, with file and line")
    one.add_argument("path", **where)
    one.set_defaults(run=lambda options: lint.run(options.path, say))
    one = actions.add_parser("check", help="whether rules are sound and fire, on random instances")
    one.add_argument("path", **{**where, "nargs": "*", "help": "files or folders; the shipped rules without them"})
    check_command.add_arguments(one)
    one.set_defaults(run=_check)
    one = actions.add_parser(
        "stats", parents=[shapes, search], help="what each rule does to a model, and what it costs"
    )
    one.add_argument("path", type=Path, metavar="MODEL", help=".onnx, .jaxexport, .stablehlo or .mlir")
    one.add_argument("--json", type=Path, metavar="F.json", help="write what was found as JSON")
    one.set_defaults(run=_rule_statistics)
    one = actions.add_parser("suggest", help="laws that the rules in force do not derive")
    one.add_argument("path", **where)
    one.add_argument("--json", type=Path, metavar="F.json", help="write what was found as JSON")
    one.add_argument("--budget", type=seconds, metavar="S", help="seconds in all (default 300)")
    suggest_command.add_arguments(one)
    one.set_defaults(run=_suggest_rules)


def _list(options: argparse.Namespace) -> int:
    for line in list_rules(options.path, options.families):
        say(line)
    return 0


def _check(options: argparse.Namespace) -> int:
    with show_progress() as progress:
        return check_command.run(options, options.path, say_now, progress)


def _suggest_rules(options: argparse.Namespace) -> int:
    rules = load_rules(options.path) if options.path else RuleSet.shipped()
    if options.json is not None:
        check_writable("--json", options.json)
    with show_progress() as progress:
        text = suggest_command.run(options, rules, say, progress)
    if options.json is not None:
        write_atomically(options.json, text.encode())
        say(f"# wrote {options.json}")
    return 0


def _rule_statistics(options: argparse.Namespace) -> int:
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
