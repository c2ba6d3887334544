# SPDX-License-Identifier: Apache-2.0
"""Systems of linear equations, LU factors and determinants, as rules speak of them: any batch, any right-hand side.

``solve(A, B)`` has ``A[batch, n, n]`` and ``B[batch, n, ...]``: the dimensions of ``B`` after the first of the system
count columns, none for a vector. Of a triangular matrix only its triangle is read. Factors are nodes of their own, so
that what several solves, inverses and determinants share is computed once: equal factorisations are one for XLA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.checks import check_count, check_same_dtype, dtype_error, shape_error
from egraph_opt.ops.layout import f32, i32, no_flops
from egraph_opt.ops.op import Example, Flops, Op, Trait, define

Types = Sequence[TensorType]
Array = Any

DTYPES = ("float32", "float64", "complex64", "complex128")
"""Element types that LAPACK's routines know."""

GENERAL = "general"
TRIANGLES = {
    "lower": (True, False),
    "upper": (False, False),
    "unit_lower": (True, True),
    "unit_upper": (False, True),
}
"""Triangular matrices by name: whether lower, and whether ones are taken for the diagonal."""

JNP = "https://docs.jax.dev/en/latest/_autosummary/jax.numpy.linalg.{}.html"
LU = "https://docs.jax.dev/en/latest/_autosummary/jax.lax.linalg.lu.html"


def _square(op: str, types: Types, others: str = "") -> TensorType:
    """The first operand, a batch of square matrices of a type with which one can factor."""
    check_same_dtype(op, [t for t in types if t.dtype != "int32"])
    if types[0].dtype not in DTYPES:
        raise dtype_error(op, " or ".join(DTYPES), types)
    if types[0].rank < 2 or types[0].shape[-1] != types[0].shape[-2]:
        raise shape_error(op, f"square matrices{others}", types)
    return types[0].strong()


def _columns(op: str, matrix: TensorType, right: TensorType) -> TensorType:
    lead = matrix.shape[:-1]
    if right.shape[: len(lead)] != lead:
        raise shape_error(op, "square matrices and right-hand sides of as many rows", (matrix, right))
    return right.strong()


def _infer_solve(types: Types, *, matrix: str, transposed: bool) -> tuple[TensorType, ...]:
    del transposed
    check_count("solve", types, 2)
    if matrix != GENERAL and matrix not in TRIANGLES:
        raise ValueError(f"solve: want matrix {GENERAL} or {', '.join(TRIANGLES)}, got {matrix!r}")
    return (_columns("solve", _square("solve", types, " and right-hand sides"), types[1]),)


def _infer_lu_solve(types: Types, *, transposed: bool) -> tuple[TensorType, ...]:
    del transposed
    check_count("lu_solve", types, 4)
    matrix = _square("lu_solve", types, ", their factors, permutations and right-hand sides")
    if types[1].shape != matrix.shape or types[2] != TensorType(matrix.shape[:-1], "int32"):
        raise shape_error("lu_solve", "factors and permutation of the matrices", types)
    return (_columns("lu_solve", matrix, types[3]),)


def real(dtype: str) -> str:
    """Element type of absolute values."""
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def _infer_factors(types: Types) -> tuple[TensorType, ...]:
    check_count("lu_factors", types, 1)
    return (_square("lu_factors", types),)


def _infer_rows(types: Types) -> tuple[TensorType, ...]:
    check_count("lu_permutation", types, 1)
    return (TensorType(_square("lu_permutation", types).shape[:-1], "int32"),)


def _infer_log(types: Types) -> tuple[TensorType, ...]:
    check_count("log_abs_det", types, 1)
    matrix = _square("log_abs_det", types)
    return (TensorType(matrix.shape[:-2], real(matrix.dtype)),)


def _infer_sign(types: Types) -> tuple[TensorType, ...]:
    matrix = _square("sign_det", types)
    if types[1:] and types[1] != TensorType(matrix.shape[:-1], "int32"):
        raise shape_error("lu_sign_det", "factors and pivots", types)
    return (matrix.with_shape(matrix.shape[:-2]),)


