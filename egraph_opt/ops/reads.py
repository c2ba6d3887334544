# SPDX-License-Identifier: Apache-2.0
"""Reads along one axis at computed places: what dynamic slices and the usual gathers are made of.

Each touches one dimension only, so rules can move it through whatever keeps that dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import thaw
from egraph_opt.ops.checks import check_kind, shape_error
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32, i32, no_flops
from egraph_opt.ops.op import Example, Op, Trait, define

Types = Sequence[TensorType]


def _infer_dynamic_slice(types: Types, *, slice_size: int, axis: int) -> tuple[TensorType, ...]:
    if len(types) != 2 or types[1].shape or not 0 <= axis < types[0].rank:
        raise shape_error("dynamic_slice_in_dim", f"a tensor with an axis {axis} and a scalar start", types)
    check_kind("dynamic_slice_in_dim", types[1:], "iu")
    if not 0 <= slice_size <= types[0].shape[axis]:
        raise ShapeError(f"dynamic_slice_in_dim: want a size of at most {types[0].shape[axis]}, got {slice_size}")
    return (_resized(types[0], axis, slice_size),)


def _infer_take(types: Types, *, axis: int, mode: Any, fill_value: Any) -> tuple[TensorType, ...]:
    del mode, fill_value
    if len(types) != 2 or types[1].rank != 1 or not 0 <= axis < types[0].rank:
        raise shape_error("take", f"a tensor with an axis {axis} and indices of rank 1", types)
    check_kind("take", types[1:], "iu")
    return (_resized(types[0], axis, types[1].shape[0]),)


def _resized(kind: TensorType, axis: int, size: int) -> TensorType:
    return kind.with_shape((*kind.shape[:axis], size, *kind.shape[axis + 1 :])).strong()


def _dynamic_slice(x: Any, start: Any, *, slice_size: int, axis: int) -> Any:
    # JAX has counted negative starts from the end before: what is still negative is clamped.
    return lax.dynamic_slice_in_dim(x, start, slice_size, axis, allow_negative_indices=False)


def _take(x: Any, indices: Any, *, axis: int, mode: Any, fill_value: Any) -> Any:
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(d for d in range(x.ndim) if d != axis), collapsed_slice_dims=(axis,), start_index_map=(axis,)
    )
    sizes = tuple(1 if d == axis else n for d, n in enumerate(x.shape))
    return lax.gather(x, indices[:, None], numbers, sizes, mode=mode, fill_value=thaw(fill_value))


define(
    Op(
        name="dynamic_slice_in_dim",
        arity=2,
        attrs=("slice_size", "axis"),
        infer=_infer_dynamic_slice,
        lower=_dynamic_slice,
        flops=no_flops,
        traits=frozenset({Trait.LAYOUT}),
        examples=(Example((f32(4, 5), i32()), (("slice_size", 2), ("axis", 1))),),
        source=LAX.format("dynamic_slice_in_dim"),
        doc="a slice along one axis whose first index is computed; the index is clamped",
    )
)

define(
    Op(
        name="take",
        arity=2,
        attrs=("axis", "mode", "fill_value"),
        infer=_infer_take,
        lower=_take,
        flops=no_flops,
        traits=frozenset({Trait.LAYOUT}),
        examples=(
            Example((f32(4, 5), i32(3)), (("axis", 0), ("mode", lax.GatherScatterMode.CLIP), ("fill_value", None))),
            Example(
                (f32(4, 5), i32(7)),
                (("axis", 1), ("mode", lax.GatherScatterMode.PROMISE_IN_BOUNDS), ("fill_value", None)),
            ),
        ),
        source="https://docs.jax.dev/en/latest/_autosummary/jax.numpy.take.html",
        doc="the places along one axis that the indices name",
    )
)
