# SPDX-License-Identifier: Apache-2.0
"""The only place that talks to egglog: run program text, load tables in bulk, read everything back.

egglog's low-level bindings are used because they load ten thousand rows in milliseconds; one command per node would
compile one query per node. Errors and Rust panics leave here as ``EngineError``.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from egglog import bindings

from egraph_opt.errors import EngineError

Row = tuple[str | int, ...]

MEMORY_FOLDER = "/dev/shm"
"""Rows are handed over in hundreds of small files; in memory, where the system has such a folder."""


PIECE = 3_000
"""Characters of program text that are handed over at once: egglog's time grows with their square."""

_QUOTED = re.compile(r'"[^"]*"')


def pieces(text: str) -> list[str]:
    """Program text cut between commands that begin on a line of their own."""
    if len(text) <= PIECE:
        return [text]
    found: list[str] = []
    lines: list[str] = []
    size = depth = 0
    for line in text.split("\n"):
        lines.append(line)
        size += len(line)
        plain = _QUOTED.sub("", line)
        depth += plain.count("(") - plain.count(")")
        if depth == 0 and size > PIECE:
            found.append("\n".join(lines))
            lines, size = [], 0
    return [*found, "\n".join(lines)] if lines else found


class Session:
    """One egglog e-graph; ``close()``, or dropping it, removes the folder through which rows are handed over."""

    def __init__(self) -> None:
        self._egraph = bindings.EGraph()
        memory = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="egraph_opt-", dir=memory))
        self.close = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._files = 0
        self.sound = True

    def run(self, text: str, name: str = "engine") -> list[Any]:
        """Run program text; after a failure, or Ctrl-C, ``sound`` is False.

        Raises:
            EngineError: egglog refused the text or panicked; the message is egglog's first line.
        """
        try:
            outputs: list[Any] = []
            for part in pieces(text):
                outputs += self._egraph.run_program(*self._egraph.parse_program(part, name))
            return outputs
        except bindings.EggSmolError as error:
            self.sound = False
            raise EngineError(f"egglog: {_first_line(error)}") from error
        except BaseException as error:
            self.sound = False
            if type(error).__name__ != "PanicException":
                raise
            raise EngineError(f"egglog panicked: {_first_line(error)}") from error

    def load(self, tables: Mapping[str, Iterable[Row]], then: str = "") -> None:
        """Append rows to relations or functions (result last) and run more text."""
        program = []
        for name, rows in tables.items():
            lines = ["\t".join(map(str, row)) + "\n" for row in rows]
            if lines:
                path = self._folder / f"{self._files}.tsv"
                self._files += 1
                path.write_text("".join(lines), encoding="utf-8")
                program.append(f'(input {name} "{path}")')
        if program or then:
            self.run("\n".join(program) + "\n" + then)

    def mark(self) -> None:
        """Remember the state to which ``rewind`` returns."""
        self.run("(push)")

    def rewind(self) -> None:
        """Forget everything since the last mark."""
        self.run("(pop)")
        for path in self._folder.iterdir():
            path.unlink()
        self._files = 0

    def functions(self) -> Mapping[str, Any]:
        """All tables: name -> object with ``rows``, each with ``inputs`` and ``output`` values."""
        return self._egraph.freeze().functions

    def text(self, value: Any) -> str:
        """Content of a String value."""
        return self._egraph.value_to_string(value)

    def number(self, value: Any) -> int:
        """Content of an i64 value."""
        return self._egraph.value_to_i64(value)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) if lines else type(error).__name__
