# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about determinants and updates of low rank; the algebra is in ``ir.low_rank``."""

from __future__ import annotations

import math

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.attributes_solves import GENERAL, kind_of, solve_text
from egraph_opt.ir import low_rank, solves
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import LETTERS, Spec, canonical, identity
from egraph_opt.ir.types import is_complex

_NAMES = low_rank.Update._fields


def _update(spec: str, position: int, attrs: str, right: str, outer: bool) -> Result:
    kind, transposed = kind_of(attrs)
    found = low_rank.update(spec, position, transposed, parse_shape(right)) if kind == GENERAL else None
    if found is None or bool(Spec.parse(spec).summed) == outer:
        return None
    return dict(zip(_NAMES, found[0], strict=True))


def _update_alone(spec: str, position: int, outer: bool) -> Result:
    found = low_rank.update(spec, position, False, None)
    if found is None or bool(Spec.parse(spec).summed) == outer:
        return None
    return {name: text for name, text in zip(_NAMES, found[0], strict=True) if name in ("u", "v", "inner", "one")}


def _push(spec: str, position: int, attrs: str, product: str, place: int) -> Result:
    kind, transposed = kind_of(attrs)
    found = low_rank.shares(spec, position, transposed, product, place) if kind == GENERAL else None
    return None if found is None else {"x": found[0], "product": found[1]}


def _moved_determinant(spec: str, dtype: str) -> Result:
    """A determinant of a transposed, scaled or broadcast matrix by that of the matrix."""
    parsed = Spec.parse(spec)
    (source,), word = parsed.inputs, parsed.output
    if len(word) < 2 or is_complex(dtype) or not parsed.is_copy:
        return None
    batch, pair = word[:-2], word[-2:]
    if len(set(word)) != len(word) or len(set(source)) != len(source) or not set(pair) <= set(source):
        return None
    if not 1e-30 < abs(parsed.scale) < 1e30:
        return None
    held = "".join(c for c in batch if c in source)
    before = canonical([source], held + pair, parsed.sizes)
    if source.index(pair[0]) > source.index(pair[1]):  # the determinant of a transpose is the same
        before = canonical([source], held + pair[::-1], parsed.sizes)
    n = parsed.sizes[pair[0]]
    sign = -1 if parsed.scale < 0 and n % 2 else 1
    return {
        "before": before,
        "after": canonical([held], batch, parsed.sizes),
        "sign": canonical([held], batch, parsed.sizes, sign),
        "shift": repr(n * math.log(abs(parsed.scale))),
        "everywhere": canonical([""], batch, parsed.sizes),
    }


def _transposes(spec: str) -> Result:
    """Whether the spec transposes matrices, and nothing else."""
    parsed = Spec.parse(spec)
    (word,) = parsed.inputs
    turned = word[:-2] + word[-1:] + word[-2:-1]
    return parsed.is_permutation and parsed.scale == 1 and len(word) > 1 and parsed.output == turned


def _diagonal_determinant(spec: str, dtype: str) -> Result:
    """How a diagonal that a spec writes is spread over its places, and the sum over them."""
    parsed = Spec.parse(spec)
    found = solves.diagonal(spec, parsed.shape[:-1])
    if found is None or is_complex(dtype):
        return None
    places = Spec.parse(found[0])
    letters = LETTERS[: len(parsed.output) - 1]
    sizes = dict(zip(letters, parsed.shape, strict=False))
    return {
        "spread": canonical(places.inputs, places.output, places.sizes, found[1]),
        "sum": canonical([letters], letters[:-1], sizes),
        "axis": f"axes=({len(letters) - 1},)",
    }


def _square_solution(matrix: str, right: str, attrs: str, dtype: str) -> Result:
    """Specs for determinants of a solution with as many columns as rows."""
    if kind_of(attrs)[0] != GENERAL or matrix != right or is_complex(dtype):
        return None
    batch = parse_shape(matrix)[:-2]
    return {"minus": identity(batch, -1), "times": _elementwise(batch)}


