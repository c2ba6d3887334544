# SPDX-License-Identifier: Apache-2.0
"""What commands print, show while they run, and check before they write."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from egraph_opt.cli.interrupts import INTERRUPTS
from egraph_opt.errors import OutputError


def say(text: object) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def say_now(text: object) -> None:
    """Print a line at once."""
    say(text)
    sys.stdout.flush()


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; silent elsewhere. Looks for interrupts before every stage."""
    if not sys.stderr.isatty():
        yield lambda text: INTERRUPTS.check()
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:

        def show(text: str) -> None:
            INTERRUPTS.check()
            status.update(text)

        yield show


def check_writable(flag: str, path: Path) -> None:
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
