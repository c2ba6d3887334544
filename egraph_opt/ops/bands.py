# SPDX-License-Identifier: Apache-2.0
"""Bands of matrices: what lies outside of some diagonals is dropped, or was never there when a system is solved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.checks import check_count, check_kind, check_same_dtype, shape_error
from egraph_opt.ops.layout import f32
from egraph_opt.ops.op import Example, Op, Trait, define

Types = Sequence[TensorType]


def band_part(x: Any, *, lower: int, upper: int) -> Any:
    """Matrices without what lies more than ``lower`` below or ``upper`` above the main diagonal."""
    m, n = x.shape[-2:]
    above = lax.broadcasted_iota("int32", (m, n), 1) - lax.broadcasted_iota("int32", (m, n), 0)
    if lower >= m - 1:
        kept = above <= upper
    else:
        kept = above >= -lower if upper >= n - 1 else (above >= -lower) & (above <= upper)
    return jnp.where(kept, x, jnp.zeros((), x.dtype))


def tridiagonal_system(t: Any, b: Any, *, transposed: bool) -> Any:
    """Solution ``[..., n, *columns]`` of systems of which only three diagonals are read."""

    def diagonal(offset: int, before: int, after: int) -> Any:
        found = jnp.diagonal(t, offset, -2, -1)
        return jnp.pad(found, [(0, 0)] * (found.ndim - 1) + [(before, after)])

    low, high = (1, -1) if transposed else (-1, 1)
    columns = b.reshape(*b.shape[: t.ndim - 1], math.prod(b.shape[t.ndim - 1 :]))
    x = lax.linalg.tridiagonal_solve(diagonal(low, 1, 0), diagonal(0, 0, 0), diagonal(high, 0, 1), columns)
    return x.reshape(b.shape)


def _part_type(types: Types, *, lower: int, upper: int) -> tuple[TensorType, ...]:
    del lower, upper
    check_count("band_part", types, 1)
    if types[0].rank < 2:
        raise shape_error("band_part", "[..., m, n]", types)
    return (types[0].strong(),)


def _system_type(types: Types, *, transposed: bool) -> tuple[TensorType, ...]:
    del transposed
    check_count("tridiagonal_system", types, 2)
    check_same_dtype("tridiagonal_system", types)
    check_kind("tridiagonal_system", types, "f")
    t, b = types
    if t.rank < 2 or t.shape[-1] != t.shape[-2] or t.shape[-1] < 2 or b.shape[: t.rank - 1] != t.shape[:-1]:
        raise shape_error("tridiagonal_system", "[..., n, n] and [..., n, *columns]", types)
    return (b.strong(),)


define(
    Op(
        name="band_part",
        arity=1,
        attrs=("lower", "upper"),
        infer=_part_type,
        lower=band_part,
        flops=lambda types, results, *, lower, upper: float(results[0].size),
        traits=frozenset({Trait.LAYOUT}),
        examples=(
            Example((f32(4, 5),), (("lower", 1), ("upper", 0))),
            Example((f32(2, 3, 3),), (("lower", 2), ("upper", -1))),
        ),
        source="https://docs.jax.dev/en/latest/_autosummary/jax.numpy.tril.html",
        doc="matrices without what lies outside of a band",
    )
)

define(
    Op(
        name="tridiagonal_system",
        arity=2,
        attrs=("transposed",),
        infer=_system_type,
        lower=tridiagonal_system,
        flops=lambda types, results, *, transposed: 8.0 * results[0].size,
        traits=frozenset({Trait.EXPENSIVE}),
        examples=(
            Example((f32(5, 5), f32(5)), (("transposed", False),)),
            Example((f32(2, 4, 4), f32(2, 4, 3)), (("transposed", True),)),
        ),
        source="https://docs.jax.dev/en/latest/_autosummary/jax.lax.linalg.tridiagonal_solve.html",
        doc="square matrices of which three diagonals are read, right-hand sides",
    )
)
