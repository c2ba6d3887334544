# SPDX-License-Identifier: Apache-2.0
"""Diagonal masks: ``eq(iota + k, iota)`` and what is selected or converted with them.

``where(eye, x, 0)`` reads and writes a diagonal, bit for bit: outside the mask stands +0.0 whatever ``x`` holds there.
A diagonal beside the main one, or of a rectangle, is the main diagonal of a slice, padded back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from egraph_opt.capture.fold import Value
from egraph_opt.capture.scope import Scope
from egraph_opt.capture.slicing import emit, sliced
from egraph_opt.ir import TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, Spec, canonical
from egraph_opt.ir.types import is_integer, is_numeric


@dataclass(frozen=True)
class Mask:
    """A bool tensor that marks one diagonal, repeated over all dimensions but two.

    Args:
        dims: the two dimensions.
        starts: where the diagonal starts in each.
        length: how long it is, up to the edge.
        positive: whether the marked places are True, all others False; or the other way round.
    """

    dims: tuple[int, int]
    starts: tuple[int, int]
    length: int
    positive: bool


def diagonal_mask(scope: Scope, x: int) -> Mask | None:
    """What a node marks, if it is a diagonal mask that depends on no input."""
    node = scope.emitter.nodes[x]
    if node.type.dtype != "bool" or node.type.rank < 2 or not scope.folder.is_free(x):
        return None
    if node.op == "einsum":
        return _repeated(scope, x)
    if node.op == "not":
        inner = diagonal_mask(scope, node.operands[0])
        return None if inner is None else replace(inner, positive=not inner.positive)
    if node.op in ("eq", "ne"):
        found = _compared_iotas(scope, x)
        if found is not None:
            return found
    value = scope.folder.value(x) if node.type.rank == 2 else None
    return None if value is None else _marked(value)


def _marked(value: Value) -> Mask | None:
    """The diagonal that a two-dimensional mask marks."""
    positive = 2 * int(np.count_nonzero(value)) <= value.size
    rows, columns = np.nonzero(value if positive else ~value)
    if len(rows) < 2:
        return None
    i, j = int(rows[0]), int(columns[0])
    length = min(value.shape[0] - i, value.shape[1] - j)
    along = np.arange(length)
    whole = min(i, j) == 0 and len(rows) == length
    if not whole or (rows != i + along).any() or (columns != j + along).any():
        return None
    return Mask((0, 1), (i, j), length, positive)


def _repeated(scope: Scope, x: int) -> Mask | None:
    """A mask that is broadcast or permuted."""
    node = scope.emitter.nodes[x]
    spec = Spec.parse(node.attr("spec"))
    if len(node.operands) != 1 or not spec.is_copy or len(set(spec.output)) != len(spec.output):
        return None
    word = spec.inputs[0]
    inner = diagonal_mask(scope, node.operands[0]) if len(set(word)) == len(word) else None
    if inner is None:
        return None
    first, second = (spec.output.index(word[d]) for d in inner.dims)
    return replace(inner, dims=(first, second))


def _compared_iotas(scope: Scope, x: int) -> Mask | None:
    """A comparison of an ``iota`` along each of two dimensions, whatever their sizes."""
    node = scope.emitter.nodes[x]
    dims = []
    for operand in node.operands:
        copy = scope.emitter.nodes[operand]
        if copy.op != "einsum" or len(copy.operands) != 1:
            return None
        spec = Spec.parse(copy.attr("spec"))
        plain = len(spec.inputs[0]) == 1 and len(set(spec.output)) == len(spec.output) and spec.is_copy
        if not plain or spec.scale != 1 or scope.emitter.nodes[copy.operands[0]].op != "iota":
            return None
        dims.append(spec.output.index(spec.inputs[0]))
    i, j = dims
    length = min(node.type.shape[i], node.type.shape[j])
    return None if i == j else Mask((i, j), (0, 0), length, node.op == "eq")


def selected_diagonal(scope: Scope, operands: list[int]) -> int | None:
    """``select_n(mask, a, b)`` with a diagonal mask and zero off the diagonal, as an einsum."""
    mask = diagonal_mask(scope, operands[0])
    if mask is None:
        return None
    off, on = (operands[1], operands[2]) if mask.positive else (operands[2], operands[1])
    shape, type = scope.type(operands[0]).shape, scope.type(on)
    if not _is_positive_zero(scope, off) or not is_numeric(type.dtype) or type.shape not in ((), shape):
        return None

    def write(word: str, small: tuple[int, ...]) -> int | None:
        part = on
        if type.shape and small != shape:
            start = _starts(mask, len(shape))
            cut = sliced(scope, on, shape, start, [a + n for a, n in zip(start, small, strict=True)])
            if cut is None or scope.type(cut).shape != small:
                return None
            part = cut
        spec = canonical([word if type.shape else ""], word, dict(zip(word, small, strict=True)))
        return scope.emitter.einsum(spec, [part], scope.sources)

    return _written(scope, mask, shape, type.dtype, write)


def selects_truth(scope: Scope, operands: list[int]) -> bool:
    """``select_n(mask, False, True)``, which is the mask: ``jnp.tril(jnp.ones(..., bool))`` ends so."""
    if len(operands) != 3 or scope.type(operands[0]).dtype != "bool":
        return False
    if scope.type(operands[0]).shape != scope.type(operands[1]).shape:
        return False
    scalars = [scope.emitter.uniform_scalar(x) for x in operands[1:]]
    return [None if x is None else scope.emitter.scalar_value(x) for x in scalars] == [False, True] and all(
        scope.type(x).dtype == "bool" for x in operands[1:]
    )


def written_diagonal(scope: Scope, x: int, dtype: str) -> int | None:
    """A diagonal mask converted to numbers: one written on a diagonal, maybe repeated over further dimensions.

    Products with it become renamings of indices, which do not spread infinities and NaN as a product with zeros does:
    for floats not ``EXACT``.
    """
    if not is_numeric(dtype) or not (is_integer(dtype) or scope.shared.numerics > Numerics.EXACT):
        return None
    mask = diagonal_mask(scope, x)
    if mask is None or not mask.positive:
        return None

    def write(word: str, small: tuple[int, ...]) -> int | None:
        spec = canonical([""], word, dict(zip(word, small, strict=True)))
        return scope.emitter.einsum(spec, [scope.emitter.constant(1, dtype)], scope.sources)

    return _written(scope, mask, scope.type(x).shape, dtype, write)


def _written(
    scope: Scope, mask: Mask, shape: tuple[int, ...], dtype: str, write: Callable[[str, tuple[int, ...]], int | None]
) -> int | None:
    """What ``write`` makes of the square around the diagonal, padded with zeros to the whole."""
    if len(shape) > len(LETTERS) or mask.length < 2:
        return None
    letters = list(LETTERS[: len(shape)])
    letters[mask.dims[1]] = letters[mask.dims[0]]
    small = tuple(mask.length if d in mask.dims else n for d, n in enumerate(shape))
    part = write("".join(letters), small)
    if part is None or small == shape:
        return part
    config = tuple(
        (low, whole - low - n, 0) for low, n, whole in zip(_starts(mask, len(shape)), small, shape, strict=True)
    )
    zero = scope.emitter.constant(0, dtype)
    return emit(scope, "pad", [part, zero], {"padding_config": config}, TensorType(shape, dtype).shape, dtype)


def _starts(mask: Mask, rank: int) -> list[int]:
    place = dict(zip(mask.dims, mask.starts, strict=True))
    return [place.get(d, 0) for d in range(rank)]


def _is_positive_zero(scope: Scope, x: int) -> bool:
    scalar = scope.emitter.uniform_scalar(x)
    value = None if scalar is None else scope.emitter.scalar_value(scalar)
    if value is None or value != 0:
        return False
    return not isinstance(value, float) or math.copysign(1.0, value) > 0
