# SPDX-License-Identifier: Apache-2.0
"""An e-graph as a plain table of priced nodes: the input of every extractor.

Classes are numbered ``0 .. size-1``; a node belongs to one class and reads child classes. Nothing here knows egglog or
JAX, so that the algorithms can be tested against brute force and whole problems can be exchanged as JSON.
Stands between ``engine`` (which dumps an e-graph) and ``portfolio.extract``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from egraph_opt.errors import ExtractionError


class Node(NamedTuple):
    """One e-node: its class, its own price, the classes it reads, and a label for people."""

    owner: int
    cost: float
    children: tuple[int, ...]
    op: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """A priced e-graph with its roots; wanted is one node per needed class, acyclic, at the least total cost.

    Args:
        nodes: rows ``(class, cost, children)`` or ``(class, cost, children, op)``; kept as ``Node`` records.
        roots: classes that must be built (repetitions are dropped).
        size: number of classes.

    Attributes:
        owner: class of each node.
        cost: price of each node.
        kids: distinct children of each node.
        members: node numbers of each class; a node that reads its own class is left out, as it can never be used.

    Raises:
        ExtractionError: a cost is negative or not finite, or a class number is out of range. Negative costs would make
            the bounds and dominance rules of the exact stages wrong.
    """

    nodes: Sequence[Node]
    roots: tuple[int, ...]
    size: int
    owner: list[int] = field(init=False, repr=False)
    cost: list[float] = field(init=False, repr=False)
    kids: list[tuple[int, ...]] = field(init=False, repr=False)
    members: list[list[int]] = field(init=False, repr=False)

    def __init__(self, nodes: Iterable[Sequence[Any]], roots: Iterable[int], size: int) -> None:
        """Check the rows and index them by class."""
        rows: list[Node] = []
        kids: list[tuple[int, ...]] = []
        members: list[list[int]] = [[] for _ in range(size)]
        for number, row in enumerate(nodes):
            owner, cost, children = row[0], row[1], tuple(row[2])
            distinct = tuple(dict.fromkeys(children)) if len(children) > 1 else children
            if not 0.0 <= cost < inf:
                raise ExtractionError(f"node {number}: cost is {cost}; want a finite number >= 0")
            if not 0 <= owner < size:
                raise ExtractionError(f"node {number}: class is {owner}; want 0 <= class < {size}")
            if distinct and (min(distinct) < 0 or max(distinct) >= size):
                raise ExtractionError(f"node {number}: children are {list(children)}; want 0 <= child < {size}")
            rows.append(Node(owner, float(cost), children, row[3] if len(row) > 3 else ""))
            kids.append(distinct)
            if owner not in distinct:
                members[owner].append(number)
        for root in roots:
            if not 0 <= root < size:
                raise ExtractionError(f"root is {root}; want 0 <= root < {size}")
        self._fill(rows, tuple(dict.fromkeys(roots)), size, kids, members)

    def _fill(
        self,
        rows: list[Node],
        roots: tuple[int, ...],
        size: int,
        kids: list[tuple[int, ...]],
        members: list[list[int]],
    ) -> None:
        put = object.__setattr__
        put(self, "nodes", rows)
        put(self, "roots", roots)
        put(self, "size", size)
        put(self, "owner", [row.owner for row in rows])
        put(self, "cost", [row.cost for row in rows])
        put(self, "kids", kids)
        put(self, "members", members)

    @classmethod
    def from_json(cls, text: str) -> "Table":
        """Read ``{"classes": n, "roots": [...], "nodes": [[class, cost, [children], op], ...]}``.

        Raises:
            ExtractionError: the text is not JSON of that form.
        """
        try:
            data = json.loads(text)
            return cls(data["nodes"], data["roots"], data["classes"])
        except (KeyError, IndexError, TypeError, json.JSONDecodeError) as error:
            raise ExtractionError(
                f"e-graph JSON: {type(error).__name__} {error}; want keys classes, roots, nodes"
            ) from error

    def to_json(self) -> str:
        """Write the form that ``from_json`` reads, one node per line."""
        lines = ",\n".join(json.dumps([c, w, list(k), op]) for c, w, k, op in self.nodes)
        roots = json.dumps(list(self.roots))
        return f'{{"classes": {self.size}, "roots": {roots}, "nodes": [\n{lines}\n]}}\n'

    @cached_property
    def component(self) -> list[int]:
        """Strongly connected component of every class; only inside one can a choice close a cycle."""
        edges = [(c, kid) for c, nodes in enumerate(self.members) for i in nodes for kid in self.kids[i]]
        return strong_components(edges, self.size)


def strong_components(edges: Sequence[tuple[int, int]], size: int) -> list[int]:
    """Label of the strongly connected component of each of ``size`` vertices."""
    if not edges:
        return list(range(size))
    ends = np.array(edges, dtype=np.int32)
    ones = np.ones(len(ends), dtype=np.int8)
    graph = csr_matrix((ones, (ends[:, 0], ends[:, 1])), shape=(size, size))
    labels: list[int] = connected_components(graph, connection="strong")[1].tolist()
    return labels


def load_table(path: str | Path) -> Table:
    """Read a table from a JSON file.

    Raises:
        ExtractionError: the file cannot be read or is malformed; the message starts with the path.
    """
    try:
        return Table.from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ExtractionError) as error:
        raise ExtractionError(f"{path}: {error}") from error
