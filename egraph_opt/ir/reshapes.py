# SPDX-License-Identifier: Apache-2.0
"""Reshapes of einsums: splitting a dimension of a result is splitting a letter of the spec.

A reshape between two contractions hides them from each other. Where it only splits dimensions it can be done on the
operands instead, and the contractions meet.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping
from typing import NamedTuple

from egraph_opt.ir.spec import LETTERS, Spec, canonical

Shape = tuple[int, ...]


class SplitSpec(NamedTuple):
    """A spec with split letters: its text, and the new shape of each operand (None where that stays the same)."""

    spec: str
    shapes: tuple[Shape | None, ...]


def shape_text(shape: Shape) -> str:
    """Text of a shape, as rules see it."""
    return ",".join(map(str, shape)) or "scalar"


def parse_shape(text: str) -> Shape:
    """Read ``shape_text``'s form."""
    return () if text == "scalar" else tuple(map(int, text.split(",")))


def split_groups(old: Shape, new: Shape) -> list[Shape] | None:
    """For each dimension of ``old`` the dimensions of ``new`` that it is split into; None if ``new`` merges any."""
    groups: list[Shape] = []
    place = 0
    for size in old:
        group: list[int] = []
        product = 1
        while product < size and place < len(new):
            group.append(new[place])
            product *= new[place]
            place += 1
        if product != size:
            return None
        groups.append(tuple(group))
    return groups if place == len(new) else None


@functools.cache
def split_result(spec: str, shape: Shape) -> SplitSpec | None:
    """The einsum whose result is that of ``spec`` reshaped, or None if the reshape does more than split dimensions."""
    parsed = Spec.parse(spec)
    groups = split_groups(parsed.shape, shape)
    if groups is None:
        return None
    table: dict[str, str] = {}
    sizes: dict[str, int] = {}
    fresh = iter(LETTERS + "".join(c for c in string.printable if c.isprintable() and c not in LETTERS))
    for letter, group in zip(parsed.output, groups, strict=True):
        if letter in table:
            if [sizes[c] for c in table[letter]] != list(group):
                return None
            continue
        names = "".join(next(fresh, "") for _ in group)
        if len(names) < len(group):
            return None
        table[letter] = names
        sizes |= dict(zip(names, group, strict=True))
    for letter, size in parsed.sizes.items():
        if letter not in table:
            name = next(fresh, "")
            if not name:
                return None
            table[letter] = name
            sizes[name] = size
    if len(sizes) > len(LETTERS):
        return None
    return SplitSpec(*_renamed(parsed, table, sizes))


def _renamed(parsed: Spec, table: Mapping[str, str], sizes: Mapping[str, int]) -> tuple[str, tuple[Shape | None, ...]]:
    words = ["".join(table[c] for c in word) for word in parsed.inputs]
    output = "".join(table[c] for c in parsed.output)
    shapes = [tuple(sizes[c] for c in word) for word in words]
    changed = tuple(new if new != old else None for new, old in zip(shapes, parsed.shapes, strict=True))
    return canonical(words, output, sizes, parsed.scale), changed
