# SPDX-License-Identifier: Apache-2.0
"""What stands at the edges of a Graph: inputs, constants, results of nodes with several, and opaque primitives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from egraph_opt.errors import GraphError, UnsupportedOpError
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import Array, Ref, thaw
from egraph_opt.ops.checks import infer_by_tracing
from egraph_opt.ops.layout import f32, no_flops
from egraph_opt.ops.op import Example, Op, Trait, define

JAXPR = "https://docs.jax.dev/en/latest/jaxpr.html"
LEAF = frozenset({Trait.LEAF})


def _infer_input(types: Sequence[TensorType], *, index: int) -> tuple[TensorType, ...]:
    raise GraphError(f"input {index}: its type is given, not inferred")


def _lower_input(*operands: Any, index: int) -> Any:
    raise GraphError(f"input {index}: it is an argument, not computed")


define(
    Op(
        name="input",
        arity=0,
        attrs=("index",),
        infer=_infer_input,
        lower=_lower_input,
        flops=no_flops,
        traits=LEAF,
        examples=(),
        source=JAXPR,
        doc="an argument leaf or a closed-over array; its type stands on the node",
    )
)


def _infer_constant(types: Sequence[TensorType], *, value: Any) -> tuple[TensorType, ...]:
    held = np.asarray(thaw(value))
    return (TensorType(held.shape, str(jax.dtypes.canonicalize_dtype(held.dtype))),)


define(
    Op(
        name="constant",
        arity=0,
        attrs=("value",),
        infer=_infer_constant,
        lower=lambda *, value: jax.numpy.asarray(thaw(value)),
        flops=no_flops,
        traits=LEAF,
        examples=(Example((), (("value", Array(np.arange(3, dtype=np.int32))),)),),
        source=JAXPR,
        doc="program text; the element type of a scalar stands on the node",
    )
)


def _infer_result(types: Sequence[TensorType], *, index: int) -> tuple[TensorType, ...]:
    if not 0 <= index < len(types):
        raise GraphError(f"result: want an index below {len(types)}, got {index}")
    return (types[index].strong(),)


define(
    Op(
        name="result",
        arity=1,
        attrs=("index",),
        infer=_infer_result,  # operand types: every type of the operand node
        lower=lambda *values, index: values[index],
        flops=no_flops,
        examples=(Example((f32(2, 3), f32(4)), (("index", 1),)),),
        source=JAXPR,
        doc="one result of a node that has several",
    )
)


def _lower_opaque(*operands: Any, name: str, primitive: Any, params: Any = (), effect: int | None = None) -> Any:
    del effect
    bound = thaw(primitive)
    if not hasattr(bound, "bind"):
        raise UnsupportedOpError(f"opaque {name}: want a primitive, got {type(bound).__name__}")
    values = {key: thaw(value) for key, value in params}
    results = bound.bind(*operands, **bound.get_bind_params(values))
    return list(results) if bound.multiple_results else results


_EXP = (("name", "exp"), ("primitive", Ref(lax.exp_p)), ("params", (("accuracy", None),)))

define(
    Op(
        name="opaque",
        arity=None,
        attrs=("name", "primitive", "params", "effect"),
        infer=infer_by_tracing("opaque", _lower_opaque),
        lower=_lower_opaque,
        flops=no_flops,
        traits=frozenset({Trait.EXPENSIVE}),
        examples=(Example((f32(2),), (*_EXP, ("effect", None))),),
        source=JAXPR,
        doc="a primitive without a record, bound again with its own parameters; `effect` keeps equal calls apart",
    )
)
