# SPDX-License-Identifier: Apache-2.0
"""Structured matrices and their products in numpy, in any precision: they read what the operations themselves read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from egraph_opt.ir import Node

Array = np.ndarray[Any, Any]


def _triangular(node: Node, t: Array, x: Array) -> Array:
    return np.asarray(np.matmul(np.tril(t) if node.attr("lower") else np.triu(t), x))


def _gram(node: Node, x: Array) -> Array:
    del node
    return np.asarray(np.matmul(x, np.swapaxes(x, -1, -2)))


def _banded(node: Node, t: Array, x: Array) -> Array:
    """Diagonal by diagonal: what lies outside of the band is not even multiplied by zero."""
    total = np.zeros(node.type.shape, x.dtype)
    for k in range(-int(node.attr("lower")), int(node.attr("upper")) + 1):
        diagonal = np.diagonal(t, k, -2, -1)
        first, length = max(-k, 0), diagonal.shape[-1]
        total[..., first : first + length, :] += diagonal[..., None] * x[..., max(k, 0) : max(k, 0) + length, :]
    return total


def _band_part(node: Node, x: Array) -> Array:
    above = np.arange(x.shape[-1]) - np.arange(x.shape[-2])[:, None]
    kept = (above >= -int(node.attr("lower"))) & (above <= int(node.attr("upper")))
    return np.where(kept, x, np.zeros_like(x))


def _circulant(node: Node, c: Array, x: Array) -> Array:
    """By Fourier transforms, like the operation: what rounding does to it is part of the rule."""
    a, b = np.fft.rfft(c)[..., None], np.fft.rfft(x, axis=-2)
    return np.fft.irfft(b / a if node.attr("inverse") else a * b, c.shape[-1], axis=-2)


def _segment_sum(node: Node, x: Array, ids: Array) -> Array:
    size = int(node.attr("size"))
    total = np.zeros((size, *x.shape[1:]), x.dtype)
    places = ids.astype(object)
    held = np.full(ids.shape, bool(node.attr("clips"))) | ((places >= 0) & (places < size)).astype(bool)
    clipped = np.clip(places, 0, max(size - 1, 0)).astype(np.int64)
    np.add.at(total, clipped[held], x[held])
    return total


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "triangular_product": _triangular,
    "gram": _gram,
    "band_part": _band_part,
    "banded_product": _banded,
    "circulant_product": _circulant,
    "segment_sum": _segment_sum,
}
"""``function(node, *values)`` of each operation."""
