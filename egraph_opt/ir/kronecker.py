# SPDX-License-Identifier: Apache-2.0
"""Systems with products of Kronecker: ``(A (x) B)^-1 b`` is solved by one factor after the other.

The matrix is a reshaped outer product: its rows are two merged dimensions, and so are its columns; a factor that is an
identity matrix stands there as a dimension that is written twice.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from egraph_opt.ir.reshapes import Shape, shape_text
from egraph_opt.ir.spec import LETTERS, Spec, canonical


class Factor(NamedTuple):
    """One factor of a product of Kronecker: its row and column, and the spec that makes it a matrix of an operand."""

    row: str
    column: str
    spec: str


class Kron(NamedTuple):
    """A product of Kronecker.

    Args:
        batch: letters of the batch.
        rows: both letters of which the rows are merged.
        columns: those of the columns; one of a factor that is an identity matrix is that of the row.
        factors: of each operand of the einsum.
        sizes: of all letters.
    """

    batch: str
    rows: str
    columns: str
    factors: tuple[Factor, ...]
    sizes: dict[str, int]


@functools.cache
def kron(text: str, matrix: Shape) -> Kron | None:
    """The product of Kronecker that an einsum makes which is reshaped to matrices of a shape; None if it is none."""
    spec = Spec.parse(text)
    lead = len(matrix) - 2
    word = spec.output
    if lead < 0 or len(word) != lead + 4 or spec.summed or matrix[-1] != matrix[-2]:
        return None
    batch, rows, columns = word[:lead], word[lead : lead + 2], word[lead + 2 :]
    distinct = len(set(batch + rows)) == lead + 2 and len(set(columns)) == 2 and not set(batch) & set(columns)
    pairs = list(zip(rows, columns, strict=True))
    if not distinct or any(spec.sizes[p] != spec.sizes[q] for p, q in pairs) or 0 in spec.sizes.values():
        return None
    if tuple(spec.sizes[c] for c in batch) != matrix[:-2] or spec.sizes[rows[0]] * spec.sizes[rows[1]] != matrix[-1]:
        return None
    factors = []
    for operand in spec.inputs:
        mine = [(p, q) for p, q in pairs if p in operand and q in operand and p != q]
        if len(mine) != 1 or not set(operand) <= set(batch) | set(mine[0]) or len(set(operand)) < len(operand):
            return None
        (p, q) = mine[0]
        factors.append(Factor(p, q, canonical([operand], batch + p + q, spec.sizes, spec.scale)))
        pairs.remove((p, q))
    return Kron(batch, rows, columns, tuple(factors), dict(spec.sizes)) if all(p == q for p, q in pairs) else None


@functools.cache
def kron_system(text: str, matrix: Shape, right: Shape) -> tuple[str, tuple[str, ...]] | None:
    """How a system with a product of Kronecker is solved by factors.

    Args:
        text: einsum of the product.
        matrix: shape to which it is reshaped.
        right: of the right-hand side.

    Returns:
        Shape of the right-hand side with rows of both factors, and the specs before, between and after the solves.
    """
    found = kron(text, matrix)
    if found is None or len(right) < len(matrix) - 1:
        return None
    free = [c for c in LETTERS if c not in found.sizes]
    tail = "".join(free[: len(right) - len(matrix) + 1])
    if len(tail) < len(right) - len(matrix) + 1:
        return None
    sizes = {**found.sizes, **dict(zip(tail, right[len(matrix) - 1 :], strict=True))}
    state = found.rows
    held, steps = found.batch + state + tail, []
    for factor in found.factors:
        state = factor.row + state.replace(factor.row, "")
        steps.append(canonical([held], found.batch + state + tail, sizes))
        held = found.batch + state + tail
    steps.append(canonical([held], found.batch + found.rows + tail, sizes))
    shape = (*matrix[:-2], *(sizes[c] for c in found.rows), *right[len(matrix) - 1 :])
    return shape_text(shape), tuple(steps)


@functools.cache
def kron_inverse(text: str, matrix: Shape) -> tuple[str, tuple[str, ...]] | None:
    """Spec that makes the inverse of those of the factors, and specs over one of identity matrices beside them."""
    found = kron(text, matrix)
    if found is None:
        return None
    output = found.batch + found.rows + found.columns
    product = canonical([found.batch + f.row + f.column for f in found.factors], output, found.sizes)
    ones = [canonical([""], found.batch + f.row + f.row, found.sizes) for f in found.factors]
    return product, tuple(ones)


@functools.cache
def kron_powers(text: str, matrix: Shape) -> tuple[int, ...] | None:
    """How often the determinant of each factor is a factor of the determinant."""
    found = kron(text, matrix)
    return None if found is None else tuple(matrix[-1] // found.sizes[f.row] for f in found.factors)
