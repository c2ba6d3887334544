# SPDX-License-Identifier: Apache-2.0
"""Scatters that add rows into zeros: sums of rows by id, which products can be moved through.

``jax.ops.segment_sum``, ``zeros.at[ids].add(rows)`` and the gradient of ``table[ids]`` are such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from egraph_opt.capture.scope import Scope, squeeze
from egraph_opt.ir import TensorType
from egraph_opt.ir.types import is_numeric

MODES = {"CLIP": True, "FILL_OR_DROP": False, "PROMISE_IN_BOUNDS": False}
"""Whether ids out of range are clipped; what is promised to be in range may as well be dropped."""


def segments(scope: Scope, eqn: Any, operands: Sequence[int]) -> int | None:
    """The sum by id that a scatter into zeros is; None for others.

    Args:
        scope: of the captured program.
        eqn: the ``scatter-add``; its first operand is known to be zero.
        operands: nodes of the operands.
    """
    (into, indices, rows), dims = (v.aval for v in eqn.invars), eqn.params["dimension_numbers"]
    clips = MODES.get(getattr(eqn.params["mode"], "name", ""))
    batch = indices.ndim - 1
    plain = (
        batch >= 1
        and into.ndim >= 1
        and indices.shape[-1] == 1
        and tuple(dims.inserted_window_dims) == tuple(dims.scatter_dims_to_operand_dims) == (0,)
        and not dims.operand_batching_dims
        and tuple(dims.update_window_dims) == tuple(range(batch, rows.ndim))
        and rows.shape[batch:] == into.shape[1:]
    )
    if clips is None or not plain or not is_numeric(str(into.dtype)) or str(rows.dtype) != str(into.dtype):
        return None
    emitter, count = scope.emitter, math.prod(indices.shape[:-1])
    if count == 0 or math.prod(into.shape) == 0:
        return None
    row = squeeze(into.shape[1:])
    held = emitter.reshape(operands[2], (count, *row), scope.sources)
    ids = emitter.reshape(operands[1], (count,), scope.sources)
    attrs, kind = (("size", into.shape[0]), ("clips", clips)), TensorType((into.shape[0], *row), str(into.dtype))
    return scope.squeezed(emitter.add("segment_sum", (held, ids), attrs, kind, scope.sources))
