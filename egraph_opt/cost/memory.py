# SPDX-License-Identifier: Apache-2.0
"""Peak memory of a program: the most bytes that are alive at once when stored values are freed after their last reader.

An estimate in the order of the nodes; XLA may schedule better and reuses buffers in place.
"""

from __future__ import annotations

from egraph_opt.cost.kernels import stored_nodes
from egraph_opt.cost.work import subgraphs
from egraph_opt.ir import Graph, Node
from egraph_opt.ops.kernel import KERNEL, lowering_of


def peak_bytes(graph: Graph) -> float:
    """Most bytes alive at once: inputs, outputs, stored values, and those of the sub-graph that is running [byte]."""
    stored = stored_nodes(graph)
    last = _last_uses(graph, stored)
    sizes = [float(sum(t.nbytes for t in node.types)) for node in graph.nodes]
    held = sum(sizes[n] for n in graph.inputs)
    free_at: dict[int, list[int]] = {}
    for number, place in last.items():
        free_at.setdefault(place, []).append(number)
    peak = held
    for number, node in enumerate(graph.nodes):
        if number in stored and node.op not in ("input", "result", "reshape"):
            held += sizes[number]
        inner = _inner_bytes(graph, node)
        peak = max(peak, held + inner)
        for gone in free_at.get(number, ()):
            if graph.nodes[gone].op not in ("input", "result", "reshape"):
                held -= sizes[gone]
    return peak


def _inner_bytes(graph: Graph, node: Node) -> float:
    """What a node holds while it runs, beside its operands and results [byte]."""
    if node.op != KERNEL:
        return max((peak_bytes(sub) for sub in subgraphs(node)), default=0.0)
    lowering = lowering_of(node.attr("name"), node.attr("lowering"))
    types = [graph.nodes[q].types[0] for q in node.operands]
    if lowering is not None and lowering.temporary_bytes is not None:
        return lowering.temporary_bytes(types, dict(node.attr("static")))
    return max(0.0, peak_bytes(node.attr("body")) - sum(t.nbytes for t in (*types, *node.types)))


def _last_uses(graph: Graph, stored: frozenset[int]) -> dict[int, int]:
    """Where each stored value is read last; what is computed inside a reader, or renames, counts as read there."""
    last = list(range(len(graph.nodes)))
    for root in (*graph.outputs, *graph.effects):
        last[root] = len(graph.nodes)
    for number in reversed(range(len(graph.nodes))):
        node = graph.nodes[number]
        through = number not in stored or node.op in ("result", "reshape")
        place = last[number] if through else number
        for q in node.operands:
            last[q] = max(last[q], place)
    return {number: last[number] for number in stored}
