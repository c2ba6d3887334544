# SPDX-License-Identifier: Apache-2.0
"""Slices on squeezed tensors, and the axes that a squeezed tensor keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from egraph_opt.capture.scope import Scope, squeeze
from egraph_opt.ir import TensorType
from egraph_opt.ops import op_of_primitive


def emit(
    scope: Scope, primitive: str, operands: Sequence[int], params: Mapping[str, Any], shape: Sequence[int], dtype: str
) -> int | None:
    """The op of a primitive with changed parameters, or None where there is no record that can hold them."""
    op = op_of_primitive(primitive)
    attrs = None if op is None else op.from_params(params)
    if op is None or attrs is None:
        return None
    return scope.add(op.name, operands, attrs, TensorType(tuple(shape), dtype))


def one(number: int | None) -> list[int] | None:
    """A result list of one node, unless there is none."""
    return None if number is None else [number]


def kept_axes(shape: Sequence[int], needed: Sequence[int] = ()) -> list[int]:
    """Axes that a squeezed tensor has, and those that must be there although their size is 1."""
    return [i for i, n in enumerate(shape) if n != 1 or i in needed]


def at(scope: Scope, x: int, shape: Sequence[int], axes: Sequence[int]) -> int:
    """``x`` with exactly these axes of its true shape."""
    return scope.emitter.reshape(x, tuple(shape[i] for i in axes), scope.sources)


def sliced(
    scope: Scope, x: int, shape: Sequence[int], start: Sequence[int], limit: Sequence[int], strides: Any = None
) -> int | None:
    """A slice of ``x``, given at its true shape."""
    strides = strides or (1,) * len(shape)
    if all(a == 0 and b == n and s == 1 for a, b, n, s in zip(start, limit, shape, strides, strict=True)):
        return x
    axes = kept_axes(shape)
    small = tuple(-(-(limit[i] - start[i]) // strides[i]) for i in axes)
    scalar = scope.emitter.uniform_scalar(x)
    if scalar is not None:
        return scope.emitter.broadcast(scalar, "", squeeze(small), scope.sources)
    steps = tuple(int(strides[i]) for i in axes)
    params = {
        "start_indices": tuple(int(start[i]) for i in axes),
        "limit_indices": tuple(int(limit[i]) for i in axes),
        "strides": None if set(steps) <= {1} else steps,
    }
    return emit(scope, "slice", [at(scope, x, shape, axes)], params, small, scope.type(x).dtype)
