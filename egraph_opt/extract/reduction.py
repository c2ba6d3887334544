# SPDX-License-Identifier: Apache-2.0
"""Exact reduction: a smaller table that keeps at least one optimal choice.

Works on *mandatory sets*: the classes that occur in every derivation of a class. Rounds of the following rules run
until little changes. A node goes if it needs its own class, if a cheaper node of the class reads only what the dear one
needs anyway (dominance), or if it would push the cost over an incumbent (bounds). A child goes if it is needed anyhow:
a forced class outside the component, or mandatory for a sibling. A class with one reader is multiplied into it.
"""

from collections.abc import Collection, Sequence
from math import inf
from typing import NamedTuple

from egraph_opt import clock
from egraph_opt.extract.mandatory import bits, mandatory_sets
from egraph_opt.extract.smaller import Smaller
from egraph_opt.extract.table import Table, flat_edges, strong_components
from egraph_opt.extract.tree import Tree

ROUNDS = 8
WORTHWHILE = 0.9  # a round that leaves more than this share of the table was the last
NO_MASK = 0  # until classes are renumbered next


class Alternative(NamedTuple):
    """One way to build a class: its price, the classes it reads, these as a mask (made by ``compact``), its nodes."""

    cost: float
    kids: tuple[int, ...]
    mask: int
    origin: tuple[int, ...]


def reduce(
    table: Table, tree: Tree, limit: float = inf, dead: Collection[int] = (), deadline: float = inf
) -> Smaller | None:
    """Shrink a table without losing its last optimal choice.

    Args:
        table: the e-graph, trimmed.
        tree: an acyclic choice for the classes that the result leaves open.
        limit: choices that cost more than this need not be kept; must not be below the optimum.
        dead: nodes known to be in no choice below the limit.
        deadline: moment of ``clock.now`` after which no further round starts.

    Returns:
        The smaller table, or None if no choice within the limit is left.
    """
    work = _Reduction(table, tree, limit, frozenset(dead))
    size = work.size()
    for _ in range(ROUNDS):
        before = size
        work.round()
        if work.infeasible():
            return None
        size = work.size()
        if size > WORTHWHILE * before or clock.now() > deadline:
            break
        work.compact()
    return work.result()


