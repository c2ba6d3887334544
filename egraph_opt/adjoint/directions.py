# SPDX-License-Identifier: Apache-2.0
"""Sums over directions go before what is done to each direction, where that makes the program cheaper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from egraph_opt.adjoint.linear import pushed_linear
from egraph_opt.adjoint.loop_seeds import pushed_loop
from egraph_opt.adjoint.pushing import MOVES, PASSED, Pushing, has_basis
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
    refused = False
    for changed in _changes(graph, numerics):
        best = price(graph) if best is None else best
        cost = price(changed.graph)
        changed.taken = cost <= GAIN * best
        refused = refused or not changed.taken
        if changed.taken:
            graph, best = changed.graph, cost
    if not refused or best is None:
        return graph
    # A Jacobian that two sums read is gone only when both have passed it.
    together = graph
    for changed in _changes(graph, numerics):
        changed.taken, together = True, changed.graph
    return together if price(together) <= GAIN * best else graph


@dataclass
class _Change:
    """A program with one sum pushed down, and whether the next is looked for in it."""

    graph: Graph
    taken: bool = False


def _changes(graph: Graph, numerics: Numerics) -> Iterator[_Change]:
    """The program with one sum after the other pushed down, those that are taken together."""
    tried: set[object] = set()
    while len(tried) < MOST_TRIES:
        number = next((n for n in _sums(graph) if _key(graph, n) not in tried), None)
        if number is None:
            return
        tried.add(_key(graph, number))
        pushed = _pushed(graph, number, numerics)
        if pushed is None:
            continue
        change = _Change(pushed)
        yield change
        if change.taken:
            graph = pushed


def _has_passed(graph: Graph) -> bool:
    ops = PASSED | MOVES if has_basis(graph) else PASSED
    return any(node.op in ops and (node.op == "scan" or len(node.type.shape) > 1) for node in graph.nodes)


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
    pushing = Pushing(graph, emitter, Indices(), places, pushed_loop, pushed_linear)
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
