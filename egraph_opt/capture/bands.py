# SPDX-License-Identifier: Apache-2.0
"""Masks that are known: where zero stands away from some diagonals, rules know of these zeros.

The masks of ``tril``, ``triu`` and bands depend on no input: what they select is a band of the matrix, and a triangle
converted to numbers is that of a matrix of ones. Where more is selected away than a band leaves, the bandwidths are
stated of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egraph_opt.capture.fold import Value
from egraph_opt.capture.scope import Scope
from egraph_opt.ir.types import is_numeric
from egraph_opt.ops.declared import ASSUME


def with_band(scope: Scope, selected: int, operands: Sequence[int]) -> int:
    """A selection, as a band of what is selected, or with the bandwidths that its mask gives stated of it.

    Args:
        scope: where it stands.
        selected: the node of the selection.
        operands: mask, what is taken where it is False, what is taken where it is True.
    """
    type_ = scope.type(selected)
    if type_.rank < 2 or len(operands) != 3 or scope.type(operands[0]).shape != type_.shape:
        return selected
    zero = [_is_zero(scope, x) for x in operands[1:]]
    if not any(zero) or not scope.folder.is_free(operands[0]):
        return selected
    mask = scope.folder.value(operands[0])
    if mask is None:
        return selected
    kept = mask if zero[0] else ~mask
    low, high = bandwidths(np.asarray(kept.any(axis=tuple(range(mask.ndim - 2)))))
    if low >= type_.shape[-2] - 1 and high >= type_.shape[-1] - 1:
        return selected
    node = scope.emitter.nodes[selected]
    if node.op == "select_n" and bool((kept == _band(mask.shape, low, high)).all()):
        taken = node.operands[2 if zero[0] else 1]
        if type_.rank == 2 and not scope.type(taken).shape and scope.emitter.scalar_value(taken) == 1:
            taken = scope.emitter.broadcast(taken, "", type_.shape, scope.sources)  # rules know triangles of ones
        if scope.type(taken) == type_:
            return scope.add("band_part", [taken], [("lower", low), ("upper", high)], type_)
    return scope.add(ASSUME, [selected], [("facts", (f"banded:{low},{high}",))], type_)


def written_triangle(scope: Scope, x: int, dtype: str) -> int | None:
    """A mask of a triangle, converted to numbers: the triangle of a matrix of ones."""
    type_ = scope.type(x)
    if type_.dtype != "bool" or type_.rank != 2 or not is_numeric(dtype) or not scope.folder.is_free(x):
        return None
    mask = scope.folder.value(x)
    if mask is None:
        return None
    low, high = bandwidths(np.asarray(mask))
    triangle = (low >= type_.shape[0] - 1) != (high >= type_.shape[1] - 1)
    if not triangle or not bool((mask == _band(mask.shape, low, high)).all()):
        return None
    ones = scope.emitter.broadcast(scope.emitter.constant(1, dtype), "", type_.shape, scope.sources)
    return scope.add("band_part", [ones], [("lower", low), ("upper", high)], scope.type(ones))


def _band(shape: Sequence[int], low: int, high: int) -> Value:
    """The mask of a band."""
    above = np.arange(shape[-1]) - np.arange(shape[-2])[:, None]
    return (above >= -low) & (above <= high)


def bandwidths(places: Value) -> tuple[int, int]:
    """How far below and above the main diagonal a matrix of truths has any; below zero if the diagonal has none."""
    rows = np.flatnonzero(places.any(1))
    if not len(rows):
        return -places.shape[0], -places.shape[1]
    first = places[rows].argmax(1)
    last = places.shape[1] - 1 - places[rows][:, ::-1].argmax(1)
    return int((rows - first).max()), int((last - rows).max())


def is_circulant(indices: Value) -> bool:
    """Whether indices ``[n, n, 1]`` name the elements of a vector so that they make a circulant matrix."""
    if indices.ndim != 3 or indices.shape[2] != 1 or indices.shape[0] != indices.shape[1] or len(indices) < 2:
        return False
    matrix, n = indices[..., 0], len(indices)
    if matrix.min() < 0 or matrix.max() >= n:
        return False
    return bool((matrix[1:, 1:] == matrix[:-1, :-1]).all() and (matrix[1:, 0] == matrix[:-1, -1]).all())


def stated_circulant(scope: Scope, x: int) -> int:
    """A matrix of which it is stated that it is circulant."""
    return scope.add(ASSUME, [x], [("facts", ("circulant",))], scope.type(x))


def _is_zero(scope: Scope, x: int) -> bool:
    scalar = scope.emitter.uniform_scalar(x)
    return scalar is not None and scope.emitter.scalar_value(scalar) == 0
