# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about slices, dynamic slices and takes of computed tensors; the algebra is in ``ir.slices``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.words import attribute_text
from egraph_opt.ir import slices
from egraph_opt.ir.attrs import NAN, parse_attrs
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ir.slices import parse_slice
from egraph_opt.ir.spec import Spec, canonical
from egraph_opt.ir.types import is_complex


def _attrs(text: str) -> dict[str, Any]:
    return dict(parse_attrs(text))


def _slice_result(text: str, spec: str) -> Result:
    found = slices.slice_result(text, spec)
    if found is None:
        return None
    x, y = (*found.slices, None)[:2]
    if x and y:
        return {"both": found.spec, "both-x": x, "both-y": y}
    if x:
        return {"left": found.spec, "left-x": x}
    return {"right": found.spec, "right-y": y} if y else {"none": found.spec}


def _slice_concatenation(text: str, attrs: str, x: str, y: str) -> Result:
    return slices.slice_of_concatenation(text, _attrs(attrs)["dimension"], parse_shape(x), parse_shape(y))


def _slice_reduction(text: str, attrs: str, shape: str) -> Result:
    return slices.slice_of_reduction(text, _attrs(attrs)["axes"], parse_shape(shape))


def _slice_reversal(text: str, attrs: str, shape: str) -> Result:
    return slices.slice_of_reversal(text, _attrs(attrs)["dimensions"], parse_shape(shape))


def _slice_reshape(text: str, old: str, new: str) -> Result:
    found = slices.slice_of_reshape(text, parse_shape(old), parse_shape(new))
    return {"x": found[0], "shape": shape_text(found[1])} if found else None


def _slice_scan(text: str, attrs: str, shape: str) -> Result:
    held = _attrs(attrs)
    return slices.slice_of_scan(text, held["axis"], held["reverse"], parse_shape(shape))


def _is_all(text: str, shape: str) -> Result:
    return all(r.is_all(n) for r, n in zip(parse_slice(text), parse_shape(shape), strict=True))


def _slice_shape(text: str) -> Result:
    return shape_text(tuple(r.length for r in parse_slice(text)))


def _sum_along(attrs: str, shape: str) -> Result:
    """Einsum that sums over the axis of a cumulative sum."""
    word = "abcdefghijklmnopqrstuvwxyz"[: len(parse_shape(shape))]
    axis = _attrs(attrs)["axis"]
    return canonical([word], word[:axis] + word[axis + 1 :], dict(zip(word, parse_shape(shape), strict=True)))


def _fold_along(attrs: str) -> Result:
    return f"axes=({_attrs(attrs)['axis']},)"


def _extreme(text: str, attrs: str, shape: str) -> Result:
    """Axes of the maximum or minimum that the last or first place of a sorted tensor is."""
    held, sizes = _attrs(attrs), parse_shape(shape)
    axis, ranges = held["dimension"], parse_slice(text)
    others = [(r, n) for d, (r, n) in enumerate(zip(ranges, sizes, strict=True)) if d != axis]
    if held["num_keys"] != 1 or ranges[axis].length != 1 or not all(r.is_all(n) for r, n in others):
        return None
    names = {sizes[axis] - 1: "max", 0: "min"}
    return {names[ranges[axis].start]: f"axes=({axis},)"} if ranges[axis].start in names else None


def _spread_read(spec: str, axes: tuple[int | None, ...], text: Callable[[int], str]) -> Result:
    """Rows of a read of a product: which operands are read, and along which axis."""
    x, y = (*axes, None)[:2]
    if x is not None and y is not None:
        return {"both": spec, "both-x": text(x), "both-y": text(y)}
    if x is not None:
        return {"left": spec, "left-x": text(x)}
    return {"right": spec, "right-y": text(y)} if y is not None else {"none": spec}


def _dynamic_result(text: str, spec: str) -> Result:
    held = _attrs(text)
    found = slices.read_result(held["axis"], held["slice_size"], spec)
    return _spread_read(*found, lambda axis: at_axis(held, axis)) if found else None


