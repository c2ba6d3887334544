# SPDX-License-Identifier: Apache-2.0
"""Walks over the nodes of a Graph, or of one that is being built."""

from __future__ import annotations

from collections.abc import Collection, Iterable

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
