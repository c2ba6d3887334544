# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules check [PATH ...]``: one line a rule, counterexamples below the rules that are refused, a table."""

from __future__ import annotations

import argparse
import difflib
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import Rule, base_name
from egraph_opt.errors import ArgumentError, OutputError
from egraph_opt.rules.admission import remember
from egraph_opt.rules.check.run import QUICK_TRIALS, check_rule
from egraph_opt.rules.packs import load


@dataclass(frozen=True, slots=True)
class Report:
    """What the check of one rule found, as text.

    Args:
        lines: to print.
        passed: whether the rule may be used.
        trials: instances that were tried.
        matches: how often the rule matched in them.
        seconds: of processor time.
    """

    lines: tuple[str, ...]
    passed: bool
    trials: int
    matches: int
    seconds: float


@dataclass(slots=True)
class _Total:
    """The reports on the rules of one file."""

    reports: list[Report] = field(default_factory=list)

    def row(self, name: str) -> str:
        refused = sum(not report.passed for report in self.reports)
        trials, matches = (sum(getattr(r, key) for r in self.reports) for key in ("trials", "matches"))
        seconds = sum(report.seconds for report in self.reports)
        return f"{name:20} {len(self.reports):5} {refused:8} {trials:9} {matches:9} {seconds:9.1f}"


HEADER = f"{'file':20} {'rules':>5} {'refused':>8} {'instances':>9} {'matches':>9} {'seconds':>9}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--trials", type=_count, default=QUICK_TRIALS, metavar="N", help="instances of a rule (default 20)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the instances (default 0)")
    parser.add_argument("--rule", metavar="NAME", help="only the rule of this name")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write counterexamples there as Python files")
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes that share the rules")


def run(
    options: argparse.Namespace,
    paths: Sequence[Path],
    say: Callable[[object], None],
    progress: Callable[[str], None],
) -> int:
    """Check rules and print what was found; 1 when one is refused.

    Args:
        options: as ``add_arguments`` reads them.
        paths: files, folders or packs; the shipped rules without any.
        say: prints a line.
        progress: told what is being done.

    Raises:
        ArgumentError: no rule has the name asked for.
        OutputError: a counterexample cannot be written.
        RuleError: a path cannot be read, or holds no rules.
        KeyboardInterrupt: after what was found so far is told.
    """
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise ArgumentError(f"--out {options.out}: want a folder, this is a file")
    rules = chosen(paths, options.rule)
    if options.out is not None:
        _make_folder(options.out)
    totals: dict[str, _Total] = {}
    found: list[Report] = []
    try:
        for rule, report in zip(rules, _reports(rules, options, paths, progress), strict=True):
            for line in report.lines:
                say(line)
            if report.passed and options.trials >= QUICK_TRIALS:
                remember([rule])
            totals.setdefault(Path(rule.path).name, _Total()).reports.append(report)
            found.append(report)
    finally:
        if len(totals) > 1:
            say("\n".join((HEADER, *(total.row(name) for name, total in totals.items()))))
        refused = sum(not report.passed for report in found)
        of = "" if len(found) == len(rules) else f" of {len(rules)}"
        say(f"{len(found)}{of} rules, {refused} refused; {options.trials} trials each, seed {options.seed}")
    return 1 if refused else 0


def chosen(paths: Sequence[Path], name: str | None) -> list[Rule]:
    """Rules of some paths, each once; the one of a name alone where one is given.

    Raises:
        ArgumentError: no rule has the name.
        RuleError: a path cannot be read, or holds no rules.
    """
    every = [rule for path in paths for rule in load(path)] if paths else list(RuleSet.shipped())
    rules = list({(str(Path(rule.path).resolve()), rule.line, rule.name): rule for rule in every}.values())
    if name is None:
        return rules
    names = {other: None for rule in rules for other in (rule.name, *_others(rule))}
    found = [rule for rule in rules if name in (rule.name, *_others(rule))]
    if not found:
        close = difflib.get_close_matches(name, names, 3, 0.5) or list(names)[:8]
        raise ArgumentError(f"--rule {name}: no rule has this name; want e.g. {', '.join(close)}")
    return found


def _reports(
    rules: Sequence[Rule], options: argparse.Namespace, paths: Sequence[Path], progress: Callable[[str], None]
) -> Iterator[Report]:
    """Reports in the order of the rules, made here or by other processes."""
    given = (options.trials, options.seed, options.out)
    if options.jobs == 1 or len(rules) == 1:
        for number, rule in enumerate(rules):
            progress(f"checking {rule.name} ({number + 1} of {len(rules)})")
            yield _report(rule, *given)
        return
    # Nothing of this process is shared: neither JAX nor the engine may be forked. Leaving the block ends the others.
    with multiprocessing.get_context("spawn").Pool(options.jobs, _begin, (list(paths), options.rule, given)) as pool:
        progress(f"checking {len(rules)} rules")
        for number, report in enumerate(pool.imap(_nth, range(len(rules)))):
            progress(f"checked {number + 1} of {len(rules)} rules")
            yield report


def _make_folder(path: Path) -> None:
    """Make the folder of the counterexamples before the work.

    Raises:
        OutputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise OutputError(f"--out {path}: cannot be written ({error.strerror}); give another folder") from error


def _report(rule: Rule, trials: int, seed: int, out: Path | None) -> Report:
    start = time.process_time()
    verdict = check_rule(rule, trials, seed)
    lines = [str(verdict)]
    if verdict.counterexample is not None:
        lines.append(str(verdict.counterexample))
        if out is not None:
            lines.append(f"  wrote {verdict.counterexample.write(out)}")
    return Report(tuple(lines), verdict.passed, verdict.trials, verdict.matches, time.process_time() - start)


_WORK: list[tuple[list[Rule], tuple[int, int, Path | None]]] = []
"""What this process checks rules of, if it was started to do so."""


def _begin(paths: Sequence[Path], name: str | None, given: tuple[int, int, Path | None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that reads the reports ends this one
    _WORK.append((chosen(paths, name), given))


def _nth(number: int) -> Report:
    rules, given = _WORK[0]
    return _report(rules[number], *given)


def _others(rule: Rule) -> tuple[str, ...]:
    """Names that stand for the rule among others: of both directions, of all spellings, of its family."""
    return rule.name.rstrip("<=>"), base_name(rule.name), *(rule.notes.get("family", ""),)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"want a number, at least 1, got {text!r}")
    return int(text)
