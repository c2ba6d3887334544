# SPDX-License-Identifier: Apache-2.0
"""Command line: ``egraph-opt optimize | inspect | explain | rules | bisect | bench | calibrate``.

Exit status 0: done. 1: a check failed. 2: bad usage or input that cannot be read, with one line that says where, what
and what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from egraph_opt.cli.interrupts import leaving


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    with contextlib.nullcontext() if arguments is not None else leaving():
        from egraph_opt.cli.run import run  # a second of imports, in which Ctrl-C owes one line too
    return run(arguments)
