# SPDX-License-Identifier: Apache-2.0
"""How a whole Graph runs: nodes grouped into kernels the way XLA fuses them, with how often each kernel runs.

Elementwise work is computed inside whoever reads it; matrix products, routines and reductions end a kernel. A kernel in
the body of a loop runs once per trip, unless it reads nothing that the loop changes: XLA hoists it. What reads no input
at all, and what the caller calls free, costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from egraph_opt.cost.fusion import PAID, Fusion
from egraph_opt.cost.work import IN_PLACE, PARTIAL_READS, Kind, Product, routine, subgraphs
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ops.kernel import KERNEL, Lowering, lowering_of

WHILE_TRIPS = 10.0
"""Trips of a loop whose number is not known."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One piece of code that XLA starts at once.

    Args:
        kind: what sort of work ends it.
        op: op of the node whose value it stores.
        node: number of that node in its own graph.
        path: numbers of the control-flow nodes around it, outermost first.
        flops: arithmetic of one run [flop].
        transcendentals: evaluations that count like one exponential, of one run.
        bytes: read and written in one run [byte].
        copied: the part of them that brings the tensors of a product into matrix order [byte].
        dtype: element type of the arithmetic.
        times: number of runs.
        product: sizes, for a contraction.
        call: lowering, argument types and static keywords, where it runs as a registered kernel.
        grain: share of its usual speed that a routine for CPUs reaches.
        cold: the part of the bytes that no kernel has had in hand before: inputs, and what was there beforehand [byte].
        resident: all such bytes of the whole program; what is cold comes from the cache where they fit into it [byte].
    """

    kind: Kind
    op: str
    node: int
    path: tuple[int, ...]
    flops: float
    transcendentals: float
    bytes: float
    copied: float
    dtype: str
    times: float
    product: Product | None = None
    call: tuple[Lowering, tuple[TensorType, ...], Mapping[str, Any]] | None = None
    grain: float = 1.0
    cold: float = 0.0
    resident: float = 0.0


def kernels(
    graph: Graph, free: Iterable[int] = (), while_trips: float = WHILE_TRIPS, any_branch: bool = False
) -> list[Kernel]:
    """The kernels of a Graph, sub-graphs included.

    Args:
        graph: what is run.
        free: nodes whose values are there beforehand, see ``frozen_nodes``.
        while_trips: trips of loops whose number is not known.
        any_branch: whether each branch of a choice counts with its share, as if all were as likely; else the dearest
            one counts.
    """
    found: list[Kernel] = []
    levels = [PAID if number in free else 0 for number in graph.inputs]
    _Kernels(graph, frozenset(free), levels, (), (), while_trips, any_branch).emit(found)
    resident = sum(k.cold for k in found)
    return [replace(k, resident=resident) if k.cold else k for k in found]


def stored_nodes(graph: Graph) -> frozenset[int]:
    """Nodes of the graph itself whose values are kept in memory, inputs included; others are computed on the fly."""
    fusion = Fusion(graph, frozenset(), [0] * len(graph.inputs), 0)
    return frozenset(number for number, stored in enumerate(fusion.stored) if stored)


def frozen_nodes(graph: Graph, inputs: Iterable[int]) -> frozenset[int]:
    """Nodes that can be computed once when some inputs never change.

    Args:
        graph: any graph.
        inputs: positions of the frozen inputs.

    Returns:
        Numbers of the nodes that read nothing but frozen inputs and constants, the inputs themselves included.
    """
    frozen = {graph.inputs[position] for position in inputs}
    barred = set(graph.effects)
    for number, node in enumerate(graph.nodes):
        if node.operands and number not in barred and all(q in frozen or _is_text(graph, q) for q in node.operands):
            frozen.add(number)
    return frozenset(frozen)


def _is_text(graph: Graph, number: int) -> bool:
    return graph.nodes[number].op == "constant"


class _Kernels:
    """The kernels of one graph, given the loop level at which each of its inputs changes."""

    def __init__(
        self,
        graph: Graph,
        free: frozenset[int],
        input_levels: Sequence[int],
        trips: tuple[float, ...],
        path: tuple[int, ...],
        while_trips: float,
        any_branch: bool,
    ) -> None:
        self.graph, self.trips, self.path = graph, trips, path
        self.while_trips, self.any_branch = while_trips, any_branch
        self.fusion = Fusion(graph, free, input_levels, len(trips))
        self.works, self.levels = self.fusion.works, self.fusion.levels

    def emit(self, found: list[Kernel]) -> None:
        """Append the kernels in the order in which they can run."""
        for number, node in enumerate(self.graph.nodes):
            kind = self.works[number].kind
            if self.levels[number] <= PAID or kind is Kind.NOTHING:
                continue
            if kind is Kind.CONTROL:
                self._control(number, node, found)
            elif kind in (Kind.FUSED, Kind.REDUCTION, Kind.ALIAS):
                if self.fusion.stored[number] and not self.fusion.is_renaming(number):
                    found.append(self._loop(number))
            else:
                found.append(self._routine(number))

    def _loop(self, root: int) -> Kernel:
        """The kernel that computes a stored value together with everything inlined into it."""
        flops = transcendentals = 0.0
        reads: dict[int, float] = {}
        seen = {root}
        stack = [root]
        while stack:
            number = stack.pop()
            flops += self.works[number].flops
            transcendentals += self.works[number].transcendentals
            node = self.graph.nodes[number]
            partial = node.op in PARTIAL_READS
            for q, nbytes in zip(node.operands, self.works[number].reads, strict=True):
                if self.fusion.is_boundary(q):
                    limit = nbytes if partial else self._nbytes(q)
                    reads[q] = max(reads.get(q, 0.0), limit)
                elif q not in seen:
                    seen.add(q)
                    stack.append(q)
        own = self.works[root]
        kernel = self._kernel(root, own.kind, flops, transcendentals, sum(reads.values()) + own.writes)
        return self._with_cold(kernel, reads.items())

    def _nbytes(self, number: int) -> float:
        node = self.graph.nodes[number]
        if node.op == "constant" and not node.types[0].shape:
            return 0.0
        return float(sum(t.nbytes for t in node.types))

    def _routine(self, number: int) -> Kernel:
        own, node = self.works[number], self.graph.nodes[number]
        nbytes = sum(own.reads) + own.writes
        if node.op in IN_PLACE and self.trips and len(own.reads) > 1:
            nbytes = 2 * sum(own.reads[1:])
        kernel = self._kernel(number, own.kind, own.flops, own.transcendentals, nbytes)
        narrow = self.fusion.narrow(number)
        if narrow is not None:
            saved = sum(own.reads) * (1.0 - narrow.itemsize / node.types[0].itemsize)
            kernel = replace(kernel, dtype=narrow.dtype, bytes=kernel.bytes - saved)
        return self._with_cold(kernel, zip(node.operands, own.reads, strict=True))

    def _with_cold(self, kernel: Kernel, reads: Iterable[tuple[int, float]]) -> Kernel:
        """The kernel with what it reads first of all; in a loop that is read again and again."""
        if self.path:
            return kernel
        cold = sum(nbytes for q, nbytes in reads if self.levels[q] <= PAID or self.graph.nodes[q].op == "input")
        return replace(kernel, cold=min(cold, kernel.bytes - kernel.copied))

    def _kernel(
        self,
        number: int,
        kind: Kind,
        flops: float,
        transcendentals: float,
        nbytes: float,
    ) -> Kernel:
        times = math.prod(self.trips[: self.levels[number]])
        op, own = routine(self.graph.nodes[number]), self.works[number]
        copied, total = own.copied, nbytes + own.copied
        work = (kind, op, number, self.path, flops, transcendentals, total, copied, own.dtype, times)
        return Kernel(*work, product=own.product, grain=own.grain)

    def _control(self, number: int, node: Node, found: list[Kernel]) -> None:
        """Kernels of sub-graphs: loop bodies times their trips, the dearest branch of a choice, or a share of each."""
        level = self.levels[number]
        outer = self.trips[:level]
        operands = [self.levels[q] for q in node.operands]
        path = (*self.path, number)

        def inside(sub: Graph, levels: Sequence[int], trips: tuple[float, ...]) -> list[Kernel]:
            kernels: list[Kernel] = []
            _Kernels(sub, frozenset(), levels, trips, path, self.while_trips, self.any_branch).emit(kernels)
            return kernels

        attrs = node.kwargs
        if node.op == "scan":
            (body,) = subgraphs(node)
            trips = (*outer, float(attrs["length"]))
            consts = int(attrs.get("num_consts", 0))
            found.append(self._turn(number, trips))
            found += inside(body, _changing(operands, consts, body, level + 1), trips)
        elif node.op == "while":
            trips = (*outer, self.while_trips)
            found.append(self._turn(number, trips))
            for sub, mine, skip in _while_parts(node):
                shared = operands[skip : skip + mine]
                found += inside(sub, _changing(shared, mine, sub, level + 1), trips)
        elif node.op == KERNEL:
            found += self._called(number, inside(attrs["body"], operands, outer))
        else:
            graphs = subgraphs(node)
            chosen = operands[len(operands) - len(graphs[0].inputs) :]
            branches = [inside(sub, chosen, outer) for sub in graphs]
            if self.any_branch:
                found += [replace(k, times=k.times / len(branches)) for branch in branches for k in branch]
            else:
                found += max(branches, key=_weight)

    def _called(self, number: int, inner: list[Kernel]) -> list[Kernel]:
        """The kernels of a registered one: one that does all of it, or those of its sub-graph without a lowering."""
        node = self.graph.nodes[number]
        lowering = lowering_of(node.attr("name"), node.attr("lowering"))
        if lowering is None:
            return inner
        types = tuple(self.graph.nodes[q].types[0] for q in node.operands)
        nbytes = sum(t.nbytes for t in (*types, *node.types))
        whole = self._kernel(
            number,
            Kind.CONTROL,
            sum(k.flops for k in inner),
            sum(k.transcendentals for k in inner),
            nbytes,
        )
        return [replace(whole, call=(lowering, types, dict(node.attr("static"))))]

    def _turn(self, number: int, trips: tuple[float, ...]) -> Kernel:
        """The turn of a loop itself: a start, no work."""
        op = self.graph.nodes[number].op
        return Kernel(Kind.CONTROL, op, number, self.path, 0.0, 0.0, 0.0, 0.0, "int32", math.prod(trips))


def _changing(operands: Sequence[int], consts: int, body: Graph, level: int) -> list[int]:
    """Levels of the inputs of a loop body: its constants keep theirs, the rest changes with every trip."""
    return [*operands[:consts], *[level] * (len(body.inputs) - consts)]


def _while_parts(node: Node) -> list[tuple[Graph, int, int]]:
    """Condition and body of a while loop: graph, number of its constants, and where they start among the operands."""
    attrs = node.kwargs
    graphs = {name: value for name, value in attrs.items() if isinstance(value, Graph)}
    condition = next(value for name, value in graphs.items() if name.startswith("cond"))
    body = next(value for name, value in graphs.items() if name.startswith("body"))
    first, second = int(attrs.get("cond_nconsts", 0)), int(attrs.get("body_nconsts", 0))
    return [(condition, first, 0), (body, second, first)]


def _weight(found: Iterable[Kernel]) -> float:
    """One number by which branches are compared."""
    return sum(k.times * (k.flops + 10.0 * k.transcendentals + k.bytes) for k in found)
