# SPDX-License-Identifier: Apache-2.0
"""Terms: a hash-consed table of operations on operands, and Graphs as terms of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from egraph_opt.engine.words import constant_text
from egraph_opt.explain.checker import Terms
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ir.attrs import format_attr
from egraph_opt.ir.reshapes import shape_text

Types = tuple[TensorType, ...]


class Term(NamedTuple):
    """One term: operation, text of its attributes, operands, types of the results."""

    op: str
    attrs: str
    args: tuple[int, ...]
    types: Types


class TermTable:
    """Terms by number; equal terms have one number, operands come before their readers."""

    def __init__(self) -> None:
        self.rows: list[Term] = []
        self.bodies: dict[str, Graph] = {}
        self._known: dict[Term, int] = {}

    def add(self, op: str, attrs: str, args: Iterable[int], types: Iterable[TensorType]) -> int:
        """Number of a term, which is appended when it is new."""
        term = Term(op, attrs, tuple(args), tuple(t.strong() for t in types))
        if term not in self._known:
            self._known[term] = len(self.rows)
            self.rows.append(term)
        return self._known[term]

    def node(self, node: Node, args: Sequence[int]) -> int:
        """A Graph node with other operands."""
        for body in graphs_of(node):
            self.bodies.setdefault("; ".join(program_names(body)), body)
        return self.add(node.op, attribute_text(node), args, node.types)

    def graph(self, graph: Graph) -> list[int]:
        """Terms of the nodes of a Graph."""
        place: list[int] = []
        for node in graph.nodes:
            place.append(self.node(node, [place[q] for q in node.operands]))
        return place

    def reach(self, roots: Iterable[int]) -> list[int]:
        """Terms and all that they hold, in order of their numbers: operands come first."""
        seen: set[int] = set()
        stack = list(roots)
        while stack:
            t = stack.pop()
            if t not in seen:
                seen.add(t)
                stack += self.rows[t].args
        return sorted(seen)

    def apart(self, a: int, b: int) -> tuple[set[int], set[int]]:
        """What one of two terms holds alone, and the first terms that both hold."""
        holders = {a: 1, b: 2} if a != b else {a: 3}
        found: tuple[set[int], set[int]] = (set(), set())
        heap = [-t for t in holders]
        heapq.heapify(heap)
        while heap:  # operands have smaller numbers: when a term's turn comes, all its readers had theirs
            t = -heapq.heappop(heap)
            both = holders[t] == 3
            found[both].add(t)
            for q in () if both else self.rows[t].args:
                if q not in holders:
                    heapq.heappush(heap, -q)
                holders[q] = holders.get(q, 0) | holders[t]
        return found

    def json(self, numbers: Sequence[int]) -> list[Any]:
        """Rows of some terms, which hold their operands, as a certificate tells them."""
        place = {t: n for n, t in enumerate(numbers)}
        rows = [self.rows[t] for t in numbers]
        return [[r.op, r.attrs, [place[a] for a in r.args], list(map(type_text, r.types))] for r in rows]


def graphs_of(node: Node) -> list[Graph]:
    """Bodies of a control-flow node."""
    values = [item for _, value in node.attrs for item in (value if type(value) is tuple else (value,))]
    return [value for value in values if isinstance(value, Graph)]


def body_rows(graph: Graph) -> list[Any]:
    """A body as a certificate tells it: rows of all its terms, its results."""
    table = TermTable()
    place = table.graph(graph)
    return [table.json(range(len(table.rows))), [place[n] for n in graph.outputs]]


def type_text(kind: TensorType) -> str:
    """``float32[4,5]``."""
    return f"{kind.dtype}[{','.join(map(str, kind.shape))}]"


def attribute_text(node: Node) -> str:
    """Attributes as rules and certificates spell them; a body is told as ``{types of inputs: results}``."""
    if node.op == "einsum":
        return str(node.attr("spec"))
    if node.op == "reshape":
        return shape_text(node.attr("shape"))
    if node.op == "constant" and not node.type.shape:
        return constant_text(node.type.dtype, node.attr("value"))
    return ", ".join(f"{name}={_value(value)}" for name, value in node.attrs)


def _value(value: Any) -> str:
    if isinstance(value, Graph):
        kinds = ", ".join(type_text(kind.strong()) for kind in value.input_types)
        return f"{{{kinds}: {'; '.join(program_names(value))}}}"
    if type(value) is tuple and any(isinstance(item, Graph) for item in value):
        return f"({', '.join(map(_value, value))})"
    return format_attr(value)


def program_names(graph: Graph) -> list[str]:
    """Names of the results of a Graph, effects last, as the checker gives them: equal for equal programs only."""
    table = TermTable()
    place = table.graph(graph)
    terms = Terms(table.json(range(len(table.rows))))
    return [terms.names[place[n]] for n in (*graph.outputs, *graph.effects)]