def as_columns(b: Array, rank: int) -> Array:
    """Right-hand sides as matrices; ``rank`` is that of the systems."""
    return b.reshape(*b.shape[: rank - 1], math.prod(b.shape[rank - 1 :]))


def _solve(a: Array, b: Array, *, matrix: str, transposed: bool) -> Array:
    columns = as_columns(b, a.ndim)
    if matrix == GENERAL:
        x = jnp.linalg.solve(jnp.swapaxes(a, -1, -2) if transposed else a, columns)
    else:
        lower, unit = TRIANGLES[matrix]
        x = lax.linalg.triangular_solve(
            a, columns, left_side=True, lower=lower, transpose_a=transposed, unit_diagonal=unit
        )
    return x.reshape(b.shape)


def _lu_solve(a: Array, factors: Array, permutation: Array, b: Array, *, transposed: bool) -> Array:
    """The solution by given factors; its derivative is that of the solution, not that of the factors."""
    factors, permutation = lax.stop_gradient((factors, permutation))

    def triangle(b: Array, lower: bool, turned: bool) -> Array:
        return lax.linalg.triangular_solve(
            factors, b, left_side=True, lower=lower, transpose_a=turned, unit_diagonal=lower
        )

    def straight(_: Any, b: Array) -> Array:
        return triangle(triangle(_rows(b, permutation), True, False), False, False)

    def turned(_: Any, b: Array) -> Array:
        return _rows(triangle(triangle(b, False, True), True, True), jnp.argsort(permutation))

    def product(x: Array) -> Array:
        return jnp.einsum("...ji,...jk->...ik" if transposed else "...ij,...jk->...ik", a, x, precision="highest")

    solves = (turned, straight) if transposed else (straight, turned)
    x = lax.custom_linear_solve(product, as_columns(b, a.ndim), *solves)
    return x.reshape(b.shape)


def _rows(b: Array, places: Array) -> Array:
    return jnp.take_along_axis(b, places[..., None], axis=-2, mode="promise_in_bounds")


def _diagonal(factors: Array) -> Array:
    return jnp.diagonal(factors, axis1=-2, axis2=-1)


def _lu_log_abs_det(factors: Array) -> Array:
    diagonal = jnp.abs(_diagonal(factors))
    singular = jnp.any(diagonal == 0, axis=-1)
    return jnp.where(singular, -jnp.inf, jnp.sum(jnp.log(diagonal), axis=-1)).astype(diagonal.dtype)


def _lu_sign_det(factors: Array, pivots: Array) -> Array:
    swaps = jnp.count_nonzero(pivots != jnp.arange(factors.shape[-1], dtype=pivots.dtype), axis=-1)
    return jnp.prod(jnp.sign(_diagonal(factors)), axis=-1) * (1 - 2 * (swaps % 2)).astype(factors.dtype)


def _solve_flops(types: Types, results: Types, *, matrix: str, transposed: bool) -> float:
    del results, transposed
    per_column = types[0].shape[-1] * types[1].size
    return float(per_column) if matrix != GENERAL else 2.0 * per_column + _factor_flops(types, ())


def _factor_flops(types: Types, results: Types) -> float:
    del results
    *batch, n, _ = types[0].shape
    return math.prod(batch) * 2 * n**3 / 3


def _lu_solve_flops(types: Types, results: Types, *, transposed: bool) -> float:
    del results, transposed
    return 2.0 * types[0].shape[-1] * types[3].size


def _of_diagonal(times: float) -> Flops:
    def flops(types: Types, results: Types) -> float:
        del results
        return times * types[0].size / max(types[0].shape[-1], 1)

    return flops


def _example(*types: TensorType, **attrs: Any) -> Example:
    return Example(types, tuple(attrs.items()))


LOG = 10.0
"""A logarithm in additions, as costs count it."""

_FACTOR = frozenset({Trait.EXPENSIVE})
_SQUARE, _BATCH = f32(4, 4), f32(2, 3, 3)

