# SPDX-License-Identifier: Apache-2.0
"""Products with one-hot rows: places of the other operand are read, or its rows are added up by index.

A one-hot tensor has one dimension along which a single element of one stands where an index says; the others are those
of the indices.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.reshapes import shape_text
from egraph_opt.ir.spec import Spec, canonical


class Read(NamedTuple):
    """``out(reshape(take(y, ids)))``: axis that is read, shape with the indices' dimensions, order of the result."""

    axis: int
    shape: str
    out: str


class Added(NamedTuple):
    """``out(segment_sum(reshape(into(y)), ids))``: order and shape before, number of rows, order of the result."""

    into: str
    shape: str
    size: int
    out: str


def compared(text: str, position: int, ids: str, count: str) -> tuple[str, list[str]] | None:
    """Letter of the places and letters of the indices in a product with ``indices == count``, each broadcast.

    Args:
        text: spec of the product.
        position: of the one-hot operand.
        ids: spec of the broadcast of the indices.
        count: spec of the broadcast of ``iota``.
    """
    word = Spec.parse(text).inputs[position]
    one, other = Spec.parse(ids), Spec.parse(count)
    for spec in (one, other):
        distinct = len(set(spec.inputs[0])) == len(spec.inputs[0]) and spec.has_distinct_output
        if not distinct or spec.scale != 1 or not spec.is_copy:
            return None
    if len(other.inputs[0]) != 1 or len(one.output) != len(word):
        return None
    place = word[other.output.index(other.inputs[0])]
    letters = [word[one.output.index(c)] for c in one.inputs[0]]
    return (place, letters) if {place, *letters} == set(word) and place not in letters else None


def taken(text: str, position: int, axis: int) -> tuple[str, list[str]] | None:
    """The same for rows or columns ``axis`` of an identity matrix that indices name."""
    word = Spec.parse(text).inputs[position]
    return (word[1 - axis], [word[axis]]) if len(word) == 2 and axis in (0, 1) else None


def read(text: str, position: int, place: str, letters: Sequence[str]) -> Read | None:
    """A product that sums over the places: the other operand is read there, if there is anything to read."""
    spec = Spec.parse(text)
    other = spec.inputs[1 - position]
    if place not in other or place in spec.output or set(letters) & set(other) or not spec.sizes[place]:
        return None
    word = "".join("".join(letters) if c == place else c for c in other)
    shape = shape_text(tuple(spec.sizes[c] for c in word))
    return Read(other.index(place), shape, canonical([word], spec.output, spec.sizes))


def added(text: str, position: int, place: str, letters: Sequence[str]) -> Added | None:
    """A product that keeps the places and sums over the indices' dimensions: rows are added up by index."""
    spec = Spec.parse(text)
    other = spec.inputs[1 - position]
    if place in other or place not in spec.output or not set(letters) <= set(other) - set(spec.output):
        return None
    rest = "".join(c for c in other if c not in letters)
    sizes = spec.sizes
    shape = (math.prod(sizes[c] for c in letters), *(sizes[c] for c in rest))
    return Added(
        canonical([other], "".join(letters) + rest, sizes),
        shape_text(shape),
        sizes[place],
        canonical([place + rest], spec.output, sizes),
    )


def summed(text: str, place: str, letters: Sequence[str]) -> tuple[str, int] | None:
    """A sum of a one-hot tensor over its places: spec over what is one for indices in range, and how many these are."""
    spec = Spec.parse(text)
    if place in spec.output or not set(spec.output) <= set(letters):
        return None
    return canonical(["".join(letters)], spec.output, spec.sizes, spec.scale), spec.sizes[place]


@functools.cache
def take_attributes(text: str) -> tuple[int, str]:
    """Axis of a ``take``, and its other attributes as text."""
    return int(dict(parse_attrs(text))["axis"]), text.partition(", ")[2]
