# SPDX-License-Identifier: Apache-2.0
"""Walk the equations of a jaxpr: inline nested calls, hand each equation to what captures it, keep effects in order.

An equation that nothing captures becomes an opaque node with its own parameters: never an error, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.extend.core as jex
import numpy as np

from egraph_opt.capture import (
    calls,
    control,
    declared,
    general,
    indexing,
    layout,
    patches,
    pointwise,
    products,
    solves,
    windows,
)
from egraph_opt.capture.scope import Handler, Scope, squeeze, tensor_type
from egraph_opt.ir.types import is_numeric

HANDLERS: Mapping[str, Handler] = {
    **products.HANDLERS,
    **pointwise.HANDLERS,
    **layout.HANDLERS,
    **indexing.HANDLERS,
    **windows.HANDLERS,
    **patches.HANDLERS,
    **solves.HANDLERS,
    **control.HANDLERS,
    **declared.HANDLERS,
}


def run(scope: Scope, jaxpr: Any, consts: Sequence[Any], operands: Sequence[int]) -> list[int]:
    """Emit the equations of a jaxpr.

    Args:
        scope: where to.
        jaxpr: the open jaxpr.
        consts: values of its constvars.
        operands: nodes of its invars, squeezed.

    Returns:
        Nodes of its results, squeezed.
    """
    env: dict[Any, int] = dict(zip(jaxpr.invars, operands, strict=True))
    for var, array in zip(jaxpr.constvars, consts, strict=True):
        env[var] = scope.constant_input(array)
    settle = scope.folder.settle
    for eqn in jaxpr.eqns:
        scope.sources = scope.call_sources or scope.shared.places.find(eqn.source_info, scope.path)
        inputs = [settle(read(scope, env, atom)) for atom in eqn.invars]
        env.update(zip(eqn.outvars, equation(scope, eqn, inputs), strict=True))
    return [settle(read(scope, env, atom)) for atom in jaxpr.outvars]


def read(scope: Scope, env: Mapping[Any, int], atom: Any) -> int:
    """Node of a variable or literal."""
    if not isinstance(atom, jex.Literal):
        return env[atom]
    value: Any = atom.val
    if np.ndim(value):
        return scope.constant_input(value)
    return scope.emitter.constant(np.asarray(value).item(), tensor_type(atom.aval).dtype)


def equation(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int]:
    """Nodes of the results of one equation, squeezed."""
    name = eqn.primitive.name
    if general.has_special_context(eqn):
        return general.boxed(scope, eqn, operands)
    inner = calls.called(eqn)
    if inner is not None:
        known = solves.recognised(scope, eqn, inner, operands)
        if known is not None:
            return known
        calls.note(scope, eqn, inner)
        held = solves.solver_operands(eqn, operands) if name == calls.SOLVE else operands
        return call(scope, eqn, inner, calls.barrier(scope, eqn, held))
    empty = _empty(scope, eqn)
    if empty is not None:
        return empty
    handler = HANDLERS.get(name)
    results = handler(scope, eqn, operands) if handler else None
    return general.general(scope, eqn, operands) if results is None else results


def call(scope: Scope, eqn: Any, inner: Any, operands: Sequence[int]) -> list[int]:
    """Inline the jaxpr of a call; lines inside JAX's own functions are those of the call."""
    path, lines = scope.path, scope.call_sources
    name = scope.shared.places.scope(eqn.source_info.name_stack)
    scope.path = f"{path}/{name}" if path and name else path or name
    if lines is None and eqn.primitive.name in calls.JITS and calls.is_internal(inner.jaxpr):
        scope.call_sources = scope.sources
    try:
        return run(scope, inner.jaxpr, inner.consts, operands)
    finally:
        scope.path, scope.call_sources = path, lines


def _empty(scope: Scope, eqn: Any) -> list[int] | None:
    """Uniform constants for results without elements; they need no computation."""
    if eqn.effects or not eqn.outvars:
        return None
    types = [tensor_type(v.aval) for v in eqn.outvars]
    if any(t.size or not (is_numeric(t.dtype) or t.dtype == "bool") for t in types):
        return None
    return [scope.emitter.uniform(0, t.with_shape(squeeze(t.shape)), scope.sources) for t in types]
