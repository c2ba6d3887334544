# SPDX-License-Identifier: Apache-2.0
"""All passes over loops and branches, each kept where the program gets cheaper by the cost model.

Bodies are graphs of their own, which the search optimises one by one; what is here looks at a loop as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from egraph_opt.cost import CostModel, count_graph
from egraph_opt.cost.model import TRANSCENDENTAL_FLOPS
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops.fission import split_loops
from egraph_opt.loops.growth import powers
from egraph_opt.loops.hoist import hoisted
from egraph_opt.loops.last import unstacked
from egraph_opt.loops.loop import CONTROL, Change, results_of, rewritten
from egraph_opt.loops.merge import merged_loops
from egraph_opt.loops.once import without_single_trips
from egraph_opt.loops.turned import turned_loops
from egraph_opt.loops.unread import without_unread
from egraph_opt.normalise import normalise

Pass = Callable[[Graph, Numerics], Graph | None]

PASSES: dict[str, Pass] = {
    "loop-once": without_single_trips,
    "loop-last": unstacked,
    "loop-merge": merged_loops,
    "loop-power": powers,
    "loop-turned": turned_loops,
    "loop-split": split_loops,
    "loop-hoist": hoisted,
}
"""By name: each gives a graph to weigh against the one it was given, or None."""

LAWS = {
    "loop-unread": "results, carries and operands of loops and branches that nobody reads are not computed",
    "loop-once": "a loop of one trip is its body",
    "loop-last": "of a stack whose last place alone is read nothing else is kept",
    "loop-merge": "two loops that share work and do not wait for each other are one",
    "loop-power": "x -> a x, n times, is a^n x",
    "loop-turned": "(x a a a) z = x (a (a (a z)))",
    "loop-split": "what no carry waits for is computed for all trips at once",
    "loop-hoist": "routines that are the same in every trip run once",
}
"""What each pass does, in one line."""

ALWAYS = frozenset({"loop-once", "loop-hoist"})
"""Passes that are of use whatever the model says: it takes for granted that all steady work is hoisted."""

ROUNDS = 8
MORE_FLOPS = 1.02
"""How often all passes are tried, and how much more arithmetic a program may have that is taken for faster."""


def improved(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    """A program with less work in loops and branches, and how often each pass was of use.

    Args:
        graph: in normal form.
        numerics: class of the changes.
        cost: decides; a pass that makes the program dearer is undone.
    """
    used: Counter[str] = Counter()
    if not any(node.op in CONTROL for node in graph.nodes):
        return graph, used
    graph = _cleaned(_with_normal_bodies(graph, numerics), numerics, used)
    for _ in range(ROUNDS):
        before = graph
        for name, change in PASSES.items():
            changed = change(graph, numerics)
            if changed is None:
                continue
            changed = _cleaned(normalise(changed, numerics), numerics, Counter())
            if changed != graph and (name in ALWAYS or _is_cheaper(changed, graph, cost)):
                graph = changed
                used[name] += 1
        if graph == before or not any(node.op in CONTROL for node in graph.nodes):
            break
    return graph, used


def _with_normal_bodies(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with the sub-graphs of its loops and branches in normal form."""

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        del number
        if node.op not in CONTROL:
            return None
        attrs = [(name, _normal(value, numerics)) for name, value in node.attrs]
        made = emitter.add(node.op, operands, attrs, node.types, node.sources)
        return Change(results_of(emitter, made, node.types, node.sources), made)

    return rewritten(graph, numerics, change)


def _normal(value: Any, numerics: Numerics) -> Any:
    if isinstance(value, Graph):
        return normalise(value, numerics)
    if isinstance(value, tuple):
        return tuple(_normal(item, numerics) for item in value)
    return value


def _cleaned(graph: Graph, numerics: Numerics, used: Counter[str]) -> Graph:
    """Without what nobody reads; dropping one thing may leave another unread."""
    while True:
        smaller = normalise(without_unread(graph, numerics), numerics)
        if smaller == graph:
            return graph
        used["loop-unread"] += 1
        graph = smaller


def _is_cheaper(new: Graph, old: Graph, cost: CostModel) -> bool:
    if cost.graph_seconds(new) > cost.graph_seconds(old):
        return False
    flops = [c.flops + TRANSCENDENTAL_FLOPS * c.transcendentals for c in (count_graph(new), count_graph(old))]
    return flops[0] <= MORE_FLOPS * flops[1] + 1000
