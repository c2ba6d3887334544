# SPDX-License-Identifier: Apache-2.0
"""Cheapest tree: a class costs its node plus all its children, each counted as often as it is read.

Knuth's generalisation of Dijkstra's algorithm settles classes in order of increasing value with a heap. A class is
settled after its children, so the choice is acyclic for *every* class, needed or not: the start of every other stage.
Two variations steer the local search: division by references (area flow) and prescribed classes that are free.
"""

import time
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple

from egraph_opt.errors import ExtractionError
from egraph_opt.extract.choice import UNDERIVED, Extraction, evaluate, public
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
    kids = table.kids
    size = table.size
    prescribed = fixed or {}
    choice = [UNDERIVED] * size
    value = [inf] * size
    order: list[int] = []
    total = list(costs if costs is not None else table.cost)
    waiting = [len(k) for k in kids]
    readers, leaves = node_readers(table, fixed)
    owner = table.owner
    heap = [(total[leaf], owner[leaf], leaf) for leaf in leaves]
    heapify(heap)
    while heap:
        price, c, node = heappop(heap)
        if choice[c] >= 0:
            continue
        choice[c] = node
        order.append(c)
        if c in prescribed:
            price = 0.0
        elif references is not None:
            price /= references[c]
        value[c] = price
        for reader in readers[c]:
            total[reader] += price
            waiting[reader] -= 1
            if not waiting[reader] and choice[owner[reader]] < 0:
                heappush(heap, (total[reader], owner[reader], reader))
    return Tree(choice, order, value)


def node_readers(table: Table, fixed: Mapping[int, int] | None = None) -> tuple[list[list[int]], list[int]]:
    """The nodes that read each class, and the nodes that read nothing; of ``fixed`` classes only the given node."""
    kids = table.kids
    prescribed = fixed or {}
    readers: list[list[int]] = [[] for _ in range(table.size)]
    leaves: list[int] = []
    for c, members in enumerate(table.members):
        for node in (prescribed[c],) if c in prescribed else members:
            if not kids[node]:
                leaves.append(node)
            for kid in kids[node]:
                readers[kid].append(node)
    return readers, leaves


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
    started = time.perf_counter()
    choice = cheapest_tree(table).choice
    require_roots(table, choice)
    cost = evaluate(table, choice)
    assert cost is not None, "settling children first cannot close a cycle"
    seconds = time.perf_counter() - started
    return Extraction(public(choice), cost, 0.0, "tree", seconds, ((seconds, cost, "tree"),))
