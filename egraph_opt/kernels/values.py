# SPDX-License-Identifier: Apache-2.0
"""Values of a piece of program in double precision, in numpy and at small sizes: what idioms are recognised by."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.types import is_floating
from egraph_opt.rules.check.arithmetic import FUNCTIONS
from egraph_opt.rules.check.evaluate import EvaluationError, evaluate
from egraph_opt.verify.promote import promote_graph

Array = np.ndarray[Any, Any]

_SCALAR: dict[str, Callable[[float], float]] = {
    "erf": math.erf,
    "erfc": math.erfc,
    "lgamma": math.lgamma,
}
_OWN = frozenset({"einsum", "add", "constant", "convert_element_type"})
_VECTOR = {name: np.vectorize(function, otypes=[np.float64]) for name, function in _SCALAR.items()}


def value(graph: Graph, leaves: Sequence[Array]) -> Array | None:
    """The only output of a graph, float types as float64; None where some operation has no value in numpy."""
    wide = _promoted(graph)
    values: list[Array] = [np.zeros(())] * len(wide.nodes)
    for number, leaf in zip(wide.inputs, leaves, strict=True):
        values[number] = leaf
    try:
        for number, node in enumerate(wide.nodes):
            if node.op != "input":
                values[number] = _value(node, [values[q] for q in node.operands])
    except EvaluationError:
        return None
    return values[wide.outputs[0]]


def _value(node: Node, operands: Sequence[Array]) -> Array:
    function = _VECTOR.get(node.op)
    if function is not None and len(operands) == 1:
        return np.asarray(function(operands[0]))
    if node.op not in FUNCTIONS and node.op not in _OWN:
        raise EvaluationError(f"{node.op} is not computed here")
    return evaluate(node, operands)


@functools.lru_cache(maxsize=2_000)
def _promoted(graph: Graph) -> Graph:
    return promote_graph(graph)


class Likeness(enum.IntEnum):
    """How far two results are the same."""

    NONE = 0
    FINITE = 1
    SAME = 2


def likeness(found: Array, wanted: Array, tolerance: float) -> Likeness:
    """Whether a piece and a pattern gave the same up to the rounding of constants.

    ``FINITE`` where the piece overflows and the pattern does not: they are equal over the reals only.
    """
    if found.shape != wanted.shape or found.dtype.kind != wanted.dtype.kind:
        return Likeness.NONE
    if wanted.dtype.kind not in "fc":
        return Likeness.SAME if np.array_equal(found, wanted) else Likeness.NONE
    finite = np.isfinite(wanted)
    both = finite & np.isfinite(found)
    a, b = found[both], wanted[both]
    scale = float(np.max(np.abs(b), initial=0.0))
    if not (np.abs(a - b) <= tolerance * (np.abs(b) + 1e-3 * scale) + 1e-300).all():
        return Likeness.NONE
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
        return Likeness.NONE
    return Likeness.SAME if both.sum() == finite.sum() else Likeness.FINITE


def tolerance_of(dtypes: Sequence[str]) -> float:
    """Relative difference that the rounding of constants to these element types may cause."""
    narrowest = [2.0 ** -_BITS.get(dtype, 24) for dtype in dtypes if is_floating(dtype)]
    return 8.0 * max(narrowest, default=2.0**-24)


_BITS = {"float64": 30, "float32": 24, "float16": 11, "bfloat16": 8}
