# SPDX-License-Identifier: Apache-2.0
"""Restarts of the local search from perturbed trees.

Two kinds take turns. Area flow divides the value of a class by the number of its readers in the incumbent, so that what
is shared looks cheap. The other keeps most of the incumbent and opens a random part again. All but the first work on
prices with log-normal noise. Restarts end when the best has not moved for a while (``patience``) or at the deadline.
Searches that begin anew (``Fresh``) end in other basins than the one the incumbent lies in.
"""

from collections.abc import Callable, Sequence

import numpy as np

from egraph_opt import clock
from egraph_opt.extract.choice import Extraction, record, selected
from egraph_opt.extract.local_search import SMALLEST_STEP, Local, improve
from egraph_opt.extract.smaller import trimmed
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import Tree, cheapest_tree

NOISE = (0.3, 0.6, 0.1)
REOPENED = (0.05, 0.15, 0.3, 0.5)
FRESH_NOISE, FRESH_PATIENCE = 1.0, 15


def reader_counts(table: Table, choice: Sequence[int]) -> list[float]:
    """How often each class is read under the choice; at least 1."""
    counts = [0] * table.size
    for root in table.roots:
        counts[root] += 1
    for c in selected(table, choice):
        for kid in table.kids[choice[c]]:
            counts[kid] += 1
    return [float(max(1, count)) for count in counts]


class Restarts:
    """A stream of restarts on one table; what it does next depends on the seed and on how many there were."""

    def __init__(self, table: Table, seed: int | tuple[int, ...]) -> None:
        self.table = table
        self.rng = np.random.default_rng(seed)
        self.count = 0

    def attempt(self, best: Local, deadline: float) -> Local:
        """One local search around the best choice, which it need not reach."""
        tree = self._start(best)
        self.count += 1
        return improve(self.table, tree.choice, tree.order, deadline)

    def _start(self, best: Local) -> Tree:
        """The tree that the next restart begins with."""
        table, rng, count = self.table, self.rng, self.count
        if not count:
            return cheapest_tree(table, table.cost, reader_counts(table, best.choice))
        noise = rng.lognormal(0.0, NOISE[count % len(NOISE)], len(table.cost))
        costs: list[float] = (np.array(table.cost) * noise).tolist()
        if count % 2:
            trust = (2.0 * rng.random(table.size)).tolist()
            counts = [1.0 + (n - 1.0) * x for n, x in zip(reader_counts(table, best.choice), trust, strict=True)]
            return cheapest_tree(table, costs, counts)
        needed = selected(table, best.choice)
        keep = (rng.random(len(needed)) > REOPENED[count // 2 % len(REOPENED)]).tolist()
        fixed = {c: best.choice[c] for c, kept in zip(needed, keep, strict=True) if kept}
        return cheapest_tree(table, costs, fixed=fixed)


class Fresh:
    """Restarts around a choice of their own, which begins anew from a noisy tree when it has not moved for a while."""

    def __init__(self, table: Table, seed: int | tuple[int, ...]) -> None:
        self.restarts = Restarts(table, seed)
        self.here: Local | None = None
        self.idle = 0

    def attempt(self, deadline: float) -> Local:
        """One more local search; -> the best since the last beginning."""
        if self.here is None or self.idle >= FRESH_PATIENCE:
            table = self.restarts.table
            noise = self.restarts.rng.lognormal(0.0, FRESH_NOISE, len(table.cost))
            tree = cheapest_tree(table, (np.array(table.cost) * noise).tolist())
            self.here, self.idle = improve(table, tree.choice, tree.order, deadline), 0
            return self.here
        found = self.restarts.attempt(self.here, deadline)
        self.idle += 1
        if found.cost < self.here.cost * (1.0 - SMALLEST_STEP):
            self.here, self.idle = found, 0
        return self.here


def restart(
    table: Table,
    best: Local,
    deadline: float,
    patience: int = 8,
    seed: int | tuple[int, ...] = 0,
    report: Callable[[Local], None] | None = None,
) -> Local:
    """Restart the local search around the best choice until nothing improves.

    Args:
        table: the e-graph.
        best: the incumbent.
        deadline: moment of ``clock.now`` at which to stop.
        patience: number of restarts in a row without improvement after which to stop.
        seed: of the noise.
        report: called with every new best.
    """
    stream = Restarts(table, seed)
    idle = 0
    while idle < patience and clock.now() < deadline:
        found = stream.attempt(best, deadline)
        idle += 1
        if found.cost < best.cost * (1.0 - SMALLEST_STEP):
            best, idle = found, 0
            if report is not None:
                report(best)
    return best


def extract_restarts(table: Table, budget: float = 0.3, seed: int = 0) -> Extraction:
    """Local search with restarts until the budget is spent, as an extraction."""
    started = clock.now()
    smaller, tree = trimmed(table)
    start = improve(smaller.table, tree.choice, tree.order, started + budget)
    found = restart(smaller.table, start, started + budget, seed=seed)
    return record(started, smaller.expand(found.choice), found.cost, "restarts")
