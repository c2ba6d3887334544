# SPDX-License-Identifier: Apache-2.0
"""Products as matrix products: how operands and result are turned and flattened so that a routine can take them."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from egraph_opt.ir.graph import Node
from egraph_opt.ir.reshapes import Shape, parse_shape, shape_text
from egraph_opt.ir.slices import Range, slice_text
from egraph_opt.ir.spec import Spec, canonical

LEAST_ROWS = 32
"""A product of a tensor with itself of fewer rows has no blocks."""

LEAST_DEPTH = 2
"""With fewer columns memory decides, not arithmetic; small matrices are left to the price of the routine."""


class Form(NamedTuple):
    """``out(reshape(op(turn(m), flat(into(y))), unflat))``.

    Args:
        turn: spec that brings the matrix into the order rows, columns; an identity if it stands so.
        turned: whether that is a transpose.
        into: spec that brings the other operand into the order batch, contracted, rest.
        flat: shape in which the rest is one dimension.
        unflat: shape of the result with the rest as it was.
        out: spec that orders the result.
    """

    turn: str
    turned: bool
    into: str
    flat: str
    unflat: str
    out: str


@functools.cache
def matrix_form(text: str, position: int) -> Form | None:
    """A product whose operand ``position`` is a matrix in its last two dimensions, batches in front, as a product."""
    spec = Spec.parse(text)
    word, other = spec.inputs[position], spec.inputs[1 - position]
    if len(word) < 2:
        return None
    batch, (p, k) = word[:-2], (word[-2], word[-1])
    turned = p in other
    if turned:
        p, k = k, p
    plain = p in spec.output and p not in other and k in other and k not in spec.output
    if not plain or not set(batch) <= set(other) & set(spec.output):
        return None
    rest = "".join(c for c in other if c not in batch and c != k)
    if not set(rest) <= set(spec.output):
        return None
    sizes = spec.sizes
    flat = (*(sizes[c] for c in batch), sizes[k], math.prod(sizes[c] for c in rest))
    unflat = tuple(sizes[c] for c in (*batch, p, *rest))
    return Form(
        canonical([word], batch + p + k, sizes),
        turned,
        canonical([other], batch + k + rest, sizes),
        shape_text(flat),
        shape_text(unflat),
        canonical([batch + p + rest], spec.output, sizes),
    )


def triangular_form(text: str, position: int, lower: bool) -> tuple[Form, str] | None:
    """The form of a product with a triangular matrix, where a block recursion pays, and the routine's attributes."""
    form = matrix_form(text, position)
    if form is None:
        return None
    rows, columns = Spec.parse(text).shapes[position][-2:]
    if rows != columns or int(form.flat.rpartition(",")[2]) < LEAST_DEPTH:
        return None
    return form, f"lower={lower != form.turned}"


def banded_form(text: str, position: int, band: str) -> tuple[Form, str] | None:
    """The form of a product with a banded matrix, where its diagonals are few, and the routine's attributes."""
    form = matrix_form(text, position)
    if form is None:
        return None
    low, high = map(int, band.split(","))
    if form.turned:
        low, high = high, low
    *_, n, _ = (int(d) for d in form.flat.split(","))
    if low < 0 or high < 0 or 2 * (low + high + 1) > n:
        return None
    return form, f"lower={low}, upper={high}"


def first_column(shape: Shape, turned: bool) -> tuple[str, str]:
    """Slice of a matrix, and shape of it, that is its first column, or its first row."""
    axis = len(shape) - (2 if turned else 1)
    ranges = [Range(0, 1) if d == axis else Range(0, n) for d, n in enumerate(shape)]
    return slice_text(ranges), shape_text(shape[:-1])


def circulant_form(text: str, position: int) -> tuple[Form, str, str] | None:
    """The form of a product with a circulant matrix, and how its first column is read."""
    form = matrix_form(text, position)
    shape = Spec.parse(text).shapes[position]
    if form is None or shape[-1] != shape[-2] or 0 in shape:
        return None
    return form, *first_column(shape, form.turned)


def circulant_system(matrix: Shape, right: Shape, transposed: bool) -> tuple[str, str, str] | None:
    """How the first column of a circulant matrix is read and right-hand sides made columns, for a solve with it."""
    lead = matrix[:-1]
    if len(matrix) < 2 or 0 in matrix or right[: len(lead)] != lead:
        return None
    return *first_column(matrix, transposed), shape_text((*lead, math.prod(right[len(lead) :])))


@functools.cache
def gram_form(text: str) -> tuple[str, str, str] | None:
    """A product of a tensor with itself as ``x x'``: spec and shape that make the matrix, spec that orders the result.

    ``None`` where it is something else, or too small for a block recursion to pay.
    """
    spec = Spec.parse(text)
    one, other = spec.inputs
    batch = "".join(c for c, d in zip(one, other, strict=True) if c == d and c in spec.output)
    summed = "".join(c for c, d in zip(one, other, strict=True) if c == d and c not in spec.output)
    free = [(c, d) for c, d in zip(one, other, strict=True) if c != d]
    if len(free) != 1 or not summed:
        return None
    ((p, q),) = free
    sizes = spec.sizes
    rows, depth = sizes[p], math.prod(sizes[c] for c in summed)
    if {p, q} & (set(batch) | set(summed)) or p not in spec.output or q not in spec.output:
        return None
    if set(spec.output) != {*batch, p, q} or depth < LEAST_DEPTH:
        return None
    shape = (*(sizes[c] for c in batch), rows, depth)
    return (
        canonical([one], batch + p + summed, sizes),
        shape_text(shape),
        canonical([batch + p + q], spec.output, sizes),
    )


def pays_alone(node: Node) -> bool:
    """Whether a program of this node alone is worth a search: a large product of a tensor with itself."""
    if node.op != "einsum" or len(node.operands) != 2 or node.operands[0] != node.operands[1]:
        return False
    found = gram_form(node.attr("spec"))
    return found is not None and parse_shape(found[1])[-2] >= LEAST_ROWS
