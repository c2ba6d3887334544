# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about products of padded, joined and merged operands; the algebra is in ``ir.blocks``."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.ir import blocks
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Spec

_S, _I = "String", "i64"


def _padded(spec: str, position: int, attrs: str) -> Result:
    found = blocks.padded_product(spec, position, attrs)
    return None if found is None else dict(zip(("core", "slice", "config"), found, strict=True))


def _joined(spec: str, position: int, attrs: str, first: str, second: str) -> Result:
    axis = dict(parse_attrs(attrs))["dimension"]
    found = blocks.joined_product(spec, position, axis, parse_shape(first)[axis], parse_shape(second)[axis])
    if found is None:
        return None
    kept = found.dimension >= 0
    suffix = "" if kept else "-sum"
    rows = {f"first{suffix}": found.specs[0], f"second{suffix}": found.specs[1]}
    rows |= {"first-slice": found.slices[0], "second-slice": found.slices[1]}
    return rows | ({"dimension": f"dimension={found.dimension}"} if kept else {})


def _beside(attrs: str, shape: str, zeros: str, spec: str, last: bool) -> Result:
    axis = dict(parse_attrs(attrs))["dimension"]
    plain = Spec.parse(spec).has_distinct_output and Spec.parse(spec).scale == 1
    if Spec.parse(spec).inputs[0] or not plain:
        return None
    return blocks.zeros_beside(axis, parse_shape(shape), parse_shape(zeros)[axis], last)


def _unmerged(spec: str, position: int, shape: str) -> Result:
    found = blocks.unmerged(spec, position, parse_shape(shape))
    return None if found is None else dict(zip(("core", "y", "result"), found, strict=True))


ship(
    AttributeFunction(
        "padded-product",
        (_S, _I, _S),
        ("core", "slice", "config"),
        _padded,
        "spec of a product without the zeros around an operand, the part of the other one, the zeros around the result",
    ),
    AttributeFunction(
        "joined-product",
        (_S, _I, _S, _S, _S),
        ("first", "second", "first-sum", "second-sum", "first-slice", "second-slice", "dimension"),
        _joined,
        "specs of a product with each of two joined tensors, given their shapes, and parts of the other operand",
    ),
    AttributeFunction(
        "is-thin",
        (_S, _I),
        (),
        blocks.is_thin,
        "an operand of a product has many times the elements of the other one and of the result",
    ),
    AttributeFunction(
        "zeros-behind",
        (_S, _S, _S, _S),
        ("",),
        lambda attrs, shape, zeros, spec: _beside(attrs, shape, zeros, spec, True),
        "padding that stands for joining a tensor with a tensor of zeros behind it",
    ),
    AttributeFunction(
        "zeros-before",
        (_S, _S, _S, _S),
        ("",),
        lambda attrs, shape, zeros, spec: _beside(attrs, shape, zeros, spec, False),
        "padding that stands for joining a tensor with a tensor of zeros before it",
    ),
    AttributeFunction(
        "unmerged",
        (_S, _I, _S),
        ("core", "y", "result"),
        _unmerged,
        "spec of an einsum of a tensor before its dimensions were merged",
    ),
    AttributeFunction(
        "is-outer",
        (_S,),
        (),
        blocks.is_outer,
        "the einsum adds nothing up and its result has more dimensions than each operand",
    ),
    AttributeFunction(
        "is-zero",
        (_S,),
        (),
        lambda text: text.partition(" ")[2] in ("0.0", "0", "-0.0"),
        "a scalar constant's text is that of zero",
    ),
)
