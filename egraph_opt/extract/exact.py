# SPDX-License-Identifier: Apache-2.0
"""The shortest way to a proven optimum: trim, local search, reduce, branch and bound.

What ``portfolio`` adds is speed. This one is kept apart as a second opinion with few moving parts, for tests and for
anyone who wants to see how the exact stages fit together.
"""

from egraph_opt import clock
from egraph_opt.extract.choice import Extraction, record
from egraph_opt.extract.local_search import improve
from egraph_opt.extract.program import Program
from egraph_opt.extract.reduction import reduce
from egraph_opt.extract.smaller import trimmed
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree

GAP = 1e-6


def extract_exact(table: Table, budget: float = 60.0, seed: int = 0) -> Extraction:
    """An optimum with its proof, or the best at hand when the budget ends; the seed does not matter."""
    started = clock.now()
    deadline = started + budget
    trimmed_table, tree = trimmed(table)
    local = improve(trimmed_table.table, tree.choice, tree.order, deadline)
    reduced = reduce(trimmed_table.table, tree, local.cost * (1.0 + GAP), deadline=deadline)
    assert reduced is not None, "the incumbent itself is within the limit"
    if not reduced.table.roots:
        return record(started, trimmed_table.expand(reduced.expand([])), 0.0, "reduction")
    tree = cheapest_tree(reduced.table)
    start = improve(reduced.table, tree.choice, tree.order, deadline)
    program = Program(reduced.table)
    bound = program.relax(deadline)
    proof = program.branch(start, deadline, GAP)
    choice, cost = reduced.expand(proof.best.choice), proof.best.cost
    if local.cost < cost:
        choice, cost = local.choice, local.cost
    least = min(cost, max(proof.bound, bound.value if bound is not None else 0.0))
    return record(started, trimmed_table.expand(choice), cost, "branch and bound", least)
