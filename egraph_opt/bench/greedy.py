# SPDX-License-Identifier: Apache-2.0
"""A greedy rewriter with the same rules, to compare with: what the order of rewrites costs.

Each step applies every rule once, wherever it matches, and goes on from the cheapest program found, alone; it ends when
a step brings no gain. Forms that only pay after a second rewrite are lost to it. The e-graph keeps them all.
"""

from __future__ import annotations

from dataclasses import replace

from egraph_opt.ir import Graph
from egraph_opt.search import SearchOptions, search

STEPS = 100


def rewrite_greedily(graph: Graph, options: SearchOptions) -> Graph:
    """The program at which single steps no longer pay.

    Args:
        graph: the program.
        options: as for ``search``; the budget holds for each step.
    """
    single = replace(options, iterations=1)
    cost = options.cost.graph_seconds(graph)
    for _ in range(STEPS):
        best = search(graph, single).candidates[0]
        if best.cost >= cost:
            break
        graph, cost = best.graph, best.cost
    return graph
