# SPDX-License-Identifier: Apache-2.0
"""Reductions, scans along an axis and windows. The sum over axes is an einsum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import DType, freeze
from egraph_opt.ops.captured import captured
from egraph_opt.ops.checks import check_axes, check_count, check_kind
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32
from egraph_opt.ops.op import Infer, Trait

Ints = tuple[int, ...]
Types = Sequence[TensorType]


def _operand_flops(types: Types, results: Types, **attrs: Any) -> float:
    del results, attrs
    return float(types[0].size)


def _window_flops(types: Types, results: Types, *, window_dimensions: Ints, **attrs: Any) -> float:
    del types, attrs
    return float(results[0].size * math.prod(window_dimensions))


def _reduced(name: str, kinds: str) -> Infer:
    def infer(types: Types, *, axes: Ints) -> tuple[TensorType, ...]:
        check_count(name, types, 1)
        check_axes(name, types[0], axes)
        check_kind(name, types, kinds)
        return (types[0].with_shape(tuple(n for axis, n in enumerate(types[0].shape) if axis not in axes)),)

    return infer


def _declare_reductions() -> None:
    for name, kinds, dtype, *traits in (
        ("reduce_max", "fiubc", "float32", Trait.MONOTONE),
        ("reduce_min", "fiubc", "float32", Trait.MONOTONE),
        ("reduce_prod", "fiuc", "float32"),
        ("reduce_and", "iub", "bool", Trait.MONOTONE),
        ("reduce_or", "iub", "bool", Trait.MONOTONE),
        ("reduce_xor", "iub", "int32"),
    ):
        captured(
            name,
            ((TensorType((2, 3, 4), dtype),), {"axes": (0, 2)}),
            ((TensorType((2, 3), dtype),), {"axes": (1,)}),
            page=LAX.format(name),
            traits=(Trait.REDUCTION, *traits),
            infer=_reduced(name, kinds),
            flops=_operand_flops,
            arity=1,
        )


def _arg(name: str) -> Infer:
    def infer(types: Types, *, axes: Ints, index_dtype: DType) -> tuple[TensorType, ...]:
        check_count(name, types, 1)
        check_axes(name, types[0], axes)
        check_kind(name, types, "fiub")
        return (TensorType(tuple(n for i, n in enumerate(types[0].shape) if i not in axes), str(index_dtype)),)

    return infer


def _declare_arguments() -> None:
    for name in ("argmax", "argmin"):
        captured(
            name,
            ((f32(2, 3),), {"axes": (1,), "index_dtype": DType("int32")}),
            page=LAX.format(name),
            traits=(Trait.REDUCTION,),
            infer=_arg(name),
            flops=_operand_flops,
            arity=1,
            doc="index of the first extreme element",
        )


def _cumulative(name: str, kinds: str) -> Infer:
    def infer(types: Types, *, axis: int, reverse: bool) -> tuple[TensorType, ...]:
        del reverse
        check_count(name, types, 1)
        check_axes(name, types[0], (axis,))
        check_kind(name, types, kinds)
        return (types[0].strong(),)

    return infer


def _declare_cumulative() -> None:
    for name, kinds, *traits in (
        ("cumsum", "fciu", Trait.LINEAR),
        ("cumprod", "fciu"),
        ("cummax", "fciub", Trait.MONOTONE),
        ("cummin", "fciub", Trait.MONOTONE),
        ("cumlogsumexp", "fc", Trait.MONOTONE),
    ):
        captured(
            name,
            ((f32(2, 5),), {"axis": 1, "reverse": False}),
            ((f32(5),), {"axis": 0, "reverse": True}),
            page=LAX.format(name),
            traits=tuple(traits),
            infer=_cumulative(name, kinds),
            flops=_operand_flops,
            transcendentals=2.0 if name == "cumlogsumexp" else 0.0,
            arity=1,
        )


_WINDOW: dict[str, Any] = {"window_dimensions": (2, 2), "window_strides": (2, 1), "padding": ((0, 0), (1, 0))}
_DILATED: dict[str, Any] = {**_WINDOW, "base_dilation": (1, 2), "window_dilation": (1, 1)}
_SELECT: dict[str, Any] = {"select_prim": freeze(lax.ge_p)}


def _declare_windows() -> None:
    page = LAX.format("reduce_window")
    captured(
        "reduce_window_sum", ((f32(4, 4),), _DILATED), page=page, traits=(Trait.LINEAR,), flops=_window_flops, arity=1
    )
    for name in ("reduce_window_max", "reduce_window_min"):
        captured(name, ((f32(4, 4),), _DILATED), page=page, traits=(Trait.MONOTONE,), flops=_window_flops, arity=1)
    captured(
        "select_and_scatter_add",
        ((f32(2, 4), f32(4, 4)), _SELECT | _WINDOW),
        page="https://openxla.org/stablehlo/spec#select_and_scatter",
        flops=_window_flops,
        arity=2,
        doc="adds each source element where its window selects: the gradient of a window's extreme",
    )
    captured(
        "select_and_gather_add",
        ((f32(4, 4), f32(4, 4)), _SELECT | _DILATED),
        page=page,
        flops=_window_flops,
        arity=2,
        doc="the tangent element where the window of the operand selects",
    )


_declare_reductions()
_declare_arguments()
_declare_cumulative()
_declare_windows()
