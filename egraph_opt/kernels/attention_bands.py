# SPDX-License-Identifier: Apache-2.0
"""Masks that are looked at: those that read no input and show each query a run of keys become two numbers.

Query i sees keys from i - behind up to i + ahead: a causal mask, a window. Several such masks are one. A bias that is
zero there and hides all other keys is such a mask too, where every query sees a key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from egraph_opt.ir import Graph
from egraph_opt.kernels.attention_fit import Fit
from egraph_opt.kernels.attention_roles import Roles
from egraph_opt.kernels.attention_ways import NO_SHARE
from egraph_opt.kernels.region import piece
from egraph_opt.kernels.values import Array, value

LARGEST_MASK = 1 << 25
"""Elements of a mask that is looked at."""


@dataclass(frozen=True, slots=True)
class Band:
    """Which keys a query sees: from its own number less ``behind`` up to it plus ``ahead``; None for all."""

    ahead: int | None = None
    behind: int | None = None

    def within(self, other: Band) -> Band:
        """What both show."""
        return Band(_least(self.ahead, other.ahead), _least(self.behind, other.behind))

    def shows_all(self, rows: int, columns: int) -> bool:
        """Whether each of so many queries sees one of so many keys."""
        number = np.arange(rows)
        low = np.zeros(rows) if self.behind is None else np.maximum(0, number - self.behind)
        high = np.full(rows, columns - 1) if self.ahead is None else np.minimum(columns - 1, number + self.ahead)
        return bool((low <= high).all())


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


class Planes:
    """The bands of the masks and biases of one program, each looked at once."""

    def __init__(self, graph: Graph, known: frozenset[int]) -> None:
        self._graph = graph
        self._known = known
        self._seen: dict[tuple[int, bool, bool], tuple[Band, float] | None] = {}

    def taken(self, leaves: Sequence[int], parts: Roles, held: Fit) -> tuple[Roles, Fit, Band]:
        """Parts without the masks that a band stands for, and the band.

        Args:
            leaves: nodes of the program.
            parts: which of them is what.
            held: numbers of the attention.
        """
        band, masks, biases = Band(), list(parts.masks), list(parts.biases)
        for leaf in parts.masks:
            one = self._of(leaves[leaf], parts, leaf)
            if one is not None:
                band = band.within(one[0])
                masks.remove(leaf)
        sizes = [math.prod(parts.sizes[c] for c in parts.groups[part]) for part in "ts"]
        if len(biases) == 1 and not masks and (band == Band() or held.fill <= NO_SHARE):
            one = self._of(leaves[biases[0]], parts, biases[0])
            if one is not None and band.within(one[0]).shows_all(sizes[0], sizes[1]):
                held = held if band != Band() else replace(held, fill=one[1])
                band, biases = band.within(one[0]), []
        return replace(parts, masks=tuple(masks), biases=tuple(biases)), held, band

    def _of(self, number: int, parts: Roles, leaf: int) -> tuple[Band, float] | None:
        """The band of a node, and what hidden scores get; None where it is no band."""
        if number not in self._known or not parts.is_plane(leaf):
            return None
        key = (number, parts.turned(leaf), leaf in parts.hiding)
        if key not in self._seen:
            plane = self._plane(number)
            self._seen[key] = None if plane is None else _band(plane.T if key[1] else plane, key[2])
        return self._seen[key]

    def _plane(self, number: int) -> Array | None:
        if self._graph.nodes[number].types[0].size > LARGEST_MASK:
            return None
        alone = piece(self._graph, number, ())
        return None if alone is None else value(alone.graph, ())


def _band(plane: Array, hides: bool) -> tuple[Band, float] | None:
    fill = -math.inf
    if plane.dtype != np.bool_:
        hidden = plane != 0
        if not hidden.any() or not (plane[hidden] <= NO_SHARE).all():
            return None
        fill, plane = float(plane.max(where=hidden, initial=-math.inf)), ~hidden
    plane = plane ^ hides
    offsets = np.arange(plane.shape[1], dtype=np.int32)[None, :] - np.arange(plane.shape[0], dtype=np.int32)[:, None]
    if not plane.any() or plane.all():
        return None
    low, high = (
        int(offsets.min(where=plane, initial=offsets.max())),
        int(offsets.max(where=plane, initial=offsets.min())),
    )
    if not np.array_equal(plane, (offsets >= low) & (offsets <= high)):
        return None
    ahead = None if high == plane.shape[1] - 1 else high
    behind = None if low == 1 - plane.shape[0] else -low
    return Band(ahead, behind), fill
