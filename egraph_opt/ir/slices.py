# SPDX-License-Identifier: Apache-2.0
"""Slices of computed tensors: a slice of a result is the same computation on slices of the operands.

A slice chooses a range of every dimension. In an einsum a dimension is a letter, so the range of a letter of the result
goes to every operand that has it. All functions are given and return attribute text, as ``str(graph)`` prints it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.graph import Attrs
from egraph_opt.ir.reshapes import Shape
from egraph_opt.ir.spec import Spec, canonical


class Range(NamedTuple):
    """Places ``start, start + stride, ...`` below ``limit``."""

    start: int
    limit: int
    stride: int = 1

    @property
    def length(self) -> int:
        """Number of places."""
        return max(0, -(-(self.limit - self.start) // self.stride))

    def is_all(self, size: int) -> bool:
        """Whether these are all places of a dimension."""
        return self.start == 0 and self.limit == size and self.stride == 1


class SlicedSpec(NamedTuple):
    """An einsum on slices: its text, and the slice of each operand (None where it is read whole)."""

    spec: str
    slices: tuple[str | None, ...]


@functools.cache
def parse_slice(text: str) -> tuple[Range, ...]:
    """Ranges of a slice's attributes."""
    attrs = dict(parse_attrs(text))
    starts, limits = attrs["start_indices"], attrs["limit_indices"]
    return tuple(map(Range, starts, limits, attrs["strides"] or (1,) * len(starts)))


def slice_attrs(ranges: Sequence[Range]) -> Attrs:
    """Attributes of a slice, in the one spelling that capture uses."""
    strides = tuple(int(r.stride) for r in ranges)  # parts of shapes may be numpy's numbers
    return (
        ("start_indices", tuple(int(r.start) for r in ranges)),
        ("limit_indices", tuple(int(r.limit) for r in ranges)),
        ("strides", None if set(strides) <= {1} else strides),
    )


def slice_text(ranges: Sequence[Range]) -> str:
    """Text of those attributes."""
    return ", ".join(f"{name}={value}" for name, value in slice_attrs(ranges))


def _or_none(ranges: Sequence[Range], shape: Shape) -> str | None:
    """Text of a slice, or None where it takes all."""
    return None if all(r.is_all(n) for r, n in zip(ranges, shape, strict=True)) else slice_text(ranges)


@functools.cache
def slice_result(text: str, spec: str) -> SlicedSpec | None:
    """The einsum whose result is a slice of that of ``spec``; None where a written diagonal is cut."""
    parsed, ranges = Spec.parse(spec), parse_slice(text)
    chosen: dict[str, Range] = {}
    for letter, found in zip(parsed.output, ranges, strict=True):
        if chosen.setdefault(letter, found) != found:
            return None
    sizes = {c: chosen[c].length if c in chosen else n for c, n in parsed.sizes.items()}
    slices = tuple(
        _or_none([chosen.get(c) or Range(0, parsed.sizes[c]) for c in word], shape)
        for word, shape in zip(parsed.inputs, parsed.shapes, strict=True)
    )
    return SlicedSpec(canonical(parsed.inputs, parsed.output, sizes, parsed.scale), slices)


def slice_of_slice(outer: str, inner: str) -> str:
    """The one slice that two in a row are."""
    return slice_text(
        [
            Range(
                b.start + a.start * b.stride,
                min(b.limit, b.start + ((a.limit - 1) * b.stride + 1)),
                a.stride * b.stride,
            )
            if a.length
            else Range(b.start, b.start, a.stride * b.stride)
            for a, b in zip(parse_slice(outer), parse_slice(inner), strict=True)
        ]
    )


def slice_of_concatenation(text: str, axis: int, first: Shape, second: Shape) -> Mapping[str, str] | None:
    """Slices of two joined tensors: ``left`` or ``right`` where one gives all, else ``both-x`` and ``both-y``."""
    ranges = list(parse_slice(text))
    border, taken = first[axis], ranges[axis]
    if taken.length == 0:
        return None
    last = taken.start + (taken.length - 1) * taken.stride

    def at(found: Range) -> str:
        return slice_text([*ranges[:axis], found, *ranges[axis + 1 :]])

    if last < border:
        return {"left": at(Range(taken.start, min(taken.limit, border), taken.stride))}
    if taken.start >= border:
        return {"right": at(Range(taken.start - border, taken.limit - border, taken.stride))}
    skipped = math.ceil((border - taken.start) / taken.stride) * taken.stride + taken.start - border
    parts = Range(taken.start, border, taken.stride), Range(skipped, taken.limit - border, taken.stride)
    whole = all(
        r.is_all(n) for r, n in zip(ranges, (*first[:axis], border + second[axis], *first[axis + 1 :]), strict=True)
    )
    return None if whole else {"both-x": at(parts[0]), "both-y": at(parts[1])}


