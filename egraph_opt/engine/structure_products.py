# SPDX-License-Identifier: Apache-2.0
"""Structure of einsums and sums, from that of their operands: pure functions over specs."""

from __future__ import annotations

from functools import lru_cache

from egraph_opt.ir.spec import Spec
from egraph_opt.ir.structure import NOTHING, UNBOUNDED, Structure

SUMMED = frozenset({"symmetric", "positive_semidefinite", "positive_definite", "nonnegative", "positive", "zero",
                    "circulant", "toeplitz"})  # fmt: skip
"""Facts about matrices that sums of such matrices have."""


@lru_cache(maxsize=1 << 14)
def of_unary(text: str, x: Structure) -> Structure:
    """Structure of a one-operand einsum."""
    spec = Spec.parse(text)
    word, output = spec.inputs[0], spec.output
    found = _signs(spec, x)
    if len(output) < 2:
        return found
    p, q = output[-2], output[-1]
    if p == q:
        return found.both(_written_diagonal(spec, x))
    if p not in word and q not in word:
        same = found.having("circulant", "symmetric")  # all elements of each matrix are equal
        return same.having("positive_semidefinite") if "nonnegative" in found.facts else same
    rest = word[:-2]
    if len(word) < 2 or {p, q} != set(word[-2:]) or p in rest or q in rest or output.count(p) + output.count(q) > 2:
        return found
    matrix = x if word[-2:] == output[-2:] else x.transposed
    return found.both(matrix.only(_kept(spec), banded=True))


def _kept(spec: Spec) -> set[str]:
    """Facts about matrices that a one-operand einsum keeps which does nothing to them but scale and add them up."""
    output, scale = spec.output, spec.scale
    kept = SUMMED - {"nonnegative", "positive", "zero"}
    if scale < 0:
        kept -= {"positive_semidefinite", "positive_definite"}
    distinct = len(set(output)) == len(output)
    if not distinct:  # blocks of zeros beside the matrices
        kept -= {"positive_definite"}
    if not all(spec.sizes.values()):
        kept -= {"positive_definite"}
    if not spec.summed and distinct:
        kept |= {"invertible"}
        if scale in (1, -1):
            kept |= {"orthogonal", "orthonormal_columns", "orthonormal_rows"}
        if scale == 1:
            kept |= {"permutation", "unit_diagonal", "identity", "one_hot"}
    return set(kept)


def _written_diagonal(spec: Spec, x: Structure) -> Structure:
    p, rest = spec.output[-1], spec.output[:-2]
    facts: set[str] = {"symmetric"}
    if spec.scale > 0 and "nonnegative" in x.facts:
        facts.add("positive_semidefinite")
    if p in rest or len(set(rest)) < len(rest):
        return Structure(frozenset(facts), 0, 0)  # most of the matrices are zero
    if spec.scale > 0 and "positive" in x.facts and all(spec.sizes.values()):
        facts.add("positive_definite")
    if p not in spec.inputs[0]:
        facts.add("circulant")
        if "one" in x.facts and spec.scale == 1:
            facts.add("identity")
    return Structure(frozenset(facts), 0, 0)


def _signs(spec: Spec, x: Structure) -> Structure:
    """Facts about each element."""
    facts: set[str] = set()
    distinct = len(set(spec.output)) == len(spec.output)
    if "zero" in x.facts:
        facts.add("zero")
    if spec.scale > 0 and "nonnegative" in x.facts:
        facts.add("nonnegative")
        if "positive" in x.facts and distinct and all(spec.sizes.values()):
            facts.add("positive")
    if "one" in x.facts and spec.scale == 1 and not spec.output:
        facts.add("one")
    return Structure(frozenset(facts))


@lru_cache(maxsize=1 << 14)
def of_product(text: str, x: Structure, y: Structure, same: bool) -> Structure:
    """Structure of a product in normal form.

    Args:
        text: its spec.
        x: of the left operand.
        y: of the right operand.
        same: whether both operands are one tensor.
    """
    spec = Spec.parse(text)
    facts: set[str] = set()
    signed = x.facts & y.facts & {"nonnegative", "positive"}
    if all(spec.sizes.values()):
        facts |= signed
    if "zero" in x.facts | y.facts:
        facts.add("zero")
    if same and spec.inputs[0] == spec.inputs[1]:
        facts.add("nonnegative")
    found = Structure(frozenset(facts))
    if len(spec.output) < 2:
        return found
    p, q = spec.output[-2], spec.output[-1]
    if same and _is_gram(spec, p, q):
        found = found.having("positive_semidefinite")
    return found.both(_matrix_product(spec, x, y, p, q)).both(_scaled(spec, x, y, p, q))


