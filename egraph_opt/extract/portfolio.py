# SPDX-License-Identifier: Apache-2.0
"""The extractor that the pipeline uses: every algorithm of this package under one wall-clock budget."""

import time

from egraph_opt.extract.choice import Extraction, public
from egraph_opt.extract.local_search import Local, improve
from egraph_opt.extract.restarts import restart
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import cheapest_tree, require_roots


def extract(table: Table, budget: float = 0.3, gap: float = 1e-4, seed: int = 0) -> Extraction:
    """Choose a node for every class so that the roots together cost as little as the budget allows.

    Args:
        table: the e-graph.
        budget: wall-clock limit [s]; what was found so far is returned when it ends.
        gap: relative distance from the proven bound at which to stop.
        seed: of all random decisions.

    Raises:
        ExtractionError: a root has no finite derivation.
    """
    started = time.perf_counter()
    deadline = started + budget
    trace: list[tuple[float, float, str]] = []

    def report(stage: str, found: Local) -> None:
        trace.append((time.perf_counter() - started, found.cost, stage))

    tree = cheapest_tree(table)
    require_roots(table, tree.choice)
    best = improve(table, tree.choice, tree.order, deadline)
    report("local search", best)
    best = restart(table, best, deadline, seed=seed, report=lambda found: report("restarts", found))
    seconds = time.perf_counter() - started
    return Extraction(public(best.choice), best.cost, 0.0, trace[-1][2], seconds, tuple(trace))
