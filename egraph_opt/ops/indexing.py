# SPDX-License-Identifier: Apache-2.0
"""Operations that move elements by computed rules: dynamic slices, gather, scatter, sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from jax import lax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import TensorType
from egraph_opt.ops.captured import captured
from egraph_opt.ops.checks import check_axes, check_kind, check_same_dtype, shape_error
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32, i32
from egraph_opt.ops.op import Trait
from egraph_opt.ops.primitives import thawed

Ints = tuple[int, ...]
Types = Sequence[TensorType]


def _infer_dynamic_slice(types: Types, *, slice_sizes: Ints) -> tuple[TensorType, ...]:
    x, *starts = types
    if len(starts) != x.rank or len(slice_sizes) != x.rank or any(t.shape for t in starts):
        raise shape_error("dynamic_slice", f"a tensor and {x.rank} scalar starts", types)
    if any(not 0 <= n <= whole for n, whole in zip(slice_sizes, x.shape, strict=True)):
        raise ShapeError(f"dynamic_slice: want slices of at most {list(x.shape)}, got {list(slice_sizes)}")
    check_kind("dynamic_slice", starts, "iu")
    return (x.with_shape(slice_sizes),)


def _infer_dynamic_update_slice(types: Types) -> tuple[TensorType, ...]:
    x, update, *starts = types
    if len(starts) != x.rank or update.rank != x.rank or any(t.shape for t in starts):
        raise shape_error("dynamic_update_slice", f"a tensor, an update and {x.rank} scalar starts", types)
    if any(n > whole for n, whole in zip(update.shape, x.shape, strict=True)):
        raise shape_error("dynamic_update_slice", "an update no larger than the tensor", types[:2])
    check_same_dtype("dynamic_update_slice", types[:2])
    check_kind("dynamic_update_slice", starts, "iu")
    return (x.strong(),)


def _declare_dynamic() -> None:
    captured(
        "dynamic_slice",
        ((f32(4, 5), i32(), i32()), {"slice_sizes": (2, 3)}),
        page=LAX.format("dynamic_slice"),
        traits=(Trait.LAYOUT,),
        infer=_infer_dynamic_slice,
        doc="a slice whose first index is computed, one scalar operand for each dimension",
    )
    captured(
        "dynamic_update_slice",
        ((f32(4, 5), f32(2, 3), i32(), i32()), {}),
        page=LAX.format("dynamic_update_slice"),
        traits=(Trait.LAYOUT,),
        infer=_infer_dynamic_update_slice,
        doc="the tensor with a slice replaced by the second operand",
    )


_GATHER_ROWS = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
_SCATTER_ROWS = lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
)


def _infer_gather(
    types: Types, *, dimension_numbers: lax.GatherDimensionNumbers, slice_sizes: Ints, **attrs: Any
) -> tuple[TensorType, ...]:
    del attrs
    if len(types) != 2 or not types[1].shape or len(slice_sizes) != types[0].rank:
        raise shape_error("gather", f"a tensor of rank {len(slice_sizes)} and indices of rank 1 or more", types)
    x, indices = types
    check_kind("gather", types[1:], "iu")
    if any(not 0 <= n <= whole for n, whole in zip(slice_sizes, x.shape, strict=True)):
        raise ShapeError(f"gather: want slices of at most {list(x.shape)}, got {list(slice_sizes)}")
    if indices.shape[-1] != len(dimension_numbers.start_index_map):
        raise shape_error("gather", f"indices of {len(dimension_numbers.start_index_map)} numbers each", types)
    dropped = {*dimension_numbers.collapsed_slice_dims, *dimension_numbers.operand_batching_dims}
    window = iter(n for axis, n in enumerate(slice_sizes) if axis not in dropped)
    batch = iter(indices.shape[:-1])
    rank = len(dimension_numbers.offset_dims) + indices.rank - 1
    offsets = set(dimension_numbers.offset_dims)
    if len(slice_sizes) - len(dropped) != len(offsets) or not offsets <= set(range(rank)):
        raise ShapeError(f"gather: want one offset dimension for each kept slice dimension, got {dimension_numbers}")
    return (x.with_shape(tuple(next(window) if axis in offsets else next(batch) for axis in range(rank))),)


def _scatter(function: Callable[..., Any]) -> Callable[..., Any]:
    def lower(x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, **attrs: Any) -> Any:
        return function(x, indices, updates, dimension_numbers, **thawed(attrs))

    return lower


def _update_flops(types: Types, results: Types, **attrs: Any) -> float:
    del results, attrs
    return float(types[2].size)


def _declare_gather_scatter() -> None:
    flags: dict[str, Any] = {"indices_are_sorted": False, "unique_indices": False}
    captured(
        "gather",
        (
            (f32(5, 4), i32(3, 1)),
            {
                "dimension_numbers": _GATHER_ROWS,
                "slice_sizes": (1, 4),
                **flags,
                "mode": lax.GatherScatterMode.CLIP,
                "fill_value": None,
            },
        ),
        page=LAX.format("gather"),
        traits=(Trait.LAYOUT,),
        infer=_infer_gather,
        arity=2,
    )
    attrs = {"dimension_numbers": _SCATTER_ROWS, **flags, "mode": lax.GatherScatterMode.FILL_OR_DROP}
    call = ((f32(5, 4), i32(3, 1), f32(3, 4)), attrs)
    captured(
        "scatter",
        call,
        page=LAX.format("scatter"),
        traits=(Trait.LAYOUT,),
        lower=_scatter(lax.scatter),
        fixed=(("update_jaxpr", None), ("update_consts", ())),
        arity=3,
        doc="tensor, indices, updates: the tensor with slices replaced",
    )
    # The update functions of these are made anew from the element type; those of the equation say the same.
    for name in ("add", "sub", "mul", "min", "max"):
        function = getattr(lax, f"scatter_{name}", None)
        if function is not None:
            captured(
                f"scatter-{name}",
                call,
                page=LAX.format(f"scatter_{name}"),
                lower=_scatter(function),
                flops=_update_flops,
                ignored=("update_jaxpr", "update_consts"),
                arity=3,
            )


def _sort_flops(types: Types, results: Types, *, dimension: int, **attrs: Any) -> float:
    del results, attrs
    return types[0].size * math.log2(max(2, types[0].shape[dimension]))


def _top_k_flops(types: Types, results: Types, *, k: int, **attrs: Any) -> float:
    del results, attrs
    return types[0].size * math.log2(max(2, k))


def _infer_sort(types: Types, *, dimension: int, is_stable: bool, num_keys: int) -> tuple[TensorType, ...]:
    del is_stable
    if not types or len({t.shape for t in types}) > 1 or num_keys > len(types):
        raise shape_error("sort", f"equal shapes and {num_keys} keys", types)
    check_axes("sort", types[0], (dimension,))
    return tuple(t.strong() for t in types)


def _declare_sorting() -> None:
    attrs = {"dimension": 1, "is_stable": True, "num_keys": 1}
    captured(
        "sort",
        ((f32(2, 5),), attrs),
        ((f32(2, 5), i32(2, 5)), attrs),
        page=LAX.format("sort"),
        infer=_infer_sort,
        flops=_sort_flops,
        traits=(Trait.EXPENSIVE,),
        doc="one result for each operand; the first `num_keys` operands are the keys",
    )
    captured(
        "top_k",
        ((f32(2, 5),), {"k": 2, "axis": 1}),
        page=LAX.format("top_k"),
        flops=_top_k_flops,
        traits=(Trait.EXPENSIVE,),
        arity=1,
        doc="the largest values along an axis and their indices",
    )


_declare_dynamic()
_declare_gather_scatter()
_declare_sorting()
