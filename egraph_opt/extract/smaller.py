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
from egraph_opt.extract.tree import Tree, cheapest_tree, require_roots

FREE, LOST = -1, -2  # instead of a new number: the class costs nothing, or cannot be derived


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

    Classes keep their relative order: equal prices are decided by class number, and always turning to the older class
    makes equal parts of a program meet.
    """
    choice, order, value = tree
    wanted = _reachable(table, tree)
    classes = sorted(wanted)
    number = [FREE if price == 0.0 else LOST for price in value]
    for fresh, c in enumerate(classes):
        number[c] = fresh
    origin: list[tuple[int, ...]] = []
    owner: list[int] = []
    cost: list[float] = []
    kids: list[tuple[int, ...]] = []
    picked: list[int] = []
    for fresh, c in enumerate(classes):
        cheapest = _cheapest_per_children(table, [choice[c], *table.members[c]], number)
        for key, node in cheapest.items():
            if node == choice[c]:
                picked.append(len(owner))
            owner.append(fresh)
            cost.append(table.cost[node])
            kids.append(key)
            origin.append((node,))
    roots = [number[root] for root in table.roots if number[root] != FREE]
    small = Table.trusted(owner, cost, kids, roots, len(classes))
    small_tree = Tree(picked, [number[c] for c in order if c in wanted], [value[c] for c in classes])
    return Smaller(table, small, choice, origin), small_tree


def trimmed(table: Table) -> tuple[Smaller, Tree]:
    """The trimmed table with its cheapest tree.

    Raises:
        ExtractionError: a root has no finite derivation.
    """
    tree = cheapest_tree(table)
    require_roots(table, tree.choice)
    return trim(table, tree)


def _cheapest_per_children(table: Table, nodes: Sequence[int], number: Sequence[int]) -> dict[tuple[int, ...], int]:
    """Renumbered children that cost something -> cheapest of the nodes with these; the first wins ties."""
    costs, kids = table.cost, table.kids
    cheapest: dict[tuple[int, ...], int] = {}
    for node in nodes:
        key = sorted([number[kid] for kid in kids[node]])
        if key and key[0] < 0:
            if key[0] == LOST:
                continue
            key = [kid for kid in key if kid != FREE]
        children = tuple(key)
        known = cheapest.setdefault(children, node)
        if costs[node] < costs[known]:
            cheapest[children] = node
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