define(
    Op(
        name="solve",
        arity=2,
        attrs=("matrix", "transposed"),
        infer=_infer_solve,
        lower=_solve,
        flops=_solve_flops,
        traits=_FACTOR,
        examples=(
            _example(_SQUARE, f32(4), matrix=GENERAL, transposed=False),
            _example(_BATCH, f32(2, 3, 5), matrix=GENERAL, transposed=True),
            _example(_SQUARE, f32(4, 2, 3), matrix="lower", transposed=False),
            _example(_BATCH, f32(2, 3), matrix="unit_upper", transposed=True),
        ),
        source=JNP.format("solve"),
        doc="square matrices, right-hand sides; of a triangular matrix the triangle alone is read",
    )
)
define(
    Op(
        name="lu_factors",
        arity=1,
        infer=_infer_factors,
        lower=lambda a: lax.linalg.lu(a)[0],
        flops=_factor_flops,
        traits=_FACTOR,
        examples=(_example(_SQUARE), _example(_BATCH)),
        source=LU,
        doc="both triangular factors in one matrix; rows are permuted",
    )
)
define(
    Op(
        name="lu_permutation",
        arity=1,
        infer=_infer_rows,
        lower=lambda a: lax.linalg.lu(a)[2],
        flops=no_flops,
        traits=frozenset({Trait.LAYOUT}),
        examples=(_example(_SQUARE), _example(_BATCH)),
        source=LU,
        doc="order of the rows in `lu_factors`; the same factorisation, counted there",
    )
)
define(
    Op(
        name="lu_pivots",
        arity=1,
        infer=_infer_rows,
        lower=lambda a: lax.linalg.lu(a)[1],
        flops=no_flops,
        traits=frozenset({Trait.LAYOUT}),
        examples=(_example(_SQUARE), _example(_BATCH)),
        source=LU,
        doc="exchanges of rows in `lu_factors`; the same factorisation, counted there",
    )
)
define(
    Op(
        name="lu_solve",
        arity=4,
        attrs=("transposed",),
        infer=_infer_lu_solve,
        lower=_lu_solve,
        flops=_lu_solve_flops,
        traits=_FACTOR,
        examples=(
            _example(_SQUARE, _SQUARE, i32(4), f32(4), transposed=False),
            _example(_BATCH, _BATCH, i32(2, 3), f32(2, 3, 5), transposed=True),
        ),
        source="https://docs.jax.dev/en/latest/_autosummary/jax.scipy.linalg.lu_solve.html",
        doc="matrices, `lu_factors` and `lu_permutation` of them, right-hand sides",
    )
)
define(
    Op(
        name="log_abs_det",
        arity=1,
        infer=_infer_log,
        lower=lambda a: jnp.linalg.slogdet(a)[1],
        flops=lambda types, results: _factor_flops(types, results) + _of_diagonal(LOG + 2)(types, results),
        traits=_FACTOR,
        examples=(_example(_SQUARE), _example(_BATCH)),
        source=JNP.format("slogdet"),
        doc="logarithm of the absolute value of the determinant",
    )
)
define(
    Op(
        name="sign_det",
        arity=1,
        infer=_infer_sign,
        lower=lambda a: jnp.linalg.slogdet(a)[0],
        flops=lambda types, results: _factor_flops(types, results) + _of_diagonal(3)(types, results),
        traits=_FACTOR,
        examples=(_example(_SQUARE), _example(_BATCH)),
        source=JNP.format("slogdet"),
        doc="the determinant over its absolute value",
    )
)
define(
    Op(
        name="lu_log_abs_det",
        arity=1,
        infer=_infer_log,
        lower=_lu_log_abs_det,
        flops=_of_diagonal(LOG + 2),
        examples=(_example(_SQUARE), _example(_BATCH)),
        source=JNP.format("slogdet"),
        doc="`log_abs_det` from `lu_factors`",
    )
)
define(
    Op(
        name="lu_sign_det",
        arity=2,
        infer=_infer_sign,
        lower=_lu_sign_det,
        flops=_of_diagonal(3),
        examples=(_example(_SQUARE, i32(4)), _example(_BATCH, i32(2, 3))),
        source=JNP.format("slogdet"),
        doc="`sign_det` from `lu_factors` and `lu_pivots`",
    )
)