def _take_result(text: str, spec: str, indices: str) -> Result:
    held, parsed = _attrs(text), Spec.parse(spec)
    # What is filled in would be computed with; a sum of nothing is no NaN, nor are the zeros around a diagonal.
    wholly = held["fill_value"] is NAN and 0 not in parsed.sizes.values() and parsed.has_distinct_output
    if fills_in(held) and not wholly:
        return None
    found = slices.read_result(held["axis"], parse_shape(indices)[0], spec)
    return _spread_read(*found, lambda axis: at_axis(held, axis)) if found else None


def fills_in(held: dict[str, Any]) -> bool:
    """Whether a read fills in something for places beyond the end."""
    return str(getattr(held.get("mode"), "name", "")) == "FILL_OR_DROP"


def _fills_sums(text: str) -> Result:
    """Whether what stands for places beyond the end is the sum of two of it."""
    held = _attrs(text)
    return not fills_in(held) or held["fill_value"] is NAN or held["fill_value"] == 0


def _fills_wholly(text: str, dtype: str) -> Result:
    """Whether NaN that stands for places beyond the end has no part that is a number, which computing would change."""
    return not (fills_in(_attrs(text)) and is_complex(dtype))


def _moved_axis(text: str, axes: str, shape: str) -> Result:
    """The read of a reduction's operand: the axis counted with those that are folded."""
    held, folded = _attrs(text), _attrs(axes)["axes"]
    if fills_in(held) and any(parse_shape(shape)[d] == 0 for d in folded):
        return None  # an extreme of nothing is not what is filled in
    kept = [d for d in range(len(parse_shape(shape))) if d not in folded]
    return at_axis(held, kept[held["axis"]])


def at_axis(held: dict[str, Any], axis: int) -> str:
    """Text of a read's attributes along another axis."""
    return attribute_text(tuple({**held, "axis": axis}.items()))


_S = "String"
_READ = ("both", "both-x", "both-y", "left", "left-x", "right", "right-y", "none")

ship(
    AttributeFunction(
        "slice-result",
        (_S, _S),
        _READ,
        _slice_result,
        "spec of an einsum whose result is sliced, and how its operands are sliced",
    ),
    AttributeFunction(
        "dynamic-result", (_S, _S), _READ, _dynamic_result, "spec of an einsum of which a dynamic slice is read"
    ),
    AttributeFunction(
        "take-result", (_S, _S, _S), _READ, _take_result, "spec of an einsum of which places of an axis are read"
    ),
    AttributeFunction("fills-sums", (_S,), (), _fills_sums, "what a take fills in is the sum of two of it"),
    AttributeFunction(
        "fills-wholly", (_S, _S), (), _fills_wholly, "a take fills in nothing of which a part is a number"
    ),
    AttributeFunction("moved-axis", (_S, _S, _S), ("",), _moved_axis, "a read along an axis, before a reduction"),
    AttributeFunction("slice-slice", (_S, _S), ("",), slices.slice_of_slice, "the one slice that two in a row are"),
    AttributeFunction(
        "slice-concatenation",
        (_S, _S, _S, _S),
        ("left", "right", "both-x", "both-y"),
        _slice_concatenation,
        "slices of two joined tensors of given shapes",
    ),
    AttributeFunction("slice-reduction", (_S, _S, _S), ("",), _slice_reduction, "slice of a reduction's operand"),
    AttributeFunction(
        "slice-reversal", (_S, _S, _S), ("",), _slice_reversal, "slice before the tensor is turned round"
    ),
    AttributeFunction(
        "slice-reshape", (_S, _S, _S), ("x", "shape"), _slice_reshape, "slice before a reshape, and the shape after it"
    ),
    AttributeFunction(
        "slice-scan",
        (_S, _S, _S),
        ("total", "rest", "then"),
        _slice_scan,
        "slice before a cumulative operation, and the one after it",
    ),
    AttributeFunction("slice-all", (_S, _S), (), _is_all, "the slice takes a tensor of this shape whole"),
    AttributeFunction("slice-shape", (_S,), ("",), _slice_shape, "shape of a slice"),
    AttributeFunction("sum-along", (_S, _S), ("",), _sum_along, "spec of the sum over a cumulative operation's axis"),
    AttributeFunction("fold-along", (_S,), ("",), _fold_along, "axes of the fold over a cumulative operation's axis"),
    AttributeFunction(
        "sorted-end", (_S, _S, _S), ("max", "min"), _extreme, "axes of the extreme that an end of a sorted tensor is"
    ),
)