def _elementwise(shape: tuple[int, ...]) -> str:
    letters = LETTERS[: len(shape)]
    return canonical([letters, letters], letters, dict(zip(letters, shape, strict=True)))


def _square_factors(spec: str) -> Result:
    parsed = Spec.parse(spec)
    found = solves.matrix_factors(spec, len(parsed.output) - 2)
    if found is None:
        return None
    return {"x": found[1], "y": found[2], "times": _elementwise(parsed.shape[:-2])}


def _read_diagonal(matrix: str, right: str) -> Result:
    """Specs that read the diagonals of matrices, alone and beside right-hand sides, and that sum what was read."""
    sizes, columns = parse_shape(matrix), parse_shape(right)
    if len(sizes) < 2 or sizes[-1] != sizes[-2]:
        return None
    letters = LETTERS[: len(columns) + 1]
    word, known = letters[: len(sizes) - 1], dict(zip(letters, (*sizes[:-1], *columns[len(sizes) - 1 :]), strict=False))
    each = {c: known[c] for c in word}
    held = {
        "read": canonical([word + word[-1]], word, each),
        "once": canonical([word], word[:-1], each),
        "twice": canonical([word], word[:-1], each, 2.0),
        "axis": f"axes=({len(word) - 1},)",
        "everywhere": canonical([""], word[:-1], each),
    }
    if len(columns) >= len(word):
        held["beside"] = canonical([word + word[-1]], letters[: len(columns)], known)
    return held


def _triangular(attrs: str) -> Result:
    kind, transposed = kind_of(attrs)
    return {name: solve_text(name, transposed) for name in ("lower", "upper")} if kind == GENERAL else None


_S, _I = "String", "i64"

ship(
    AttributeFunction(
        "low-rank",
        (_S, _I, _S, _S),
        _NAMES,
        lambda spec, position, attrs, right: _update(spec, position, attrs, right, False),
        "specs of Woodbury's lemma for a product of rank below its size",
    ),
    AttributeFunction(
        "rank-one",
        (_S, _I, _S, _S),
        _NAMES,
        lambda spec, position, attrs, right: _update(spec, position, attrs, right, True),
        "the same for an outer product",
    ),
    AttributeFunction(
        "low-rank-determinant",
        (_S, _I),
        ("u", "v", "inner", "one"),
        lambda spec, position: _update_alone(spec, position, False),
        "specs of the determinant lemma",
    ),
    AttributeFunction(
        "rank-one-determinant",
        (_S, _I),
        ("u", "v", "inner", "one"),
        lambda spec, position: _update_alone(spec, position, True),
        "the same for an outer product",
    ),
    AttributeFunction(
        "push-through", (_S, _I, _S, _S, _I), ("x", "product"), _push, "specs of the push-through identity"
    ),
    AttributeFunction(
        "moved-determinant",
        (_S, _S),
        ("before", "after", "sign", "shift", "everywhere"),
        _moved_determinant,
        "determinant of a transposed, scaled or broadcast matrix",
    ),
    AttributeFunction(
        "diagonal-determinant",
        (_S, _S),
        ("spread", "sum", "axis"),
        _diagonal_determinant,
        "the diagonal that a spec writes, and the sum over it",
    ),
    AttributeFunction(
        "square-solution", (_S, _S, _S, _S), ("minus", "times"), _square_solution, "specs of determinants of A^-1 C"
    ),
    AttributeFunction(
        "square-factors", (_S,), ("x", "y", "times"), _square_factors, "the factors of a product of square matrices"
    ),
    AttributeFunction(
        "read-diagonal",
        (_S, _S),
        ("read", "once", "twice", "axis", "everywhere", "beside"),
        _read_diagonal,
        "specs that read diagonals of matrices, and sums over them, once or twice",
    ),
    AttributeFunction(
        "triangular-system", (_S,), ("lower", "upper"), _triangular, "attributes of a solve with a triangle alone"
    ),
    AttributeFunction("is-general", (_S,), (), lambda attrs: kind_of(attrs)[0] == GENERAL, "all of a matrix is read"),
    AttributeFunction("transposes", (_S,), (), _transposes, "the spec transposes matrices, and nothing else"),
)
