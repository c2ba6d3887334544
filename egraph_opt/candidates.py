# SPDX-License-Identifier: Apache-2.0
"""Which of the programs that a search found are looked at, and what else they can become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from egraph_opt.cost import CostModel
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import IDIOM, has_kernels, with_kernels
from egraph_opt.memory import BLOCKS, blocked
from egraph_opt.search import Candidate, Search, Stage

MOST_OPENED = 3
"""Of so many programs it is tried what kernels make of them."""


def varied(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, the cheapest first, then the cheapest that does without its kernels, or that has some."""
    if len(candidates) < 3:
        return list(candidates)
    first = has_kernels(candidates[0].graph)
    other = [c for c in candidates[1:] if has_kernels(c.graph) != first][:1]
    return [candidates[0], *other, *(c for c in candidates[1:] if c not in other)]


def add_kernels(found: Search, numerics: Numerics, seconds: float, price: Callable[[Graph], float]) -> None:
    """Add to the candidates what they become where idioms that the search brought to light are run by kernels.

    Args:
        found: the search.
        numerics: class of the rewrites that are allowed.
        seconds: time of the search [s].
        price: of a program.
    """
    for candidate in found.candidates[:MOST_OPENED]:
        graph = with_kernels(candidate.graph, numerics, seconds, price)
        if graph is not candidate.graph and all(graph != other.graph for other in found.candidates):
            stages = (*candidate.stages, Stage((IDIOM,), candidate.graph, graph))
            found.candidates.append(
                replace(candidate, graph=graph, cost=price(graph), fired={**candidate.fired, IDIOM: 1}, stages=stages)
            )
    found.candidates.sort(key=lambda c: c.cost)


def add_blocked(found: Search, numerics: Numerics, goal: CostModel) -> None:
    """Add to the candidates what they become with their large intermediates in blocks."""
    for candidate in list(found.candidates):
        graph = blocked(candidate.graph, goal.graph_seconds, numerics)
        if graph is not candidate.graph:
            stages = (*candidate.stages, Stage((BLOCKS,), candidate.graph, graph))
            fired = {**candidate.fired, BLOCKS: 1}
            found.candidates.append(
                replace(candidate, graph=graph, cost=goal.graph_seconds(graph), fired=fired, stages=stages)
            )
    found.candidates.sort(key=lambda c: c.cost)
