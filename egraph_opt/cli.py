# SPDX-License-Identifier: Apache-2.0
"""Command line: ``egraph-opt optimize | inspect | explain | rules | bench | calibrate``.

Exit status 0: done. 1: a check failed. 2: bad usage or input that cannot be read, with one line that says where, what
and what to do.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from egraph_opt.api import load, optimize
from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError, EgraphOptError, OutputError
from egraph_opt.frontends import LoadedModel, write_atomically
from egraph_opt.inspect import inspect_graph
from egraph_opt.options import make_options
from egraph_opt.pipeline import plan
from egraph_opt.result import Result

SUFFIXES = (".jaxexport", ".stablehlo", ".mlir", ".py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
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
        sys.stderr.close()
        return 0


def _fail(text: str) -> int:
    print(f"egraph-opt: {' '.join(text.split())}", file=sys.stderr)
    return 2


def _optimize(options: argparse.Namespace) -> int:
    outputs = {"-o": options.output, "--report": options.report, "--json": options.json}
    for flag, path in outputs.items():
        if path is not None:
            _check_writable(flag, path)
    if options.output.suffix not in SUFFIXES:
        raise ArgumentError(f"-o {options.output}: suffix {options.output.suffix!r}; want one of {', '.join(SUFFIXES)}")
    result = _plan(options)
    print(result.report)
    result.save(options.output)
    print(f"wrote {options.output}")
    for path, text in ((options.report, result.report.to_html), (options.json, result.report.to_json)):
        if path is not None:
            write_atomically(path, text().encode())
            print(f"wrote {path}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    model = load(options.model)
    quick = make_options(budget=0.0, measure=False, verify=False)
    result = plan(model, model.example_args(), {}, quick)
    print(inspect_graph(result.before, model.name))
    if options.graph:
        print(result.before)
    return 0


def _explain(options: argparse.Namespace) -> int:
    print(_plan(options).explain())
    return 0


def _rules(options: argparse.Namespace) -> int:
    rules = RuleSet.load(options.path) if options.path else RuleSet.shipped()
    if options.action == "check":
        raise ArgumentError("rules check: checking by random trials is not there yet; 'rules lint' reads the files")
    if options.action == "lint":
        print(f"{len(rules)} rules, no faults")
        return 0
    for rule in rules:
        print(f"{rule.name:28} {rule.numerics.name.lower():12} {Path(rule.path).name}:{rule.line}  {rule.law}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    raise ArgumentError(f"bench {' '.join(options.suite)}: suites are not there yet; see benchmarks/ in the repository")


def _calibrate(options: argparse.Namespace) -> int:
    from egraph_opt.measure.calibrate import calibrate

    device = calibrate()
    if options.output is not None:
        device.save(options.output)
        print(f"wrote {options.output}")
    else:
        print(device.to_json())
    return 0


def _plan(options: argparse.Namespace) -> Result:
    given = {
        "budget": options.budget,
        "numerics": options.numerics,
        "rules": options.rules,
        "cost": options.cost,
        "measure": False if options.no_measure else "auto",
        "fold_constants": options.fold_constants,
    }
    model = load(options.model)
    wrapped = optimize(model, **given)
    with _progress() as progress:
        return plan(model, model.example_args(), {}, wrapped.options, progress)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("loading") as status:
        yield lambda text: status.update(text)


def _check_writable(flag: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{flag} {path}: folder {folder} does not exist; make it first")
    if path.is_dir():
        raise OutputError(f"{flag} {path}: is a folder; give a file name")


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"want seconds >= 0, got {text}")
    return value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One line, status 2."""
        raise ArgumentError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="egraph-opt", description="Finds a cheaper equal program for an exported model.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("model", metavar="MODEL", type=Path, help=".jaxexport, .stablehlo or .mlir")
    search = argparse.ArgumentParser(add_help=False)
    search.add_argument("--budget", type=_seconds, default=2.0, metavar="S", help="seconds of search (default 2)")
    search.add_argument("--numerics", default="reassociate", metavar="CLASS", help="exact, reassociate or finite")
    search.add_argument("--rules", metavar="PATH", help="rule file or folder instead of the shipped rules")
    search.add_argument("--cost", default="roofline", metavar="MODEL", help="roofline or flops")
    search.add_argument("--no-measure", action="store_true", help="trust the cost model, time nothing")
    search.add_argument("--fold-constants", action="store_true", help="bake weights that the file holds into the program")

    one = commands.add_parser("optimize", parents=[model, search], help="write an optimised model")
    one.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="suffix: " + ", ".join(SUFFIXES))
    one.add_argument("--report", type=Path, metavar="R.html", help="write the report as a page")
    one.add_argument("--json", type=Path, metavar="R.json", help="write the report as JSON")
    one.set_defaults(run=_optimize)
    one = commands.add_parser("inspect", parents=[model], help="operations, shapes, cost, where the time goes")
    one.add_argument("--graph", action="store_true", help="print the whole graph too")
    one.set_defaults(run=_inspect)
    one = commands.add_parser("explain", parents=[model, search], help="what is changed and why")
    one.set_defaults(run=_explain)
    one = commands.add_parser("rules", help="list or check rules")
    one.add_argument("action", choices=("list", "lint", "check"))
    one.add_argument("path", nargs="?", type=Path, metavar="PATH", help="file or folder; the shipped rules without it")
    one.set_defaults(run=_rules)
    one = commands.add_parser("bench", help="run benchmark suites")
    one.add_argument("suite", nargs="*")
    one.set_defaults(run=_bench)
    one = commands.add_parser("calibrate", help="measure this device for the cost model")
    one.add_argument("-o", "--output", type=Path, metavar="DEVICE.json")
    one.set_defaults(run=_calibrate)
    return parser
