# SPDX-License-Identifier: Apache-2.0
"""Greedy DAG: the extractor of egg's successors, kept as the baseline that the others are measured against.

Each class keeps the set of classes below its best node, and a node's price is the cost of the union of its children's
sets. Sharing is seen inside one candidate only, never between siblings that are chosen apart, hence 10-40 % above the
best on derivative graphs.
"""

from collections import deque
from math import inf

from egraph_opt import clock
from egraph_opt.extract.choice import UNDERIVED, Extraction, evaluate, record
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree, require_roots


def greedy_dag(table: Table, deadline: float = inf) -> list[int]:
    """Choose nodes by the cost of the set of classes below them, until nothing changes.

    Args:
        table: the e-graph.
        deadline: moment of ``clock.now`` after which the choice at hand is returned.

    Source:
        ``faster_greedy_dag`` of extraction-gym.
    """
    readers = table.readers
    queue = deque(table.leaves)
    queued = set(queue)
    below: list[dict[int, float]] = [{} for _ in range(table.size)]
    best = [inf] * table.size
    choice = [UNDERIVED] * table.size
    while queue and clock.now() < deadline:
        node = queue.popleft()
        queued.discard(node)
        c = table.owner[node]
        if any(choice[kid] == UNDERIVED for kid in table.kids[node]):
            continue
        union = _union(below, table.kids[node])
        if c in union:  # this node would build its class from itself
            continue
        union[c] = table.cost[node]
        total = sum(union.values())
        if total < best[c] * (1.0 - 1e-12):
            best[c], below[c], choice[c] = total, union, node
            fresh = [reader for reader in readers[c] if reader not in queued]
            queue.extend(fresh)
            queued.update(fresh)
    return choice


def _union(below: list[dict[int, float]], classes: tuple[int, ...]) -> dict[int, float]:
    union: dict[int, float] = {}
    for c in classes:
        union.update(below[c])
    return union


def extract_greedy_dag(table: Table, budget: float = inf, seed: int = 0) -> Extraction:
    """Greedy DAG as an extraction; the cheapest tree where the sets have led into a cycle. The seed does not matter."""
    started = clock.now()
    choice = greedy_dag(table, started + budget)
    cost, method = evaluate(table, choice), "greedy dag"
    if cost is None:
        choice = cheapest_tree(table).choice
        require_roots(table, choice)
        cost, method = evaluate(table, choice), "tree"
        assert cost is not None, "settling children first cannot close a cycle"
    return record(started, choice, cost, method)
