# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about systems and determinants of matrices of blocks; the algebra is in ``ir.block_solves``."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.attributes_solves import GENERAL, kind_of
from egraph_opt.ir import block_solves
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.block_solves import Config
from egraph_opt.ir.reshapes import parse_shape

_S = "String"
BLOCKS = ("top-left", "top-right", "low-left", "low-right")
SIDES = ("first", "second", "up", "down", "up-turned", "down-turned", "minus-first", "minus-second")


def _axis(attrs: str) -> int:
    return int(dict(parse_attrs(attrs))["dimension"])


def _config(attrs: str) -> Config:
    return tuple(dict(parse_attrs(attrs))["padding_config"])


def _blocks(attrs: str, top: str, low: str) -> Result:
    found = block_solves.blocks(_axis(attrs), parse_shape(top), parse_shape(low))
    return None if found is None else dict(zip(BLOCKS, found, strict=True))


def _sides(attrs: str, top: str, low: str, right: str, system: str) -> Result:
    kind, transposed = kind_of(system)
    found = block_solves.sides(_axis(attrs), parse_shape(top), parse_shape(low), parse_shape(right))
    if found is None or kind != GENERAL:
        return None
    left_out = {"up", "down"} if transposed else {"up-turned", "down-turned"}
    return {name: text for name, text in zip(SIDES, found, strict=True) if name not in left_out}


def _common(attrs: str, first: str, second: str) -> Result:
    found = block_solves.common_padding(_axis(attrs), _config(first), _config(second))
    names = ("first", "second", "both")
    return None if found is None else {n: f"padding_config={c}" for n, c in zip(names, found, strict=True)}


def _complement(attrs: str, left: str, right: str) -> Result:
    found = block_solves.complement(_axis(attrs), parse_shape(left), parse_shape(right))
    return None if found is None else {"product": found[0], "minus": found[1]}


ship(
    AttributeFunction(
        "block-parts", (_S,) * 3, BLOCKS, _blocks, "the blocks of a square matrix that is joined of two rows of them"
    ),
    AttributeFunction(
        "block-sides",
        (_S,) * 5,
        SIDES,
        _sides,
        "parts of the right-hand side of a system of two rows of blocks, and products of blocks with solutions",
    ),
    AttributeFunction(
        "zeros-right",
        (_S, _S),
        (),
        lambda attrs, shape: block_solves.is_block_beside_zeros(_config(attrs), parse_shape(shape), False),
        "padding puts zeros to the right of square matrices of a shape, and nowhere else",
    ),
    AttributeFunction(
        "zeros-left",
        (_S, _S),
        (),
        lambda attrs, shape: block_solves.is_block_beside_zeros(_config(attrs), parse_shape(shape), True),
        "padding puts zeros to the left of square matrices of a shape, and nowhere else",
    ),
    AttributeFunction(
        "common-padding", (_S,) * 3, ("first", "second", "both"), _common, "padding that two joined tensors share"
    ),
    AttributeFunction(
        "complement", (_S,) * 3, ("product", "minus"), _complement, "spec of R (P^-1 Q) for P and Q side by side"
    ),
)
