# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about products of rows that are read, or added up, by index."""

from __future__ import annotations

import math

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.attributes_slices import at_axis, fills_in
from egraph_opt.ir.attrs import NAN, parse_attrs
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Spec, canonical

SIDES = (("left", 0, 1), ("right", 1, 0))


def _kept_letter(spec: Spec, word: int, axis: int, other: int) -> str | None:
    """The letter of an operand's axis where the result has it and the other operand does not."""
    letters = spec.inputs[word]
    if axis >= len(letters):
        return None
    letter = letters[axis]
    once = letters.count(letter) == spec.output.count(letter) == 1
    return letter if once and letter not in spec.inputs[other] else None


def _resized(spec: Spec, letter: str, size: int) -> str:
    return canonical(spec.inputs, spec.output, {**spec.sizes, letter: size}, spec.scale)


def _product_read(text: str, spec: str, shape: str, ids: str) -> Result:
    held, parsed = dict(parse_attrs(text)), Spec.parse(spec)
    # What is filled in would be computed with; a sum of nothing is no NaN, nor are the zeros around a diagonal.
    wholly = held["fill_value"] is NAN and 0 not in parsed.sizes.values() and parsed.has_distinct_output
    count, size = math.prod(parse_shape(ids)), parse_shape(shape)[held["axis"]]
    if (fills_in(held) and not wholly) or len(parse_shape(ids)) != 1 or size >= count:
        return None
    rows = {}
    for name, word, other in SIDES:
        letter = _kept_letter(parsed, word, held["axis"], other)
        if letter is not None:
            rows[name] = _resized(parsed, letter, size)
            rows[f"{name}-read"] = at_axis(held, parsed.output.index(letter))
    return rows


def _segment_product(text: str, spec: str) -> Result:
    size, parsed = dict(parse_attrs(text))["size"], Spec.parse(spec)
    rows = {}
    for name, word, other in SIDES:
        letter = _kept_letter(parsed, word, 0, other)
        if letter is not None and parsed.output[0] == letter:
            rows[name] = _resized(parsed, letter, size)
    return rows


def _product_segment(ids: str, spec: str) -> Result:
    (count,), parsed = parse_shape(ids), Spec.parse(spec)
    rows = {}
    for name, word, other in SIDES:
        letter = _kept_letter(parsed, word, 0, other)
        if letter is None or parsed.output[0] != letter:
            continue
        made, had = (
            math.prod(parsed.sizes[c] for c in letters if c != letter)
            for letters in (parsed.output, parsed.inputs[word])
        )
        if made < had:
            rows[name] = _resized(parsed, letter, count)
    return rows


_S = "String"

ship(
    AttributeFunction(
        "product-read",
        (_S,) * 4,
        ("left", "left-read", "right", "right-read"),
        _product_read,
        "spec of a product of a whole table of which fewer rows than are read, and the read of its result",
    ),
    AttributeFunction(
        "segment-product", (_S, _S), ("left", "right"), _segment_product, "spec of a product of sums of rows by id"
    ),
    AttributeFunction(
        "product-segment",
        (_S, _S),
        ("left", "right"),
        _product_segment,
        "spec of a product of rows, each smaller than before, that are added up by id after it",
    ),
)
