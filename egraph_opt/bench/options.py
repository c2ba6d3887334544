# SPDX-License-Identifier: Apache-2.0
"""Options of ``egraph-opt bench``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "suite",
        nargs="*",
        help="suites or single cases; without any, a few cases of every suite; or model files and folders of them",
    )
    parser.add_argument(
        "--against",
        default="jit,hand",
        metavar="LIST",
        help="what to compare with: jit,hand (default), which are timed, and greedy, a rewriter that is counted",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write one JSON line for each case")
    parser.add_argument("--table", type=Path, metavar="OUT.md", help="write the table")
    parser.add_argument("--flops", action="store_true", help="count only: nothing is verified or timed")
    parser.add_argument("--quick", action="store_true", help="only the first case of each family of a suite")
    parser.add_argument("--small", action="store_true", help="the sizes of the tests instead of the nominal ones")
    parser.add_argument(
        "--gaps",
        action="store_true",
        help="count, and list the cases that miss their hand form; without suites, all that have one",
    )
    parser.add_argument("--list", action="store_true", help="list suites and cases, run nothing")
    parser.add_argument("--frozen", action="append", default=[], metavar="ARG", help="argument that keeps its value")
    parser.add_argument("--budget", type=seconds, default=2.0, metavar="S", help="seconds of search (default 2)")


def seconds(text: str) -> float:
    """A duration given on the command line [s]."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"want seconds, a number >= 0, got {text!r}")
    return value
