# SPDX-License-Identifier: Apache-2.0
"""Nested calls: which are inlined, and what inlining must not lose.

Bodies of functions with custom derivatives are inlined, and the fact is noted: whoever differentiates the optimised
function must then take the derivative from the original. A rematerialised backward pass gets the barrier around its
operands that JAX itself lowers it with, or sharing with the forward pass would undo the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.extend.core as jex

from egraph_opt import _compat
from egraph_opt.capture.general import opaque
from egraph_opt.capture.places import function_place, is_jax_internal
from egraph_opt.capture.scope import Scope

JITS = frozenset({"jit", "pjit"})
PLAIN = frozenset({"closed_call", "core_call", "core_closed_call", "call"})
CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"})
SOLVE = "custom_linear_solve"
"""A system with a solver: the solver is what runs, the rest of its parameters is for its derivatives."""
REMAT = frozenset({"remat2", "remat", "checkpoint"})

SAME_DERIVATIVE = frozenset({"softmax", "_softmax"})
"""JAX's own functions with a rule whose bodies have the same derivative everywhere.

``relu`` is none: its derivative at 0 is 0, that of its body 1/2."""


def called(eqn: Any) -> Any:
    """The closed jaxpr that an equation calls in the same program and that may be inlined, or None."""
    name, params = eqn.primitive.name, eqn.params
    if name in JITS:
        return None if _is_sharded(params) else params["jaxpr"]
    if name in PLAIN:
        return _closed(params.get("call_jaxpr") or params["jaxpr"])
    if name in CUSTOM:
        return _closed(params.get("call_jaxpr") or params.get("fun_jaxpr"))
    if name == SOLVE:
        return params["jaxprs"].solve
    return _closed(params["jaxpr"]) if name in REMAT else None


def note(scope: Scope, eqn: Any, body: Any) -> None:
    """Record what inlining a call does not show: derivatives of its own, rematerialisation."""
    name = eqn.primitive.name
    if name in CUSTOM:
        function, file = function_place(body.jaxpr)
        if name != "custom_jvp_call" or not is_jax_internal(file) or function not in SAME_DERIVATIVE:
            scope.shared.custom_derivatives.setdefault(function or name)
    elif name == SOLVE:
        scope.shared.custom_derivatives.setdefault(name)
    elif name in REMAT:
        scope.shared.has_checkpoint = True


def inherit(inner: Scope, outer: Scope) -> None:
    """Lines and named scopes of a jaxpr that stands in another."""
    inner.path, inner.call_sources = outer.path, outer.call_sources


def barrier(scope: Scope, eqn: Any, operands: list[int]) -> list[int]:
    """Operands of an inlined call; those of a rematerialised computation stand behind a barrier."""
    if eqn.primitive.name not in REMAT or not eqn.params.get("differentiated"):
        return operands
    prevent = eqn.params.get("prevent_cse", True)
    flags = (prevent,) * len(operands) if isinstance(prevent, bool) else tuple(prevent)
    held = [x for x, flag in zip(operands, flags, strict=True) if flag]
    if not held:
        return operands
    primitive = _compat.optimization_barrier()
    types = [scope.type(x) for x in held]
    results = iter(opaque(scope, primitive, {}, held, types))
    return [next(results) if flag else x for x, flag in zip(operands, flags, strict=True)]


def is_internal(jaxpr: Any) -> bool:
    """Whether a jaxpr was traced from a function of JAX itself."""
    return is_jax_internal(function_place(jaxpr)[1])


def _closed(jaxpr: Any) -> Any:
    return jaxpr if hasattr(jaxpr, "consts") else jex.ClosedJaxpr(jaxpr, ())


def _is_sharded(params: Any) -> bool:
    """Whether a jitted call asks for a placement over several devices; inlining would drop it."""
    shardings: Sequence[Any] = (*params.get("in_shardings", ()), *params.get("out_shardings", ()))
    return any(len(getattr(s, "device_set", ())) > 1 for s in shardings)
