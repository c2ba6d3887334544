# SPDX-License-Identifier: Apache-2.0
"""Command line: ``egraph-opt optimize | inspect | explain | rules | bisect | bench | calibrate``.

Exit status 0: done. 1: a check failed. 2: bad usage or input that cannot be read, with one line that says where, what
and what to do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from egraph_opt.api import load
from egraph_opt.bench.options import add_arguments as add_bench_arguments
from egraph_opt.bench.options import seconds
from egraph_opt.capture import capture
from egraph_opt.cost import Device, Roofline
from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError, EgraphOptError, OutputError
from egraph_opt.frontends import write_atomically
from egraph_opt.inspect import inspect_graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.options import Options, make_options
from egraph_opt.pipeline import plan
from egraph_opt.result import Result
from egraph_opt.rules.check import command as check_command
from egraph_opt.rules.lint import run as lint
from egraph_opt.rules.listing import list_rules
from egraph_opt.rules.packs import load as load_rules
from egraph_opt.rules.suggest import command as suggest_command

SUFFIXES = (".jaxexport", ".stablehlo", ".mlir", ".py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        with _interrupts.kept():
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except EgraphOptError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written")
    except MemoryError:
        return _fail("out of memory; give a smaller model or a smaller --budget")
    except jax.errors.JaxRuntimeError as error:
        return _fail(f"XLA refused the program: {str(error).splitlines()[0]}")
    except BrokenPipeError:
        # The reader left, as in `egraph-opt inspect MODEL | head`; Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Interrupts:
    """Remembers Ctrl-C.

    The exception alone is not enough: raised in a callback that runs inside compiled code it may be dropped there. So
    every stage asks again before it begins, and nothing is written after an interrupt.
    """

    def __init__(self) -> None:
        self.seen = False

    def check(self) -> None:
        """Raise the interrupt again that was dropped."""
        if self.seen:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, interrupts are remembered."""
        self.seen = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook

        def handler(number: int, frame: Any) -> None:
            self.seen = True
            raise KeyboardInterrupt

        def unraisable(dropped: Any) -> None:
            if not isinstance(dropped.exc_value, KeyboardInterrupt):
                hook(dropped)

        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = unraisable
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            sys.unraisablehook = hook


_interrupts = _Interrupts()


def _fail(text: str) -> int:
    sys.stderr.write(f"egraph-opt: {' '.join(text.split())}\n")
    return 2


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")


def _say_now(text: object) -> None:
    _say(text)
    sys.stdout.flush()


def _optimize(options: argparse.Namespace) -> int:
    outputs = {"-o": options.output, "--report": options.report, "--json": options.json}
    given = {flag: path for flag, path in outputs.items() if path is not None}
    for flag, path in given.items():
        _check_writable(flag, path)
    if len({path.resolve() for path in given.values()}) < len(given):
        raise ArgumentError(f"{', '.join(given)}: two of them name the same file; give each its own")
    if options.output.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"-o {options.output}: suffix {options.output.suffix!r}; want one of {', '.join(SUFFIXES)}")
    result = _plan(options)
    texts = {options.report: lambda: _page(result), options.json: result.report.to_json}
    contents = {path: text().encode() for path, text in texts.items() if path is not None}
    _interrupts.check()
    result.save(options.output)
    for path, content in contents.items():
        write_atomically(path, content)
    _say(result.report)
    for path in given.values():
        _say(f"wrote {path}")
    return 0


def _page(result: Result) -> str:
    from egraph_opt.explain.explanation import fragment

    return result.report.to_html(fragment(result))


def _inspect(options: argparse.Namespace) -> int:
    model = load(options.model)
    with model.precision():
        graph = capture(model, model.example_args(), {}).graph
        _say(inspect_graph(graph, model.name))
    if options.graph:
        _say(graph)
    return 0


