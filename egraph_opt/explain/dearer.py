# SPDX-License-Identifier: Apache-2.0
"""By which term one program is dearer than another, and the cheapest program that uses a given e-node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf

from egraph_opt.cost import CostModel, count_node
from egraph_opt.errors import ExtractionError
from egraph_opt.explain.verdict import Term
from egraph_opt.extract import EXTRACTORS, Table
from egraph_opt.extract.tree import cheapest_tree
from egraph_opt.ir import Graph, Node, Sources, TensorType

FORCED_SECONDS = 0.1
"""For the extraction of one program that has to use an e-node [s]."""

MAX_LINES = 4
"""User lines that are named with a term."""

Row = tuple[int, float, tuple[int, ...], str]
Key = tuple[object, ...]


def largest_excess(program: Graph, other: Graph, cost: CostModel) -> Term | None:
    """The kind of node that ``program`` has more of than ``other``, the dearest of those; None when there is none."""
    mine, theirs = _nodes(program), _nodes(other)
    prices: list[tuple[float, Key]] = []
    for key, numbers in mine.items():
        more = len(numbers) - len(theirs.get(key, ()))
        node = program.nodes[numbers[0]]
        if more > 0 and node.op not in ("input", "constant"):
            prices.append((more * cost.node_cost(node, _types(program, node)), key))
    if not prices:
        return None
    price, key = max(prices, key=lambda item: item[0])
    numbers = mine[key]
    more = len(numbers) - len(theirs.get(key, ()))
    node = program.nodes[numbers[0]]
    count = count_node(node, _types(program, node)).times(more)
    lines = Counter(str(source) for n in numbers for source in program.nodes[n].sources)
    seconds = None if cost.name == "flops" else price
    shown = tuple(line for line, _ in lines.most_common(MAX_LINES))
    return Term(node_text(program, numbers[0]), count.flops, count.bytes, seconds, shown)


def node_text(graph: Graph, number: int) -> str:
    """A node with its attributes and the types of its operands."""
    node = graph.nodes[number]
    attrs = ", ".join(f"{name}={value}" for name, value in node.attrs if not isinstance(value, Graph))
    return f"{node.op}{f'[{attrs}]' if attrs else ''}({', '.join(str(graph.nodes[q].types[0]) for q in node.operands)})"


def lines_of(sources: Sources) -> tuple[str, ...]:
    """User lines as text."""
    return tuple(map(str, sources))


def forced(rows: Sequence[Row], roots: Sequence[int], size: int, wanted: int) -> list[int | None] | None:
    """Choice of a program that uses row ``wanted``, or None where no root can reach it without a cycle.

    The classes on the cheapest way from a root to it keep the rows of that way; the rest is extracted as usual.
    """
    way = _way(rows, roots, size, wanted)
    if way is None:
        return None
    kept = [k for k, row in enumerate(rows) if way.get(row[0], k) == k]
    table = Table([rows[k] for k in kept], roots, size)
    try:
        found = EXTRACTORS["local-search"].function(table, FORCED_SECONDS)
    except ExtractionError:
        return None
    return [None if k is None else kept[k] for k in found.choice]


def _way(rows: Sequence[Row], roots: Sequence[int], size: int, wanted: int) -> dict[int, int] | None:
    """Row of each class on the cheapest way from a root down to a row."""
    value = cheapest_tree(Table(rows, roots, size)).value
    readers: dict[int, list[int]] = {}
    for k, row in enumerate(rows):
        for child in set(row[2]):
            readers.setdefault(child, []).append(k)
    start = rows[wanted][0]
    below: dict[int, tuple[int, int]] = {}  # class -> (row that reads the way, class below)
    best = {start: 0.0}
    heap = [(0.0, start)]
    while heap:
        price, c = heappop(heap)
        if price > best[c]:
            continue
        if c in roots:
            way = {start: wanted}
            while c != start:
                way[c], c = below[c]
            return way
        for k in readers.get(c, ()):
            owner, own, children, _ = rows[k]
            total = price + own + sum(value[q] for q in set(children) if q != c)
            if owner != start and total < best.get(owner, inf):
                best[owner], below[owner] = total, (k, c)
                heappush(heap, (total, owner))
    return None


def _nodes(graph: Graph) -> dict[Key, list[int]]:
    found: dict[Key, list[int]] = {}
    for number, node in enumerate(graph.nodes):
        key = (node.op, node.attrs, tuple(graph.nodes[q].types for q in node.operands))
        found.setdefault(key, []).append(number)
    return found


def _types(graph: Graph, node: Node) -> list[TensorType]:
    return [graph.nodes[q].types[0] for q in node.operands]
