# SPDX-License-Identifier: Apache-2.0
"""Elementwise operations whose operands differ in element type or role: choices, conversions, powers, conjugates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import DType
from egraph_opt.ir.types import itemsize
from egraph_opt.ops.checks import (
    check_count,
    check_kind,
    check_same_dtype,
    dtype_error,
    elementwise_shape,
    kind,
)
from egraph_opt.ops.elementwise import LAX, spread
from egraph_opt.ops.op import Example, Op, Trait, define
from egraph_opt.ops.primitives import binding

ELEMENTWISE = frozenset({Trait.ELEMENTWISE})
_WHOLE = {"float32": "complex64", "float64": "complex128"}


def _one_each(types: Sequence[TensorType], results: Sequence[TensorType], **attrs: Any) -> float:
    del types, attrs
    return float(results[0].size)


def _free(types: Sequence[TensorType], results: Sequence[TensorType], **attrs: Any) -> float:
    del types, results, attrs
    return 0.0


def _type(dtype: str, *shape: int) -> TensorType:
    return TensorType(shape, dtype)


def _infer_select_n(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    if len(types) < 2:
        raise ShapeError(f"select_n: want a predicate and one case or more, got {len(types)} operands")
    predicate, *cases = types
    if predicate.dtype not in ("bool", "int32"):
        raise dtype_error("select_n", "a predicate of bool or int32", types)
    check_same_dtype("select_n", cases)
    return (TensorType(elementwise_shape("select_n", types), cases[0].dtype),)


def _lower_select_n(predicate: Any, *cases: Any) -> Any:
    shape = max((x.shape for x in (predicate, *cases)), key=len)
    wide = [x if x.shape == shape else lax.broadcast_in_dim(x, shape, ()) for x in cases]
    return lax.select_n(predicate, *wide)


define(
    Op(
        name="select_n",
        arity=None,
        infer=_infer_select_n,
        lower=_lower_select_n,
        flops=_one_each,
        captures=("select_n",),
        traits=ELEMENTWISE,
        examples=(
            Example((_type("bool", 2, 3), _type("float32", 2, 3), _type("float32", 2, 3))),
            Example((_type("bool"), _type("float32", 2, 3), _type("float32", 2, 3))),
            Example((_type("int32", 4), _type("int32", 4), _type("int32", 4), _type("int32", 4))),
        ),
        source=LAX.format("select_n"),
        doc="operand 1 + p where the first operand, the predicate, is p",
    )
)


def _infer_clamp(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    check_count("clamp", types, 3)
    check_same_dtype("clamp", types)
    check_kind("clamp", types, "fiu")
    return (TensorType(elementwise_shape("clamp", types), types[1].dtype),)


define(
    Op(
        name="clamp",
        arity=3,
        infer=_infer_clamp,
        lower=lambda low, x, high: lax.clamp(*spread((low, x, high))),
        flops=lambda types, results: 2.0 * results[0].size,
        captures=("clamp",),
        traits=ELEMENTWISE | {Trait.MONOTONE},
        examples=(
            Example((_type("float32", 2, 3),) * 3),
            Example((_type("float32"), _type("float32", 2, 3), _type("float32"))),
        ),
        source=LAX.format("clamp"),
        doc="lower bound, operand, upper bound",
    )
)


def _infer_pow(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    check_count("pow", types, 2)
    check_kind("pow", types[:1], "fc")
    if types[1].dtype != types[0].dtype:
        check_kind("pow", types[1:], "iu")
    return (TensorType(elementwise_shape("pow", types), types[0].dtype),)


define(
    Op(
        name="pow",
        arity=2,
        infer=_infer_pow,
        lower=lambda x, y: lax.pow(*spread((x, y))),
        flops=_free,
        transcendentals=3.0,
        captures=("pow",),
        traits=ELEMENTWISE,
        examples=(
            Example((_type("float32", 2, 3), _type("float32", 2, 3))),
            Example((_type("float32", 2, 3), _type("int32"))),
        ),
        source=LAX.format("pow"),
    )
)


def _infer_convert(types: Sequence[TensorType], *, new_dtype: DType) -> tuple[TensorType, ...]:
    check_count("convert_element_type", types, 1)
    return (TensorType(types[0].shape, str(new_dtype)),)


define(
    Op(
        name="convert_element_type",
        arity=1,
        attrs=("new_dtype",),
        infer=_infer_convert,
        lower=binding("convert_element_type", weak_type=False, sharding=None),
        flops=_one_each,
        captures=("convert_element_type",),
        fixed=(("sharding", None),),
        ignored=("weak_type",),
        traits=ELEMENTWISE | {Trait.ZERO_TO_ZERO},
        examples=tuple(
            Example((_type(old, 2, 3),), (("new_dtype", DType(new)),))
            for old, new in (("bfloat16", "float32"), ("float32", "int32"), ("int32", "float32"), ("bool", "float32"))
        ),
        source=LAX.format("convert_element_type"),
    )
)


def _infer_bitcast(types: Sequence[TensorType], *, new_dtype: DType) -> tuple[TensorType, ...]:
    check_count("bitcast_convert_type", types, 1)
    (x,), old, new = types, itemsize(types[0].dtype), itemsize(str(new_dtype))
    shape = x.shape
    if old < new:
        if not shape or shape[-1] * old != new:
            raise ShapeError(f"bitcast_convert_type: want a last dimension of {new / old:g} for {new_dtype}, got {x}")
        shape = shape[:-1]
    elif old > new:
        shape = (*shape, int(old / new))
    return (TensorType(shape, str(new_dtype)),)


define(
    Op(
        name="bitcast_convert_type",
        arity=1,
        attrs=("new_dtype",),
        infer=_infer_bitcast,
        lower=binding("bitcast_convert_type"),
        flops=_free,
        captures=("bitcast_convert_type",),
        # Not elementwise: a narrower or wider type adds or takes a dimension.
        traits=frozenset({Trait.LAYOUT}),
        examples=(
            Example((_type("float32", 2, 3),), (("new_dtype", DType("int32")),)),
            Example((_type("uint32", 2),), (("new_dtype", DType("uint8")),)),
            Example((_type("uint16", 3, 2),), (("new_dtype", DType("float32")),)),
        ),
        source=LAX.format("bitcast_convert_type"),
        doc="the same bits read as another type",
    )
)


def _infer_conj(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    check_count("conj", types, 1)
    check_kind("conj", types, "fc")
    dtype = types[0].dtype
    return (TensorType(types[0].shape, dtype if kind(dtype) == "c" else _WHOLE[dtype]),)


define(
    Op(
        name="conj",
        arity=1,
        infer=_infer_conj,
        lower=lax.conj,
        flops=_one_each,
        captures=("conj",),
        ignored=("input_dtype",),
        traits=ELEMENTWISE | {Trait.ZERO_TO_ZERO, Trait.LINEAR},
        examples=tuple(Example((_type(dtype, 2, 3),)) for dtype in ("complex64", "float32")),
        source=LAX.format("conj"),
    )
)
