# SPDX-License-Identifier: Apache-2.0
"""Extraction as an integer program: lower bounds from its relaxation, optima from branch and bound.

A column per node ("is used") and per class ("is needed"). A needed class uses one node; a used node needs its
children (rows aggregated per class and child). Two families of cuts are added when violated. *Closure*: a node also
needs what is mandatory below it. *Loop formulas*: a needed class of a set wants a node of the set without children in
the set, which rules out cycles without order variables and their weak bounds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from egraph_opt import clock
from egraph_opt.extract.choice import UNDERIVED, evaluate, selected
from egraph_opt.extract.local_search import Local, improve
from egraph_opt.extract.mandatory import bits, table_mandatory_sets
from egraph_opt.extract.solver import Floats, Row, Solver
from egraph_opt.extract.table import Table, flat_edges, strong_components
from egraph_opt.extract.tree import cheapest_tree

LARGEST_COST = 1e3  # HiGHS works with absolute tolerances: prices are scaled so that the dearest node costs this
VIOLATION = 1e-3
CUTS_PER_ROUND = 400
IDLE_ROUNDS = 3
SHORTEST_SECONDS = 0.02  # less is not worth a start of branch and bound


class Bound(NamedTuple):
    """A lower bound with the relaxed point (how much each node is wanted) and the price of using each node instead."""

    value: float
    wanted: Floats
    penalty: Floats


class Proof(NamedTuple):
    """An incumbent and a lower bound."""

    best: Local
    bound: float


class Program:
    """The program of one table.

    Node ``i`` has column ``i``, class ``c`` has column ``len(nodes) + c``.
    """

    def __init__(self, table: Table) -> None:
        """Set up the rows that always stand, with the loop formulas of all two-class cycles."""
        self.table = table
        self.count = count = len(table.cost)
        self.scale = LARGEST_COST / (max(table.cost, default=0.0) or 1.0)
        needed = [0.0] * table.size
        for root in table.roots:
            needed[root] = 1.0
        costs = [w * self.scale for w in table.cost] + [0.0] * table.size
        self.solver = Solver(costs, [0.0] * count + needed)
        self.readers: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for c, members in enumerate(table.members):
            for node in members:
                for kid in table.kids[node]:
                    self.readers[c, kid].append(node)
        self._closure = _closure_matrix(table)
        self._known_closures: set[tuple[int, int]] = set()
        self._known_loops: set[tuple[frozenset[int], int]] = set()
        self._ordered = False
        rows = [self._row(members, c, 0.0, 0.0) for c, members in enumerate(table.members)]
        rows += [self._row(nodes, kid, -inf, 0.0) for (_, kid), nodes in self.readers.items()]
        for a, b in self.readers:
            if a < b and (b, a) in self.readers:
                rows += self._loop((a, b), (a, b))
        self.solver.add_rows(rows)

    def _row(self, nodes: Sequence[int], c: int, lower: float, upper: float) -> Row:
        """``lower <= sum of nodes - class <= upper``."""
        return Row([*nodes, self.count + c], [1.0] * len(nodes) + [-1.0], lower, upper)

    def _loop(self, classes: Iterable[int], of: Iterable[int]) -> list[Row]:
        """Loop formulas of a set of classes, for some of its members."""
        ring = frozenset(classes)
        kids = self.table.kids
        exits = [node for c in sorted(ring) for node in self.table.members[c] if ring.isdisjoint(kids[node])]
        rows = []
        for c in of:
            if (ring, c) not in self._known_loops:
                self._known_loops.add((ring, c))
                rows.append(self._row(exits, c, 0.0, inf))
        return rows

    def relax(
        self,
        deadline: float,
        rounds: int = 30,
        target: float = inf,
        gain: float = 2e-4,
        enough: Callable[[Bound], bool] | None = None,
    ) -> Bound | None:
        """Lower bound by the relaxation, tightened by violated cuts.

        Args:
            deadline: moment of ``clock.now`` at which to stop.
            rounds: bound on the number of times that cuts are added.
            target: stop when the bound reaches this cost.
            gain: relative gain of the bound that counts as progress.
            enough: asked after each round; True ends the relaxation there.

        Returns:
            The last solved relaxation, or None if the deadline struck before the first was; a bound of infinity means
            that there is no choice at all.
        """
        best: Bound | None = None
        idle = 0
        for _ in range(rounds):
            solved = self.solver.relax(deadline)
            if solved is None:
                break
            value = solved.value / self.scale
            if value == inf:
                return Bound(inf, np.zeros(0), np.zeros(0))
            idle = idle + 1 if best is not None and value <= best.value + gain * abs(value) else 0
            best = Bound(value, solved.point[: self.count], self._penalty(solved.reduced_costs))
            if idle >= IDLE_ROUNDS or value >= target or clock.now() > deadline:
                break
            if enough is not None and enough(best):
                break
            cuts = self._violated(solved.point)
            if not cuts:
                break
            self.solver.add_rows(cuts)
        return best

    def _penalty(self, reduced_costs: Floats) -> Floats:
        """By how much the bound grows if a node is used.

        The reduced cost of the class counts too, as using the node makes the class needed; but not that of a root,
        whose column is one anyway: the bound holds its price already.
        """
        count, table = self.count, self.table
        of_class = np.maximum(reduced_costs[count : count + table.size], 0.0)
        of_class[list(table.roots)] = 0.0
        penalty = np.maximum(reduced_costs[:count], 0.0) + of_class[np.array(table.owner, dtype=np.int64)]
        scaled: Floats = penalty / self.scale
        return scaled

    def _violated(self, point: Floats) -> list[Row]:
        return self._violated_closures(point) + self._violated_loops(point)

    def _violated_closures(self, point: Floats) -> list[Row]:
        """For class and mandatory class below: nodes that need it may not be used more than it is."""
        table, count = self.table, self.count
        used = np.flatnonzero(point[:count] > 1e-6)
        owner = np.array(table.owner, dtype=np.int64)[used]
        amount = csr_matrix((point[used], (owner, used)), shape=(table.size, count))
        need = (amount @ self._closure).tocoo()
        excess = need.data - point[count + need.col]
        order = np.argsort(-excess, kind="stable")
        rows: list[Row] = []
        for k in order.tolist():
            if excess[k] <= VIOLATION or len(rows) == CUTS_PER_ROUND:
                break
            c, q = int(need.row[k]), int(need.col[k])
            if (c, q) not in self._known_closures:
                self._known_closures.add((c, q))
                nodes = [i for i in table.members[c] if self._closure[i, q]]
                rows.append(self._row(nodes, q, -inf, 0.0))
        return rows

    def _violated_loops(self, point: Floats) -> list[Row]:
        """Cycles that the point uses more than it may, found as shortest paths.

        The length of an edge from class to child is how much of the class avoids the child; a cycle shorter than one of
        its classes is needed violates the loop formula of that class.
        """
        component, count = self.table.component, self.count
        edges: list[tuple[int, int, float]] = []
        for (c, kid), nodes in self.readers.items():
            if component[c] == component[kid] and point[count + c] > 1e-6:
                length = max(0.0, float(point[count + c]) - sum([float(point[i]) for i in nodes]))
                if length < 1.0 - VIOLATION:
                    edges.append((c, kid, length))
        if not edges:
            return []
        classes = sorted({c for edge in edges for c in edge[:2]})
        number = {c: k for k, c in enumerate(classes)}
        lengths = [length + 1e-7 for *_, length in edges]  # a zero would mean "no edge"
        ends = ([number[c] for c, *_ in edges], [number[kid] for _, kid, _ in edges])
        graph = csr_matrix((lengths, ends), shape=(len(classes), len(classes)))
        distance, before = dijkstra(graph, return_predecessors=True, limit=1.0)
        found = []
        for c, kid, length in edges:
            around = distance[number[kid], number[c]] + length - point[count + c]
            if around < -VIOLATION:
                found.append((float(around), c, kid))
        rows: list[Row] = []
        for _, c, kid in sorted(found)[:CUTS_PER_ROUND]:
            ring = [c]
            k = number[c]
            while k != number[kid]:
                k = int(before[number[kid], k])
                ring.append(classes[k])
            rows += self._loop(ring, [c])
        return rows

    def _order_classes(self) -> None:
        """Add positions inside strong components: whatever the lazy cuts miss, no cycle passes any more."""
        if self._ordered:
            return
        self._ordered = True
        component = self.table.component
        size = np.bincount(component).tolist()
        position: dict[int, int] = {}
        rows = []
        for (c, kid), nodes in self.readers.items():
            room = float(size[component[c]])
            if component[c] == component[kid] and room > 2:
                for v in (c, kid):
                    if v not in position:
                        position[v] = self.solver.add_column(room - 1.0)
                columns = [position[c], position[kid], *nodes]
                rows.append(Row(columns, [1.0, -1.0] + [-room] * len(nodes), 1.0 - room, inf))
        self.solver.add_rows(rows)

    def branch(self, best: Local, deadline: float, gap: float = 1e-4) -> Proof:
        """Branch and bound from an incumbent; cycles are cut when an integer point has them.

        Args:
            best: the incumbent; the result is at least as good.
            deadline: moment of ``clock.now`` at which to stop.
            gap: relative distance between cost and bound to stop at.
        """
        bound = 0.0
        self.solver.make_integer(self.count, gap)
        attempts = 0
        while deadline - clock.now() > SHORTEST_SECONDS:
            attempts += 1
            if attempts == 4:
                self._order_classes()
            nodes = [best.choice[c] for c in selected(self.table, best.choice)]
            ones = nodes + [self.count + self.table.owner[node] for node in nodes]
            proven, point = self.solver.branch(ones, deadline)
            bound = max(bound, proven / self.scale)
            if not len(point):
                break
            picked = [UNDERIVED] * self.table.size
            for node in np.flatnonzero(point[: self.count] > 0.5).tolist():
                picked[self.table.owner[node]] = node
            cost = evaluate(self.table, picked)
            if cost is not None:
                if cost < best.cost:
                    best = Local(picked, cost)
                break
            found = self._repair(picked, deadline)
            best = min(best, found, key=lambda local: local.cost)
            cuts = self._rings(picked)
            if not cuts or best.cost <= bound * (1.0 + gap):
                break
            self.solver.add_rows(cuts)
        return Proof(best, min(bound, best.cost))

    def _repair(self, picked: Sequence[int], deadline: float) -> Local:
        """An acyclic choice near a cyclic one."""
        costs = list(self.table.cost)
        for node in picked:
            if node != UNDERIVED:
                costs[node] *= 1e-3
        tree = cheapest_tree(self.table, costs)
        return improve(self.table, tree.choice, tree.order, deadline)

    def _rings(self, picked: Sequence[int]) -> list[Row]:
        """Loop formulas of the cycles of an integer point."""
        used = [node for node in picked if node != UNDERIVED]
        edges = flat_edges([self.table.owner[node] for node in used], [self.table.kids[node] for node in used])
        rings: defaultdict[int, list[int]] = defaultdict(list)
        for c, label in enumerate(strong_components(*edges, self.table.size)):
            rings[label].append(c)
        return [row for ring in rings.values() if len(ring) > 1 for row in self._loop(ring, ring)]


def _closure_matrix(table: Table) -> csr_matrix:
    """Node x class: 1.0 where the class is in every derivation of the node."""
    sets = table_mandatory_sets(table)
    below = [list(bits(s)) for s in sets]
    columns: list[int] = []
    starts = [0]
    for kids in table.kids:
        columns.extend(sorted({q for kid in kids for q in below[kid]}))
        starts.append(len(columns))
    ones = np.ones(len(columns))
    return csr_matrix((ones, np.array(columns, np.int32), np.array(starts, np.int32)), (len(table.cost), table.size))
