# SPDX-License-Identifier: Apache-2.0
"""Loops of equal length of which neither waits for the other become one loop where they share work."""

from __future__ import annotations

from collections.abc import Iterator

from egraph_opt.cost import count_graph
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.walk import ancestors
from egraph_opt.loops.loop import Loop, inlined
from egraph_opt.loops.unread import without_unread
from egraph_opt.normalise import normalise
from egraph_opt.ops import Trait, get_op

MOST_PAIRS = 6
"""Pairs of loops that are tried in one go."""


def merged_loops(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph with two loops as one that do some work twice; None where there are none."""
    flops = count_graph(graph).flops
    for tried, (first, second) in enumerate(_pairs(graph)):
        if tried == MOST_PAIRS:
            break
        joined = normalise(without_unread(_joined(graph, first, second, numerics), numerics), numerics)
        if count_graph(joined).flops < flops:
            return joined
    return None


def _pairs(graph: Graph) -> Iterator[tuple[int, int]]:
    """Loops of equal length that read something in common, and that do not wait for each other."""
    scans = [
        n for n, node in enumerate(graph.nodes)
        if node.op == "scan" and not node.attr("body").effects and n not in graph.effects
    ]  # fmt: skip
    for place, second in enumerate(scans):
        needed: set[int] | None = None
        for first in scans[:place]:
            mine, other = graph.nodes[first], graph.nodes[second]
            if any(mine.attr(name) != other.attr(name) for name in ("length", "reverse")):
                continue
            if not set(mine.operands) & set(other.operands):
                continue
            needed = ancestors(graph, other.operands) if needed is None else needed
            if first not in needed:
                yield first, second


def _joined(graph: Graph, first: int, second: int, numerics: Numerics) -> Graph:
    """The graph with two of its loops as one."""
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: dict[int, int] = {n: emitter.input(graph.nodes[n].type, names[n]) for n in graph.inputs}
    results: dict[int, list[int]] = {}
    pair = (first, second)
    operands = [*graph.nodes[first].operands, *graph.nodes[second].operands]
    needed = ancestors(graph, operands)
    # What reads the first loop is made after both.
    late = [n for n in range(first, len(graph.nodes)) if n not in needed]
    order = [*range(first), *sorted(n for n in needed if n >= first), *late]
    for number in order:
        node = graph.nodes[number]
        if number in place:
            continue
        if number in pair:
            if not results:
                results = _both(emitter, graph, pair, place, numerics)
            place[number] = results[number][0] if len(node.types) == 1 else -1
        elif node.op == "result" and node.operands[0] in pair:
            place[number] = results[node.operands[0]][node.attr("index")]
        else:
            inner = [place[q] for q in node.operands]
            place[number] = emitter.emit(node, inner, Trait.ELEMENTWISE in get_op(node.op).traits)
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _both(
    emitter: Emitter, graph: Graph, pair: tuple[int, int], place: dict[int, int], numerics: Numerics
) -> dict[int, list[int]]:
    """Append one loop for two; the results of each."""
    nodes: list[Node] = [graph.nodes[n] for n in pair]
    loops = [Loop.of(node, [place[q] for q in node.operands]) for node in nodes]
    body = Emitter(numerics)
    known: list[dict[int, int]] = [{}, {}]
    for part in ("const_inputs", "carry_inputs", "x_inputs"):
        for loop, mine in zip(loops, known, strict=True):
            mine.update({q: body.input(loop.body.nodes[q].type) for q in getattr(loop, part)})
    made = [inlined(body, loop.body, mine, loop.body.outputs) for loop, mine in zip(loops, known, strict=True)]
    counts = [len(loop.init) for loop in loops]
    carries = [*made[0][: counts[0]], *made[1][: counts[1]]]
    ys = [*made[0][counts[0] :], *made[1][counts[1] :]]
    one = Loop(
        body.build([*carries, *ys]),
        loops[0].consts + loops[1].consts,
        loops[0].init + loops[1].init,
        loops[0].xs + loops[1].xs,
        loops[0].length,
        loops[0].reverse,
        min(loop.unroll for loop in loops),
        loops[0].sources,
    )
    _, results = one.emit(emitter)
    total, middle = sum(counts), sum(counts) + len(made[0]) - counts[0]
    return {
        pair[0]: [*results[: counts[0]], *results[total:middle]],
        pair[1]: [*results[counts[0] : total], *results[middle:]],
    }
