# SPDX-License-Identifier: Apache-2.0
"""Whether two tables may be the cosine and the sine of one angle, as far as the program shows how they were made.

What comes in as an argument, or is read out of one, is taken at its word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egraph_opt.ir import Graph, Spec
from egraph_opt.kernels.region import piece
from egraph_opt.kernels.values import Array, value

THROUGH = frozenset({"reshape", "concatenate", "einsum", "convert_element_type", "slice", "stack", "copy"})
"""Operations through which a table is followed to where it was made."""

BEFORE = THROUGH | {"cos", "sin"}

MOST_STEPS = 24
LARGEST = 1 << 22
UNEVEN = 0.02
"""Relative difference of squared lengths that the rounding of half precision may cause."""


def are_tables(graph: Graph, tables: Sequence[int], known: frozenset[int]) -> bool:
    """Whether two tables may be a cosine and a sine, in this order; one of complex numbers always may.

    Args:
        graph: the program.
        tables: their nodes.
        known: nodes that read no input.
    """
    if len(tables) == 1:
        return True
    if any(_is_mixed(graph, n) for n in tables):
        return False
    if all(n in known for n in tables):
        cos, sin = (_value(graph, n) for n in tables)
        return cos is not None and sin is not None and _turns(cos, sin)
    cosines, sines = (_made(graph, n) for n in tables)
    if not cosines or not sines:
        return not any(op == "sin" for op, _ in cosines) and not any(op == "cos" for op, _ in sines)
    kinds = {op for op, _ in cosines} == {"cos"} and {op for op, _ in sines} == {"sin"}
    return kinds and {angle for _, angle in cosines} == {angle for _, angle in sines}


def _is_mixed(graph: Graph, number: int) -> bool:
    """Whether a table is a negative multiple, or put together of two halves that differ."""
    node = graph.nodes[number]
    for _ in range(MOST_STEPS):
        if node.op == "concatenate" and len(node.operands) == 2 and node.attr("dimension") == node.type.rank - 1:
            return node.operands[0] != node.operands[1]
        if node.op == "einsum" and Spec.parse(node.attr("spec")).scale < 0:
            return True
        if node.op not in BEFORE or len(node.operands) != 1:
            return False
        node = graph.nodes[node.operands[0]]
    return False


def _made(graph: Graph, number: int) -> set[tuple[str, int]]:
    """Cosines and sines that a table is made of, with their angles."""
    found: set[tuple[str, int]] = set()
    stack, seen = [number], {number}
    while stack and len(seen) < MOST_STEPS:
        node = graph.nodes[stack.pop()]
        if node.op in ("cos", "sin"):
            found.add((node.op, node.operands[0]))
        elif node.op in THROUGH:
            fresh = [q for q in node.operands if q not in seen]
            seen.update(fresh)
            stack += fresh
    return found


def _value(graph: Graph, number: int) -> Array | None:
    node = graph.nodes[number]
    made = piece(graph, number, ()) if node.type.size <= LARGEST else None
    return None if made is None else value(made.graph, ())


def _turns(cos: Array, sin: Array) -> bool:
    """Whether known tables turn by angles, not all of a row by a quarter, as swapped ones do, and not all backwards."""
    if cos.shape != sin.shape:
        return False
    squares = cos * cos + sin * sin
    length = float(np.max(squares, initial=0.0))
    if not np.isfinite(squares).all() or length == 0 or float(np.min(squares)) < (1 - UNEVEN) * length:
        return False
    rows = (np.abs(cos) < UNEVEN * np.sqrt(length)) & (sin > 0)
    if rows.reshape(-1, rows.shape[-1]).all(-1).any():
        return False
    slow = sin.reshape(-1, sin.shape[-1])[:, np.argmax(cos.reshape(-1, cos.shape[-1]).sum(0))]
    return bool((slow >= 0).all() or (slow > 0).any())
