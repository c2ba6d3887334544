# SPDX-License-Identifier: Apache-2.0
"""Command line: ``egraph-opt optimize | inspect | explain | rules | bisect | bench | calibrate``.

Exit status 0: done. 1: a check failed. 2: bad usage or input that cannot be read, with one line that says where, what
and what to do.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import jax

from egraph_opt.cli.interrupts import INTERRUPTS
from egraph_opt.cli.parser import parser
from egraph_opt.errors import CheckError, EgraphOptError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        options = parser().parse_args(arguments)
        with INTERRUPTS.kept():
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except CheckError as error:
        return _fail(str(error), 1)
    except EgraphOptError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        status = _fail("interrupted; nothing was written")
        if arguments is None:
            _leave(status)
        return status
    except MemoryError:
        return _fail("out of memory; give a smaller model or a smaller --budget")
    except jax.errors.JaxRuntimeError as error:
        return _fail(f"XLA refused the program: {str(error).splitlines()[0]}")
    except BrokenPipeError:
        # The reader left, as in `egraph-opt inspect MODEL | head`; Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(text: str, status: int = 2) -> int:
    sys.stderr.write(f"egraph-opt: {' '.join(text.split())}\n")
    return status


def _leave(status: int) -> None:
    """End the process at once: what XLA still computes in its threads may crash while Python takes itself apart."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)
