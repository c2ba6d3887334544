# SPDX-License-Identifier: Apache-2.0
"""What two programs must share whatever their values: types of inputs and outputs, and effects in their order."""

from __future__ import annotations

from typing import Any

from egraph_opt.ir import Graph, Node


def effects(graph: Graph) -> list[tuple[Any, ...]]:
    """What a program does beside computing, in order: its effect nodes without their operands.

    Calls back into Python are listed too, even pure ones: they are the user's code, not ours to run on made-up inputs.
    """
    found: list[tuple[Any, ...]] = []
    for part in (graph, *graph.subgraphs()):
        ordered = set(part.effects)
        numbers = [*part.effects, *(n for n, node in enumerate(part.nodes) if n not in ordered and _is_callback(node))]
        found += [(part.nodes[n].op, part.nodes[n].attrs, part.nodes[n].types) for n in numbers]
    return found


def interface_fault(original: Graph, candidate: Graph) -> str:
    """What keeps ``candidate`` from standing in for ``original``, judged without running either; "" if nothing."""
    # The weak type of an input belongs to the caller; lowering drops it.
    inputs = [tuple(t.strong() for t in graph.input_types) for graph in (original, candidate)]
    for what, mine, theirs in (
        ("input", *inputs),
        ("output", original.output_types, candidate.output_types),
    ):
        if mine != theirs:
            return f"{what} types differ: {', '.join(map(str, theirs))}; want {', '.join(map(str, mine))}"
    return "effects differ" if effects(original) != effects(candidate) else ""


def _is_callback(node: Node) -> bool:
    return node.op == "opaque" and "callback" in str(node.kwargs.get("name", ""))
