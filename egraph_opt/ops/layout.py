# SPDX-License-Identifier: Apache-2.0
"""Operations that move elements by static rules: reshape, slice, pad, concatenate, reverse, count, split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import DType, thaw
from egraph_opt.ops.checks import check_axes, check_count, check_same_dtype, shape_error
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.op import Example, Op, Trait, define
from egraph_opt.ops.primitives import binding

LAYOUT = frozenset({Trait.LAYOUT})
Ints = tuple[int, ...]


def no_flops(types: Sequence[TensorType], results: Sequence[TensorType], **attrs: Any) -> float:
    """Moving elements takes no arithmetic."""
    del types, results, attrs
    return 0.0


def f32(*shape: int) -> TensorType:
    """Float32 of a shape, for examples."""
    return TensorType(shape, "float32")


def i32(*shape: int) -> TensorType:
    """Int32 of a shape, for examples."""
    return TensorType(shape, "int32")


def _infer_reshape(types: Sequence[TensorType], *, shape: Ints) -> tuple[TensorType, ...]:
    check_count("reshape", types, 1)
    if math.prod(shape) != types[0].size:
        raise ShapeError(f"reshape: want {types[0].size} elements, got {list(shape)}")
    return (types[0].with_shape(shape),)


define(
    Op(
        name="reshape",
        arity=1,
        attrs=("shape",),
        infer=_infer_reshape,
        lower=lambda x, *, shape: lax.reshape(x, shape),
        flops=no_flops,
        traits=LAYOUT | {Trait.LINEAR},
        examples=(Example((f32(2, 6),), (("shape", (3, 4)),)), Example((f32(1),), (("shape", ()),))),
        source=LAX.format("reshape"),
        doc="the same elements in row-major order under another shape",
    )
)


def _infer_slice(
    types: Sequence[TensorType], *, start_indices: Ints, limit_indices: Ints, strides: Ints | None = None
) -> tuple[TensorType, ...]:
    check_count("slice", types, 1)
    (x,) = types
    steps = strides or (1,) * x.rank
    if not len(start_indices) == len(limit_indices) == len(steps) == x.rank:
        raise ShapeError(f"slice: want {x.rank} starts, limits and strides, got {start_indices}, {limit_indices}")
    bounds = zip(start_indices, limit_indices, steps, x.shape, strict=True)
    if not all(0 <= start <= limit <= size and step > 0 for start, limit, step, size in bounds):
        raise ShapeError(f"slice: want 0 <= start <= limit <= size, got {start_indices}, {limit_indices} of {x}")
    spans = zip(start_indices, limit_indices, steps, strict=True)
    return (x.with_shape(tuple(-((start - limit) // step) for start, limit, step in spans)),)


define(
    Op(
        name="slice",
        arity=1,
        attrs=("start_indices", "limit_indices", "strides"),
        infer=_infer_slice,
        lower=binding("slice"),
        flops=no_flops,
        captures=("slice",),
        traits=LAYOUT | {Trait.LINEAR},
        examples=(
            Example((f32(5, 4),), (("start_indices", (1, 0)), ("limit_indices", (5, 3)), ("strides", (2, 1)))),
            Example((f32(5),), (("start_indices", (1,)), ("limit_indices", (3,)), ("strides", None))),
        ),
        source=LAX.format("slice"),
    )
)


def _infer_pad(types: Sequence[TensorType], *, padding_config: tuple[Ints, ...]) -> tuple[TensorType, ...]:
    check_count("pad", types, 2)
    check_same_dtype("pad", types)
    x, value = types
    if value.shape or len(padding_config) != x.rank:
        raise shape_error("pad", f"{len(padding_config)} dimensions and a value of rank 0", types)
    sizes = zip(padding_config, x.shape, strict=True)
    shape = tuple(low + high + n + max(n - 1, 0) * inner for (low, high, inner), n in sizes)
    if any(n < 0 for n in shape) or any(inner < 0 for _, _, inner in padding_config):
        raise ShapeError(f"pad: want sizes of 0 or more, got {list(shape)} from {x} padded by {padding_config}")
    return (x.with_shape(shape),)


define(
    Op(
        name="pad",
        arity=2,
        attrs=("padding_config",),
        infer=_infer_pad,
        lower=binding("pad"),
        flops=no_flops,
        captures=("pad",),
        traits=LAYOUT,
        examples=(
            Example((f32(3, 2), f32()), (("padding_config", ((1, 2, 0), (0, -1, 1))),)),
            Example((i32(3), i32()), (("padding_config", ((-1, 2, 2),)),)),
        ),
        source=LAX.format("pad"),
        doc="a tensor and the scalar that surrounds it",
    )
)


def _infer_concatenate(types: Sequence[TensorType], *, dimension: int) -> tuple[TensorType, ...]:
    if not types:
        raise ShapeError("concatenate: want one operand or more, got 0")
    check_same_dtype("concatenate", types)
    check_axes("concatenate", types[0], (dimension,))
    rest = {t.shape[:dimension] + t.shape[dimension + 1 :] for t in types}
    if len(rest) > 1 or len({t.rank for t in types}) > 1:
        raise shape_error("concatenate", f"shapes equal but for dimension {dimension}", types)
    shape = list(types[0].shape)
    shape[dimension] = sum(t.shape[dimension] for t in types)
    return (types[0].with_shape(tuple(shape)),)


define(
    Op(
        name="concatenate",
        arity=None,
        attrs=("dimension",),
        infer=_infer_concatenate,
        lower=binding("concatenate"),
        flops=no_flops,
        captures=("concatenate",),
        traits=LAYOUT,
        examples=(
            Example((f32(2, 3), f32(2, 1)), (("dimension", 1),)),
            Example((f32(2), f32(3), f32(4)), (("dimension", 0),)),
        ),
        source=LAX.format("concatenate"),
    )
)


def _infer_rev(types: Sequence[TensorType], *, dimensions: Ints) -> tuple[TensorType, ...]:
    check_count("rev", types, 1)
    check_axes("rev", types[0], dimensions)
    return (types[0].strong(),)


define(
    Op(
        name="rev",
        arity=1,
        attrs=("dimensions",),
        infer=_infer_rev,
        lower=binding("rev"),
        flops=no_flops,
        captures=("rev",),
        traits=LAYOUT | {Trait.LINEAR, Trait.INVOLUTION},
        examples=(Example((f32(2, 3),), (("dimensions", (1,)),)), Example((f32(2, 3),), (("dimensions", (0, 1)),))),
        source=LAX.format("rev"),
    )
)


def _infer_iota(types: Sequence[TensorType], *, dtype: DType, shape: Ints, dimension: int) -> tuple[TensorType, ...]:
    check_count("iota", types, 0)
    result = TensorType(shape, str(dtype))
    check_axes("iota", result, (dimension,))
    return (result,)


define(
    Op(
        name="iota",
        arity=0,
        attrs=("dtype", "shape", "dimension"),
        infer=_infer_iota,
        lower=lambda *, dtype, shape, dimension: lax.broadcasted_iota(thaw(dtype), shape, dimension),
        flops=no_flops,
        captures=("iota",),
        fixed=(("sharding", None),),
        traits=LAYOUT | {Trait.LEAF},
        examples=(
            Example((), (("dtype", DType("int32")), ("shape", (4,)), ("dimension", 0))),
            Example((), (("dtype", DType("float32")), ("shape", (2, 3)), ("dimension", 1))),
        ),
        source=LAX.format("broadcasted_iota"),
        doc="indices along one dimension",
    )
)


def _infer_split(types: Sequence[TensorType], *, sizes: Ints, axis: int) -> tuple[TensorType, ...]:
    check_count("split", types, 1)
    (x,) = types
    check_axes("split", x, (axis,))
    if sum(sizes) != x.shape[axis]:
        raise ShapeError(f"split: want sizes that add up to {x.shape[axis]}, got {sizes}")
    return tuple(x.with_shape((*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in sizes)


define(
    Op(
        name="split",
        arity=1,
        attrs=("sizes", "axis"),
        infer=_infer_split,
        lower=binding("split"),
        flops=no_flops,
        captures=("split",),
        traits=LAYOUT | {Trait.LINEAR},
        examples=(Example((f32(5, 2),), (("sizes", (2, 3)), ("axis", 0))),),
        source=LAX.format("split"),
        doc="consecutive parts along one dimension, one result each",
    )
)
