# SPDX-License-Identifier: Apache-2.0
"""A smaller table with the way back to the one it was made from, and the first, cheap simplification.

``trim`` drops what no sensible choice uses: classes out of reach of the roots, nodes that cannot be derived, classes
that cost nothing, and all but the cheapest node with the same set of children (commuted operands!). It takes
milliseconds and halves a typical table, so every heuristic runs behind it. ``reduction`` goes on from there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from egraph_opt.extract.choice import UNDERIVED, selected
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import Tree


@dataclass(frozen=True)
class Smaller:
    """A table and how to turn its choices into choices of ``base``.

    Attributes:
        base: the table this was made from.
        table: the smaller one; its optimum costs the same.
        default: an acyclic choice on ``base`` for classes that ``table`` does not decide.
        origin: per node of ``table`` the nodes of ``base`` that it stands for.
    """

    base: Table
    table: Table
    default: Sequence[int]
    origin: Sequence[tuple[int, ...]]

    def expand(self, choice: Sequence[int]) -> list[int]:
        """The same choice on ``base``, acyclic and as complete as ``default``."""
        full = list(self.default)
        owner = self.base.owner
        for c in selected(self.table, choice):
            for node in self.origin[choice[c]]:
                full[owner[node]] = node
        return full


def trim(table: Table, tree: Tree) -> Smaller:
    """Drop what no sensible choice uses; classes are renumbered in the order in which the tree settled them."""
    choice, order, value = tree
    wanted = _reachable(table, tree)
    number = {c: k for k, c in enumerate(c for c in order if c in wanted)}
    rows: list[tuple[int, float, tuple[int, ...]]] = []
    origin: list[tuple[int, ...]] = []
    for c, fresh in number.items():
        cheapest: dict[tuple[int, ...], tuple[float, int]] = {}
        for node in table.members[c]:
            kids = table.kids[node]
            if any(choice[kid] == UNDERIVED for kid in kids):
                continue
            key = tuple(sorted([number[kid] for kid in kids if value[kid] > 0.0]))
            price = table.cost[node]
            if key not in cheapest or price < cheapest[key][0]:
                cheapest[key] = (price, node)
        for key, (price, node) in cheapest.items():
            rows.append((fresh, price, key))
            origin.append((node,))
    roots = [number[root] for root in table.roots if value[root] > 0.0]
    return Smaller(table, Table(rows, roots, len(number)), choice, origin)


def _reachable(table: Table, tree: Tree) -> set[int]:
    """Classes that cost something and that a choice for the roots might need."""
    seen: set[int] = set()
    todo: Iterable[int] = table.roots
    while todo:
        fresh = {c for c in todo if tree.value[c] > 0.0 and tree.choice[c] != UNDERIVED} - seen
        seen |= fresh
        todo = [kid for c in fresh for node in table.members[c] for kid in table.kids[node]]
    return seen
