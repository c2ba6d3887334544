# SPDX-License-Identifier: Apache-2.0
"""Restarts of the local search from trees that expect sharing (area flow), perturbed by noise.

Area flow divides the value of a class by the number of its readers in the incumbent, so that what is shared looks
cheap. The first restart is the plain one, later ones multiply the prices by log-normal noise. Restarts end when the
best has not moved for a while (``patience``) or at the deadline.
"""

import random
import time
from collections.abc import Callable, Sequence

from egraph_opt.extract.choice import selected
from egraph_opt.extract.local_search import SMALLEST_STEP, Local, improve
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree

NOISE = (0.0, 0.3, 0.6, 0.1)


def reader_counts(table: Table, choice: Sequence[int]) -> list[float]:
    """How often each class is read under the choice; at least 1."""
    counts = [0] * table.size
    for root in table.roots:
        counts[root] += 1
    for c in selected(table, choice):
        for kid in table.kids[choice[c]]:
            counts[kid] += 1
    return [float(max(1, count)) for count in counts]


def restart(
    table: Table,
    best: Local,
    deadline: float,
    patience: int = 8,
    seed: int = 0,
    report: Callable[[Local], None] | None = None,
) -> Local:
    """Restart the local search around the best choice until nothing improves.

    Args:
        table: the e-graph.
        best: the incumbent.
        deadline: moment of ``time.perf_counter`` at which to stop.
        patience: number of restarts in a row without improvement after which to stop.
        seed: of the noise.
        report: called with every new best.
    """
    rng = random.Random(seed)
    idle = count = 0
    while idle < patience and time.perf_counter() < deadline:
        noise = NOISE[count % len(NOISE)] if count < len(NOISE) else NOISE[1 + count % 3]
        costs = [w * rng.lognormvariate(0.0, noise) for w in table.cost] if noise else table.cost
        tree = cheapest_tree(table, costs, reader_counts(table, best.choice))
        found = improve(table, tree.choice, tree.order, deadline)
        count += 1
        idle += 1
        if found.cost < best.cost * (1.0 - SMALLEST_STEP):
            best, idle = found, 0
            if report is not None:
                report(best)
    return best
