# SPDX-License-Identifier: Apache-2.0
"""Products of matrices with structure, at the price that the structure allows.

Triangular products and Gram matrices are block recursions down to blocks that still keep the machine busy; banded
products are shifted multiply-adds, circulant ones Fourier transforms, products with one-hot rows sums by index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.checks import check_count, check_kind, check_same_dtype, shape_error
from egraph_opt.ops.layout import f32, i32
from egraph_opt.ops.op import Example, Op, Trait, define

Types = Sequence[TensorType]
SOURCE = "Golub and Van Loan, Matrix Computations, 2013, chapters 1 and 4"
EXPENSIVE = frozenset({Trait.EXPENSIVE})


def recursion_levels(n: int) -> int:
    """Depth of a block recursion: at most four levels, blocks of at least 16."""
    return min(4, max(0, int(math.log2(max(n, 1) / 16))))


def triangular_product(t: Any, x: Any, *, lower: bool, precision: Any = None) -> Any:
    """``tril(t) @ x``, or ``triu(t) @ x``, by block recursion."""

    def product(t: Any, x: Any, levels: int) -> Any:
        n = t.shape[-1]
        if levels == 0:
            return jnp.matmul(jnp.tril(t) if lower else jnp.triu(t), x, precision=precision)
        h = n // 2
        first, last = (product(t[..., s, s], x[..., s, :], levels - 1) for s in (slice(h), slice(h, n)))
        if lower:
            last = last + jnp.matmul(t[..., h:, :h], x[..., :h, :], precision=precision)
        else:
            first = first + jnp.matmul(t[..., :h, h:], x[..., h:, :], precision=precision)
        return jnp.concatenate([first, last], -2)

    return product(t, x, min(4, max(0, int(math.log2(max(t.shape[-1], 1) / 16)))))


def gram(x: Any, *, precision: Any = None) -> Any:
    """``x @ x.T`` by block recursion: what is above the diagonal is copied."""

    def product(x: Any, levels: int) -> Any:
        n = x.shape[-2]
        if levels == 0:
            return jnp.matmul(x, jnp.swapaxes(x, -1, -2), precision=precision)
        h = n // 2
        corner = jnp.matmul(x[..., h:, :], jnp.swapaxes(x[..., :h, :], -1, -2), precision=precision)
        top = jnp.concatenate([product(x[..., :h, :], levels - 1), jnp.swapaxes(corner, -1, -2)], -1)
        return jnp.concatenate([top, jnp.concatenate([corner, product(x[..., h:, :], levels - 1)], -1)], -2)

    return product(x, min(4, max(0, int(math.log2(max(x.shape[-2], 1) / 16)))))


def banded_product(t: Any, x: Any, *, lower: int, upper: int) -> Any:
    """``t @ x``, of which only ``lower`` diagonals below and ``upper`` above the main one are read."""
    rows = t.shape[-2]
    total = None
    for k in range(-lower, upper + 1):
        diagonal = jnp.diagonal(t, k, -2, -1)
        first, length = max(-k, 0), diagonal.shape[-1]
        part = diagonal[..., None] * x[..., max(k, 0) : max(k, 0) + length, :]
        part = jnp.pad(part, [(0, 0)] * (part.ndim - 2) + [(first, rows - first - length), (0, 0)])
        total = part if total is None else total + part
    return total


def circulant_product(c: Any, x: Any, *, inverse: bool) -> Any:
    """Product of the circulant matrix with the first column ``c``, or of its inverse, by Fourier transforms."""
    n = c.shape[-1]
    a, b = jnp.fft.rfft(c)[..., None], jnp.fft.rfft(x, axis=-2)
    return jnp.fft.irfft(b / a if inverse else a * b, n, axis=-2).astype(x.dtype)


def segment_sum(x: Any, ids: Any, *, size: int, clips: bool) -> Any:
    """Row ``i`` of the result is the sum of the rows of ``x`` whose id is ``i``; other ids are left out, or clipped."""
    numbers = lax.ScatterDimensionNumbers(tuple(range(1, x.ndim)), (0,), (0,))
    zeros = jnp.zeros((size, *x.shape[1:]), x.dtype)
    mode = lax.GatherScatterMode.CLIP if clips else lax.GatherScatterMode.FILL_OR_DROP
    return lax.scatter_add(zeros, ids[:, None], x, numbers, mode=mode)


def _product_type(name: str, types: Types, square: bool = True) -> tuple[TensorType, ...]:
    check_count(name, types, 2)
    check_same_dtype(name, types)
    t, x = types
    batch = t.shape[:-2]
    if t.rank < 2 or x.rank != t.rank or x.shape[:-2] != batch or x.shape[-2] != t.shape[-1]:
        raise shape_error(name, "[..., m, n] and [..., n, k]", types)
    if square and t.shape[-1] != t.shape[-2]:
        raise shape_error(name, "a square matrix first", types)
    return (x.with_shape((*batch, t.shape[-2], x.shape[-1])).strong(),)


def _triangular_type(types: Types, *, lower: bool) -> tuple[TensorType, ...]:
    check_kind("triangular_product", types, "fc")
    return _product_type("triangular_product", types)


def _banded_type(types: Types, *, lower: int, upper: int) -> tuple[TensorType, ...]:
    found = _product_type("banded_product", types, square=False)
    if not (0 <= lower < types[0].shape[-2] and 0 <= upper < types[0].shape[-1]):
        raise shape_error("banded_product", f"a matrix with {lower} diagonals below and {upper} above", types)
    return found


def _gram_type(types: Types) -> tuple[TensorType, ...]:
    check_count("gram", types, 1)
    check_kind("gram", types, "f")
    if types[0].rank < 2:
        raise shape_error("gram", "[..., n, k]", types)
    n = types[0].shape[-2]
    return (types[0].with_shape((*types[0].shape[:-2], n, n)).strong(),)


def _circulant_type(types: Types, *, inverse: bool) -> tuple[TensorType, ...]:
    check_count("circulant_product", types, 2)
    check_same_dtype("circulant_product", types)
    check_kind("circulant_product", types, "f")
    c, x = types
    if c.dtype not in ("float32", "float64") or c.rank < 1 or x.rank != c.rank + 1 or x.shape[:-1] != c.shape:
        raise shape_error("circulant_product", "[..., n] and [..., n, k] of float32 or float64", types)
    return (x.strong(),)


def _segment_type(types: Types, *, size: int, clips: bool) -> tuple[TensorType, ...]:
    check_count("segment_sum", types, 2)
    check_kind("segment_sum", types[1:], "iu")
    if types[0].rank < 1 or types[1].shape != types[0].shape[:1]:
        raise shape_error("segment_sum", "[n, ...] and n ids", types)
    return (types[0].with_shape((size, *types[0].shape[1:])).strong(),)


def _triangular_flops(types: Types, results: Types, *, lower: bool) -> float:
    del lower
    k, batch = types[1].shape[-1], math.prod(types[0].shape[:-2])

    def count(n: int, levels: int) -> float:
        if levels == 0:
            return 2.0 * n * n * k
        h = n // 2
        return count(h, levels - 1) + count(n - h, levels - 1) + 2.0 * h * (n - h) * k + (n - h) * k

    n = types[0].shape[-1]
    return batch * count(n, recursion_levels(n)) + 1  # without blocks it is a plain product, which is to be preferred


def _gram_flops(types: Types, results: Types) -> float:
    n, k = types[0].shape[-2:]

    def count(n: int, levels: int) -> float:
        if levels == 0:
            return 2.0 * n * n * k
        h = n // 2
        return count(h, levels - 1) + count(n - h, levels - 1) + 2.0 * h * (n - h) * k

    return math.prod(types[0].shape[:-2]) * count(n, recursion_levels(n)) + 1


def _banded_flops(types: Types, results: Types, *, lower: int, upper: int) -> float:
    return (2.0 * (lower + upper + 1) - 1) * results[0].size


def _circulant_flops(types: Types, results: Types, *, inverse: bool) -> float:
    n = types[0].shape[-1]
    transforms = (types[0].size + 2 * types[1].size) / max(n, 1)
    return 5.0 * transforms * n * math.log2(max(2, n)) + 3.0 * types[1].size


_LOWER = (("lower", True),)

define(
    Op(
        name="triangular_product",
        arity=2,
        attrs=("lower",),
        infer=_triangular_type,
        lower=triangular_product,
        flops=_triangular_flops,
        precise=True,
        traits=EXPENSIVE,
        examples=(
            Example((f32(5, 5), f32(5, 3)), _LOWER),
            Example((f32(2, 40, 40), f32(2, 40, 3)), (("lower", False),)),
        ),
        source=SOURCE,
        doc="a triangle of the first operand times the second, by blocks",
    )
)

define(
    Op(
        name="gram",
        arity=1,
        infer=_gram_type,
        lower=gram,
        flops=_gram_flops,
        precise=True,
        traits=EXPENSIVE,
        examples=(Example((f32(5, 3),)), Example((f32(2, 40, 3),))),
        source=SOURCE,
        doc="x @ x.T, half of it computed",
    )
)

define(
    Op(
        name="banded_product",
        arity=2,
        attrs=("lower", "upper"),
        infer=_banded_type,
        lower=banded_product,
        flops=_banded_flops,
        traits=EXPENSIVE,
        examples=(
            Example((f32(5, 5), f32(5, 3)), (("lower", 1), ("upper", 1))),
            Example((f32(2, 5, 4), f32(2, 4, 3)), (("lower", 2), ("upper", 0))),
        ),
        source=SOURCE,
        doc="a banded matrix times the second operand, diagonal by diagonal",
    )
)

define(
    Op(
        name="circulant_product",
        arity=2,
        attrs=("inverse",),
        infer=_circulant_type,
        lower=circulant_product,
        flops=_circulant_flops,
        traits=EXPENSIVE,
        examples=(
            Example((f32(5), f32(5, 3)), (("inverse", False),)),
            Example((f32(2, 4), f32(2, 4, 3)), (("inverse", False),)),
        ),
        source="Golub and Van Loan, Matrix Computations, 2013, section 4.8",
        doc="the circulant matrix with a first column, or its inverse, times the second operand",
    )
)

define(
    Op(
        name="segment_sum",
        arity=2,
        attrs=("size", "clips"),
        infer=_segment_type,
        lower=segment_sum,
        flops=lambda types, results, *, size, clips: float(types[0].size),
        traits=EXPENSIVE,
        examples=(
            Example((f32(5, 3), i32(5)), (("size", 4), ("clips", False))),
            Example((f32(7), i32(7)), (("size", 3), ("clips", True))),
        ),
        source="https://docs.jax.dev/en/latest/_autosummary/jax.ops.segment_sum.html",
        doc="rows added up by id",
    )
)
