# SPDX-License-Identifier: Apache-2.0
"""How parts of convolutions and of windows are computed: a place of the result takes a window of the operand.

A range with gaps stays one, as a larger stride; of grouped channels whole groups are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.graph import Attrs
from egraph_opt.ir.slices import Range
from egraph_opt.reads.region import Make, Plan, Region, dense, last, ranges, shape_of

Types = Sequence[TensorType]
Numbers = Sequence[int]


class Window(NamedTuple):
    """Windows along one dimension: how many elements each has, how far they and their elements lie apart."""

    taps: int
    stride: int
    dilation: int
    low: int


class Cut(NamedTuple):
    """What some windows need: the places of the operand, the padding around these, the stride between the windows."""

    places: Range
    padding: tuple[int, int]
    stride: int


class Layout(NamedTuple):
    """Dimensions of operand, kernel and result, as convolutions count them: batch or channels first, places last."""

    image: Numbers
    kernel: Numbers
    result: Numbers


def cut(window: Window, part: Range, size: int) -> Cut | None:
    """What the windows of a range of places need of an operand of some size; None if they see its padding only."""
    begin = part.start * window.stride - window.low
    end = last(part) * window.stride + (window.taps - 1) * window.dilation + 1 - window.low
    places = Range(max(begin, 0), min(end, size))
    if places.start >= places.limit:
        return None
    return Cut(places, (places.start - begin, end - places.limit), window.stride * part.stride)


def convolution(node: Node, types: Types, region: Region) -> Plan | None:
    """A part of a convolution of JAX's."""
    attrs = node.kwargs
    numbers = attrs["dimension_numbers"]
    if attrs["batch_group_count"] != 1 or any(d != 1 for d in attrs["lhs_dilation"]):
        return None
    return _convolved(node, types, region, Layout(numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec))


def shifted_convolution(node: Node, types: Types, region: Region) -> Plan | None:
    """A part of a convolution by shifted copies."""
    attrs = node.kwargs
    return _convolved(node, types, region, Layout(attrs["lhs_spec"], attrs["rhs_spec"], attrs["lhs_spec"]))


def windows(node: Node, types: Types, region: Region) -> Plan | None:
    """A part of sums, maxima or minima of windows."""
    plain, attrs = ranges(region), node.kwargs
    if plain is None or any(d != 1 for d in attrs.get("base_dilation", ())):
        return None
    cuts: list[Cut] = []
    for part, size, taps, stride, dilation, (low, _) in zip(
        plain,
        types[0].shape,
        attrs["window_dimensions"],
        attrs["window_strides"],
        attrs["window_dilation"],
        attrs["padding"],
        strict=True,
    ):
        found = cut(Window(taps, stride, dilation, low), part, size)
        if found is None:
            return None
        cuts.append(found)
    changed = {"padding": tuple(c.padding for c in cuts), "window_strides": tuple(c.stride for c in cuts)}
    return Plan(region, (tuple(c.places for c in cuts),), _changed(node, region, changed))


def _convolved(node: Node, types: Types, region: Region, layout: Layout) -> Plan | None:
    plain, attrs = ranges(region), node.kwargs
    if plain is None:
        return None
    image, kernel = types[0].shape, types[1].shape
    computed = list(plain)
    left, right = [Range(0, n) for n in image], [Range(0, n) for n in kernel]
    batch, channels = layout.result[0], layout.result[1]
    computed[batch] = left[layout.image[0]] = dense(plain[batch], node.type.shape[batch])
    made, first, count = _groups(plain[channels], node.type.shape[channels], attrs["feature_group_count"])
    computed[channels] = right[layout.kernel[0]] = made
    each = image[layout.image[1]] // attrs["feature_group_count"]
    left[layout.image[1]] = Range(first * each, (first + count) * each)
    padding, strides = [], []
    for k, (stride, dilation, (low, _)) in enumerate(
        zip(attrs["window_strides"], attrs["rhs_dilation"], attrs["padding"], strict=True)
    ):
        axis, taps = layout.image[2 + k], kernel[layout.kernel[2 + k]]
        found = cut(Window(taps, stride, dilation, low), plain[layout.result[2 + k]], image[axis])
        if found is None:
            return None
        left[axis] = found.places
        padding.append(found.padding)
        strides.append(found.stride)
    changed = {"padding": tuple(padding), "window_strides": tuple(strides), "feature_group_count": count}
    return Plan(tuple(computed), (tuple(left), tuple(right)), _changed(node, tuple(computed), changed))


def _groups(part: Range, size: int, groups: int) -> tuple[Range, int, int]:
    """Channels of a result that are computed for some of them; the first of the groups that make them, and how many."""
    taken = dense(part, size)
    if groups == 1:
        return taken, 0, 1
    each = size // groups
    first, past = taken.start // each, -(-taken.limit // each)
    return Range(first * each, past * each), first, past - first


def _changed(node: Node, region: Region, changed: dict[str, Any]) -> Make:
    """The operation on smaller operands with some other attributes."""
    kind = node.type.with_shape(shape_of(region))
    attrs: Attrs = tuple((key, changed.get(key, value)) for key, value in node.attrs)

    def make(emitter: Emitter, operands: Sequence[int]) -> int:
        return emitter.add(node.op, operands, attrs, kind, node.sources)

    return make
