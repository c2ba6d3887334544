# SPDX-License-Identifier: Apache-2.0
"""Equations captured one to one: by the record of an operation at the true shapes, or as an opaque node.

An opaque node holds the primitive and its parameters and is rebound as it was. An effectful node has a number of its
own, so that two of them are never one, and stands in the effects of its graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.extend.core as jex

from egraph_opt.capture.scope import Scope, is_placed, tensor_type
from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import freeze
from egraph_opt.ops import Trait, op_of_primitive

_NO_EFFECT = frozenset({"NamedAxisEffect"})


def general(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int]:
    """An equation without a way of its own: by its op's record if there is one, else opaque."""
    from egraph_opt.capture.pointwise import aligned

    op = op_of_primitive(eqn.primitive.name)
    params = {k: None if k.endswith("sharding") and not is_placed(v) else v for k, v in eqn.params.items()}
    attrs = None if op is None or eqn.effects else op.from_params(params)
    if op is None or attrs is None:
        return opaque_equation(scope, eqn, operands)
    if Trait.ELEMENTWISE in op.traits and len(eqn.outvars) == 1:
        return [aligned(scope, op.name, attrs, eqn, operands)]
    held = [scope.true(x, atom.aval) for x, atom in zip(operands, eqn.invars, strict=True)]
    return scope.add_many(op.name, held, attrs, [tensor_type(v.aval) for v in eqn.outvars])


def opaque_equation(scope: Scope, eqn: Any, operands: list[int]) -> list[int]:
    """An equation as an opaque node.

    Raises:
        UnsupportedOpError: the capture is strict.
    """
    if scope.shared.strict:
        place = f"{scope.sources[0].file}:{scope.sources[0].line}: " if scope.sources else ""
        raise UnsupportedOpError(
            f"{place}primitive {eqn.primitive.name!r} has no op; it stays opaque unless strict. "
            "Capture with strict=False, or add a record in egraph_opt/ops"
        )
    held = [scope.true(x, atom.aval) for x, atom in zip(operands, eqn.invars, strict=True)]
    types = [tensor_type(v.aval) for v in eqn.outvars]
    return opaque(scope, eqn.primitive, eqn.params, held, types, is_effectful(eqn))


def opaque(
    scope: Scope,
    primitive: Any,
    params: Mapping[str, Any],
    operands: Sequence[int],
    types: Sequence[TensorType],
    effectful: bool = False,
) -> list[int]:
    """An opaque node over operands of their true shapes; its results are squeezed."""
    serial = scope.shared.serial() if effectful else None
    frozen = tuple((name, _frozen(scope, params[name])) for name in sorted(params))
    attrs = [
        ("name", primitive.name),
        ("primitive", scope.shared.ref(primitive)),
        ("params", frozen),
        ("effect", serial),
    ]
    if not effectful:
        return scope.add_many("opaque", operands, attrs, types)
    number = scope.emitter.add("opaque", operands, attrs, tuple(types), scope.sources)
    scope.effects.append(number)
    if len(types) == 1:
        return [scope.squeezed(number)]
    return [scope.add("result", (number,), (("index", k),), t) for k, t in enumerate(types)]


def is_effectful(eqn: Any) -> bool:
    """Whether an equation must run, in order, whatever reads its results."""
    if any(type(effect).__name__ not in _NO_EFFECT for effect in eqn.effects):
        return True
    return any(type(a.aval).__name__ == "AbstractRef" for a in (*eqn.invars, *eqn.outvars))


def has_special_context(eqn: Any) -> bool:
    """Whether the equation was traced under a context that is no part of its parameters."""
    ctx = eqn.ctx
    return ctx is not None and bool(getattr(ctx, "compute_type", None) or getattr(ctx, "xla_metadata", None))


def boxed(scope: Scope, eqn: Any, operands: list[int]) -> list[int]:
    """An equation with a context (a place to compute, metadata) as an opaque call of a jaxpr that holds just it."""
    variables = dict.fromkeys(a for a in eqn.invars if not isinstance(a, jex.Literal))
    numbers = {a: x for a, x in zip(eqn.invars, operands, strict=True) if not isinstance(a, jex.Literal)}
    info = jex.DebugInfo("capture", "boxed", None, None)
    jaxpr = jex.Jaxpr((), list(variables), list(eqn.outvars), [eqn], eqn.effects, debug_info=info)
    held = [scope.true(numbers[a], a.aval) for a in variables]
    types = [tensor_type(v.aval) for v in eqn.outvars]
    params = {"call_jaxpr": jex.ClosedJaxpr(jaxpr, ())}
    return opaque(scope, jex.primitives.closed_call_p, params, held, types, is_effectful(eqn))


def _frozen(scope: Scope, value: Any) -> Any:
    """A frozen parameter; what has no text form is held by one ``Ref`` per object."""
    frozen = freeze(value)
    return scope.shared.ref(value) if type(frozen).__name__ == "Ref" else frozen
