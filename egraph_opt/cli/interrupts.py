# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in a long command: remembered, so that nothing is written after it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

INTERRUPTED = "egraph-opt: interrupted; nothing was written\n"

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and the polite request to end."""


def leave(status: int) -> None:
    """End the process at once: what XLA still computes in its threads may crash while Python takes itself apart."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Inside, Ctrl-C ends the process with its line: for imports, which would turn it into errors of their own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: Any) -> None:
        sys.stderr.write(INTERRUPTED)
        leave(2)

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class Interrupts:
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
        before, hook = {number: signal.getsignal(number) for number in SIGNALS}, sys.unraisablehook

        def handler(number: int, frame: Any) -> None:
            self.seen = True
            raise KeyboardInterrupt

        def unraisable(dropped: Any) -> None:
            if not isinstance(dropped.exc_value, KeyboardInterrupt):
                hook(dropped)

        for number in SIGNALS:
            signal.signal(number, handler)
        sys.unraisablehook = unraisable
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
            sys.unraisablehook = hook


INTERRUPTS = Interrupts()
