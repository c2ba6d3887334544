# SPDX-License-Identifier: Apache-2.0
"""Large-neighbourhood search: free the choices in a ball of classes, keep the rest, and solve that nearly exactly.

A ball grows from a random needed class along the edges of the e-graph. The restricted table is reduced against the
incumbent, bounded by its relaxation and, if an improvement is still possible, branched on. Balls grow while they are
solved easily. Balls and local searches begun anew share the time, as either finds what the other does not. Also here:
the local search guided by a relaxed point.
"""

import random
from collections.abc import Callable
from math import inf

from egraph_opt import clock
from egraph_opt.extract.choice import UNDERIVED, Extraction, record, selected
from egraph_opt.extract.local_search import Local, improve
from egraph_opt.extract.program import Program
from egraph_opt.extract.reduction import reduce
from egraph_opt.extract.restarts import Fresh
from egraph_opt.extract.smaller import trimmed
from egraph_opt.extract.solver import Floats
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree

BETTER = 1.0 - 1e-9
FIRST_SIZE, SMALLEST, LARGEST = 60, 20, 400
STREAM = 99  # tells the restarts apart from others of the same seed
SLICE_SECONDS = 0.15


def guided(table: Table, wanted: Floats, best: Local, deadline: float) -> Local:
    """Local search from a tree in which the nodes that a relaxed point wants are cheap."""
    for trust in (1.0, 0.9):
        costs = [w * (1.0 - trust * min(1.0, max(0.0, x)) + 1e-9) for w, x in zip(table.cost, wanted, strict=True)]
        tree = cheapest_tree(table, costs)
        found = improve(table, tree.choice, tree.order, deadline)
        if found.cost < best.cost * BETTER:
            best = found
    return best


def search_neighbourhoods(
    table: Table,
    best: Local,
    deadline: float,
    seed: int = 0,
    idle_seconds: float = inf,
    report: Callable[[Local], None] | None = None,
) -> Local:
    """Improve a choice ball by ball.

    Args:
        table: the e-graph, trimmed or reduced.
        best: the incumbent.
        deadline: moment of ``clock.now`` at which to stop.
        seed: of the balls.
        idle_seconds: stop when nothing has improved for so long.
        report: called with every new best.
    """
    rng = random.Random(seed)
    fresh = Fresh(table, (seed, STREAM))
    near = _neighbours(table)
    size = float(FIRST_SIZE)
    last = clock.now()
    while clock.now() < min(deadline, last + idle_seconds):
        needed = selected(table, best.choice)
        centres = [c for c in needed if len(table.members[c]) > 1]
        if not centres:
            break
        ball = _ball(near, rng, rng.choice(centres), int(size))
        begun = clock.now()
        end = min(deadline, begun + SLICE_SECONDS)
        found = _solve(table, best, needed, ball, end)
        if found is not None:
            best, last = found, clock.now()
            if report is not None:
                report(best)
        size = max(SMALLEST, size * 0.9) if clock.now() >= end else min(LARGEST, size * 1.03)
        until = min(deadline, clock.now() + 2.0 * (clock.now() - begun))
        while clock.now() < until:
            found = fresh.attempt(deadline)
            if found.cost < best.cost * BETTER:
                best, last = found, clock.now()
                if report is not None:
                    report(best)
    return best


def _neighbours(table: Table) -> list[list[int]]:
    """Classes that read a class or are read by it."""
    near: list[dict[int, None]] = [{} for _ in range(table.size)]
    for c, members in enumerate(table.members):
        for node in members:
            for kid in table.kids[node]:
                near[c][kid] = None
                near[kid][c] = None
    return [list(classes) for classes in near]


def _ball(near: list[list[int]], rng: random.Random, centre: int, size: int) -> set[int]:
    """Up to ``size`` classes around a centre, breadth first in random order."""
    ball = {centre}
    front = [centre]
    while front and len(ball) < size:
        ring = list(dict.fromkeys(q for c in front for q in near[c] if q not in ball))
        rng.shuffle(ring)
        front = ring[: size - len(ball)]
        ball.update(front)
    return ball


def _solve(table: Table, best: Local, needed: list[int], ball: set[int], deadline: float) -> Local | None:
    """A better choice that differs from the incumbent inside the ball; None if there is none, or none was found."""
    known = ball.union(needed)
    nodes = [best.choice[c] for c in needed if c not in ball]
    nodes += [node for c in sorted(ball) for node in table.members[c] if known.issuperset(table.kids[node])]
    part = table.restricted(nodes)
    better = best.cost * (1.0 - 1e-7)
    small = reduce(part, cheapest_tree(part), better)
    if small is None:
        return None
    tree = cheapest_tree(small.table)
    if any(tree.choice[root] == UNDERIVED for root in small.table.roots):
        return None
    found = _solve_reduced(small.table, improve(small.table, tree.choice, tree.order, deadline), better, deadline)
    if found.cost > better:
        return None
    merged = [node if node == UNDERIVED else nodes[node] for node in small.expand(found.choice)]
    fixed = {c: merged[c] for c in selected(table, merged)}
    tree = cheapest_tree(table, fixed=fixed)
    return improve(table, tree.choice, tree.order, deadline)


def _solve_reduced(table: Table, start: Local, better: float, deadline: float) -> Local:
    """The start if it is better already, else the best of relaxation, guided search and branching."""
    if start.cost <= better:
        return start
    program = Program(table)
    bound = program.relax(deadline, rounds=8, target=better)
    if bound is None or bound.value >= better:
        return start
    found = guided(table, bound.wanted, start, deadline)
    if found.cost <= better:
        return found
    return program.branch(found, deadline).best


def extract_neighbourhoods(table: Table, budget: float = 1.0, seed: int = 0) -> Extraction:
    """Local search, then neighbourhoods until the budget is spent, as an extraction."""
    started = clock.now()
    smaller, tree = trimmed(table)
    start = improve(smaller.table, tree.choice, tree.order, started + budget)
    found = search_neighbourhoods(smaller.table, start, started + budget, seed)
    return record(started, smaller.expand(found.choice), found.cost, "neighbourhoods")
