# SPDX-License-Identifier: Apache-2.0
"""Where a node comes from: user source lines and named scopes.

Sources ride along on every node of a Graph and take no part in equality. A node that stands for several user
expressions (two equal ones, or a merged pair) holds all their lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

MAX_SOURCES = 32
"""Lines that one node remembers."""

MAX_SHOWN = 8
"""Lines that are printed beside a node."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One user source line, with the ``jax.named_scope`` path around it ("" when there is none)."""

    file: str
    line: int
    scope: str = ""

    def __str__(self) -> str:
        place = f"{PurePath(self.file).name}:{self.line}"
        return f"{place} ({self.scope})" if self.scope else place


Sources = tuple[Source, ...]


def merge_sources(*many: Sources) -> Sources:
    """Union in first-seen order, at most ``MAX_SOURCES`` lines."""
    return tuple(dict.fromkeys(source for sources in many for source in sources))[:MAX_SOURCES]


def shown(sources: Sources) -> str:
    """Sources as a comment, the first few where they are many."""
    more = f", and {len(sources) - MAX_SHOWN} more" if len(sources) > MAX_SHOWN else ""
    return ", ".join(map(str, sources[:MAX_SHOWN])) + more


def lines_scope(sources: Sources) -> str:
    """All lines as a scope for what has more than one: ``model.py.L14.L15+layers.py.L3``; else "".

    XLA cuts scopes at ``@`` and reads ``:`` as the type of the operation, so neither is used.
    """
    by_file: dict[str, dict[int, None]] = {}
    for source in sources:
        by_file.setdefault(source.file, {})[source.line] = None
    if sum(map(len, by_file.values())) < 2:
        return ""
    return "+".join(".L".join((PurePath(file).name, *map(str, lines))) for file, lines in by_file.items())
