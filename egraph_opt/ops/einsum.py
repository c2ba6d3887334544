# SPDX-License-Identifier: Apache-2.0
"""The ring operations: ``einsum`` over one or two operands, and the sum of any number of tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import Spec, TensorType
from egraph_opt.ops.checks import check_count, check_kind, check_same_dtype, shape_error
from egraph_opt.ops.contract import lower_einsum
from egraph_opt.ops.op import Example, Op, Trait, define

RING = "fciu"


def _infer_einsum(types: Sequence[TensorType], *, spec: str) -> tuple[TensorType, ...]:
    parsed = Spec.parse(spec)
    check_count("einsum", types, len(parsed.inputs))
    for type, shape in zip(types, parsed.shapes, strict=True):
        if type.shape != shape:
            want = " and ".join(f"[{','.join(map(str, s))}]" for s in parsed.shapes)
            raise shape_error(f"einsum {spec}", want, types)
    check_same_dtype("einsum", types)
    # A copy of bools or keys moves elements only; all else needs a ring.
    if not (parsed.is_copy and parsed.scale == 1):
        check_kind("einsum", types, RING)
    return (types[0].with_shape(parsed.shape),)


def _einsum_flops(types: Sequence[TensorType], results: Sequence[TensorType], *, spec: str) -> float:
    del types, results
    return Spec.parse(spec).flops


def _infer_add(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    if len(types) < 2:
        raise ShapeError(f"add: want two operands or more, got {len(types)}")
    if len({t.shape for t in types}) > 1:
        raise shape_error("add", "equal shapes", types)
    check_same_dtype("add", types)
    check_kind("add", types, RING)
    return (types[0].strong(),)


def _lower_add(*operands: Any) -> Any:
    return functools.reduce(lax.add, operands)


def _f32(*shape: int) -> TensorType:
    return TensorType(shape, "float32")


def _specs() -> tuple[Example, ...]:
    pairs = (
        ("ab,bc->ac;2,3,4", _f32(2, 3), _f32(3, 4)),
        ("ab,bc->ca;2,3,4", _f32(2, 3), _f32(3, 4)),
        ("ab,a->b;2,3", _f32(2, 3), _f32(2)),
        ("a,a->;3", _f32(3), _f32(3)),
        ("ab,ab->ab;2,3", _f32(2, 3), _f32(2, 3)),
        ("a,b->ab;2,3", _f32(2), _f32(3)),
        ("abc,adb->cda;2,3,4,5", _f32(2, 3, 4), _f32(2, 5, 3)),
    )
    singles = (
        ("ab->ba;2,3", _f32(2, 3)),
        ("ab->a;2,3", _f32(2, 3)),
        ("aa->a;3", _f32(3, 3)),
        ("a->aa;3", _f32(3)),
        ("->ab;2,3", _f32()),
        ("ab->ab;2,3|-2.0", _f32(2, 3)),
        ("ab->ab;2,3|-1", TensorType((2, 3), "int32")),
        ("ab->b;2,3", TensorType((2, 3), "bfloat16")),
    )
    return tuple(Example(tuple(types), (("spec", spec),)) for spec, *types in (*pairs, *singles))


EINSUM = define(
    Op(
        name="einsum",
        arity=None,
        attrs=("spec",),
        infer=_infer_einsum,
        lower=lower_einsum,
        flops=_einsum_flops,
        precise=True,
        traits=frozenset({Trait.LINEAR, Trait.EXPENSIVE}),
        examples=_specs(),
        source="https://numpy.org/doc/stable/reference/generated/numpy.einsum.html",
        doc="sum over products of elements; permutes, sums, broadcasts, reads and writes diagonals, scales",
    )
)

ADD = define(
    Op(
        name="add",
        arity=None,
        infer=_infer_add,
        lower=_lower_add,
        flops=lambda types, results: float((len(types) - 1) * results[0].size),
        traits=frozenset({Trait.COMMUTATIVE, Trait.ASSOCIATIVE}),
        examples=(Example((_f32(2, 3), _f32(2, 3))), Example((_f32(4), _f32(4), _f32(4)))),
        source="https://openxla.org/stablehlo/spec#add",
        doc="sum of two or more tensors, from left to right",
    )
)
