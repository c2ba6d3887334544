# SPDX-License-Identifier: Apache-2.0
"""Kernels in a search: idioms of the program beside it in the e-graph, and those that only extraction brings to light.

What the e-graph holds is chosen there, by price. An extracted program may hold idioms that the program did not, such as
a scale that has moved out of a product; they are put in where that makes it cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax

from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels.found import Found, beside, replaced
from egraph_opt.kernels.recognise import recognise
from egraph_opt.ops.kernel import KERNEL, Lowering

IDIOM = "idiom"
LAWS = {IDIOM: "a recognised idiom is run by a kernel that computes the same"}
"""What a kernel in the place of an idiom counts as among the rules, and what it says."""

SHARE = 0.3
"""Share of the search's time that recognition may take."""

Price = Callable[[Graph], float]


def with_idioms(
    graph: Graph, numerics: Numerics, seconds: float = math.inf
) -> tuple[Graph, list[tuple[int, int]], list[Found]]:
    """The program with kernels behind its own nodes, pairs of equal nodes, and what was recognised.

    Args:
        graph: in normal form.
        numerics: class of the rewrites that are allowed.
        seconds: time of the search, of which recognition takes a share [s].
    """
    found = recognise(graph, seconds=SHARE * seconds)
    both, pairs = beside(graph, found, jax.default_backend(), numerics)
    return both, pairs, found


def with_kernels(graph: Graph, numerics: Numerics, seconds: float, price: Price) -> Graph:
    """The program with idioms of its own run by kernels, where that makes it cheaper; the same object where not."""
    if any(node.op == KERNEL for node in graph.nodes):
        return graph
    platform = jax.default_backend()
    chosen: list[tuple[Found, Lowering]] = []
    best = price(graph)
    for group in _groups([f for f in recognise(graph, seconds=SHARE * seconds) if f.lowerings(platform, numerics)]):
        for lowering in group[0].lowerings(platform, numerics):
            tried = [*chosen, *((one, lowering) for one in group)]
            new = price(replaced(graph, tried))
            if new < best:
                best, kept = new, tried
                chosen = kept
                break
    return replaced(graph, chosen) if chosen else graph


def _groups(found: Sequence[Found]) -> list[list[Found]]:
    """Idioms that are alike: of one kernel, with equal types and static keywords."""
    groups: dict[object, list[Found]] = {}
    for one in found:
        groups.setdefault((one.kernel, one.types, one.static), []).append(one)
    return list(groups.values())


def counted(found: Sequence[Found]) -> list[str]:
    """What was recognised, the commonest first: ``attention (causal) x12``."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.label] = counts.get(one.label, 0) + 1
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{label} x{count}" if count > 1 else label for label, count in rows]
