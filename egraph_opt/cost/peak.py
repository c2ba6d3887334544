# SPDX-License-Identifier: Apache-2.0
"""Peak memory as a cost model: most bytes of intermediates at once, run time to break ties.

Its unit is the byte. Single e-nodes are priced by what they store, since a peak is no sum; programs by their peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egraph_opt.cost.memory import peak_bytes
from egraph_opt.cost.model import CostModel
from egraph_opt.cost.work import Kind, node_key, work
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ops.kernel import KERNEL, lowering_of

BYTES_PER_SECOND = 1e6
"""What a second of run time weighs [byte/s]: a millisecond as much as a kilobyte."""

FUSED_SHARE = 0.25
"""Part of elementwise results that is stored on average."""


class PeakMemory:
    """Bytes of intermediates.

    Args:
        seconds: model of run times.
    """

    name = "memory"

    def __init__(self, seconds: CostModel) -> None:
        self.seconds = seconds
        self._known: dict[Any, float] = {}

    def node_cost(self, node: Node, operand_types: Sequence[TensorType]) -> float:
        """Bytes that a node stores, alone [byte]."""
        key = node_key(node, operand_types)
        if key not in self._known:
            tie = BYTES_PER_SECOND * self.seconds.node_cost(node, operand_types)
            self._known[key] = _stored(node, operand_types) + tie
        return self._known[key]

    def graph_seconds(self, graph: Graph, free: frozenset[int] = frozenset()) -> float:
        """Most bytes that a program holds at once beside its arguments and results [byte]."""
        return temporary_bytes(graph) + BYTES_PER_SECOND * self.seconds.graph_seconds(graph, free)


def temporary_bytes(graph: Graph) -> float:
    """Most bytes alive at once that are neither arguments nor results, by the estimate of ``peak_bytes`` [byte]."""
    outputs = {n for n in graph.outputs if n not in graph.inputs}
    held = sum(graph.nodes[n].types[0].nbytes for n in (*graph.inputs, *outputs))
    return max(0.0, peak_bytes(graph) - held)


def _stored(node: Node, operand_types: Sequence[TensorType]) -> float:
    own = work(node, operand_types)
    if own.kind in (Kind.NOTHING, Kind.ALIAS):
        return 0.0
    if node.op == KERNEL:
        lowering = lowering_of(node.attr("name"), node.attr("lowering"))
        if lowering is not None and lowering.temporary_bytes is not None:
            return own.writes + lowering.temporary_bytes(operand_types, dict(node.attr("static")))
        return own.writes + temporary_bytes(node.attr("body"))
    return own.writes * (FUSED_SHARE if own.kind is Kind.FUSED else 1.0)
