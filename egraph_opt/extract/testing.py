# SPDX-License-Identifier: Apache-2.0
"""Random e-graphs and independent optima to test extractors against.

Part of the package so that a new extractor, here or elsewhere, can be checked in the same way. Nothing here shares code
with the algorithms under test, except for ``evaluate``.
"""

import random
from math import inf
from typing import Any

import highspy

from egraph_opt.extract.choice import evaluate
from egraph_opt.extract.table import Table

Highs: Any = highspy.Highs  # its methods carry no types
SMALL_COSTS = (0, 1, 1, 2, 3, 5, 10, 2.5)
LARGER_COSTS = (0.1, 1, 1.5, 2, 3, 10, 50)


def random_table(seed: int) -> Table:
    """A table of 2 to 11 classes with cycles, several roots, free nodes and sometimes no choice at all."""
    rng = random.Random(seed)
    size = rng.randint(2, 11)
    nodes: list[tuple[int, float, list[int]]] = []
    for c in range(size):
        for _ in range(rng.randint(1, 4)):
            pool = range(size) if rng.random() < 0.35 else range(c)
            count = min(len(pool), rng.choice((0, 1, 1, 2, 2, 3)))
            nodes.append((c, rng.choice(SMALL_COSTS), rng.sample(pool, count)))
        if c == 0 or rng.random() < 0.5:
            nodes.append((c, rng.choice((0, 4, 7, 20)), []))
    return Table(nodes, [rng.randrange(size) for _ in range(rng.randint(1, 3))], size)


def larger_table(seed: int) -> Table:
    """A table of 20 to 45 classes with few cycles and much sharing, beyond brute force."""
    rng = random.Random(seed)
    size = rng.randint(20, 45)
    nodes: list[tuple[int, float, list[int]]] = []
    for c in range(size):
        for _ in range(rng.randint(1, 5)):
            pool = range(size) if rng.random() < 0.15 else range(max(0, c - 12), c)
            count = min(len(pool), rng.choice((1, 2, 2, 3)))
            nodes.append((c, rng.choice(LARGER_COSTS), rng.sample(pool, count)))
        if c < 4 or rng.random() < 0.1:
            nodes.append((c, rng.choice((1, 5, 20, 60)), []))
    return Table(nodes, [size - 1] + [rng.randrange(size) for _ in range(rng.randint(0, 3))], size)


def brute_force(table: Table) -> float:
    """The optimum by trying every combination; infinity if there is no acyclic choice."""
    best = inf
    choice: list[int | None] = [None] * table.size

    def descend(todo: tuple[int, ...], cost: float) -> None:
        nonlocal best
        if cost >= best:
            return
        while todo and choice[todo[-1]] is not None:
            todo = todo[:-1]
        if not todo:
            if evaluate(table, choice) is not None:
                best = cost
            return
        c = todo[-1]
        for node in table.members[c]:
            choice[c] = node
            descend(todo[:-1] + table.kids[node], cost + table.cost[node])
        choice[c] = None

    descend(table.roots, 0.0)
    return best


def plain_program(table: Table) -> float:
    """The optimum by a plain integer program with order variables: no simplification, no cuts, no bounds."""
    highs = Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("mip_rel_gap", 0.0)
    highs.setOptionValue("threads", 1)
    used = [highs.addBinary(obj=cost) for cost in table.cost]
    needed = [highs.addVariable(lb=0, ub=1) for _ in range(table.size)]
    place = [highs.addVariable(lb=0, ub=table.size) for _ in range(table.size)]
    for c, members in enumerate(table.members):
        highs.addConstr(highs.qsum([0 * place[c], *[used[node] for node in members]]) == needed[c])
    for node, c in enumerate(table.owner):
        if c in table.kids[node]:
            highs.addConstr(used[node] == 0)
            continue
        for kid in table.kids[node]:
            highs.addConstr(used[node] <= needed[kid])
            highs.addConstr(place[c] - place[kid] >= 1 - (table.size + 1) * (1 - used[node]))
    for root in table.roots:
        highs.addConstr(needed[root] == 1)
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return inf
    optimum: float = highs.getInfo().objective_function_value
    return optimum
