# SPDX-License-Identifier: Apache-2.0
"""One command from its arguments to its exit status: every failure that is the user's to mend becomes one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import jax

from egraph_opt.cli.interrupts import INTERRUPTED, INTERRUPTS, leave
from egraph_opt.cli.parser import parser
from egraph_opt.errors import CheckError, EgraphOptError


def run(arguments: Sequence[str] | None) -> int:
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
        sys.stderr.write(INTERRUPTED)
        if arguments is None:
            leave(2)
        return 2
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
