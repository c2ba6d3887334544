# SPDX-License-Identifier: Apache-2.0
"""Where a node comes from: user source lines and named scopes.

Sources ride along on every node of a Graph and take no part in equality. A node that stands for several user
expressions (two equal ones, or a merged pair) holds all their lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

MAX_SOURCES = 8


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
