# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about bands of matrices: who reads no more than one, three diagonals, triangles of ones."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.attributes_solves import GENERAL, kind_of
from egraph_opt.engine.words import attribute_text
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.reshapes import Shape, parse_shape
from egraph_opt.ir.slices import Range, slice_text
from egraph_opt.ir.spec import Spec, canonical

_S, _I = "String", "i64"


def _band(part: str) -> tuple[int, int]:
    held = dict(parse_attrs(part))
    return held["lower"], held["upper"]


def _text(lower: int, upper: int) -> str:
    return attribute_text((("lower", lower), ("upper", upper)))


def _holds(part: str, lower: int, upper: int, shape: Shape) -> bool:
    """Whether a band of matrices of a shape holds the other one."""
    low, high = _band(part)
    return len(shape) > 1 and low >= min(lower, shape[-2] - 1) and high >= min(upper, shape[-1] - 1)


def _holds_triangle(part: str, attrs: str, shape: str) -> bool:
    kind, _ = kind_of(attrs)
    if kind == GENERAL:
        return False
    sizes = parse_shape(shape)
    least = -1 if kind.startswith("unit") else 0
    most = max(sizes[-2:])
    lower, upper = (most, least) if kind.endswith("lower") else (least, most)
    return _holds(part, lower, upper, sizes)


def _holds_known(part: str, band: str, shape: str) -> bool:
    lower, upper = map(int, band.split(","))
    return _holds(part, lower, upper, parse_shape(shape))


def _holds_product(part: str, attrs: str, shape: str) -> bool:
    """Whether a band holds what a banded or triangular product reads."""
    held, sizes = dict(parse_attrs(attrs)), parse_shape(shape)
    if "upper" in held:
        return _holds(part, held["lower"], held["upper"], sizes)
    return _holds(part, *((sizes[-1], 0) if held["lower"] else (0, sizes[-1])), sizes)


def _holds_diagonal(part: str, text: str) -> bool:
    """Whether an einsum reads the main diagonal alone, and the band holds it."""
    word = Spec.parse(text).inputs[0]
    return len(word) > 1 and word[-1] == word[-2] and min(_band(part)) >= 0


def _moved(part: str, text: str) -> Result:
    """The band after a transpose or multiple that keeps matrices whole."""
    spec = Spec.parse(text)
    (word,), output = spec.inputs, spec.output
    if not spec.is_permutation or len(word) < 2 or set(word[-2:]) != set(output[-2:]):
        return None
    lower, upper = _band(part)
    return _text(lower, upper) if word[-2:] == output[-2:] else _text(upper, lower)


def _three(band: str, attrs: str) -> Result:
    """Attributes of a system of three diagonals."""
    kind, transposed = kind_of(attrs)
    if kind != GENERAL or max(map(int, band.split(","))) > 1:
        return None
    return attribute_text((("transposed", transposed),))


def _cumulated(text: str, position: int, part: str, shape: str) -> Result:
    """The cumulative sum that a product with a triangle of ones is, its edge on a diagonal or away from the zeros."""
    spec, (n, columns) = Spec.parse(text), parse_shape(shape)[-2:]
    word, other = spec.inputs[position], spec.inputs[1 - position]
    lower, upper = _band(part)
    if len(word) != 2 or n != columns or word[0] == word[1] or n == 0:
        return None
    below = lower >= n - 1
    if not (below or upper >= n - 1):
        return None
    summed = [c for c in word if c in other and c not in spec.output]
    kept = [c for c in word if c in spec.output and c not in other]
    if len(summed) != 1 or len(kept) != 1 or set(spec.output) != set(other) - set(summed) | set(kept):
        return None
    edge = upper if below else lower
    if edge > 0 or n + edge <= 0 or len(set(other)) < len(other):
        return None
    axis, reverse = other.index(summed[0]), (summed[0] == word[1]) != below
    sizes = {**spec.sizes, kept[0]: n}
    out = canonical([other.replace(summed[0], kept[0])], spec.output, sizes, spec.scale)
    attributes = attribute_text((("axis", axis), ("reverse", reverse)))
    if edge == 0:
        return {"attributes": attributes, "out": out}
    whole = [Range(0, spec.sizes[c]) for c in other]
    whole[axis] = Range(-edge, n) if reverse else Range(0, n + edge)
    around = [(0, 0, 0)] * len(other)
    around[axis] = (0, -edge, 0) if reverse else (-edge, 0, 0)
    config = attribute_text((("padding_config", tuple(around)),))
    return {"shifted": attributes, "shifted-out": out, "slice": slice_text(whole), "config": config}


ship(
    AttributeFunction(
        "cumulated",
        (_S, _I, _S, _S),
        ("attributes", "out", "shifted", "shifted-out", "slice", "config"),
        _cumulated,
        "cumulative sum that a product with a triangle of ones is",
    ),
    AttributeFunction(
        "holds-triangle", (_S, _S, _S), (), _holds_triangle, "a band of a matrix holds the triangle that a solve reads"
    ),
    AttributeFunction(
        "holds-band", (_S, _S, _S), (), _holds_known, "a band of a matrix of a shape holds given bandwidths"
    ),
    AttributeFunction(
        "holds-factor", (_S, _S, _S), (), _holds_product, "a band of a matrix holds what a structured product reads"
    ),
    AttributeFunction(
        "holds-diagonal", (_S, _S), (), _holds_diagonal, "the einsum reads the main diagonal alone; the band holds it"
    ),
    AttributeFunction("moved-band", (_S, _S), ("",), _moved, "a band after a transpose or multiple"),
    AttributeFunction(
        "three-diagonals", (_S, _S), ("",), _three, "attributes of a system of three diagonals, given bandwidths"
    ),
)