class _Reduction:
    """The alternatives of every class, shrinking from round to round.

    Classes are numbered in the order of the tree: with children mostly before their readers, mandatory sets are found
    in few passes and have short masks. ``classes`` holds the number that each one has in the table.
    """

    def __init__(self, table: Table, tree: Tree, limit: float, dead: frozenset[int]) -> None:
        self.base, self.tree, self.limit = table, tree, limit
        self.classes = tree.order
        number = dict(zip(self.classes, range(len(self.classes)), strict=True))
        self.forced = _mask([number[root] for root in table.roots])
        self.alternatives: list[list[Alternative]] = []
        for c in self.classes:
            rows = []
            for node in table.members[c]:
                try:
                    kids = tuple([number[kid] for kid in table.kids[node]])
                except KeyError:  # it reads a class that has no derivation
                    continue
                rows.append(Alternative(table.cost[node], kids, NO_MASK, (node,)))
            if dead:
                rows = [a for a in rows if a.origin[0] not in dead]
            self.alternatives.append(rows)
        self._drop_readers({c for c, alts in enumerate(self.alternatives) if not alts})
        self._inline()  # what this removes, the first round need not look at
        self.compact()

    def size(self) -> int:
        """Number of alternatives and of children."""
        return sum([1 + len(a.kids) for alts in self.alternatives for a in alts])

    def infeasible(self) -> bool:
        """Has a forced class lost its last alternative?"""
        return any(not self.alternatives[c] for c in bits(self.forced))

    def round(self) -> None:
        """Apply every rule once."""
        rows = self.alternatives
        sets = mandatory_sets([[a.kids for a in alts] for alts in rows])
        for c, mandatory in enumerate(sets):
            if mandatory < 0:  # derivations go in circles only; the filter drops whoever reads it
                rows[c] = []
        for c in bits(self.forced):
            self.forced |= max(0, sets[c])
        bounds = _Bounds(rows, sets, self.forced, self.limit)
        owner = [c for c, alts in enumerate(rows) for _ in alts]
        component = strong_components(*flat_edges(owner, [a.kids for alts in rows for a in alts]), len(rows))
        implied = _Implied(sets, frozenset(bits(self.forced)), component)
        lost = set()
        for c, alts in enumerate(rows):
            if alts:
                rows[c] = self._filter(c, alts, sets, bounds, implied)
                if not rows[c]:
                    lost.add(c)
        self._drop_readers(lost)
        self._inline()
        self._forget()

    def _filter(
        self, c: int, alts: list[Alternative], sets: list[int], bounds: "_Bounds", implied: "_Implied"
    ) -> list[Alternative]:
        """The alternatives of a class that dominance and bounds leave, with fewer children."""
        loads, slack = bounds.load, bounds.allowance(c)
        kept: list[Alternative] = []
        masks: list[int] = []
        if len(alts) > 1:
            alts = sorted(alts, key=_price_then_size)
        for a in alts:
            closure, load = 0, a.cost
            for kid in a.kids:
                closure |= sets[kid]
                load += loads[kid]
            if closure >> c & 1 or (load > slack and bounds.too_dear(a.cost, closure, slack)):
                continue
            if 0 in map((~closure).__and__, masks):  # one that is no dearer reads nothing beyond the closure
                continue
            kept.append(implied.left_out(c, a) if a.kids else a)
            masks.append(kept[-1].mask)
        return kept

    def _drop_readers(self, lost: set[int]) -> None:
        """Remove the alternatives that read a class which has lost its last one, until no class loses more."""
        rows = self.alternatives
        while lost:
            more = set()
            for c, alts in enumerate(rows):
                if alts and any(not lost.isdisjoint(a.kids) for a in alts):
                    rows[c] = [a for a in alts if lost.isdisjoint(a.kids)]
                    if not rows[c]:
                        more.add(c)
            lost = more

    def _inline(self) -> None:
        """Multiply a class that one other class alone reads into its reader, where that adds no alternatives."""
        rows = self.alternatives
        lost: set[int] = set()
        reads: list[dict[int, int]] = [{} for _ in rows]  # class -> reader -> number of its alternatives that read
        for c, alts in enumerate(rows):
            for a in alts:
                for kid in a.kids:
                    reads[kid][c] = reads[kid].get(c, 0) + 1
        for q, inner in enumerate(rows):
            if not inner or self.forced >> q & 1 or len(reads[q]) != 1:
                continue
            ((c, times),) = reads[q].items()
            if times > 1 and len(inner) > 1:
                continue
            inner = [b for b in inner if c not in b.kids]
            merged: list[Alternative] = []
            for a in rows[c]:
                if q not in a.kids:
                    merged.append(a)
                    continue
                products = [_product(a, q, b) for b in inner]
                merged += products
                _count_reads(reads, c, [a], -1)
                _count_reads(reads, c, products)
            _count_reads(reads, q, rows[q], -1)
            rows[c], rows[q] = merged, []
            if not merged:
                lost.add(c)
        self._drop_readers(lost)

    def _forget(self) -> None:
        """Drop the alternatives of the classes that no forced class might need."""
        rows = self.alternatives
        seen = [False] * len(rows)
        todo = list(bits(self.forced))
        for c in todo:
            seen[c] = True
        while todo:
            for a in rows[todo.pop()]:
                for kid in a.kids:
                    if not seen[kid]:
                        seen[kid] = True
                        todo.append(kid)
        self.alternatives = [alts if needed else [] for alts, needed in zip(rows, seen, strict=True)]

    def compact(self) -> None:
        """Renumber the classes that matter, so that masks are short, and make the masks."""
        rows = self.alternatives
        keep = [c for c, alts in enumerate(rows) if alts or self.forced >> c & 1]
        self.classes = [self.classes[c] for c in keep]
        number = {c: k for k, c in enumerate(keep)}
        self.forced = _mask([number[c] for c in bits(self.forced)])
        self.alternatives = []
        for c in keep:
            renumbered = []
            for a in rows[c]:
                kids = tuple([number[kid] for kid in a.kids])
                renumbered.append(Alternative(a.cost, kids, _mask(kids), a.origin))
            self.alternatives.append(renumbered)

    def result(self) -> Smaller:
        """The table of what is left, its classes in the order of the table it was made from."""
        left = [c for c, alts in enumerate(self.alternatives) if alts]
        ranked = sorted(left, key=self.classes.__getitem__)
        number = {c: k for k, c in enumerate(ranked)}
        rows = [(number[c], a) for c in ranked for a in self.alternatives[c]]
        owner = [c for c, _ in rows]
        cost = [a.cost for _, a in rows]
        kids = [tuple([number[kid] for kid in a.kids]) for _, a in rows]
        roots = [number[c] for c in bits(self.forced)]
        table = Table.trusted(owner, cost, kids, roots, len(ranked))
        return Smaller(self.base, table, self.tree.choice, [a.origin for _, a in rows])