def slice_of_reduction(text: str, axes: Sequence[int], shape: Shape) -> str:
    """The slice of the operand of a reduction over some axes whose result is sliced."""
    rest = iter(parse_slice(text))
    return slice_text([Range(0, n) if axis in axes else next(rest) for axis, n in enumerate(shape)])


def slice_of_reversal(text: str, dimensions: Sequence[int], shape: Shape) -> str:
    """The slice of a tensor that is turned round before it is sliced; its result has to be turned round, too."""
    return slice_text(
        [
            Range(n - 1 - (r.start + (r.length - 1) * r.stride), n - r.start, r.stride)
            if d in dimensions and r.length
            else r
            for d, (r, n) in enumerate(zip(parse_slice(text), shape, strict=True))
        ]
    )


def slice_of_reshape(text: str, old: Shape, new: Shape) -> tuple[str, Shape] | None:
    """Slice of a reshape's operand and the shape it is then given; None where the slice is no range of the operand.

    Dimensions are matched in the smallest groups of equal sizes. In a group of one operand dimension that is split, the
    slice may cut the first part; in one that is merged, it must keep whole rows. Sizes of one are passed over. Sizes of
    zero tell no groups apart.
    """
    if 0 in old:
        return None
    ranges = parse_slice(text)
    found = [Range(0, n) for n in old]
    for before, after in _groups(old, new):
        if all(ranges[i].is_all(new[i]) for i in after):
            continue
        if len(before) > 1 or len(after) > 1:
            if not all(ranges[i].is_all(1) for i in after if new[i] == 1):
                return None
            before, after = [i for i in before if old[i] != 1], [i for i in after if new[i] != 1]
        if len(before) == len(after) == 1:
            found[before[0]] = ranges[after[0]]
            continue
        first, *others = after
        if not before or not all(ranges[i].is_all(new[i]) for i in others) or ranges[first].stride != 1:
            return None
        rows, inner = math.prod(new[i] for i in others), math.prod(old[i] for i in before[1:])
        low, high = ranges[first].start * rows, ranges[first].limit * rows
        if low % inner or high % inner:
            return None
        found[before[0]] = Range(low // inner, high // inner)
    return slice_text(found), tuple(r.length for r in ranges)


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Smallest runs of dimensions on both sides with equal numbers of elements."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        before: list[int] = []
        after: list[int] = []
        have = want = 1
        while True:
            if i < len(old) and (not before or have < want):
                before.append(i)
                have *= old[i]
                i += 1
            elif j < len(new) and (not after or want < have):
                after.append(j)
                want *= new[j]
                j += 1
            else:
                break
        groups.append((before, after))
    return groups


def slice_of_scan(text: str, axis: int, reverse: bool, shape: Shape) -> Mapping[str, str] | None:
    """Slices of cumulative sums, maxima ... along an axis.

    Returns:
        ``total``: the slice of the operand that is folded along the axis, where only the last place is read; ``rest``:
        the slice that is accumulated in place of the whole, where places at the end or on other axes are left out, and
        ``then`` what is read of that.
    """
    ranges = list(parse_slice(text))
    taken, size = ranges[axis], shape[axis]
    if taken.length == 0:
        return None
    last = 0 if reverse else size - 1
    if taken.length == 1 and taken.start == last and size > 1:
        return {"total": slice_text([*ranges[:axis], Range(0, size), *ranges[axis + 1 :]])}
    reached = Range(taken.start, size) if reverse else Range(0, taken.start + (taken.length - 1) * taken.stride + 1)
    needed = [*ranges[:axis], reached, *ranges[axis + 1 :]]
    if all(r.is_all(n) for r, n in zip(needed, shape, strict=True)):
        return None
    begin = taken.start - reached.start
    left = Range(begin, begin + (taken.length - 1) * taken.stride + 1, taken.stride)
    full = [Range(0, r.length) for r in ranges]
    return {"rest": slice_text(needed), "then": slice_text([*full[:axis], left, *full[axis + 1 :]])}


class AxisRead(NamedTuple):
    """An einsum of whose result a part along one axis is read: its text, and the axis in each operand that has it."""

    spec: str
    axes: tuple[int | None, ...]


@functools.cache
def read_result(axis: int, size: int, spec: str) -> AxisRead | None:
    """The einsum on operands of which ``size`` places are read; None where the axis is on a diagonal."""
    parsed = Spec.parse(spec)
    letter = parsed.output[axis]
    if any(word.count(letter) > 1 for word in (*parsed.inputs, parsed.output)):
        return None
    axes = tuple(word.index(letter) if letter in word else None for word in parsed.inputs)
    return AxisRead(canonical(parsed.inputs, parsed.output, {**parsed.sizes, letter: size}, parsed.scale), axes)
