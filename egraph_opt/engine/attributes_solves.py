# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about solves, their matrices and right-hand sides; the algebra is in ``ir.solves``."""

from __future__ import annotations

import functools

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.words import attribute_text, parse_constant
from egraph_opt.ir import solves
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.emit import is_scale
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import LETTERS, Spec, canonical, identity

GENERAL = "general"


@functools.cache
def kind_of(text: str) -> tuple[str, bool]:
    """Kind of the matrix of a solve, and whether its transpose is meant."""
    held = dict(parse_attrs(text))
    return str(held["matrix"]), bool(held["transposed"])


def solve_text(matrix: str, transposed: bool) -> str:
    """Attributes of a solve, as rules write them."""
    return attribute_text((("matrix", matrix), ("transposed", transposed)))


def _lead(matrix: str) -> int:
    return len(parse_shape(matrix)) - 2


def _moved(found: solves.Moved | None) -> Result:
    return None if found is None else {"before": found.before, "after": found.after}


def _pair(found: tuple[str, str] | None) -> Result:
    return None if found is None else {"before": found[0], "product": found[1]}


def _into(spec: str, position: int, matrix: str, free: bool) -> Result:
    return _moved(solves.into_solve(spec, position, _lead(matrix), free))


def _around(spec: str, position: int, attrs: str, matrix: str, free: bool) -> Result:
    found = solves.around_solve(spec, position, _lead(matrix), free)
    kind, transposed = kind_of(attrs)
    return (
        None if found is None else {"right": found[0], "product": found[1], "attrs": solve_text(kind, not transposed)}
    )


def _of_moved(spec: str, attrs: str, right: str) -> Result:
    found = solves.of_moved_matrix(spec, *kind_of(attrs), parse_shape(right))
    if found is None:
        return None
    attrs = solve_text(found.matrix, found.transposed)
    return {"attrs": attrs, "before": found.before, "right": found.right, "after": found.after}


def _factors(spec: str, attrs: str) -> Result:
    """Which factor of a matrix product is solved with first, and how each becomes a matrix."""
    kind, transposed = kind_of(attrs)
    found = solves.matrix_factors(spec, len(Spec.parse(spec).output) - 2) if kind == GENERAL else None
    if found is None:
        return None
    left, x, y = found
    return {"x-first": x, "then-y": y} if left != transposed else {"y-first": y, "then-x": x}


def _scaled(spec: str, position: int, attrs: str, right: str) -> Result:
    """How a matrix is freed of factors of its rows or columns; those of rows divide first, without a transpose."""
    kind, transposed = kind_of(attrs)
    found = solves.scaled_matrix(spec, position, parse_shape(right)) if kind == GENERAL else None
    if found is None:
        return None
    rows, matrix, spread = found
    return {"matrix": matrix, "first": spread} if rows != transposed else {"matrix": matrix, "last": spread}


def _cancels(spec: str, position: int, attrs: str, matrix: str) -> Result:
    kind, transposed = kind_of(attrs)
    return solves.cancels(spec, position, _lead(matrix), transposed) if kind == GENERAL else None


def _own(spec: str, position: int, attrs: str, matrix: str) -> Result:
    kind, transposed = kind_of(attrs)
    return solves.own_product(spec, position, _lead(matrix), transposed) if kind == GENERAL else None


def _product(matrix: str, right: str, attrs: str) -> Result:
    """Spec of the product of the matrix of a solve, as it is meant, with right-hand sides."""
    kind, transposed = kind_of(attrs)
    return solves.product_with(parse_shape(matrix), parse_shape(right), transposed) if kind == GENERAL else None


def _diagonal(spec: str, attrs: str, right: str) -> Result:
    """How a diagonal is spread over right-hand sides, and their multiple by one over the factor."""
    found = solves.diagonal(spec, parse_shape(right))
    if found is None or kind_of(attrs)[0].startswith("unit"):
        return None
    return {"spread": found[0]} | _multiple(1, found[1], right)


