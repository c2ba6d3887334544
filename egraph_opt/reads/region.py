# SPDX-License-Identifier: Apache-2.0
"""Regions of tensors: for each dimension a range of places, or places that an index names; and how one is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from egraph_opt.ir import Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.graph import Attrs
from egraph_opt.ir.slices import Range, slice_attrs
from egraph_opt.ir.sources import Sources


class Read(NamedTuple):
    """The places along one dimension that a node with an index names.

    Args:
        op: ``dynamic_slice_in_dim`` or ``take``.
        place: node of the first place, or of all.
        length: number of places.
        attrs: of the operation; its axis does not count.
    """

    op: str
    place: int
    length: int
    attrs: Attrs

    @staticmethod
    def of(node: Node, length: int) -> Read:
        """What a node reads along its axis."""
        return Read(node.op, node.operands[1], length, tuple((k, v) for k, v in node.attrs if k != "axis"))


Part = Range | Read
Region = tuple[Part, ...]
Make = Callable[[Emitter, Sequence[int]], int]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a region of a node is computed.

    Args:
        region: that is computed; it holds what was asked for.
        needs: of each operand, the region that is read; None where it is not read at all.
        make: appends the node, given the operands that are read.
    """

    region: Region
    needs: tuple[Region | None, ...]
    make: Make


def whole(shape: Sequence[int]) -> Region:
    """All of a tensor."""
    return tuple(Range(0, n) for n in shape)


def is_whole(region: Region, shape: Sequence[int]) -> bool:
    """Whether a region is all of a tensor of this shape."""
    return all(isinstance(part, Range) and part.is_all(n) for part, n in zip(region, shape, strict=True))


def shape_of(region: Region) -> tuple[int, ...]:
    """Numbers of places."""
    return tuple(part.length for part in region)


def ranges(region: Region) -> list[Range] | None:
    """The region where nothing in it waits for an index."""
    found = [part for part in region if isinstance(part, Range)]
    return found if len(found) == len(region) else None


def joined(first: Region, second: Region, shape: Sequence[int]) -> Region:
    """A region that holds two others."""
    return tuple(_joined(a, b, n) for a, b, n in zip(first, second, shape, strict=True))


def _joined(first: Part, second: Part, size: int) -> Part:
    if first == second:
        return first
    if isinstance(first, Read) or isinstance(second, Read):
        return Range(0, size)
    return Range(min(first.start, second.start), max(last(first), last(second)) + 1)


def last(part: Range) -> int:
    """The last place of a range that is not empty."""
    return part.start + (part.length - 1) * part.stride


def dense(part: Part, size: int) -> Range:
    """The shortest range without gaps that holds a part."""
    return Range(0, size) if isinstance(part, Read) else Range(part.start, last(part) + 1)


def within(emitter: Emitter, x: int, have: Region, want: Region, place: Mapping[int, int], sources: Sources) -> int:
    """The wanted region of a tensor of which another region was computed.

    Args:
        emitter: makes the slices.
        x: node of the region that was computed.
        have: that region.
        want: a region in it.
        place: the new number of each node.
        sources: user lines of who reads.
    """
    cut: list[Range] = []
    for mine, other in zip(have, want, strict=True):
        if mine == other or isinstance(mine, Read) or isinstance(other, Read):
            cut.append(Range(0, mine.length))
        else:
            assert mine.stride == 1, "a range with gaps is read as it is"
            begin = other.start - mine.start
            cut.append(Range(begin, begin + last(other) - other.start + 1, other.stride))
    kind = emitter.type(x)
    if not is_whole(tuple(cut), kind.shape):
        kind = kind.with_shape(shape_of(tuple(cut)))
        x = emitter.add("slice", [x], slice_attrs(cut), kind, sources)
    for axis, (mine, other) in enumerate(zip(have, want, strict=True)):
        if isinstance(other, Read) and mine != other:
            attrs = _with_axis(other, axis)
            kind = kind.with_shape((*kind.shape[:axis], other.length, *kind.shape[axis + 1 :]))
            x = emitter.add(other.op, [x, place[other.place]], attrs, kind, sources)
    return x


def _with_axis(read: Read, axis: int) -> Attrs:
    """Attributes of the operation, in the order of its record."""
    if read.op == "take":
        return (("axis", axis), *read.attrs)
    return (*read.attrs, ("axis", axis))
