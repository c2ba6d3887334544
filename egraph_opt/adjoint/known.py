# SPDX-License-Identifier: Apache-2.0
"""Nodes by value: which node has a given value up to a factor and the order of its dimensions."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from egraph_opt.adjoint.values import CHANNELS, PRIME, Residues, Values
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import LETTERS, Scale, canonical
from egraph_opt.ir.types import is_floating

LARGEST = 4096
"""Numerators and denominators of factors between equal values; others are taken for accidents."""

Key = tuple[str, tuple[int, ...], bytes]


class Found(NamedTuple):
    """A node whose transpose by ``axes`` times ``scale`` is what was looked for."""

    number: int
    axes: tuple[int, ...]
    scale: Scale


class Known:
    """Nodes by value.

    Args:
        emitter: holds the nodes.
        values: of its nodes.
    """

    def __init__(self, emitter: Emitter, values: Values) -> None:
        self._emitter, self._values = emitter, values
        self._table: dict[Key, list[int]] = {}
        self._kinds: set[tuple[str, tuple[int, ...]]] = set()

    def add(self, number: int) -> None:
        """Remember a node."""
        found = self._key(number)
        if found is not None:
            self._table.setdefault(found[0], []).append(number)
            self._kinds.add(self._kind(number))

    def find(self, number: int) -> list[Found]:
        """Nodes with the value of a node, itself left out; none for zero."""
        if self._kind(number) not in self._kinds:
            return []
        found = []
        rank = len(self._emitter.type(number).shape)
        for axes in itertools.permutations(range(rank)):
            key = self._key(number, axes)
            for other in self._table.get(key[0], ()) if key else ():
                theirs = self._key(other)
                scale = _factor(key[1], theirs[1]) if key and theirs and other != number else None
                if scale is not None:
                    back = tuple(sorted(range(rank), key=axes.__getitem__))
                    found.append(Found(other, back, scale))
        return found

    def link(self, found: Found) -> int:
        """The node that was looked for, as a transpose and multiple of the one that was found."""
        shape = self._emitter.type(found.number).shape
        letters = LETTERS[: len(shape)]
        output = "".join(letters[a] for a in found.axes)
        spec = canonical([letters], output, dict(zip(letters, shape, strict=True)), found.scale)
        return self._emitter.einsum(spec, [found.number])

    def _kind(self, number: int) -> tuple[str, tuple[int, ...]]:
        kind = self._emitter.type(number)
        return kind.dtype, tuple(sorted(kind.shape))

    def _key(self, number: int, axes: tuple[int, ...] | None = None) -> tuple[Key, tuple[int, ...]] | None:
        """The value over its first element that is not zero, and that element, in every channel."""
        kind = self._emitter.type(number)
        x, shape = self._values.of(number), kind.shape
        if axes is not None:
            x, shape = x.transpose(0, *(1 + a for a in axes)), tuple(shape[a] for a in axes)
        flat = np.ascontiguousarray(x).reshape(CHANNELS, -1)
        place = int((flat != 0).all(0).argmax())
        pivots = tuple(map(int, flat[:, place]))
        if 0 in pivots or not is_floating(kind.dtype):
            return None
        inverse: Residues = np.array([[pow(v, -1, PRIME)] for v in pivots], np.uint64)
        return (kind.dtype, shape, (flat * inverse % np.uint64(PRIME)).tobytes()), pivots


def _factor(mine: tuple[int, ...], theirs: tuple[int, ...]) -> Scale | None:
    """What another value is to be multiplied with, if that is the same up to the sign for absolute values."""
    plain, absolute, again = (_ratio(a, b) for a, b in zip(mine, theirs, strict=True))
    if plain is None or absolute is None or plain != again or (abs(plain[0]), plain[1]) != absolute:
        return None
    above, below = plain
    return above if below == 1 else above / below


def _ratio(a: int, b: int) -> tuple[int, int] | None:
    """Small numerator and denominator of a quotient in the field, by continued fractions; None if there are none."""
    last, rest = PRIME, a * pow(b, -1, PRIME) % PRIME
    before, factor = 0, 1
    while rest > LARGEST:
        last, (quotient, rest) = rest, divmod(last, rest)
        before, factor = factor, before - quotient * factor
    if not rest or abs(factor) > LARGEST:
        return None
    return (rest, factor) if factor > 0 else (-rest, -factor)
