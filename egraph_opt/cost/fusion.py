# SPDX-License-Identifier: Apache-2.0
"""Which values of a Graph are stored, and which are computed on the fly inside their readers, the way XLA fuses.

Cheap values are repeated in several readers, costly ones are stored; values that change at different loop levels do not
meet in one kernel, since XLA hoists the outer one.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.cost.work import Kind, Work, moves_only, work
from egraph_opt.ir import Graph, Spec, TensorType

MAX_COPIES = 8
"""Cheap work is repeated in at most so many kernels before it is stored."""

PAID = -1
"""Level of what is computed before the program runs; levels from 0 up are loop depths."""

TEXT = -2
"""Level of what reads no input: XLA folds it while compiling."""


class Fusion:
    """The fusion decisions of one graph.

    Args:
        graph: what is run.
        free: nodes whose values are there beforehand.
        input_levels: at which loop depth each input changes.
        depth: loop depth of the graph itself.

    Attributes:
        works: work of each node alone.
        levels: loop depth at which each node must be computed again.
        users: readers of each node.
        stored: whether each node's value is kept in memory.
    """

    def __init__(self, graph: Graph, free: frozenset[int], input_levels: Sequence[int], depth: int) -> None:
        self.graph = graph
        self.works: list[Work] = [
            work(node, [graph.nodes[q].types[0] if graph.nodes[q].types else node.types[0] for q in node.operands])
            for node in graph.nodes
        ]
        self.levels = self._levels(free, input_levels, depth)
        self.stored = [False] * len(graph.nodes)
        self.users: list[list[int]] = [[] for _ in graph.nodes]
        self._place()

    def is_boundary(self, number: int) -> bool:
        """Whether a kernel that reads the node finds it in memory."""
        kind = self.works[number].kind
        return (
            self.stored[number]
            or kind not in (Kind.FUSED, Kind.ALIAS)
            or (self.levels[number] <= PAID and not self._moves(number))
        )

    def is_renaming(self, number: int) -> bool:
        """Whether storing the node costs nothing: another shape of a stored value, or what products do themselves."""
        node, users = self.graph.nodes[number], self.users[number]
        if not node.operands or not (self.stored[node.operands[0]] or self.levels[node.operands[0]] <= PAID):
            return False
        if self.works[number].kind is Kind.ALIAS:
            return True
        if number in self.graph.outputs or any(self.works[user].kind is not Kind.CONTRACTION for user in users):
            return False
        if node.op == "convert_element_type":
            return all(self.narrow(user) for user in users)
        return node.op == "einsum" and self._moves(number) and Spec.parse(node.attr("spec")).is_permutation

    def narrow(self, number: int) -> TensorType | None:
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

    def _levels(self, free: frozenset[int], input_levels: Sequence[int], depth: int) -> list[int]:
        levels: list[int] = []
        given = dict(zip(self.graph.inputs, input_levels, strict=True))
        effects = set(self.graph.effects)
        for number, node in enumerate(self.graph.nodes):
            if number in given:
                levels.append(given[number])
            elif number in free:
                levels.append(PAID)
            elif number in effects or (node.op == "opaque" and not node.operands):
                levels.append(depth)
            else:
                level = max((levels[q] for q in node.operands), default=TEXT)
                # XLA does not run loops while it compiles.
                levels.append(depth if level == TEXT and self.works[number].kind is Kind.CONTROL else level)
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
