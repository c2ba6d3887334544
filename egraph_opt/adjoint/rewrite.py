# SPDX-License-Identifier: Apache-2.0
"""A program with equal values merged and adjoints used, where that is cheaper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from egraph_opt.adjoint.elimination import Elimination
from egraph_opt.adjoint.merging import Merged, is_sum_or_product, merge
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import Spec
from egraph_opt.ir.walk import ancestors
from egraph_opt.normalise import normalise

LARGEST = 1_500
"""Nodes of the programs that are looked at."""

WORTH = 0.02
"""Share of the arithmetic of the largest product from which others are worth avoiding."""

RESULTS = 60
ROUNDS = 8
"""How many nodes are tried as results, and how many are written differently."""

GAIN = 0.01
"""Least relative gain."""

MERGED, MOVED = "equal-values", "adjoint"
"""What reports call the two steps."""

LAWS = {
    MERGED: "tensors that are the same polynomial of the same tensors are computed once",
    MOVED: "<a, L u> = <L' a, u> where L' a is computed anyway",
}
"""What the steps say, by name."""

Price = Callable[[Graph], float]


def adjoint_form(
    graph: Graph, numerics: Numerics, price: Price, steps: list[Merged] | None = None
) -> tuple[Graph, Counter[str]]:
    """A cheaper equal program, or the one given, and how often each step was taken.

    Args:
        graph: a program in normal form.
        numerics: class of the changes that are allowed.
        price: of a program.
        steps: takes the program's nodes with the pairs that were found equal, for a proof.
    """
    fired: Counter[str] = Counter()
    if numerics < Numerics.REASSOCIATE or not _is_candidate(graph):
        return graph, fired
    merged = merge(graph, numerics)
    before = best = price(graph)
    found = graph
    if merged.count:
        found = normalise(merged.build(), numerics)
        best = price(found)
        fired[MERGED] = merged.count
    for _ in range(ROUNDS):
        better = _round(merged, numerics, price, best * (1 - GAIN), steps is not None)
        if better is None:
            break
        found, best, count = better
        fired[MOVED] += count
    if best > before * (1 - GAIN):
        return graph, Counter()
    if steps is not None:
        merged.settle()
        steps.append(merged)
    return found, fired


def _is_candidate(graph: Graph) -> bool:
    """Whether a program holds two products, one of which might be avoided."""
    products = [n for n in graph.nodes if n.op == "einsum" and len(n.operands) == 2]
    return len(graph) <= LARGEST and len([n for n in products if Spec.parse(n.attr("spec")).summed]) > 1


def _round(
    merged: Merged, numerics: Numerics, price: Price, bound: float, prove: bool
) -> tuple[Graph, float, int] | None:
    """Write one result differently: the program, its price, the products avoided; None where nothing gains."""
    emitter = merged.emitter
    live = ancestors(emitter, merged.roots)
    specs = {n: Spec.parse(emitter.nodes[n].attr("spec")) for n in sorted(live) if emitter.nodes[n].op == "einsum"}
    expensive = WORTH * max((spec.flops for spec in specs.values()), default=0.0)
    results = [n for n, s in specs.items() if s.summed and 4 * s.count(s.output) <= max(map(s.count, s.inputs))]
    for result in results[:RESULTS]:
        known = len(merged.equal), len(merged.states)
        elimination = Elimination(merged, live, result, expensive, prove)
        other = elimination.run()
        # Chains of matrices alone are left to the search: its rules regroup them and lose no other way.
        if other is not None and elimination.reused and elimination.weighted:
            place = merged.place
            changed = _substituted(merged, live, result, other)
            merged.place = [changed.get(n, n) for n in place]
            graph = normalise(merged.build(), numerics)
            cost = price(graph)
            if cost < bound:
                merged.equal.append((result, other))
                for n in sorted(ancestors(emitter, merged.roots) - live):
                    if is_sum_or_product(emitter.nodes[n]):
                        merged.known.add(n)
                return graph, cost, len(elimination.avoided)
            merged.place = place
        del merged.equal[known[0] :], merged.states[known[1] :]
    return None


def _substituted(merged: Merged, live: set[int], result: int, other: int) -> dict[int, int]:
    """What the nodes above a result become when it is another node."""
    emitter = merged.emitter
    changed = {result: other}
    for n in sorted(live):
        node = emitter.nodes[n]
        if n > result and not changed.keys().isdisjoint(node.operands):
            changed[n] = merged.emit(node, [changed.get(q, q) for q in node.operands])
    return changed
