# SPDX-License-Identifier: Apache-2.0
"""Walks over the nodes of a Graph, or of one that is being built, and what else has operands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from egraph_opt.ir.graph import Builder, Graph


def ancestors(graph: Graph | Builder, roots: Iterable[int], stop: Collection[int] = ()) -> set[int]:
    """The roots and all nodes that they need; what the nodes in ``stop`` need is not looked at."""
    barred = stop if isinstance(stop, set | dict) else set(stop)
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        number = stack.pop()
        if number not in seen:
            seen.add(number)
            if number not in barred:
                stack += graph.nodes[number].operands
    return seen


def topological(roots: Iterable[int], operands: Callable[[int], Sequence[int]]) -> Iterator[int]:
    """What the roots need, each once, operands before users; the first root, and what it needs, comes first."""
    seen: set[int] = set()
    for root in roots:
        stack = [(root, False)]
        while stack:
            number, ready = stack.pop()
            if ready:
                yield number
            elif number not in seen:
                seen.add(number)
                stack.append((number, True))
                stack.extend((q, False) for q in reversed(operands(number)) if q not in seen)
