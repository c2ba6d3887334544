# SPDX-License-Identifier: Apache-2.0
"""What users state of arrays: ``assume`` is an identity whose attribute names facts; it costs nothing when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from egraph_opt.errors import ShapeError
from egraph_opt.ir import TensorType
from egraph_opt.ir.structure import ELEMENTWISE
from egraph_opt.ops.checks import check_count
from egraph_opt.ops.layout import f32, no_flops
from egraph_opt.ops.op import Example, Op, Trait, define

Types = Sequence[TensorType]

ASSUME = "assume"


def _infer(types: Types, *, facts: Sequence[str]) -> tuple[TensorType, ...]:
    check_count(ASSUME, types, 1)
    if types[0].rank < 2 and not ELEMENTWISE.issuperset(facts):
        raise ShapeError(f"assume: want a matrix for {', '.join(facts)}, got {types[0]}")
    return (types[0].strong(),)


assume_p = Primitive("assume")
"""``assume_p.bind(x, facts=("symmetric",))`` is ``x``; matrices stand in the last two dimensions."""

assume_p.def_impl(lambda x, *, facts: x)
assume_p.def_abstract_eval(lambda x, *, facts: x)
mlir.register_lowering(assume_p, lambda ctx, x, *, facts: [x])


def _batched(operands: Sequence[Any], dims: Sequence[int], *, facts: tuple[str, ...]) -> tuple[Any, int]:
    return assume_p.bind(jnp.moveaxis(operands[0], dims[0], 0), facts=facts), 0


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, facts: tuple[str, ...]) -> tuple[Any, Any]:
    return assume_p.bind(primals[0], facts=facts), tangents[0]


batching.primitive_batchers[assume_p] = _batched
ad.primitive_jvps[assume_p] = _jvp

define(
    Op(
        name=ASSUME,
        arity=1,
        attrs=("facts",),
        infer=_infer,
        lower=lambda x, *, facts: x,
        flops=no_flops,
        captures=(ASSUME,),
        traits=frozenset({Trait.LAYOUT}),
        examples=(
            Example((f32(4, 4),), (("facts", ("symmetric",)),)),
            Example((f32(2, 3, 3),), (("facts", ("banded:1,0", "nonnegative")),)),
        ),
        source="https://docs.jax.dev/en/latest/_autosummary/jax.extend.core.Primitive.html",
        doc="its operand, of which facts are stated; free",
    )
)
