# SPDX-License-Identifier: Apache-2.0
"""Solves among einsums: a solve is linear in its right-hand sides, so products with its columns go in and out of it.

A right-hand side ``B[batch, n, columns...]`` and the solution have the dimensions of the system first. ``lead`` is the
number of batch dimensions. Everything here is about specs; ``None`` where a law does not apply or a guard refuses.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from egraph_opt.ir.spec import LETTERS, Spec, canonical

_cache = functools.cache
FLIPPED = {
    "general": "general",
    "lower": "upper",
    "upper": "lower",
    "unit_lower": "unit_upper",
    "unit_upper": "unit_lower",
}
"""Kinds of matrices by that of the transpose."""


class Moved(NamedTuple):
    """An einsum on the other side of a solve: before it, or of its right-hand side, and after it."""

    before: str
    after: str


class System(NamedTuple):
    """A solve whose matrix was a moved or scaled one.

    Args:
        matrix: kind of the inner matrix.
        transposed: whether its transpose is solved with.
        before: einsum that brings the inner matrix into order.
        right: einsum of the right-hand side.
        after: einsum of the solution.
    """

    matrix: str
    transposed: bool
    before: str
    right: str
    after: str


def _fresh(letters: str) -> str:
    return next(c for c in LETTERS if c not in letters)


def _substitution(spec: Spec, word: str, lead: int) -> float:
    """Arithmetic of the solve whose right-hand side has these dimensions [flop], the factorisation left out."""
    return 2.0 * spec.sizes[word[lead]] * _count(spec, word)


def _count(spec: Spec, word: str) -> int:
    total = 1
    for c in word:
        total *= spec.sizes[c]
    return total


@_cache
def into_solve(text: str, position: int, lead: int, free: bool) -> Moved | None:
    """A product with a solution is a solution: ``(A^-1 B) Y = A^-1 (B Y)``, where that is no dearer.

    Args:
        text: product whose operand ``position`` is the solution.
        position: 0 or 1.
        lead: batch dimensions of the system.
        free: whether the product with the right-hand side costs nothing, as with an identity matrix.

    Returns:
        Spec of the product of right-hand side and other operand, in this order, and what is done with the solution.
    """
    spec = Spec.parse(text)
    word, other = spec.inputs[position], spec.inputs[1 - position]
    batch, row, columns = word[:lead], word[lead], word[lead + 1 :]
    inner = _fresh(word + other) if row in other else row
    kept = [c for c in dict.fromkeys(columns + other) if c not in batch and (c in spec.output or c == row)]
    kept = [c for c in kept if c != row or row in other]
    sizes = {**spec.sizes, inner: spec.sizes[row]}
    before = canonical([batch + inner + columns, other], batch + inner + "".join(kept), sizes)
    solved = batch + row + "".join(kept)
    after = canonical([solved], spec.output, spec.sizes)
    old = _substitution(spec, word, lead) + spec.flops
    new = _substitution(spec, solved, lead) + (0.0 if free else Spec.parse(before).flops)
    if Spec.parse(after).summed:
        new += _count(spec, solved)
    return Moved(before, after) if new <= old else None


@_cache
def around_solve(text: str, position: int, lead: int, free: bool) -> tuple[str, str] | None:
    """``Y (A^-1 B) = (A^-T Y^T)^T B``, where that is no dearer: the other operand becomes the right-hand side.

    Returns:
        How the other operand becomes a right-hand side, and the product of its solution with ``B``, in this order.
    """
    spec = Spec.parse(text)
    word, other = spec.inputs[position], spec.inputs[1 - position]
    batch, row = word[:lead], word[lead]
    if row not in other or row in spec.output:
        return None
    columns = "".join(c for c in other if c not in batch and c != row)
    turned = batch + row + columns
    product = canonical([turned, word], spec.output, spec.sizes)
    old = _substitution(spec, word, lead) + spec.flops
    new = _substitution(spec, turned, lead) + (0.0 if free else Spec.parse(product).flops)
    return (canonical([other], turned, spec.sizes), product) if new <= old else None


@_cache
def sum_into_solve(text: str, lead: int) -> Moved | None:
    """A sum or diagonal over columns of a solution is that of the right-hand side, where columns become fewer."""
    spec = Spec.parse(text)
    (word,) = spec.inputs
    batch, row, columns = word[:lead], word[lead], word[lead + 1 :]
    if len(set(batch + row)) <= lead:
        return None
    kept = "".join(c for c in dict.fromkeys(columns) if (c in spec.output or c == row) and c not in batch)
    if kept == columns:
        return None
    inner = _fresh(word + spec.output) if row in columns else row
    sizes = {**spec.sizes, inner: spec.sizes[row]}
    before = canonical([batch + inner + columns], batch + inner + kept, sizes)
    return Moved(before, canonical([batch + row + kept], spec.output, spec.sizes, spec.scale))


@_cache
def copy_out_of_solve(text: str, lead: int) -> Moved | None:
    """A multiple, transpose or broadcast of columns is done after the solve."""
    spec = Spec.parse(text)
    (source,) = spec.inputs
    word = spec.output
    batch, row, columns = word[:lead], word[lead], word[lead + 1 :]
    if len(set(batch + row)) <= lead or set(columns) & set(batch + row) or not spec.is_copy:
        return None
    kept = "".join(c for c in dict.fromkeys(source) if c not in batch + row)
    after = canonical([batch + row + kept], word, spec.sizes, spec.scale)
    if Spec.parse(after).is_identity:
        return None
    return Moved(canonical([source], batch + row + kept, spec.sizes), after)


@_cache
def out_of_solve(text: str, position: int, lead: int) -> str | None:
    """``A^-1 (B Y) = (A^-1 B) Y`` for a solution ``A^-1 B`` that is there already: spec of its product with ``Y``.

    Args:
        text: product whose operand ``position`` is ``B``.
        position: 0 or 1.
        lead: batch dimensions of the system.
    """
    spec = Spec.parse(text)
    word, other = spec.inputs[position], spec.inputs[1 - position]
    head = spec.output[: lead + 1]
    if word[: lead + 1] != head or head[lead:] in other:
        return None
    return canonical([word, other], spec.output, spec.sizes)


@_cache
def fewer_columns(text: str, position: int, lead: int) -> tuple[str, str] | None:
    """``A^-1 (B Y) = (A^-1 B) Y`` where that is cheaper, as with outer products.

    Args:
        text: product that is solved with; operand ``position`` is ``B``.
        position: 0 or 1.
        lead: batch dimensions of the system.

    Returns:
        How ``B`` becomes a right-hand side, and the product of its solution with ``Y``, in this order.
    """
    spec = Spec.parse(text)
    word, other = spec.inputs[position], spec.inputs[1 - position]
    head = spec.output[: lead + 1]
    if len(set(word)) < len(word) or not set(head) <= set(word) or head[lead] in other:
        return None
    turned = head + "".join(c for c in word if c not in head)
    product = canonical([turned, other], spec.output, spec.sizes)
    old = _substitution(spec, spec.output, lead) + spec.flops
    if _substitution(spec, turned, lead) + Spec.parse(product).flops >= old:
        return None
    return canonical([word], turned, spec.sizes), product


@_cache
def of_moved_matrix(text: str, matrix: str, transposed: bool, right: tuple[int, ...]) -> System | None:
    """A solve with a transposed, scaled or broadcast matrix, as one with the matrix before that.

    Args:
        text: einsum that makes the matrix.
        matrix: kind of the matrix.
        transposed: whether its transpose is solved with.
        right: shape of the right-hand side.
    """
    spec = Spec.parse(text)
    (source,) = spec.inputs
    word, lead = spec.output, len(spec.output) - 2
    batch, i, j = word[:lead], word[lead], word[lead + 1]
    distinct = len(set(source)) == len(source) and len(set(word)) == len(word)
    if not distinct or not spec.is_copy or not {i, j} <= set(source) or len(right) <= lead:
        return None
    if spec.scale != 1 and (matrix.startswith("unit") or abs(spec.scale) < 1e-30 or abs(spec.scale) > 1e30):
        return None
    held = "".join(c for c in batch if c in source)
    turned = source.index(j) < source.index(i)
    inner = held + (j + i if turned else i + j)
    names = "".join(c for c in LETTERS if c not in word)
    columns = names[: len(right) - lead - 1]
    sizes = {**spec.sizes, **dict(zip(columns, right[lead + 1 :], strict=True))}
    more = "".join(c for c in batch if c not in source)
    inside, outside = held + i + more + columns, batch + i + columns
    found = System(
        FLIPPED[matrix] if turned else matrix,
        transposed != turned,
        canonical([source], inner, spec.sizes),
        canonical([outside], inside, sizes),
        canonical([inside], outside, sizes, 1 if spec.scale == 1 else 1.0 / spec.scale),
    )
    plain = all(Spec.parse(s).is_identity for s in found[2:])
    return None if plain and not turned else found


@_cache
def matrix_factors(text: str, lead: int) -> tuple[bool, str, str] | None:
    """A product of two square matrices.

    Returns:
        Whether the first operand is the left factor; what makes each operand a matrix ``[batch, row, column]``.
    """
    spec = Spec.parse(text)
    batch, pair = spec.output[:lead], spec.output[lead:]
    if len(spec.summed) != 1 or len(pair) != 2 or len({spec.sizes[c] for c in pair + spec.summed}) != 1:
        return None
    k = spec.summed
    i, j = pair[0], pair[1]
    x, y = spec.inputs
    if set(x) <= set(batch + i + k) and set(y) <= set(batch + k + j) and i in x and j in y:
        return True, canonical([x], batch + i + k, spec.sizes), canonical([y], batch + k + j, spec.sizes)
    if set(x) <= set(batch + k + j) and set(y) <= set(batch + i + k) and j in x and i in y:
        return False, canonical([x], batch + k + j, spec.sizes), canonical([y], batch + i + k, spec.sizes)
    return None


@_cache
def scaled_matrix(text: str, position: int, right: tuple[int, ...]) -> tuple[bool, str, str] | None:
    """A matrix whose rows or columns are scaled.

    Args:
        text: product of the matrix and the factors.
        position: of the factors.
        right: shape of the right-hand side.

    Returns:
        Whether rows are scaled; what makes the other operand a matrix ``[batch, row, column]``; the factors over a
        right-hand side.
    """
    spec = Spec.parse(text)
    factors, matrix, word = spec.inputs[position], spec.inputs[1 - position], spec.output
    lead = len(word) - 2
    if lead < 0 or len(right) <= lead or len(set(word)) < len(word) or spec.scale != 1:
        return None
    if sorted(matrix) != sorted(word) or len(set(factors)) < len(factors):
        return None
    scaled = set(factors) - set(word[:lead])
    if len(scaled) != 1 or spec.sizes[word[lead]] != spec.sizes[word[lead + 1]]:
        return None
    (letter,) = scaled
    names = "".join(c for c in LETTERS if c not in word)[: len(right) - lead - 1]
    sizes = {**spec.sizes, **dict(zip(names, right[lead + 1 :], strict=True))}
    spread = canonical([factors], word[:lead] + letter + names, sizes)
    return letter == word[lead], canonical([matrix], word, spec.sizes), spread


@_cache
def cancels(text: str, position: int, lead: int, transposed: bool) -> str | None:
    """``A (A^-1 B) = B``: spec that makes the result of ``B``.

    Args:
        text: product whose operand ``position`` is the matrix, and the other one the solution.
        position: 0 or 1.
        lead: batch dimensions.
        transposed: whether the transpose of the matrix is meant.
    """
    spec = Spec.parse(text)
    matrix, word = spec.inputs[position], spec.inputs[1 - position]
    if len(matrix) != lead + 2 or len(word) <= lead:
        return None
    row, column = matrix[lead], matrix[lead + 1]
    if transposed:
        row, column = column, row
    if matrix[:lead] != word[:lead] or word[lead] != column or row in word or column in spec.output:
        return None
    return canonical([word[:lead] + row + word[lead + 1 :]], spec.output, spec.sizes)


@_cache
def own_product(text: str, position: int, lead: int, transposed: bool) -> str | None:
    """``A^-1 (A B) = B``: spec that makes the solution of ``B``; arguments as those of ``cancels``."""
    spec = Spec.parse(text)
    matrix, word, out = spec.inputs[position], spec.inputs[1 - position], spec.output
    if len(matrix) != lead + 2 or len(out) <= lead:
        return None
    row, column = matrix[lead], matrix[lead + 1]
    if transposed:
        row, column = column, row
    if out[: lead + 1] != matrix[:lead] + row or column in out or column not in word or row in word:
        return None
    return canonical([word], matrix[:lead] + column + out[lead + 1 :], spec.sizes)


@_cache
def product_with(matrix: tuple[int, ...], right: tuple[int, ...], transposed: bool) -> str | None:
    """Spec of the product of matrices, or their transposes, with right-hand sides: ``[batch, n, ...]``."""
    lead = len(matrix) - 2
    if len(right) <= lead:
        return None
    names = LETTERS[: len(right) + 1]
    batch, row, column, columns = names[:lead], names[lead], names[lead + 1], names[lead + 2 :]
    sizes = dict(zip(batch + column + columns, right, strict=True)) | {row: matrix[-1]}
    word = batch + (column + row if transposed else row + column)
    return canonical([word, batch + column + columns], batch + row + columns, sizes)


@_cache
def diagonal(text: str, right: tuple[int, ...]) -> tuple[str, float | int] | None:
    """Solve with a diagonal matrix that an einsum writes: the diagonal over a right-hand side, and the factor."""
    spec = Spec.parse(text)
    (source,) = spec.inputs
    word = spec.output
    if len(word) < 2 or word[-1] != word[-2] or len(set(word)) != len(word) - 1 or not set(source) <= set(word):
        return None
    lead = len(word) - 2
    if len(right) <= lead:
        return None
    names = "".join(c for c in LETTERS if c not in word)[: len(right) - lead - 1]
    sizes = {**spec.sizes, **dict(zip(names, right[lead + 1 :], strict=True))}
    return canonical([source], word[:-1] + names, sizes), spec.scale
