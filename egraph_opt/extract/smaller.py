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


def trim(table: Table, tree: Tree) -> tuple[Smaller, Tree]:
    """Drop what no sensible choice uses; -> the smaller table and the same tree on it.

    Classes are renumbered in the order in which the tree settled them, so children mostly have lower numbers.
    """
    choice, order, value = tree
    wanted = _reachable(table, tree)
    classes = [c for c in order if c in wanted]
    number = [UNDERIVED] * table.size
    for fresh, c in enumerate(classes):
        number[c] = fresh
    origin: list[tuple[int, ...]] = []
    owner: list[int] = []
    cost: list[float] = []
    kids: list[tuple[int, ...]] = []
    picked: list[int] = []
    for fresh, c in enumerate(classes):
        cheapest = _cheapest_per_children(table, tree, c, number)
        for key, node in cheapest.items():
            if node == choice[c]:
                picked.append(len(owner))
            owner.append(fresh)
            cost.append(table.cost[node])
            kids.append(key)
            origin.append((node,))
    roots = [number[root] for root in table.roots if number[root] != UNDERIVED]
    smaller = Table.trusted(owner, cost, kids, roots, len(classes))
    return Smaller(table, smaller, choice, origin), Tree(picked, list(range(len(classes))), [value[c] for c in classes])


def _cheapest_per_children(table: Table, tree: Tree, c: int, number: list[int]) -> dict[tuple[int, ...], int]:
    """Renumbered children that cost something -> cheapest node of the class with these; the tree's own wins ties."""
    choice, value, costs = tree.choice, tree.value, table.cost
    favourite = choice[c]
    cheapest: dict[tuple[int, ...], int] = {}
    for node in [favourite, *table.members[c]]:
        key = []
        for kid in table.kids[node]:
            if choice[kid] == UNDERIVED:
                break
            if value[kid] > 0.0:
                key.append(number[kid])
        else:
            key.sort()
            known = cheapest.setdefault(tuple(key), node)
            if costs[node] < costs[known]:
                cheapest[tuple(key)] = node
    return cheapest


def _reachable(table: Table, tree: Tree) -> set[int]:
    """Classes that cost something and that a choice for the roots might need."""
    seen: set[int] = set()
    todo: Iterable[int] = table.roots
    while todo:
        fresh = {c for c in todo if tree.value[c] > 0.0 and tree.choice[c] != UNDERIVED} - seen
        seen |= fresh
        todo = [kid for c in fresh for node in table.members[c] for kid in table.kids[node]]
    return seen
