# SPDX-License-Identifier: Apache-2.0
"""How a whole Graph runs: nodes grouped into kernels the way XLA fuses them, with how often each kernel runs.

Elementwise work is computed inside whoever reads it; matrix products, routines and reductions end a kernel. A kernel in
the body of a loop runs once per trip, unless it reads nothing that the loop changes: XLA hoists it. What reads no input
at all, and what the caller calls free, costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from egraph_opt.cost.work import IN_PLACE, PARTIAL_READS, Kind, Product, Work, moves_only, subgraphs, work
from egraph_opt.ir import Graph, Node, Spec, TensorType

WHILE_TRIPS = 10.0
"""Trips of a loop whose number is not known."""

MAX_COPIES = 8
"""Cheap work is repeated in at most so many kernels before it is stored."""

PAID = -1
"""Level of what is computed before the program runs; levels from 0 up are loop depths."""


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


def kernels(graph: Graph, free: Iterable[int] = (), while_trips: float = WHILE_TRIPS) -> list[Kernel]:
    """The kernels of a Graph, sub-graphs included.

    Args:
        graph: what is run.
        free: nodes whose values are there beforehand, see ``frozen_nodes``.
        while_trips: trips of loops whose number is not known.
    """
    found: list[Kernel] = []
    levels = [PAID if number in free else 0 for number in graph.inputs]
    _Grouping(graph, frozenset(free), levels, (), (), while_trips).emit(found)
    return found


def stored_nodes(graph: Graph) -> frozenset[int]:
    """Nodes of the graph itself whose values are kept in memory, inputs included; others are computed on the fly."""
    grouping = _Grouping(graph, frozenset(), [0] * len(graph.inputs), (), (), WHILE_TRIPS)
    return frozenset(number for number, stored in enumerate(grouping.stored) if stored)


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


class _Grouping:
    """The kernels of one graph, given the loop level at which each of its inputs changes."""

    def __init__(
        self,
        graph: Graph,
        free: frozenset[int],
        input_levels: Sequence[int],
        trips: tuple[float, ...],
        path: tuple[int, ...],
        while_trips: float,
    ) -> None:
        self.graph, self.trips, self.path, self.while_trips = graph, trips, path, while_trips
        self.works: list[Work] = [
            work(node, [graph.nodes[q].types[0] if graph.nodes[q].types else node.types[0] for q in node.operands])
            for node in graph.nodes
        ]
        self.levels = self._levels(free, input_levels)
        self.stored = [False] * len(graph.nodes)
        self.users: list[list[int]] = [[] for _ in graph.nodes]
        self._place()

    def emit(self, found: list[Kernel]) -> None:
        """Append the kernels in the order in which they can run."""
        for number, node in enumerate(self.graph.nodes):
            kind = self.works[number].kind
            if self.levels[number] == PAID or kind is Kind.NOTHING:
                continue
            if kind is Kind.CONTROL:
                self._control(number, node, found)
            elif kind in (Kind.FUSED, Kind.REDUCTION, Kind.ALIAS):
                if self.stored[number] and not self._is_renaming(number):
                    found.append(self._loop(number))
            else:
                found.append(self._routine(number))

    def _levels(self, free: frozenset[int], input_levels: Sequence[int]) -> list[int]:
        levels: list[int] = []
        given = dict(zip(self.graph.inputs, input_levels, strict=True))
        effects = set(self.graph.effects)
        depth = len(self.trips)
        for number, node in enumerate(self.graph.nodes):
            if number in given:
                levels.append(given[number])
            elif number in free:
                levels.append(PAID)
            elif number in effects or (node.op == "opaque" and not node.operands):
                levels.append(depth)
            else:
                levels.append(max((levels[q] for q in node.operands), default=PAID))
        return levels

    def _place(self) -> None:
        """Decide which values are stored: walk from users to operands, as XLA's fusion pass does."""
        graph = self.graph
        for number, node in enumerate(graph.nodes):
            for q in dict.fromkeys(node.operands):
                self.users[q].append(number)
        roots = {*graph.outputs, *graph.effects}
        homes: list[frozenset[int]] = [frozenset()] * len(graph.nodes)
        for number in reversed(range(len(graph.nodes))):
            inline = number not in roots and self.works[number].kind in (Kind.FUSED, Kind.ALIAS)
            home: set[int] = set()
            if inline:
                for user in self.users[number]:
                    if not self._can_join(number, user):
                        inline = False
                        break
                    home |= {user} if self.stored[user] else homes[user]
            inline = inline and (len(home) <= 1 or (self._is_cheap(number) and len(home) <= MAX_COPIES))
            self.stored[number] = not inline
            homes[number] = frozenset((number,)) if not inline else frozenset(home)

    def _can_join(self, number: int, user: int) -> bool:
        """Whether ``user`` can compute the value itself."""
        mine, theirs = self.works[number], self.works[user]
        if theirs.kind not in (Kind.FUSED, Kind.ALIAS, Kind.REDUCTION):
            return False
        moved = self._moves(number)
        if self.levels[number] != self.levels[user] and not moved:
            return False
        # A value that is read several times would be computed several times.
        size = self.graph.nodes[number].types[0].size
        reused = theirs.kind is not Kind.REDUCTION and self.graph.nodes[user].types[0].size > size
        return moved or not reused or mine.transcendentals == 0

    def _is_cheap(self, number: int) -> bool:
        return self.works[number].transcendentals == 0

    def _moves(self, number: int) -> bool:
        """Whether the node only places elements, so that XLA neither stores nor hoists it for its own sake."""
        node, own = self.graph.nodes[number], self.works[number]
        if node.op == "einsum":
            return len(node.operands) == 1 and moves_only(node.attr("spec"))
        return own.kind is Kind.ALIAS or (own.kind is Kind.FUSED and own.flops == 0 and own.transcendentals == 0)

    def _is_renaming(self, number: int) -> bool:
        """Whether storing the node costs nothing: another shape of a stored value, or a transpose that dots read."""
        node = self.graph.nodes[number]
        if node.op == "convert_element_type" and self.users[number] and number not in self.graph.outputs:
            return all(self._narrow(user) for user in self.users[number])
        if not node.operands or not (self.stored[node.operands[0]] or self.levels[node.operands[0]] == PAID):
            return False
        if self.works[number].kind is Kind.ALIAS:
            return True
        if node.op != "einsum" or not Spec.parse(node.attr("spec")).is_permutation or not self._moves(number):
            return False
        dots = all(self.works[user].kind is Kind.CONTRACTION for user in self.users[number])
        return dots and number not in self.graph.outputs

    def _narrow(self, number: int) -> TensorType | None:
        """Type of the operands of a product before they were widened: hardware multiplies the narrow ones."""
        node = self.graph.nodes[number]
        if self.works[number].kind is not Kind.CONTRACTION:
            return None
        inner = [self.graph.nodes[q] for q in node.operands]
        if any(n.op != "convert_element_type" for n in inner):
            return None
        narrow = [self.graph.nodes[n.operands[0]].types[0] for n in inner]
        if narrow[0].dtype != narrow[1].dtype or 2 * narrow[0].itemsize > node.types[0].itemsize:
            return None
        return narrow[0]

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
                if self._is_boundary(q):
                    limit = nbytes if partial else self._nbytes(q)
                    reads[q] = max(reads.get(q, 0.0), limit)
                elif q not in seen:
                    seen.add(q)
                    stack.append(q)
        own = self.works[root]
        return self._kernel(root, own.kind, flops, transcendentals, sum(reads.values()) + own.writes)

    def _is_boundary(self, number: int) -> bool:
        kind = self.works[number].kind
        return (
            self.stored[number]
            or kind not in (Kind.FUSED, Kind.ALIAS)
            or (self.levels[number] == PAID and not self._moves(number))
        )

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
        narrow = self._narrow(number)
        if narrow is None:
            return kernel
        saved = sum(own.reads) * (1.0 - narrow.itemsize / node.types[0].itemsize)
        return replace(kernel, dtype=narrow.dtype, bytes=kernel.bytes - saved)

    def _kernel(
        self,
        number: int,
        kind: Kind,
        flops: float,
        transcendentals: float,
        nbytes: float,
    ) -> Kernel:
        times = math.prod(self.trips[: self.levels[number]])
        op, own = self.graph.nodes[number].op, self.works[number]
        copied = own.copied
        return Kernel(
            kind, op, number, self.path, flops, transcendentals, nbytes + copied, copied, own.dtype, times, own.product
        )

    def _control(self, number: int, node: Node, found: list[Kernel]) -> None:
        """Kernels of sub-graphs: loop bodies times their trips, the dearest branch of a choice."""
        level = self.levels[number]
        outer = self.trips[:level]
        operands = [self.levels[q] for q in node.operands]
        path = (*self.path, number)

        def inside(sub: Graph, levels: Sequence[int], trips: tuple[float, ...]) -> list[Kernel]:
            kernels: list[Kernel] = []
            _Grouping(sub, frozenset(), levels, trips, path, self.while_trips).emit(kernels)
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
        else:
            graphs = subgraphs(node)
            chosen = operands[len(operands) - len(graphs[0].inputs) :]
            branches = [inside(sub, chosen, outer) for sub in graphs]
            found += max(branches, key=_weight)

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
