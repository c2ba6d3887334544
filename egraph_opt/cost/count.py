# SPDX-License-Identifier: Apache-2.0
"""Counts of a program's work: arithmetic, memory traffic and kernels, independent of any device.

XLA's own analysis counts loop bodies once and library calls as nothing, so reports and tests count here, on the Graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from egraph_opt.cost.kernels import WHILE_TRIPS, kernels
from egraph_opt.cost.work import Kind, work
from egraph_opt.ir import Graph, Node, TensorType


@dataclass(frozen=True, slots=True)
class Count:
    """Work of a node or a program.

    Args:
        flops: additions, multiplications and the like, transcendental functions excluded [flop].
        contraction_flops: the part of them in matrix products and convolutions [flop].
        transcendentals: evaluations of exp, log, tanh, division ... weighted so that one exponential counts 1.
        bytes: read and written by all kernels [byte].
        launches: kernels started.
    """

    flops: float = 0.0
    contraction_flops: float = 0.0
    transcendentals: float = 0.0
    bytes: float = 0.0
    launches: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, factor: float) -> Count:
        """The same work done ``factor`` times."""
        return Count(*(getattr(self, f.name) * factor for f in fields(self)))


def count_node(node: Node, operand_types: Sequence[TensorType]) -> Count:
    """Work of one node alone, its operands and results in memory; of a control-flow node, what its sub-graphs do."""
    own = work(node, operand_types)
    if own.kind is Kind.CONTROL:
        return count_graph(alone(node, operand_types))
    launches = 0.0 if own.kind in (Kind.NOTHING, Kind.ALIAS) else 1.0
    nbytes = (sum(own.reads) + own.writes) * launches
    products = own.flops if _is_product(own.kind, node.op) else 0.0
    return Count(own.flops, products, own.transcendentals, nbytes, launches)


def count_graph(graph: Graph, free: Iterable[int] = (), while_trips: float = WHILE_TRIPS) -> Count:
    """Work of a whole program as XLA would run it.

    Args:
        graph: what is run.
        free: nodes whose values are there beforehand, see ``frozen_nodes``.
        while_trips: trips of loops whose number is not known.
    """
    flops = products = transcendentals = nbytes = launches = 0.0
    for kernel in kernels(graph, free, while_trips):
        flops += kernel.flops * kernel.times
        transcendentals += kernel.transcendentals * kernel.times
        nbytes += kernel.bytes * kernel.times
        launches += kernel.times
        if _is_product(kernel.kind, kernel.op):
            products += kernel.flops * kernel.times
    return Count(flops, products, transcendentals, nbytes, launches)


def alone(node: Node, operand_types: Sequence[TensorType]) -> Graph:
    """A Graph of inputs and this one node, which makes its results the outputs."""
    inputs = tuple(Node("input", (), (("index", i),), (t,)) for i, t in enumerate(operand_types))
    number = len(inputs)
    middle = Node(node.op, tuple(range(number)), node.attrs, node.types)
    return Graph((*inputs, middle), tuple(range(number)), (number,))


def _is_product(kind: Kind, op: str) -> bool:
    return kind is Kind.CONTRACTION or op.startswith("conv_general")
