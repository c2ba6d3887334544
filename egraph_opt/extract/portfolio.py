# SPDX-License-Identifier: Apache-2.0
"""The extractor that the pipeline uses: every algorithm of this package under one budget of time.

Cheap stages come first and each leaves a choice that could be returned: tree, local search, restarts; then rounds of
exact reduction, relaxation and fixing of nodes that are too dear for the incumbent; at last large neighbourhoods and
branch and bound. Ends as soon as the choice is proven, or when the budget is spent or no longer pays.
"""

from math import inf

import numpy as np

from egraph_opt import clock
from egraph_opt.extract.choice import Extraction, evaluate, public
from egraph_opt.extract.local_search import SMALLEST_STEP, Local, improve
from egraph_opt.extract.neighbourhood import guided, search_neighbourhoods
from egraph_opt.extract.program import Bound, Program
from egraph_opt.extract.reduction import reduce
from egraph_opt.extract.restarts import restart
from egraph_opt.extract.smaller import trimmed
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree

PHASES = 6
SAFE = 1.0 + 1e-9  # rounding must not make the incumbent look too dear
CERTAIN = 1.0 + 1e-7  # a relaxation is exact to about this
WORTHWHILE_SHARE = 0.15  # of the nodes: fixing fewer than these does not pay another round
LONG_BUDGET = 1.0  # seconds: who gives so much time wants it used

# Seconds that a stage takes per node on a slow core; a stage that does not fit into the time left is not begun.
REDUCTION_SECONDS = 6e-5
RELAXATION_SECONDS = 6e-5
BRANCH_SECONDS, BRANCH_LONGEST = 1.5e-3, 2.0

# Branch and bound gets far on tables of few nodes, or where the relaxation is close to the incumbent; below SMALL nodes
# it is quicker than any search.
SMALL, EASY, CLOSE = 300, 2500, 0.8

# Restarts in a row without improvement before the next stage: few where the exact stages are cheap.
FIRST_PATIENCE, PATIENCE, LONG_PATIENCE, ENDLESS_PATIENCE = 1, 3, 12, 40
CHEAP_SHARE = 0.3  # of the time left: a reduction that takes less is cheap


def extract(table: Table, budget: float = 0.3, gap: float = 1e-4, seed: int = 0) -> Extraction:
    """Choose a node for every class so that the roots together cost as little as the budget allows.

    Args:
        table: the e-graph.
        budget: seconds of work (``clock.now``) [s]; what was found so far is returned when it ends.
        gap: relative distance between cost and proven bound at which to stop.
        seed: of all random decisions.

    Returns:
        The best choice found, with a proven lower bound if one was reached.

    Raises:
        ExtractionError: a root has no finite derivation.
    """
    run = _Run(table, budget, gap, seed)
    run.search()
    return run.result()


