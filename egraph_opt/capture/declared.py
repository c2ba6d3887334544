# SPDX-License-Identifier: Apache-2.0
"""Captures what ``assume`` states: facts about matrices hold as long as both their dimensions are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from egraph_opt.capture.scope import Handler, Scope
from egraph_opt.ir.structure import ELEMENTWISE
from egraph_opt.ops.declared import ASSUME


def _assume(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int]:
    """A node with the facts that make sense for the squeezed tensor; none where no fact is left."""
    (x,) = operands
    shape = eqn.outvars[0].aval.shape
    facts = eqn.params["facts"]
    if len(shape) < 2 or min(shape[-2:]) < 2:
        facts = tuple(fact for fact in facts if fact in ELEMENTWISE)
    if not facts:
        return [x]
    return [scope.add(ASSUME, [x], [("facts", facts)], scope.type(x))]


HANDLERS: Mapping[str, Handler] = {ASSUME: _assume}
