# SPDX-License-Identifier: Apache-2.0
"""Products whose operands are padded, joined or merged: the product of what was there before, and what is done after.

Zeros around an operand are never multiplied with; two joined operands meet their own part of the other one; dimensions
that were merged by a reshape are letters of their own again. All take and give attribute text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.reshapes import Shape, shape_text
from egraph_opt.ir.slices import Range, slice_text
from egraph_opt.ir.spec import LETTERS, Spec, canonical

THIN = 2
"""Joining so many times more than what it meets costs more than multiplying the parts one by one."""


class Padded(NamedTuple):
    """``pad(core(x, y[slice]))`` for a product of a padded ``x`` with ``y``."""

    core: str
    slice: str
    config: str


@functools.cache
def padded_product(text: str, position: int, attrs: str) -> Padded | None:
    """A product whose operand ``position`` has zeros around it.

    Args:
        text: its spec.
        position: 0 or 1.
        attrs: of the padding, which must be zeros.
    """
    spec = Spec.parse(text)
    config = dict(parse_attrs(attrs))["padding_config"]
    word, other = spec.inputs[position], spec.inputs[1 - position]
    if any(inner or low < 0 or high < 0 for low, high, inner in config):
        return None
    around = {c: (low, high) for c, (low, high, _) in zip(word, config, strict=True)}
    sizes = {c: n - sum(around.get(c, (0, 0))) for c, n in spec.sizes.items()}
    if min(sizes.values(), default=1) < 1:
        return None
    ranges = [Range(around[c][0], around[c][0] + sizes[c]) if c in around else Range(0, sizes[c]) for c in other]
    after = tuple((*around.get(c, (0, 0)), 0) for c in spec.output)
    return Padded(canonical(spec.inputs, spec.output, sizes), slice_text(ranges), f"padding_config={after}")


class Joined(NamedTuple):
    """A product with joined operands, part by part.

    Args:
        specs: of the two products.
        slices: of the other operand, one for each.
        dimension: along which the results are joined; -1 where they are added up.
    """

    specs: tuple[str, str]
    slices: tuple[str, str]
    dimension: int


@functools.cache
def joined_product(text: str, position: int, dimension: int, first: int, second: int) -> Joined | None:
    """A product whose operand ``position`` is joined of two tensors of sizes ``first`` and ``second``."""
    spec = Spec.parse(text)
    letter, other = spec.inputs[position][dimension], spec.inputs[1 - position]
    if not first or not second or (letter not in spec.output and letter not in other):
        return None
    specs, slices = [], []
    for start, size in ((0, first), (first, second)):
        specs.append(canonical(spec.inputs, spec.output, {**spec.sizes, letter: size}))
        ranges = [Range(start, start + size) if c == letter else Range(0, spec.sizes[c]) for c in other]
        slices.append(slice_text(ranges))
    place = spec.output.index(letter) if letter in spec.output else -1
    return Joined((specs[0], specs[1]), (slices[0], slices[1]), place)


def is_thin(text: str, position: int) -> bool:
    """Whether an operand of a product has many times the elements of the other one and of the result."""
    spec = Spec.parse(text)
    if len(spec.inputs) != 2 or not spec.is_pure or not spec.summed:
        return False
    rest = spec.count(spec.inputs[1 - position]) + spec.count(spec.output)
    return spec.count(spec.inputs[position]) >= THIN * rest


def zeros_beside(dimension: int, shape: Shape, size: int, last: bool) -> str:
    """Padding that stands for joining a tensor of a shape with zeros, ``size`` of them, behind or before it."""
    config = [(0, 0, 0)] * len(shape)
    config[dimension] = (0, size, 0) if last else (size, 0, 0)
    return f"padding_config={tuple(config)}"


class Unmerged(NamedTuple):
    """``reshape(core(x, reshape(y)))`` for a product of a reshaped ``x`` with ``y``."""

    core: str
    y: str
    result: str


def _groups(whole: Shape, parts: Shape) -> list[list[int]] | None:
    """Positions of the dimensions that were merged into each one; None where it was no merging."""
    groups: list[list[int]] = []
    place = 0
    for size in whole:
        group: list[int] = []
        product = 1
        while place < len(parts) and (product < size or not group):
            product *= parts[place]
            group.append(place)
            place += 1
        if product != size:
            return None
        groups.append(group)
    return groups if place == len(parts) else None


@functools.cache
def unmerged(text: str, position: int, parts: Shape) -> Unmerged | None:
    """An einsum whose operand ``position`` is a tensor of shape ``parts`` with neighbouring dimensions merged."""
    spec = Spec.parse(text)
    word = spec.inputs[position]
    groups = _groups(tuple(spec.sizes[c] for c in word), parts)
    if groups is None or len(parts) <= len(word) or min(parts, default=1) < 2 or len(set(word)) < len(word):
        return _diagonal(spec, parts, groups) if groups is not None and len(spec.inputs) == 1 else None
    return _split(spec, position, [[parts[i] for i in group] for group in groups])


def _diagonal(spec: Spec, parts: Shape, groups: Sequence[Sequence[int]]) -> Unmerged | None:
    """The same for an einsum that reads a diagonal of dimensions that were merged alike."""
    sizes: dict[str, list[int]] = {}
    for c, group in zip(spec.inputs[0], groups, strict=True):
        if sizes.setdefault(c, [parts[i] for i in group]) != [parts[i] for i in group]:
            return None
    if len(parts) <= len(spec.inputs[0]) or min(parts, default=1) < 2:
        return None
    return _split(spec, 0, [sizes[c] for c in spec.inputs[0]])


def _split(spec: Spec, position: int, parts: Sequence[Sequence[int]]) -> Unmerged | None:
    names = iter(LETTERS)
    table: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    split = dict(zip(spec.inputs[position], parts, strict=True))
    for c, n in spec.sizes.items():
        table[c] = []
        for size in split.get(c, [n]):
            name = next(names, "")
            if not name:
                return None
            table[c].append(name)
            sizes[name] = size
    words = ["".join("".join(table[c]) for c in word) for word in spec.inputs]
    output = "".join("".join(table[c]) for c in spec.output)
    other = words[1 - position] if len(words) == 2 else ""
    shape = tuple(sizes[c] for c in other)
    return Unmerged(canonical(words, output, sizes, spec.scale), shape_text(shape), shape_text(spec.shape))


@functools.cache
def is_outer(text: str) -> bool:
    """Whether an einsum adds nothing up and makes more dimensions than any operand has: a product of Kronecker."""
    spec = Spec.parse(text)
    return not spec.summed and all(len(word) < len(spec.output) for word in spec.inputs)
