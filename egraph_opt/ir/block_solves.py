# SPDX-License-Identifier: Apache-2.0
"""Systems whose matrix is made of two rows of blocks: where its blocks and those of right-hand sides lie.

[ P Q ]     P of n1 rows and columns, S of n2; all others follow.
[ R S ]
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from egraph_opt.ir.reshapes import Shape
from egraph_opt.ir.slices import Range, slice_text
from egraph_opt.ir.spec import LETTERS, canonical, identity

Config = Sequence[tuple[int, int, int]]


class Blocks(NamedTuple):
    """Slices and specs of a system of two rows of blocks.

    Args:
        top_left: P, a slice of the upper row; the others in the same way.
        top_right: Q.
        low_left: R, of the lower row.
        low_right: S.
    """

    top_left: str
    top_right: str
    low_left: str
    low_right: str


class Sides(NamedTuple):
    """The right-hand side of such a system.

    Args:
        first: slice of it that belongs to P.
        second: that belongs to S.
        up: product of Q with the second part of a solution.
        down: of R with the first part.
        up_turned: of Q' with the first part.
        down_turned: of R' with the second part.
        minus_first: negates the first part.
        minus_second: negates the second part.
    """

    first: str
    second: str
    up: str
    down: str
    up_turned: str
    down_turned: str
    minus_first: str
    minus_second: str


def _cut(shape: Shape, axis: int, start: int, limit: int) -> str:
    return slice_text([Range(start, limit) if d == axis else Range(0, n) for d, n in enumerate(shape)])


@functools.cache
def blocks(axis: int, top: Shape, low: Shape) -> Blocks | None:
    """The blocks of a matrix that is joined of two rows of them; None where it is no such matrix."""
    lead = len(top) - 2
    if lead < 0 or axis != lead or len(low) != len(top) or top[:-2] != low[:-2] or top[-1] != low[-1]:
        return None
    n, size = top[-2], top[-1]
    if n + low[-2] != size or not n or not low[-2]:
        return None
    last = lead + 1
    return Blocks(_cut(top, last, 0, n), _cut(top, last, n, size), _cut(low, last, 0, n), _cut(low, last, n, size))


@functools.cache
def sides(axis: int, top: Shape, low: Shape, right: Shape) -> Sides | None:
    """How the right-hand side of such a system is cut, and products of blocks with its parts."""
    lead = len(top) - 2
    if blocks(axis, top, low) is None or right[: lead + 1] != (*top[:-2], top[-1]):
        return None
    n, m = top[-2], low[-2]
    letters = LETTERS[: len(right) + 1]
    batch, row, column, tail = letters[:lead], letters[lead], letters[lead + 1], letters[lead + 2 :]
    held = dict(zip(batch + tail, (*right[:lead], *right[lead + 1 :]), strict=True))

    def product(rows: int, columns: int, turned: bool) -> str:
        word = batch + (column + row if turned else row + column)
        return canonical([word, batch + column + tail], batch + row + tail, {**held, row: rows, column: columns})

    def minus(rows: int) -> str:
        return identity((*right[:lead], rows, *right[lead + 1 :]), -1)

    return Sides(
        _cut(right, lead, 0, n),
        _cut(right, lead, n, n + m),
        product(n, m, False),
        product(m, n, False),
        product(m, n, True),
        product(n, m, True),
        minus(n),
        minus(m),
    )


def is_block_beside_zeros(config: Config, shape: Shape, left: bool) -> bool:
    """Whether padding puts zeros to the left, or to the right, of square matrices, and nowhere else."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return False
    *others, (low, high, inner) = config
    return not any(any(entry) for entry in others) and not inner and ((low > 0 == high) if left else (high > 0 == low))


def common_padding(axis: int, first: Config, second: Config) -> tuple[Config, Config, Config] | None:
    """Padding that two joined tensors share: what is left of that of each, and of both; None without any."""
    common: list[tuple[int, int, int]] = []
    for d, ((low, high, inner), (other_low, other_high, other_inner)) in enumerate(zip(first, second, strict=True)):
        if inner or other_inner or min(low, high, other_low, other_high) < 0:
            return None
        common.append((0, 0, 0) if d == axis else (min(low, other_low), min(high, other_high), 0))
    if not any(map(any, common)):
        return None
    rest = [
        tuple((a - c, b - d, 0) for (a, b, _), (c, d, _) in zip(config, common, strict=True))
        for config in (first, second)
    ]
    return rest[0], rest[1], tuple(common)


@functools.cache
def complement(axis: int, left: Shape, right: Shape) -> tuple[str, str] | None:
    """Spec of ``R (P^-1 Q)``, and of its negative, for P and Q side by side; None where they are not."""
    lead = len(left) - 2
    if lead < 0 or axis != lead + 1 or left[-1] != left[-2] or right[:-1] != left[:-1]:
        return None
    letters = LETTERS[: lead + 3]
    batch, row, column, inner = letters[:lead], letters[lead], letters[lead + 1], letters[lead + 2]
    n, m = right[-2:]
    sizes = {**dict(zip(batch, left[:lead], strict=True)), row: m, column: m, inner: n}
    product = canonical([batch + row + inner, batch + inner + column], batch + row + column, sizes)
    return product, identity((*left[:lead], m, m), -1)