class _Run:
    """The state of one extraction: incumbent, bound, clock, and the chain of ever smaller tables."""

    def __init__(self, table: Table, budget: float, gap: float, seed: int) -> None:
        self.started = clock.now()
        self.budget, self.deadline = budget, self.started + budget
        self.gap, self.seed = gap, seed
        self.trace: list[tuple[float, float, str]] = []
        self.bound = 0.0
        self.calls = 0
        smaller, self.tree = trimmed(table)
        self.chain = [smaller]
        self.cost = inf
        self.best: tuple[int, Local] = (1, Local([], inf))
        cost = evaluate(self.table, self.tree.choice)
        assert cost is not None, "a tree has no cycles"
        self.report(Local(self.tree.choice, cost), "tree")

    @property
    def table(self) -> Table:
        """The smallest table so far."""
        return self.chain[-1].table

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - clock.now()

    def report(self, found: Local, stage: str) -> None:
        """Take note of a choice on the smallest table."""
        if found.cost < self.cost * (1.0 - SMALLEST_STEP) or not self.trace:
            self.cost = found.cost
            self.best = (len(self.chain), found)
            self.trace.append((clock.now() - self.started, found.cost, stage))

    def raise_bound(self, bound: float) -> None:
        """Take note of a lower bound; it cannot pass the incumbent except by rounding."""
        self.bound = max(self.bound, min(bound, self.cost))

    def result(self) -> Extraction:
        """The record for the caller, on the table the run began with."""
        depth, local = self.best
        choice = local.choice
        for smaller in reversed(self.chain[:depth]):
            choice = smaller.expand(choice)
        seconds = clock.now() - self.started
        return Extraction(public(choice), self.cost, self.bound, self.trace[-1][2], seconds, tuple(self.trace))

    def search(self) -> None:
        """Run the stages until the choice is proven, the time is up, or going on does not pay."""
        cheap = self.affords(REDUCTION_SECONDS / CHEAP_SHARE)
        here = self.heuristics(FIRST_PATIENCE if cheap else LONG_PATIENCE)
        dead: list[int] = []
        for phase in range(PHASES):
            if not self.shrink(dead):
                break
            here = self.heuristics(PATIENCE if self.budget < LONG_BUDGET else LONG_PATIENCE)
            bound = self.relax(here)
            if bound is None:
                break
            program, relaxed, here = bound
            dead = self.too_dear(relaxed)
            if self.few(dead) or phase == PHASES - 1:
                here = self.polish(here)
                dead = self.too_dear(relaxed)
                if self.few(dead):
                    self.prove(program, here)
                    return
        self.polish(here)

    def shrink(self, dead: list[int]) -> bool:
        """Reduce the table against the incumbent; False when that does not pay any more."""
        if self.finished() or not self.affords(REDUCTION_SECONDS):
            return False
        smaller = reduce(self.table, self.tree, self.cost * SAFE, dead, self.deadline)
        if smaller is None:
            self.raise_bound(self.cost)
            return False
        self.chain.append(smaller)
        self.tree = cheapest_tree(self.table)
        return True

    def relax(self, here: Local) -> tuple[Program, Bound, Local] | None:
        """Bound the smallest table by its relaxation, which then guides the search; None without need or time."""
        if self.finished() or not self.affords(RELAXATION_SECONDS):
            return None
        program = Program(self.table)
        relaxed = program.relax(self.deadline, target=self.cost * (1.0 - self.gap), enough=self.many_too_dear)
        if relaxed is None:
            return None
        self.raise_bound(relaxed.value)
        if self.finished():
            return None
        here = guided(self.table, relaxed.wanted, here, self.deadline)
        self.report(here, "relaxation")
        return program, relaxed, here

    def heuristics(self, patience: int) -> Local:
        """Local search and restarts on the smallest table."""
        here = improve(self.table, self.tree.choice, self.tree.order, self.deadline)
        self.report(here, "local search")
        if not self.finished():
            here = self.restarts(here, patience)
        return here

    def restarts(self, here: Local, patience: int, share: float = 1.0) -> Local:
        """Restart the local search on the smallest table, for a share of the time left at most."""
        self.calls += 1  # every call makes other noise
        deadline = clock.now() + share * self.left
        return restart(
            self.table, here, deadline, patience, (self.seed, self.calls), lambda found: self.report(found, "restarts")
        )

    def finished(self) -> bool:
        """Is there nothing left to decide, to prove, or no time to do it in?"""
        if all(len(members) == 1 for members in self.table.members):
            self.raise_bound(self.cost)
        return self.bound >= self.cost * (1.0 - self.gap) or self.left <= 0.0

    def affords(self, seconds_per_node: float) -> bool:
        """Does a stage of that price fit into the time left?"""
        return len(self.table.cost) * seconds_per_node < self.left

    def too_dear(self, relaxed: Bound) -> list[int]:
        """Nodes of the smallest table that would push the cost over the incumbent."""
        dear: list[int] = np.flatnonzero(relaxed.value + relaxed.penalty > self.cost * CERTAIN).tolist()
        return dear

    def many_too_dear(self, relaxed: Bound) -> bool:
        """Does the relaxation tell enough nodes apart for the next round, so that more cuts come cheaper there?"""
        return not self.few(self.too_dear(relaxed))

    def few(self, dead: list[int]) -> bool:
        """Too few nodes to be worth another round?"""
        return len(dead) < WORTHWHILE_SHARE * len(self.table.cost)

    def worth_branching(self) -> bool:
        """Has branch and bound on the smallest table a chance in the time left?"""
        nodes = len(self.table.cost)
        easy = nodes < EASY or self.bound > CLOSE * self.cost
        return easy and min(BRANCH_LONGEST, nodes * BRANCH_SECONDS) < self.left

    def polish(self, here: Local) -> Local:
        """More restarts, then neighbourhoods, while they pay; leaves half of the time if there is a use for it."""
        if self.finished():
            return here
        small = len(self.table.cost) < SMALL
        if small or self.budget >= LONG_BUDGET:
            here = self.restarts(here, ENDLESS_PATIENCE, 0.1)
        else:
            here = self.restarts(here, PATIENCE)
        seconds = idle = self.left
        if small and self.worth_branching():
            seconds = idle = 0.02 * self.left
        elif self.worth_branching():
            seconds, idle = 0.5 * self.left, 0.25 * self.left
        elif self.budget < LONG_BUDGET:
            idle = 0.25 * self.left
        return self.neighbourhoods(here, seconds, idle)

    def neighbourhoods(self, here: Local, seconds: float, idle: float) -> Local:
        """Free balls of the smallest table for some seconds, fewer if nothing has improved for ``idle`` of them."""
        deadline = clock.now() + seconds
        return search_neighbourhoods(
            self.table, here, deadline, self.seed, idle, lambda found: self.report(found, "neighbourhoods")
        )

    def prove(self, program: Program, here: Local) -> None:
        """Branch and bound on the smallest table; the time that it keeps in reserve goes to neighbourhoods again."""
        if self.worth_branching():
            proof = program.branch(here, self.deadline, self.gap)
            self.report(proof.best, "branch and bound")
            self.raise_bound(proof.bound)
            if not self.finished():
                self.neighbourhoods(proof.best, self.left, self.left)
