# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about systems and determinants of products of Kronecker; the algebra is in ``ir.kronecker``."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.attributes_solves import GENERAL, kind_of
from egraph_opt.engine.words import attribute_text
from egraph_opt.ir import kronecker
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import identity

_S = "String"


def _matrices(spec: str, matrix: str) -> dict[str, str]:
    found = kronecker.kron(spec, parse_shape(matrix))
    assert found is not None, "asked after a result"
    return dict(zip(("x", "y"), (factor.spec for factor in found.factors), strict=False))


def _system(spec: str, matrix: str, right: str, attrs: str) -> Result:
    found = (
        kronecker.kron_system(spec, parse_shape(matrix), parse_shape(right)) if kind_of(attrs)[0] == GENERAL else None
    )
    if found is None:
        return None
    shape, steps = found
    names = ("before", "between", "after") if len(steps) == 3 else ("before", "after")
    return {"shape": shape, **dict(zip(names, steps, strict=True)), **_matrices(spec, matrix)}


def _inverse(spec: str, matrix: str, attrs: str) -> Result:
    found = kronecker.kron_inverse(spec, parse_shape(matrix)) if kind_of(attrs)[0] == GENERAL else None
    if found is None:
        return None
    product, ones = found
    return {"product": product, **dict(zip(("one-x", "one-y"), ones, strict=False)), **_matrices(spec, matrix)}


def _determinant(spec: str, matrix: str) -> Result:
    found = kronecker.kron_powers(spec, parse_shape(matrix))
    if found is None:
        return None
    lead = parse_shape(matrix)[:-2]
    rows = _matrices(spec, matrix)
    for name, power in zip(("x", "y"), found, strict=False):
        rows[f"times-{name}"] = identity(lead, power)
        rows[f"power-{name}"] = attribute_text((("y", power),))
    return rows


ship(
    AttributeFunction(
        "kron-system",
        (_S,) * 4,
        ("shape", "before", "between", "after", "x", "y"),
        _system,
        "how a system with a product of Kronecker is solved by its factors",
    ),
    AttributeFunction(
        "kron-inverse",
        (_S,) * 3,
        ("product", "one-x", "one-y", "x", "y"),
        _inverse,
        "spec of the inverse of a product of Kronecker over those of its factors",
    ),
    AttributeFunction(
        "kron-determinant",
        (_S,) * 2,
        ("x", "y", "times-x", "times-y", "power-x", "power-y"),
        _determinant,
        "the factors of a product of Kronecker, and how often each counts in its determinant",
    ),
)
