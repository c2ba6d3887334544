# SPDX-License-Identifier: Apache-2.0
"""The options of all commands."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any

from egraph_opt.bench.options import add_arguments as add_bench_arguments
from egraph_opt.bench.options import seconds
from egraph_opt.cli import models, rules
from egraph_opt.errors import ArgumentError


def shape(text: str) -> tuple[str, tuple[int | str, ...] | int]:
    """``x=1,3,224,224`` or ``batch=4``: a name and its sizes; one that is no number stays open.

    Raises:
        argparse.ArgumentTypeError: there is no name, or no size.
    """
    name, _, sizes = text.rpartition("=")
    parts = [part.strip() for part in sizes.split(",")]
    if not name or not all(parts):
        raise argparse.ArgumentTypeError(f"{text}; want NAME=SIZES, as in x=1,3,224,224 or batch=4")
    if any(part.lstrip("-").isdecimal() and int(part) < 1 for part in parts):
        raise argparse.ArgumentTypeError(f"{text}; sizes are positive")
    if any(part[0] in "+-.0123456789" and not part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text}; sizes are whole numbers, or names of dimensions that stay open")
    dims = tuple(int(part) if part.isdecimal() else part for part in parts)
    return name, dims[0] if len(dims) == 1 and isinstance(dims[0], int) else dims


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One line, status 2."""
        raise ArgumentError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The parser of ``egraph-opt``; each command sets ``run``."""
    top = _Parser(prog="egraph-opt", description="Finds a cheaper equal program for an exported model.")
    top.add_argument("--version", action="version", version=f"egraph-opt {version('egraph_opt')}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    model = _Parser(add_help=False)
    model.add_argument("model", metavar="MODEL", type=Path, help=".onnx, .jaxexport, .stablehlo or .mlir")
    shapes = _Parser(add_help=False)
    shapes.add_argument(
        "--shape",
        action="append",
        type=shape,
        default=[],
        metavar="NAME=SIZES",
        help="size of a dimension that the file leaves open, as in batch=4, or an ONNX input's shape, as in x=1,3,224",
    )
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

    one = commands.add_parser("optimize", parents=[model, shapes, search], help="write an optimised model")
    one.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="suffix: " + ", ".join(models.SUFFIXES)
    )
    one.add_argument("--report", type=Path, metavar="R.html", help="write the report as a page")
    one.add_argument("--json", type=Path, metavar="R.json", help="write the report as JSON")
    one.add_argument("--check", type=Path, metavar="F.npz", help="compare with recorded inputs and outputs")
    one.set_defaults(run=models.optimize)
    one = commands.add_parser("inspect", parents=[model, shapes], help="operations, shapes, cost, where the time goes")
    one.add_argument("--graph", action="store_true", help="print the whole graph too")
    one.set_defaults(run=models.inspect)
    one = commands.add_parser("explain", parents=[model, shapes, search], help="what is changed and why")
    one.add_argument("--json", type=Path, metavar="F.json", help="write the certificate")
    one.add_argument("--check", action="store_true", help="replay the certificate")
    one.add_argument(
        "--why-not",
        action="append",
        default=[],
        metavar="WHAT",
        help="why a rule, a kernel or another model file of the same arguments is not what was chosen",
    )
    one.set_defaults(run=models.explain)
    one = commands.add_parser("rules", help="list, check or suggest rules; stats MODEL: what each does")
    rules.add_actions(one.add_subparsers(required=True, metavar="ACTION"), shapes, search)
    one = commands.add_parser("bisect", parents=[model, shapes], help="which rule makes the program wrong")
    one.add_argument("--rules", metavar="PATH", help="rule file or folder instead of the shipped rules")
    one.add_argument("--numerics", default="reassociate", metavar="CLASS", help="exact, reassociate or finite")
    one.set_defaults(run=models.bisect)
    one = commands.add_parser("bench", help="run benchmark suites")
    add_bench_arguments(one)
    one.set_defaults(run=models.bench)
    one = commands.add_parser("calibrate", help="measure this device for the cost model")
    one.add_argument("-o", "--output", type=Path, metavar="DEVICE.json")
    one.set_defaults(run=models.calibrate)
    return top