def _is_gram(spec: Spec, p: str, q: str) -> bool:
    """Whether exchanging the last two letters of the result exchanges the operands."""
    turned = spec.inputs[0].translate(str.maketrans(p + q, q + p))
    return turned == spec.inputs[1] and (p in spec.inputs[0]) != (q in spec.inputs[0])


def _matrix_product(spec: Spec, x: Structure, y: Structure, p: str, q: str) -> Structure:
    """Structure of ``X Y``, each operand a matrix in its last two dimensions, plain or transposed, batches in front."""
    one, other = spec.inputs
    if p in other:
        (one, other), (x, y) = (other, one), (y, x)
    shared = set(one) & set(other) - set(spec.output)
    if p in other or q in one or p not in one or q not in other or len(shared) != 1:
        return NOTHING
    (k,) = shared
    if set(one[-2:]) != {p, k} or set(other[-2:]) != {k, q} or one[:-2] != spec.output[:-2] or other[:-2] != one[:-2]:
        return NOTHING
    left = x if one[-2:] == p + k else x.transposed
    right = y if other[-2:] == k + q else y.transposed
    both = left.facts & right.facts
    facts = both & {"orthogonal", "permutation", "orthonormal_columns", "orthonormal_rows", "circulant", "invertible",
                    "identity", "one_hot"}  # fmt: skip
    for one_band in ("lower", "upper"):
        if getattr(left, one_band) <= 0 and getattr(right, one_band) <= 0:
            facts |= both & {"unit_diagonal"}
    return Structure(frozenset(facts), left.lower + right.lower, left.upper + right.upper)


def _scaled(spec: Spec, x: Structure, y: Structure, p: str, q: str) -> Structure:
    """Structure of a product without sums: zeros of either operand stay, symmetry stays under scalar factors."""
    if spec.summed:
        return NOTHING
    found = NOTHING
    for mine, m, other, o in ((spec.inputs[0], x, spec.inputs[1], y), (spec.inputs[1], y, spec.inputs[0], x)):
        if len(mine) < 2 or set(mine[-2:]) != {p, q}:
            continue
        matrix = m if mine[-2:] == p + q else m.transposed
        found = found.both(Structure(frozenset(), matrix.lower, matrix.upper))
        if p not in other and q not in other:
            kept = {"symmetric", "toeplitz", "circulant"}
            if "nonnegative" in o.facts:
                kept.add("positive_semidefinite")
            if "positive" in o.facts:
                kept.add("positive_definite")
            found = found.both(matrix.only(kept))
        elif set(other[-2:]) == {p, q}:
            factor = o if other[-2:] == p + q else o.transposed
            found = found.both(
                Structure(matrix.facts & factor.facts & {"symmetric", "positive_semidefinite", "toeplitz", "circulant"})
            )
    return found


@lru_cache(maxsize=1 << 14)
def of_solution(text: str, matrix: Structure, right: Structure) -> Structure:
    """Structure of the solution of a system: that of an inverse is the matrix's, except that bands fill up."""
    facts = right.facts & {"invertible"}
    if "identity" not in right.facts:
        return Structure(facts)
    triangle = text.partition("'")[2].partition("'")[0].removeprefix("unit_")
    if "transposed=True" in text:
        triangle = {"lower": "upper", "upper": "lower"}.get(triangle, triangle)
        matrix = matrix.transposed
    if triangle == "general":
        lower, upper = matrix.lower, matrix.upper
        facts |= matrix.facts & {"symmetric", "orthogonal", "permutation", "positive_definite"}
    else:
        lower, upper = (UNBOUNDED, 0.0) if triangle == "lower" else (0.0, UNBOUNDED)
    return Structure(facts, 0.0 if lower <= 0 else UNBOUNDED, 0.0 if upper <= 0 else UNBOUNDED)


def of_sum(x: Structure, y: Structure, transposes: bool) -> Structure:
    """Structure of a sum of two tensors; ``transposes`` if they are each other's transposed matrices."""
    facts = set(x.facts & y.facts & SUMMED)
    for one, other in ((x, y), (y, x)):
        if "positive_definite" in one.facts and "positive_semidefinite" in other.facts:
            facts.add("positive_definite")
        if "positive" in one.facts and "nonnegative" in other.facts:
            facts.add("positive")
        if "zero" in one.facts:
            facts |= other.facts
    if transposes:
        facts.add("symmetric")
    lower, upper = max(x.lower, y.lower), max(x.upper, y.upper)
    return Structure(frozenset(facts), lower, upper) if facts or lower < UNBOUNDED or upper < UNBOUNDED else NOTHING