def _price_then_size(a: Alternative) -> tuple[float, int]:
    return (a.cost, len(a.kids))


def _count_reads(reads: list[dict[int, int]], reader: int, alts: list[Alternative], step: int = 1) -> None:
    """Count what some alternatives of a reader read, or with ``step=-1`` that they no longer do."""
    for a in alts:
        for kid in a.kids:
            times = reads[kid].get(reader, 0) + step
            if times:
                reads[kid][reader] = times
            else:
                del reads[kid][reader]


def _product(a: Alternative, q: int, b: Alternative) -> Alternative:
    """An alternative that reads class ``q``, with one of that class in its place."""
    kids = tuple(sorted({*a.kids, *b.kids} - {q}))
    return Alternative(a.cost + b.cost, kids, NO_MASK, a.origin + b.origin)


def _mask(kids: Sequence[int]) -> int:
    mask = 0
    for kid in kids:
        mask |= 1 << kid
    return mask


class _Implied:
    """Children that are needed anyhow.

    A forced child of another component can go, as no cycle leads through that edge. A child that is mandatory for a
    sibling can go, as every cycle through it is also one through the sibling.
    """

    def __init__(self, sets: list[int], forced: frozenset[int], component: list[int]) -> None:
        self.sets, self.forced, self.component = sets, forced, component

    def left_out(self, c: int, a: Alternative) -> Alternative:
        """The alternative of class ``c`` without such children."""
        sets, forced, component = self.sets, self.forced, self.component
        mine = component[c]
        kids = [kid for kid in a.kids if kid not in forced or component[kid] == mine]
        if len(kids) > 1:
            for kid in tuple(kids):
                for other in kids:
                    if other != kid and sets[other] >> kid & 1:
                        kids.remove(kid)
                        break
        if len(kids) == len(a.kids):
            return a
        return Alternative(a.cost, tuple(kids), _mask(kids), a.origin)


class _Bounds:
    """Tells which alternatives cannot stand in a choice within the limit.

    A choice costs at least the cheapest price of each forced class, plus, for a given alternative, the cheapest prices
    of what it needs beyond the forced classes.
    """

    def __init__(self, rows: list[list[Alternative]], sets: list[int], forced: int, limit: float) -> None:
        self.outside = ~forced
        self.low = [min([a.cost for a in alts], default=inf) for alts in rows]
        self.required = frozenset(bits(forced))
        self.slack, self.load = inf, [0.0] * len(rows)
        if limit < inf:
            floor = sum([self.low[c] for c in self.required])
            self.slack = (limit - floor) * (1.0 + 1e-9) + 1e-9 * abs(limit)
            self.load = [self._price(s) if alts else inf for s, alts in zip(sets, rows, strict=True)]

    def _price(self, mask: int) -> float:
        """Cheapest prices of what a set of classes adds to the forced ones."""
        low, price = self.low, 0.0
        for c in bits(mask & self.outside):
            price += low[c]
        return price

    def allowance(self, c: int) -> float:
        """What an alternative of a class may cost with all that it needs beyond the forced classes."""
        return self.slack + self.low[c] if c in self.required else self.slack

    def too_dear(self, cost: float, closure: int, allowance: float) -> bool:
        """Would an alternative with this closure push any choice over the limit?

        To be asked if the loads of the children add up to more: these count common classes twice.
        """
        return cost + self._price(closure) > allowance
