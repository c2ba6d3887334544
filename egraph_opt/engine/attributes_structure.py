# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about products of tensors with structure; the algebra is in ``ir.structured_specs``."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.ir import structured_specs as specs

_S, _I = "String", "i64"
FULL = ("core", "before-x", "before-y", "post")


def _rows(full: specs.Full | None) -> Result:
    return dict(zip(FULL, full, strict=True)) if full is not None else None


ship(
    AttributeFunction(
        "mirrored", (_S, _I), ("",), specs.mirrored, "the spec that reads an operand transposed, where that is shorter"
    ),
    AttributeFunction(
        "on-diagonal",
        (_S, _I),
        FULL,
        lambda spec, position: _rows(specs.on_diagonal(spec, position)),
        "spec of a product with a diagonal operand, which reads the diagonal alone",
    ),
    AttributeFunction(
        "sum-of-diagonal", (_S,), ("",), specs.sum_of_diagonal, "spec of a sum over a dimension of a diagonal operand"
    ),
    AttributeFunction(
        "gram-identity", (_S, _S), ("",), specs.gram_identity, "spec of an identity matrix: Q' Q, or Q Q' for \"rows\""
    ),
    AttributeFunction(
        "cancelled", (_S, _S, _I, _I, _S), ("",), specs.cancelled, "spec over y of Q' (Q y), or Q (Q' y) for \"rows\""
    ),
    AttributeFunction(
        "rotated",
        (_S, _S, _S, _I, _I, _S),
        FULL,
        lambda *arguments: _rows(specs.rotated(*arguments)),
        "spec over x and y of (Q x)' (Q y)",
    ),
)