def _explain(options: argparse.Namespace) -> int:
    if options.json is not None:
        _check_writable("--json", options.json)
    explanation = _plan(options).explain()
    _say(explanation)
    if options.json is not None:
        write_atomically(options.json, explanation.to_json().encode())
        _say(f"wrote {options.json}")
    fault = explanation.check() if options.check else ""
    if options.check:
        _say(f"certificate refused: {fault}" if fault else "certificate checked: every step holds")
    return 1 if fault else 0


def _rules(options: argparse.Namespace) -> int:
    if options.action == "check":
        with _progress() as progress:
            return check_command.run(options, options.path, _say_now, progress)
    if len(options.path) > 1:
        raise ArgumentError(f"rules {options.action}: want one path, got {' '.join(map(str, options.path))}")
    options.path = options.path[0] if options.path else None
    if options.action == "stats":
        return _rule_statistics(options)
    if options.action == "lint":
        return lint.run(options.path, _say)
    if options.action == "list":
        for line in list_rules(options.path, options.families):
            _say(line)
        return 0
    rules = load_rules(options.path) if options.path else RuleSet.shipped()
    return _suggest_rules(options, rules)


def _suggest_rules(options: argparse.Namespace, rules: RuleSet) -> int:
    if options.json is not None:
        _check_writable("--json", options.json)
    with _progress() as progress:
        text = suggest_command.run(options, rules, _say, progress)
    if options.json is not None:
        write_atomically(options.json, text.encode())
        _say(f"# wrote {options.json}")
    return 0


def _rule_statistics(options: argparse.Namespace) -> int:
    if options.path is None:
        raise ArgumentError("rules stats: want a model file, as in: egraph-opt rules stats MODEL")
    if options.json is not None:
        _check_writable("--json", options.json)
    from egraph_opt.rules.statistics import model_statistics

    options.no_measure = True
    wanted = _options(options)
    with _progress() as progress:
        progress("loading")
        model = load(options.path)
        progress("searching")
        found = model_statistics(model, wanted)
    _interrupts.check()
    if options.json is not None:
        write_atomically(options.json, found.to_json().encode())
    _say(found)
    return 0


def _bisect(options: argparse.Namespace) -> int:
    from egraph_opt.bisect import bisect

    numerics = Numerics.parse(options.numerics)
    rules = (load_rules(options.rules) if options.rules else RuleSet.shipped()).admitted(numerics)
    with _progress() as progress:
        progress("loading")
        model = load(options.model)
        with model.precision():
            graph = capture(model, model.example_args(), {}, numerics=numerics).graph
        found = bisect(graph, rules, progress=progress)
    _say(found)
    return 1 if found.found else 0


def _bench(options: argparse.Namespace) -> int:
    from egraph_opt.bench.command import run

    for flag, path in (("--json", options.json), ("--table", options.table)):
        if path is not None:
            _check_writable(flag, path)
    with _progress() as progress:
        return run(options, _say_now, progress)


def _calibrate(options: argparse.Namespace) -> int:
    from egraph_opt.measure.calibrate import calibrate

    if options.output is not None:
        _check_writable("-o", options.output)
    with _progress() as progress:
        progress("measuring this device")
        device = calibrate()
    if options.output is not None:
        write_atomically(options.output, device.to_json().encode())
        _say(f"wrote {options.output}")
    else:
        _say(device.to_json().rstrip())
    return 0


def _options(options: argparse.Namespace) -> Options:
    return make_options(
        budget=2.0 if options.budget is None else options.budget,
        numerics=options.numerics,
        rules=options.rules,
        unchecked=options.unchecked,
        cost=Roofline(Device.load(options.cost)) if options.cost.endswith(".json") else options.cost,
        measure=False if options.no_measure else "auto",
        fold_constants=options.fold_constants,
        frozen=options.frozen,
    )


