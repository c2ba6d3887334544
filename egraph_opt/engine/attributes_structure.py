# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about products of tensors with structure; the algebra is in ``ir.structured_specs``."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.ir import matrix_forms as forms
from egraph_opt.ir import structured_specs as specs
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.reshapes import parse_shape

_S, _I = "String", "i64"
FULL = ("core", "before-x", "before-y", "post")


def _rows(full: specs.Full | None) -> Result:
    return dict(zip(FULL, full, strict=True)) if full is not None else None


FORM = ("attributes", "turn", "into", "flat", "unflat", "out")


def _form(found: tuple[forms.Form, str] | None) -> Result:
    if found is None:
        return None
    form, attributes = found
    return dict(zip(FORM, (attributes, form.turn, form.into, form.flat, form.unflat, form.out), strict=True))


CIRCULANT = ("slice", "column", "into", "flat", "unflat", "out")


def _circulant(spec: str, position: int) -> Result:
    found = forms.circulant_form(spec, position)
    if found is None:
        return None
    form, part, column = found
    return dict(zip(CIRCULANT, (part, column, form.into, form.flat, form.unflat, form.out), strict=True))


def _circulant_system(attrs: str, matrix: str, right: str) -> Result:
    held = dict(parse_attrs(attrs))
    if held["matrix"] != "general":
        return None
    found = forms.circulant_system(parse_shape(matrix), parse_shape(right), held["transposed"])
    return None if found is None else dict(zip(("slice", "column", "flat"), found, strict=True))


def _inverse_transforms(outer: str, inner: str) -> Result:
    there, back = "FftType.FFT", "FftType.IFFT"
    return outer != inner and outer in (inner.replace(there, back), inner.replace(back, there))


def _gram(spec: str) -> Result:
    found = forms.gram_form(spec)
    return None if found is None else dict(zip(("into", "flat", "out"), found, strict=True))


def _own_factor(spec: str, side: str) -> Result:
    found = specs.own_factor(spec, side == "lower")
    return None if found is None else dict(zip(("product", "diagonal"), found, strict=True))


ship(
    AttributeFunction(
        "own-factor",
        (_S, _S),
        ("product", "diagonal"),
        _own_factor,
        "the Cholesky factor of L L', or of U' U, as product of the operand with signs of its diagonal",
    ),
    AttributeFunction(
        "triangular-form",
        (_S, _I, _S),
        FORM,
        lambda spec, position, side: _form(forms.triangular_form(spec, position, side == "lower")),
        "a product with a triangular matrix as the routine takes it, where that pays",
    ),
    AttributeFunction(
        "banded-form",
        (_S, _I, _S),
        FORM,
        lambda spec, position, band: _form(forms.banded_form(spec, position, band)),
        "a product with a matrix of few diagonals as the routine takes it",
    ),
    AttributeFunction(
        "circulant-form",
        (_S, _I),
        CIRCULANT,
        _circulant,
        "a product with a circulant matrix as Fourier transforms of its first column and of the other operand",
    ),
    AttributeFunction(
        "circulant-system",
        (_S, _S, _S),
        ("slice", "column", "flat"),
        _circulant_system,
        "a solve with a circulant matrix as Fourier transforms of its first column and of the right-hand sides",
    ),
    AttributeFunction(
        "inverse-transforms", (_S, _S), (), _inverse_transforms, "two Fourier transforms undo each other"
    ),
    AttributeFunction(
        "gram-form",
        (_S,),
        ("into", "flat", "out"),
        _gram,
        "a product of a tensor with itself as x x', where half of it pays",
    ),
    AttributeFunction(
        "filled",
        (_S,),
        ("",),
        lambda shape: specs.filled(parse_shape(shape)),
        "spec of a scalar in every place of a shape",
    ),
    AttributeFunction(
        "wide-float",
        (_S,),
        (),
        lambda dtype: dtype in ("float32", "float64"),
        "an element type in which partial sums may be rounded",
    ),
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
