# SPDX-License-Identifier: Apache-2.0
"""An e-graph as a plain table of priced nodes: the input of every extractor.

Classes are numbered ``0 .. size-1``; a node belongs to one class and reads child classes. Nothing here knows egglog or
JAX, so that the algorithms can be tested against brute force and whole problems can be exchanged as JSON.
Stands between ``engine`` (which dumps an e-graph) and ``portfolio.extract``.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from egraph_opt.errors import ExtractionError

Numbers = NDArray[np.int32]


class Node(NamedTuple):
    """One e-node: its class, its own price, the classes it reads, and a label for people."""

    owner: int
    cost: float
    children: tuple[int, ...]
    op: str = ""


class Table:
    """A priced e-graph with its roots; wanted is one node per needed class, acyclic, at the least total cost.

    Not to be changed after it is made.

    Args:
        nodes: rows ``(class, cost, children)`` or ``(class, cost, children, op)``.
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

    def __init__(self, nodes: Iterable[Sequence[Any]], roots: Iterable[int], size: int) -> None:
        """Check the rows and index them by class."""
        rows = [Node(row[0], float(row[1]), tuple(row[2]), row[3] if len(row) > 3 else "") for row in nodes]
        for number, (owner, cost, children, _) in enumerate(rows):
            if not 0.0 <= cost < inf:
                raise ExtractionError(f"node {number}: cost is {cost}; want a finite number >= 0")
            if not 0 <= owner < size:
                raise ExtractionError(f"node {number}: class is {owner}; want 0 <= class < {size}")
            if children and not (min(children) >= 0 and max(children) < size):
                raise ExtractionError(f"node {number}: children are {list(children)}; want 0 <= child < {size}")
        self.roots = tuple(dict.fromkeys(roots))
        for root in self.roots:
            if not 0 <= root < size:
                raise ExtractionError(f"root is {root}; want 0 <= root < {size}")
        self.nodes = rows
        kids = [row[2] if len(row[2]) < 2 else tuple(dict.fromkeys(row[2])) for row in rows]
        self._index([row[0] for row in rows], [row[1] for row in rows], kids, size)

    @classmethod
    def trusted(
        cls, owner: list[int], cost: list[float], kids: list[tuple[int, ...]], roots: Sequence[int], size: int
    ) -> "Table":
        """A table made by one of the algorithms: distinct children, nothing to check, no labels."""
        table = cls.__new__(cls)
        table.roots = tuple(roots)
        table._index(owner, cost, kids, size)
        return table

    def restricted(self, nodes: Sequence[int]) -> "Table":
        """The same classes and roots with some of the nodes only, which are numbered anew."""
        owner = [self.owner[node] for node in nodes]
        cost = [self.cost[node] for node in nodes]
        return Table.trusted(owner, cost, [self.kids[node] for node in nodes], self.roots, self.size)

    def _index(self, owner: list[int], cost: list[float], kids: list[tuple[int, ...]], size: int) -> None:
        self.size = size
        self.owner, self.cost, self.kids = owner, cost, kids
        self.members: list[list[int]] = [[] for _ in range(size)]
        for number, c in enumerate(owner):
            if c not in kids[number]:
                self.members[c].append(number)

    @cached_property
    def nodes(self) -> list[Node]:
        """The rows, for people and files."""
        return [Node(*row) for row in zip(self.owner, self.cost, self.kids, strict=True)]

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
    def readers(self) -> list[list[int]]:
        """Nodes that read each class."""
        readers: list[list[int]] = [[] for _ in range(self.size)]
        for members in self.members:
            for node in members:
                for kid in self.kids[node]:
                    readers[kid].append(node)
        return readers

    @cached_property
    def arity(self) -> list[int]:
        """Number of distinct children of each node."""
        return list(map(len, self.kids))

    @cached_property
    def leaves(self) -> list[int]:
        """Nodes without children."""
        return [node for node, count in enumerate(self.arity) if not count]

    @cached_property
    def component(self) -> list[int]:
        """Strongly connected component of every class; only inside one can a choice close a cycle."""
        return strong_components(*flat_edges(self.owner, self.kids), self.size)


def flat_edges(owner: Sequence[int], kids: Sequence[tuple[int, ...]]) -> tuple[Numbers, Numbers]:
    """From-class and to-class of every edge; a node that reads its own class adds a harmless loop."""
    heads = np.fromiter(chain.from_iterable(kids), dtype=np.int32)
    tails = np.repeat(np.array(owner, dtype=np.int32), [len(k) for k in kids])
    return tails, heads


def strong_components(tails: Numbers, heads: Numbers, size: int) -> list[int]:
    """Label of the strongly connected component of each of ``size`` vertices."""
    if not len(tails):
        return list(range(size))
    graph = csr_matrix((np.ones(len(tails), dtype=np.int8), (tails, heads)), shape=(size, size))
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
