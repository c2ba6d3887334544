# SPDX-License-Identifier: Apache-2.0
"""Cheapest tree: a class costs its node plus all its children, each counted as often as it is read.

Knuth's generalisation of Dijkstra's algorithm settles classes in order of increasing value with a heap. A class is
settled after its children, so the choice is acyclic for *every* class, needed or not: the start of every other stage.
Two variations steer the local search: division by references (area flow) and prescribed classes that are free.
"""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple

from egraph_opt import clock
from egraph_opt.errors import ExtractionError
from egraph_opt.extract.choice import UNDERIVED, Extraction, evaluate, record
from egraph_opt.extract.table import Table


class Tree(NamedTuple):
    """An acyclic choice with the order in which classes were settled (children first) and their values."""

    choice: list[int]
    order: list[int]
    value: list[float]


def cheapest_tree(
    table: Table,
    costs: Sequence[float] | None = None,
    references: Sequence[float] | None = None,
    fixed: Mapping[int, int] | None = None,
) -> Tree:
    """Settle every derivable class by its cheapest node.

    Args:
        table: the e-graph.
        costs: node prices to use instead of the table's.
        references: area flow: the value a class passes on is divided by this number, as readers share it.
        fixed: class -> node; these classes keep their node and pass on the value zero, as they are paid for already.

    Source:
        Knuth, "A generalization of Dijkstra's algorithm", IPL 6(1), 1977.
    """
    size, owner, readers = table.size, table.owner, table.readers
    choice = [UNDERIVED] * size
    value = [inf] * size
    order: list[int] = []
    total = list(costs if costs is not None else table.cost)
    passes_on = [1.0] * size if references is None else [1.0 / count for count in references]
    waiting = list(table.arity)
    for c, node in (fixed or {}).items():
        passes_on[c] = 0.0
        for other in table.members[c]:
            if other != node:
                waiting[other] = -1  # never comes down to zero
    heap = [(total[leaf], owner[leaf], leaf) for leaf in table.leaves if not waiting[leaf]]
    heapify(heap)
    offer = [inf] * size  # the best that the heap holds for each class
    while heap:
        price, c, node = heappop(heap)
        if choice[c] >= 0:
            continue
        choice[c] = node
        order.append(c)
        value[c] = price = price * passes_on[c]
        for reader in readers[c]:
            d = owner[reader]
            if choice[d] < 0:
                total[reader] += price
                waiting[reader] -= 1
                if not waiting[reader] and total[reader] <= offer[d]:
                    offer[d] = total[reader]
                    heappush(heap, (total[reader], d, reader))
    return Tree(choice, order, value)


def require_roots(table: Table, choice: Sequence[int]) -> None:
    """Refuse a table whose roots cannot all be built.

    Raises:
        ExtractionError: a root has no finite derivation.
    """
    lost = [root for root in table.roots if choice[root] == UNDERIVED]
    if lost:
        raise ExtractionError(
            f"no acyclic choice: root classes {lost[:5]} have no finite derivation; want leaves below every root"
        )


def extract_tree(table: Table, budget: float = inf, seed: int = 0) -> Extraction:
    """The cheapest tree as an extraction; neither budget nor seed matters."""
    started = clock.now()
    choice = cheapest_tree(table).choice
    require_roots(table, choice)
    cost = evaluate(table, choice)
    assert cost is not None, "settling children first cannot close a cycle"
    return record(started, choice, cost, "tree")
