# SPDX-License-Identifier: Apache-2.0
"""Matrices with an update of low rank: specs of the lemmas of Woodbury, of push-through and of the determinant.

``(P + U V)^-1 B = S - P^-1 U (I + V P^-1 U)^-1 V S`` with ``S = P^-1 B``, where ``U`` is ``[batch, n, k]``, ``V`` is
``[batch, k, n]`` and ``k`` is less than ``n``. Of an outer product ``u v'`` the inner matrix is a number.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from egraph_opt.ir.spec import LETTERS, Spec, canonical, identity


class Update(NamedTuple):
    """Specs of the lemmas.

    Args:
        u: makes ``U`` of its operand.
        v: makes ``V`` of its operand.
        inner: of ``V`` and ``P^-1 U``.
        one: writes the identity matrix beside that, of a scalar one.
        right: of ``V`` and ``P^-1 B``.
        spread: brings the inner number of a rank-one update beside ``V P^-1 B``.
        outer: of ``P^-1 U`` and the inner solution.
        minus: the negative of that.
    """

    u: str
    v: str
    inner: str
    one: str
    right: str
    spread: str
    outer: str
    minus: str


@functools.cache
def update(text: str, position: int, transposed: bool, right: tuple[int, ...] | None) -> tuple[Update, int] | None:
    """The update that a product is, if its operand ``position`` can play ``U``.

    Args:
        text: product of two operands whose result is a batch of square matrices.
        position: of the operand that becomes ``U``.
        transposed: whether the transpose of the sum is meant.
        right: shape of the right-hand side; None where there is none.

    Returns:
        The specs and the rank, 1 for an outer product.
    """
    spec = Spec.parse(text)
    if len(spec.output) < 2 or len(spec.summed) > 1:
        return None
    batch, row, column = spec.output[:-2], spec.output[-2], spec.output[-1]
    if spec.sizes[row] != spec.sizes[column]:
        return None
    if transposed:
        row, column = column, row
    x, y = spec.inputs[position], spec.inputs[1 - position]
    k = spec.summed
    fits = set(x) <= set(batch + row + k) and set(y) <= set(batch + column + k) and row in x and column in y
    rank = spec.sizes[k] if k else 1
    if not fits or rank >= spec.sizes[row] or (right is not None and len(right) <= len(batch)):
        return None
    free = [c for c in LETTERS if c not in spec.sizes]
    columns = "".join(free[: len(right) - len(batch) - 1]) if right is not None else ""
    sizes = {**spec.sizes, **dict(zip(columns, (right or ())[len(batch) + 1 :], strict=False))}
    other = free[-1] if k else ""
    if k:
        sizes[other] = sizes[k]
    shape = tuple(sizes[c] for c in batch + row + columns)
    found = Update(
        canonical([x], batch + row + k, sizes),
        canonical([y], batch + k + column, sizes),
        canonical([batch + k + column, batch + column + other], batch + k + other, sizes),
        canonical([""], batch + k + k, sizes),
        canonical([batch + k + column, batch + column + columns], batch + k + columns, sizes),
        canonical([batch], batch + columns, sizes),
        canonical([batch + row + k, batch + k + columns], batch + row + columns, sizes),
        identity(shape, -1),
    )
    return found, rank


@functools.cache
def shares(text: str, position: int, transposed: bool, product: str, place: int) -> tuple[str, str] | None:
    """Push-through: a right-hand side that is a product with ``U`` itself.

    Args:
        text: the update, as in ``update``.
        position: of ``U`` in it.
        transposed: as in ``update``.
        product: right-hand side, whose operand ``place`` is that of ``U``.
        place: 0 or 1.

    Returns:
        What makes ``X`` of the other operand, and the product of ``P^-1 U`` and the inner solution.
    """
    spec, right = Spec.parse(text), Spec.parse(product)
    if len(spec.summed) != 1 or len(right.output) < len(spec.output) - 1:
        return None
    batch, row = spec.output[:-2], spec.output[-1 if transposed else -2]
    u, k = spec.inputs[position], spec.summed
    mine, other = right.inputs[place], right.inputs[1 - place]
    if len(mine) != len(u):
        return None
    name = dict(zip(u, mine, strict=True))
    if not set(batch + row + k) <= set(name):
        return None
    lead, inner, rows = "".join(name[c] for c in batch), name[k], name[row]
    if right.output[: len(lead) + 1] != lead + rows or rows in other or inner not in other or inner in right.output:
        return None
    columns = right.output[len(lead) + 1 :]
    x = canonical([other], lead + inner + columns, right.sizes)
    return x, canonical([lead + rows + inner, lead + inner + columns], right.output, right.sizes)
