# SPDX-License-Identifier: Apache-2.0
"""Control flow whose sub-graphs are replaced by better ones: what stays the same in them, and how often they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from egraph_opt.ir import Graph, Node

WHILE_TRIPS = 10.0
"""Trips that a ``while`` of unknown length is priced with."""


def with_bodies(node: Node, best: Callable[[Graph, frozenset[int], float], Graph]) -> Node:
    """The node with its sub-graphs replaced by ``best(sub-graph, steady input positions, trips)``."""
    values = node.kwargs
    changes: dict[str, Graph | tuple[Graph, ...]]
    if node.op == "scan":
        changes = {"body": best(values["body"], frozenset(range(values["num_consts"])), float(values["length"]))}
    elif node.op == "while":
        changes = {
            part: best(values[part], frozenset(range(values[f"{part}_nconsts"])), WHILE_TRIPS)
            for part in ("cond", "body")
        }
    elif node.op == "cond":
        changes = {"branches": tuple(best(branch, frozenset(), 1.0) for branch in values["branches"])}
    else:
        return node
    attrs = tuple((name, changes.get(name, value)) for name, value in node.attrs)
    return replace(node, attrs=attrs)
