# SPDX-License-Identifier: Apache-2.0
"""Elementwise equations, conversions and selections.

JAX lets operands be scalars or have dimensions of size 1 where the result has more: they are aligned by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egraph_opt.capture import masks
from egraph_opt.capture.bands import with_band, written_triangle
from egraph_opt.capture.products import spread
from egraph_opt.capture.scope import Handler, Scope, is_placed, squeeze, tensor_type
from egraph_opt.ir.attrs import DType
from egraph_opt.ops import op_of_primitive


def aligned(scope: Scope, op: str, attrs: Sequence[tuple[str, Any]], eqn: Any, operands: Sequence[int]) -> int:
    """An elementwise op over operands brought to the result's shape; scalars stay scalars."""
    aval = eqn.outvars[0].aval
    shape = tuple(aval.shape)
    held = [
        x if not scope.type(x).shape else spread(scope, x, atom.aval.shape, shape)
        for x, atom in zip(operands, eqn.invars, strict=True)
    ]
    type = tensor_type(aval).with_shape(squeeze(shape))
    if not any(scope.type(x).shape for x in held) and type.shape:
        number = aligned_scalar(scope, op, attrs, held, type.dtype)
        return spread(scope, number, (), shape)
    return scope.emitter.elementwise(op, held, tuple(attrs), type, scope.sources)


def aligned_scalar(scope: Scope, op: str, attrs: Sequence[tuple[str, Any]], operands: Sequence[int], dtype: str) -> int:
    """An elementwise op over scalars."""
    type = scope.type(operands[0]).with_shape(())
    return scope.emitter.elementwise(op, operands, tuple(attrs), type.__class__((), dtype), scope.sources)


def convert(scope: Scope, x: int, dtype: str) -> int:
    """``x`` in another element type; the same type needs nothing, a constant is rounded here."""
    type = scope.type(x)
    if type.dtype == dtype:
        return x
    scalar = scope.emitter.uniform_scalar(x)
    if scalar is not None and scope.emitter.scalar_value(scalar) is not None:
        value = scope.folder.value(scalar)
        number = scope.emitter.elementwise(
            "convert_element_type", [scalar], (("new_dtype", DType(dtype)),), type.__class__((), dtype), scope.sources
        )
        folded = scope.folder.settle(number) if value is not None else number
        return scope.emitter.broadcast(folded, "", type.shape, scope.sources) if type.shape else folded
    diagonal = masks.written_diagonal(scope, x, dtype)
    if diagonal is not None:
        return diagonal
    triangle = written_triangle(scope, x, dtype)
    if triangle is not None:
        return triangle
    attrs = (("new_dtype", DType(dtype)),)
    return scope.emitter.elementwise(
        "convert_element_type", [x], attrs, type.__class__(type.shape, dtype), scope.sources
    )


def _convert_element_type(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    if is_placed(eqn.params.get("sharding")):
        return None
    return [convert(scope, operands[0], str(eqn.outvars[0].aval.dtype))]


def _select_n(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape = tuple(eqn.outvars[0].aval.shape)
    if operands[1:] and len(set(operands[1:])) == 1 and scope.type(operands[1]).shape == squeeze(shape):
        return [operands[1]]
    if masks.selects_truth(scope, operands):
        return [operands[0]]
    masked = masks.selected_diagonal(scope, operands) if len(operands) == 3 else None
    if masked is not None:
        return [masked]
    op = op_of_primitive("select_n")
    return None if op is None else [with_band(scope, aligned(scope, op.name, (), eqn, operands), operands)]


def _same(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    return operands[:1]


HANDLERS: dict[str, Handler] = {
    "convert_element_type": _convert_element_type,
    "select_n": _select_n,
    "copy": _same,
    "copy_p": _same,
}
