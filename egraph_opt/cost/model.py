# SPDX-License-Identifier: Apache-2.0
"""Cost models: the protocol that extraction and reports use, the plain FLOP count, and the ``cost=`` option.

A model prices single e-nodes, additively, for extraction; and whole graphs, fusion and loops seen, for the choice among
extracted programs and for reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from egraph_opt.cost.count import alone, count_graph
from egraph_opt.cost.device import Device
from egraph_opt.cost.roofline import Roofline
from egraph_opt.cost.work import Kind, node_key, work
from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph, Node, TensorType

TRANSCENDENTAL_FLOPS = 10.0
"""Weight of one exponential in a FLOP count [flop]."""

BYTE_WEIGHT = 1e-6
"""Bytes break ties of a FLOP count only [flop/byte]."""


@runtime_checkable
class CostModel(Protocol):
    """Prices of e-nodes and of programs, in one unit: seconds for a device model."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def node_cost(self, node: Node, operand_types: Sequence[TensorType]) -> float:
        """Price of one node alone: additive, finite, above 0; called once for each e-node."""
        ...

    def graph_seconds(self, graph: Graph, free: frozenset[int] = frozenset()) -> float:
        """Price of a whole program; ``free`` nodes are computed beforehand (see ``frozen_nodes``)."""
        ...


class FlopCount:
    """Arithmetic alone, bytes as tie-breaker; its unit is the flop, not the second."""

    name = "flops"

    def __init__(self) -> None:
        self._known: dict[Any, float] = {}

    def node_cost(self, node: Node, operand_types: Sequence[TensorType]) -> float:
        """Flops of one node, transcendental functions at a fixed weight, a trace of its bytes [flop]."""
        key = node_key(node, operand_types)
        price = self._known.get(key)
        if price is None:
            price = self._known[key] = self._price(node, operand_types)
        return price

    def graph_seconds(self, graph: Graph, free: frozenset[int] = frozenset()) -> float:
        """Flops of a program, with what fusion repeats and loops hoist [flop]."""
        count = count_graph(graph, free)
        return count.flops + TRANSCENDENTAL_FLOPS * count.transcendentals + BYTE_WEIGHT * count.bytes

    def _price(self, node: Node, operand_types: Sequence[TensorType]) -> float:
        own = work(node, operand_types)
        if own.kind is Kind.CONTROL:
            return self.graph_seconds(alone(node, operand_types)) + BYTE_WEIGHT
        nbytes = 0.0 if own.kind in (Kind.NOTHING, Kind.ALIAS) else sum(own.reads) + own.writes
        return own.flops + TRANSCENDENTAL_FLOPS * own.transcendentals + BYTE_WEIGHT * (1.0 + nbytes)


def cost_model(spec: str | CostModel | None = None, platform: str = "cpu") -> CostModel:
    """The model that the public option ``cost=`` names.

    Args:
        spec: "roofline" (also None), "flops", a ``Device`` for a roofline of that device, or a model.
        platform: JAX's platform name, for the default device.

    Raises:
        ArgumentError: another word or object.
    """
    if spec is None or spec == "roofline":
        return Roofline(Device.default(platform))
    if spec == "flops":
        return FlopCount()
    if isinstance(spec, Device):
        return Roofline(spec)
    if isinstance(spec, str) or not isinstance(spec, CostModel):
        raise ArgumentError(
            f"cost={spec!r}; want 'roofline', 'flops', a Device, or an object with the CostModel methods"
        )
    return spec
