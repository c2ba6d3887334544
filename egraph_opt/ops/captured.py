# SPDX-License-Identifier: Apache-2.0
"""Declaring an operation that is one JAX primitive with its parameters: the type rule and the lowering ask JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from egraph_opt.ir import TensorType
from egraph_opt.ops.checks import infer_by_tracing
from egraph_opt.ops.layout import no_flops
from egraph_opt.ops.op import Example, Flops, Infer, Op, Trait, define
from egraph_opt.ops.primitives import all_primitives, binding

Call = tuple[tuple[TensorType, ...], dict[str, Any]]


def captured(
    primitive: str,
    *calls: Call,
    page: str,
    traits: tuple[Trait, ...] = (),
    infer: Infer | None = None,
    lower: Callable[..., Any] | None = None,
    flops: Flops = no_flops,
    transcendentals: float = 0.0,
    fixed: tuple[tuple[str, Any], ...] = (),
    ignored: tuple[str, ...] = (),
    precise: bool = False,
    arity: int | None = None,
    doc: str = "",
) -> None:
    """Declare the operation that stands for a primitive; nothing where this JAX lacks it.

    Args:
        primitive: name in jaxprs; the operation's name has an underscore for each hyphen.
        calls: operand types and attributes of the examples; all have the same attributes.
        page: where the primitive is documented.
        traits: see ``Trait``.
        infer: type rule, where JAX need not be asked.
        lower: where binding the primitive will not do.
        flops: arithmetic operations; none by default.
        transcendentals: weighted evaluations per result element.
        fixed: parameters with the only value the operation stands for.
        ignored: parameters that are dropped; ``lower`` makes them again.
        precise: whether ``lower`` takes the keyword ``precision``.
        arity: number of operands; None when it varies.
        doc: meaning, where the name does not say it.
    """
    if primitive not in all_primitives():
        return
    call = lower or binding(primitive, **dict(fixed))
    define(
        Op(
            name=primitive.replace("-", "_"),
            arity=arity,
            attrs=tuple(calls[0][1]),
            infer=infer or infer_by_tracing(primitive, call),
            lower=call,
            flops=flops,
            transcendentals=transcendentals,
            captures=(primitive,),
            fixed=fixed,
            ignored=ignored,
            precise=precise,
            traits=frozenset(traits),
            examples=tuple(Example(types, tuple(attrs.items())) for types, attrs in calls),
            source=page,
            doc=doc,
        )
    )