def _plan(options: argparse.Namespace) -> Result:
    wanted = _options(options)
    with _progress() as progress:
        progress("loading")
        model = load(options.model)
        return plan(model, model.example_args(), {}, wanted, progress)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; silent elsewhere. Looks for interrupts before every stage."""
    if not sys.stderr.isatty():
        yield lambda text: _interrupts.check()
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:

        def show(text: str) -> None:
            _interrupts.check()
            status.update(text)

        yield show


def _check_writable(flag: str, path: Path) -> None:
    """Find out before the work whether its result can be written.

    Raises:
        OutputError: it cannot.
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{flag} {path}: is a folder; give a file name")
    if not folder.is_dir():
        raise OutputError(f"{flag} {path}: folder {folder} does not exist; make it first")
    if path.exists() and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
        raise OutputError(f"{flag} {path}: the file is read-only; remove it or give another name")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(f"{flag} {path}: folder {folder} cannot be written ({error.strerror})") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One line, status 2."""
        raise ArgumentError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="egraph-opt", description="Finds a cheaper equal program for an exported model.")
    parser.add_argument("--version", action="version", version=f"egraph-opt {version('egraph_opt')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    model = _Parser(add_help=False)
    model.add_argument("model", metavar="MODEL", type=Path, help=".jaxexport, .stablehlo or .mlir")
    search = _Parser(add_help=False)
    search.add_argument("--budget", type=seconds, metavar="S", help="seconds of search (default 2)")
    search.add_argument("--numerics", default="reassociate", metavar="CLASS", help="exact, reassociate or finite")
    search.add_argument(
        "--rules", action="append", metavar="PATH", help="rule file, folder or installed pack, beside the shipped rules"
    )
    search.add_argument(
        "--cost", default="roofline", metavar="MODEL", help="roofline, flops, or what calibrate wrote (.json)"
    )
    search.add_argument("--unchecked", action="store_true", help="take rules that `rules check` has not passed")
    search.add_argument("--no-measure", action="store_true", help="trust the cost model, time nothing")
    search.add_argument("--fold-constants", action="store_true", help="use the values of arrays that the file holds")
    search.add_argument(
        "--frozen",
        action="append",
        default=[],
        metavar="ARG",
        help="argN keeps its value between calls: its work is free",
    )

    one = commands.add_parser("optimize", parents=[model, search], help="write an optimised model")
    one.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="suffix: " + ", ".join(SUFFIXES))
    one.add_argument("--report", type=Path, metavar="R.html", help="write the report as a page")
    one.add_argument("--json", type=Path, metavar="R.json", help="write the report as JSON")
    one.set_defaults(run=_optimize)
    one = commands.add_parser("inspect", parents=[model], help="operations, shapes, cost, where the time goes")
    one.add_argument("--graph", action="store_true", help="print the whole graph too")
    one.set_defaults(run=_inspect)
    one = commands.add_parser("explain", parents=[model, search], help="what is changed and why")
    one.add_argument("--json", type=Path, metavar="F.json", help="write the certificate")
    one.add_argument("--check", action="store_true", help="replay the certificate")
    one.set_defaults(run=_explain)
    one = commands.add_parser(
        "rules", parents=[search], help="list, check or suggest rules; stats MODEL: what each does"
    )
    one.add_argument("action", choices=("list", "lint", "check", "stats", "suggest"))
    one.add_argument("path", nargs="*", type=Path, metavar="PATH", help="file or folder; the shipped rules without it")
    one.add_argument("--json", type=Path, metavar="F.json", help="write what stats or suggest found as JSON")
    check_command.add_arguments(one)
    one.add_argument("--families", action="store_true", help="list the rules of families one by one")
    suggest_command.add_arguments(one)
    one.set_defaults(run=_rules)
    one = commands.add_parser("bisect", parents=[model], help="which rule makes the program wrong")
    one.add_argument("--rules", metavar="PATH", help="rule file or folder instead of the shipped rules")
    one.add_argument("--numerics", default="reassociate", metavar="CLASS", help="exact, reassociate or finite")
    one.set_defaults(run=_bisect)
    one = commands.add_parser("bench", help="run benchmark suites")
    add_bench_arguments(one)
    one.set_defaults(run=_bench)
    one = commands.add_parser("calibrate", help="measure this device for the cost model")
    one.add_argument("-o", "--output", type=Path, metavar="DEVICE.json")
    one.set_defaults(run=_calibrate)
    return parser