def _multiple(value: object, scale: float | int, right: str) -> dict[str, str]:
    """The spec that divides by a number, where that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {}
    divisor = float(value) * scale
    if not 1e-30 < abs(divisor) < 1e30:
        return {}
    factor = 1.0 / divisor
    return {"multiple": identity(parse_shape(right), int(factor) if factor in (1.0, -1.0) else factor)}


def _identity(spec: str, attrs: str, constant: str, right: str) -> Result:
    """The multiple of the right-hand side that solves with a multiple of the identity matrix."""
    found = solves.diagonal(spec, parse_shape(right))
    if found is None or kind_of(attrs)[0].startswith("unit"):
        return None
    return _multiple(parse_constant(constant)[1], found[1], right).get("multiple")


def _constant_factor(spec: str, position: int, constant: str) -> Result:
    """The multiple that a product with a number is."""
    parsed = Spec.parse(spec)
    dtype, value = parse_constant(constant)
    if not isinstance(value, int | float) or not is_scale(value, dtype) or float(value) == 0:
        return None
    return canonical([parsed.inputs[1 - position]], parsed.output, parsed.sizes, value)


def _transposed(attrs: str) -> Result:
    kind, transposed = kind_of(attrs)
    return solve_text(kind, not transposed)


def _identity_matrix(shape: str) -> Result:
    """Spec that writes a batch of identity matrices of a scalar one."""
    *batch, n, m = parse_shape(shape)
    letters = LETTERS[: len(batch) + 1]
    return canonical([""], letters + letters[-1], dict(zip(letters, (*batch, n), strict=True))) if n == m else None


_S, _I = "String", "i64"
_BOTH = ("before", "after")
_ROUND = ("right", "product", "attrs")

ship(
    AttributeFunction(
        "into-solve",
        (_S, _I, _S),
        _BOTH,
        lambda spec, position, matrix: _into(spec, position, matrix, False),
        "product of a right-hand side, given that of the solution, and what follows the solve; if no dearer",
    ),
    AttributeFunction(
        "into-inverse",
        (_S, _I, _S),
        _BOTH,
        lambda spec, position, matrix: _into(spec, position, matrix, True),
        "the same, where the right-hand side is written as a diagonal",
    ),
    AttributeFunction(
        "around-solve",
        (_S, _I, _S, _S),
        _ROUND,
        lambda spec, position, attrs, matrix: _around(spec, position, attrs, matrix, False),
        "a factor before a solution as right-hand side of the transposed system; if no dearer",
    ),
    AttributeFunction(
        "fewer-columns",
        (_S, _I, _S),
        ("before", "product"),
        lambda spec, position, matrix: _pair(solves.fewer_columns(spec, position, _lead(matrix))),
        "an operand of a product as right-hand side, and the product of its solution with the other one; if cheaper",
    ),
    AttributeFunction(
        "around-inverse",
        (_S, _I, _S, _S),
        _ROUND,
        lambda spec, position, attrs, matrix: _around(spec, position, attrs, matrix, True),
        "the same, where the right-hand side is written as a diagonal",
    ),
    AttributeFunction(
        "sum-into-solve",
        (_S, _S),
        _BOTH,
        lambda spec, matrix: _moved(solves.sum_into_solve(spec, _lead(matrix))),
        "sum over columns of a right-hand side, given that of the solution",
    ),
    AttributeFunction(
        "copy-out-of-solve",
        (_S, _S),
        _BOTH,
        lambda spec, matrix: _moved(solves.copy_out_of_solve(spec, _lead(matrix))),
        "a multiple, transpose or broadcast of columns, done after a solve",
    ),
    AttributeFunction(
        "out-of-solve",
        (_S, _I, _S),
        ("",),
        lambda spec, position, matrix: solves.out_of_solve(spec, position, _lead(matrix)),
        "product with a solution, given that of the right-hand side",
    ),
    AttributeFunction(
        "moved-matrix",
        (_S, _S, _S),
        ("attrs", "before", "right", "after"),
        _of_moved,
        "a solve with a transposed, scaled or broadcast matrix as one with the matrix before that",
    ),
    AttributeFunction(
        "matrix-factors",
        (_S, _S),
        ("x-first", "then-y", "y-first", "then-x"),
        _factors,
        "both operands of a product of square matrices, and which of them is solved with first",
    ),
    AttributeFunction(
        "scaled-system",
        (_S, _I, _S, _S),
        ("matrix", "first", "last"),
        _scaled,
        "matrix without the factors of its rows or columns, which divide the right-hand side or the solution",
    ),
    AttributeFunction("cancels", (_S, _I, _S, _S), ("",), _cancels, "spec over b of A (A^-1 b); A stands at a place"),
    AttributeFunction("own-product", (_S, _I, _S, _S), ("",), _own, "spec over b of A^-1 (A b); A stands at a place"),
    AttributeFunction("system-product", (_S, _S, _S), ("",), _product, "product of the matrix of a solve with columns"),
    AttributeFunction(
        "solve-diagonal",
        (_S, _S, _S),
        ("spread", "multiple"),
        _diagonal,
        "how a diagonal stands beside the right-hand sides that are divided by it, and by its factor",
    ),
    AttributeFunction(
        "solve-identity",
        (_S, _S, _S, _S),
        ("",),
        _identity,
        "the multiple that solves with a constant times the identity matrix",
    ),
    AttributeFunction(
        "constant-factor", (_S, _I, _S), ("",), _constant_factor, "multiple of one operand, for a number at a place"
    ),
    AttributeFunction("transposed-system", (_S,), ("",), _transposed, "attributes of the solve with the transpose"),
    AttributeFunction("identity-matrix", (_S,), ("",), _identity_matrix, "spec of an identity matrix of a shape"),
)
