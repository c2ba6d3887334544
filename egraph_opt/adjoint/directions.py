# SPDX-License-Identifier: Apache-2.0
"""Sums over directions go before what is done to each direction, where that makes the program cheaper."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from egraph_opt.adjoint.loop_seeds import pushed_loop
from egraph_opt.adjoint.pushing import PASSED, Pushing
from egraph_opt.adjoint.terms import Indices, StuckError
from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops.unread import without_unread
from egraph_opt.normalise import normalise

DIRECTIONS = "direction-sum"
"""What reports call the pass."""

MOST_TRIES = 16
"""Sums that are looked at in one program."""

LARGEST = 2_000
"""Programs with more nodes are left alone."""

GAIN = 0.98
"""What a program may cost of what it did."""


def directions_summed(graph: Graph, numerics: Numerics, price: Callable[[Graph], float]) -> Graph:
    """The graph with sums moved before what is linear and the same in all directions; the one given if none is.

    Args:
        graph: a program in normal form.
        numerics: class of the changes; below ``reassociate`` nothing is done.
        price: of a program.
    """
    if numerics < Numerics.REASSOCIATE or len(graph) > LARGEST or not _has_passed(graph):
        return graph
    best: float | None = None
    tried: set[object] = set()
    while len(tried) < MOST_TRIES:
        number = next((n for n in _sums(graph) if _key(graph, n) not in tried), None)
        if number is None:
            break
        tried.add(_key(graph, number))
        changed = _pushed(graph, number, numerics)
        if changed is None:
            continue
        best = price(graph) if best is None else best
        cost = price(changed)
        if cost <= GAIN * best:
            graph, best = changed, cost
    return graph


def _has_passed(graph: Graph) -> bool:
    return any(node.op in PASSED and (node.op == "scan" or len(node.type.shape) > 1) for node in graph.nodes)


def _sums(graph: Graph) -> Iterator[int]:
    """Nodes that sum something, from the last to the first."""
    for number in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[number]
        if node.op == "einsum":
            spec = Spec.parse(node.attr("spec"))
            if any(spec.sizes[c] > 1 for c in spec.summed):
                yield number


def _key(graph: Graph, number: int) -> object:
    node = graph.nodes[number]
    return node.attr("spec"), tuple((graph.nodes[q].op, graph.nodes[q].types) for q in node.operands), node.sources


def _pushed(graph: Graph, number: int, numerics: Numerics) -> Graph | None:
    """The program with one sum pushed down; None where it passes nothing that the search does not."""
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    places = {n: emitter.input(graph.nodes[n].type, names[n]) for n in graph.inputs}
    pushing = Pushing(graph, emitter, Indices(), places, pushed_loop)
    if not pushing.is_deep(number):
        return None
    try:
        places[number] = pushing.start(number)
    except StuckError:
        return None
    if not pushing.passed:
        return None
    outputs, effects = ([pushing.place(n) for n in roots] for roots in (graph.outputs, graph.effects))
    changed = emitter.build(outputs, effects, graph.weak_outputs, graph.precision)
    return normalise(without_unread(normalise(changed, numerics), numerics), numerics)
