# SPDX-License-Identifier: Apache-2.0
"""Local search by exact area: change the node of one class at a time, priced exactly by reference counting.

Taking a needed class's node away frees everything that only this node read; each alternative is then priced by what it
would add. The cheapest one that closes no cycle stays. After a sweep the cheapest tree is built again with the needed
classes free of charge, which renews the choices of all other classes; sweeps go on until the cost stands still.
The workhorse of ``portfolio``: milliseconds, and most often within 1 % of the best.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from egraph_opt import clock
from egraph_opt.extract.choice import UNDERIVED, Extraction, evaluate, record
from egraph_opt.extract.smaller import trimmed
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree

RELATIVE_GAIN = 1e-12
SMALLEST_STEP = 1e-9
SMALLEST_SPACE = 1e-9


class Local(NamedTuple):
    """An acyclic choice for all derivable classes, and its cost."""

    choice: list[int]
    cost: float


def improve(
    table: Table,
    choice: Sequence[int],
    order: Sequence[int],
    deadline: float = inf,
    sweeps: int = 20,
) -> Local:
    """Improve a choice until no change of a single class helps.

    Args:
        table: the e-graph.
        choice: acyclic over all derivable classes, needed or not.
        order: the derivable classes, children first under ``choice``.
        deadline: moment of ``clock.now`` after which the choice at hand is returned.
        sweeps: bound on the number of sweeps.

    Source:
        Mishchenko, Chatterjee, Brayton, "Improvements to technology mapping for LUT-based FPGAs" (exact local area).
    """
    for count in range(sweeps):
        search = _Sweep(table, choice, order)
        before = search.cost
        search.run(deadline)
        choice = search.choice
        idle = search.cost >= before * (1.0 - SMALLEST_STEP)
        if (idle and count) or clock.now() > deadline:
            break
        choice, order, _ = cheapest_tree(table, fixed=search.needed())
    exact = evaluate(table, choice)
    assert exact is not None, "local search keeps the choice acyclic"
    return Local(list(choice), exact)


class _Sweep:
    """One sweep over the needed classes; holds the choice, its reference counts and a topological order.

    ``position`` orders all classes so that children stand before their readers. Positions are floats: a class that must
    move below another one is put into the free space under it.
    """

    def __init__(self, table: Table, choice: Sequence[int], order: Sequence[int]) -> None:
        self.table = table
        self.choice = list(choice)
        self.order = order
        self.position = [0.0] * table.size
        for place, c in enumerate(order):
            self.position[c] = float(place)
        self.line = [float(place) for place in range(len(order))]
        self.references = [0] * table.size
        self.cost = self._take(table.roots)

    def needed(self) -> dict[int, int]:
        """Class -> node of the classes that the roots need."""
        return {c: self.choice[c] for c in self.order if self.references[c]}

    def run(self, deadline: float) -> None:
        """Try every needed class once, children first."""
        references, members, choice = self.references, self.table.members, self.choice
        cost, kids = self.table.cost, self.table.kids
        for c in [c for c in self.order if references[c] and len(members[c]) > 1]:
            if not references[c]:
                continue
            if clock.now() > deadline:
                break
            current = choice[c]
            freed = cost[current] + self._release(kids[current])
            pick, price = self._cheapest(c, current, freed)
            if pick != current:
                self._place_below(c, kids[pick])
                choice[c] = pick
                self.cost += price - freed
            self._take(kids[choice[c]])

    def _take(self, classes: Sequence[int]) -> float:
        """Count a reference to each class; -> the cost of all that is newly needed."""
        references, choice = self.references, self.choice
        cost, kids = self.table.cost, self.table.kids
        added = 0.0
        stack = list(classes)
        while stack:
            c = stack.pop()
            references[c] += 1
            if references[c] == 1:
                node = choice[c]
                added += cost[node]
                stack.extend(kids[node])
        return added

    def _release(self, classes: Sequence[int]) -> float:
        """Drop a reference to each class; -> the cost of all that is no longer needed."""
        references, choice = self.references, self.choice
        cost, kids = self.table.cost, self.table.kids
        freed = 0.0
        stack = list(classes)
        while stack:
            c = stack.pop()
            references[c] -= 1
            if not references[c]:
                node = choice[c]
                freed += cost[node]
                stack.extend(kids[node])
        return freed

    def _cheapest(self, c: int, current: int, limit: float) -> tuple[int, float]:
        """Cheapest node of a class whose own node has been released; ``limit`` is the price of that one."""
        cost, kids, choice = self.table.cost, self.table.kids, self.choice
        references = self.references
        pick, best = current, limit * (1.0 - RELATIVE_GAIN)
        for node in self.table.members[c]:
            price = cost[node]
            if price >= best or node == current:
                continue
            missing = [kid for kid in kids[node] if not references[kid]]
            if missing:
                fresh: set[int] = set()
                while missing:
                    kid = missing.pop()
                    if kid in fresh:
                        continue
                    fresh.add(kid)
                    used = choice[kid]
                    if used == UNDERIVED:
                        price = inf
                        break
                    price += cost[used]
                    if price >= best:
                        break
                    missing.extend([k for k in kids[used] if not references[k]])
            if price < best and self._above(c, kids[node]) is not None:
                pick, best = node, price
        return pick, best

    def _above(self, c: int, classes: Sequence[int]) -> set[int] | None:
        """Classes at or under the given ones that stand above ``c`` in the order; None if ``c`` is among them."""
        component, position, kids = self.table.component, self.position, self.table.kids
        mine, floor = component[c], position[c]
        stack = [k for k in classes if position[k] >= floor and component[k] == mine]
        seen: set[int] = set()
        while stack:
            k = stack.pop()
            if k == c:
                return None
            if k not in seen:
                seen.add(k)
                below = kids[self.choice[k]]
                stack.extend([q for q in below if position[q] >= floor and component[q] == mine])
        return seen

    def _place_below(self, c: int, classes: Sequence[int]) -> None:
        """Move what ``c`` is about to read under ``c``, keeping its order."""
        above = self._above(c, classes)
        assert above is not None, "the caller has excluded cycles"
        if not above:
            return
        place, floor = self._space_under(c)
        if place - floor < SMALLEST_SPACE * len(above) * (1.0 + abs(place)):
            self._spread()
            place, floor = self._space_under(c)
        step = (place - floor) / (len(above) + 1)
        fresh = [floor + step * k for k in range(1, len(above) + 1)]
        for k, position in zip(sorted(above, key=self.position.__getitem__), fresh, strict=True):
            self.position[k] = position
        index = bisect_left(self.line, place)
        self.line[index:index] = fresh

    def _space_under(self, c: int) -> tuple[float, float]:
        """The position of a class and the next taken one below."""
        place = self.position[c]
        index = bisect_left(self.line, place)
        return place, self.line[index - 1] if index else place - 1.0

    def _spread(self) -> None:
        """Put all classes at equal distances again; the line still held positions that had been left."""
        for place, c in enumerate(sorted(self.order, key=self.position.__getitem__)):
            self.position[c] = float(place)
        self.line = [float(place) for place in range(len(self.order))]


def extract_local_search(table: Table, budget: float = inf, seed: int = 0) -> Extraction:
    """Local search from the cheapest tree as an extraction; the seed does not matter."""
    started = clock.now()
    smaller, tree = trimmed(table)
    found = improve(smaller.table, tree.choice, tree.order, started + budget)
    return record(started, smaller.expand(found.choice), found.cost, "local search")
