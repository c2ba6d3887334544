# SPDX-License-Identifier: Apache-2.0
"""Mandatory sets: the classes that occur in every derivation of a class, as bit masks.

What dominators are to a flow graph, for an e-graph: whoever takes the class pays for all of them. The reduction bounds
and dominates with them, the integer program makes cuts of them.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from egraph_opt.extract.table import Table


def bits(mask: int) -> Iterator[int]:
    """Numbers of the set bits, ascending.

    >>> list(bits(0b10110))
    [1, 2, 4]
    """
    offset = 0
    while mask:
        low = (mask & -mask).bit_length()
        offset += low
        yield offset - 1
        mask >>= low


def mandatory_sets(kids_of: Sequence[Sequence[tuple[int, ...]]]) -> list[int]:
    """For each class the mask of the classes in each of its derivations, itself included.

    The greatest fixpoint of ``M[c] = {c} + intersection over nodes of the union over children``, taken from above: a
    class starts out as "everything", which is also the answer for one that has no derivation (-1, all bits set).

    Args:
        kids_of: per class the children of each of its nodes; fast if children mostly come before their readers.
    """
    sets = [-1] * len(kids_of)
    readers: list[set[int]] = [set() for _ in kids_of]
    for c, nodes in enumerate(kids_of):
        for kid in chain.from_iterable(nodes):
            readers[kid].add(c)
    stale = [True] * len(kids_of)
    while any(stale):
        for c, nodes in enumerate(kids_of):
            if not stale[c]:
                continue
            stale[c] = False
            common = _common(nodes, sets)
            if nodes:
                common |= 1 << c
            if common != sets[c]:
                sets[c] = common
                for reader in readers[c]:  # the later ones still come in this pass
                    stale[reader] = True
    return sets


def _common(nodes: Sequence[tuple[int, ...]], sets: list[int]) -> int:
    """What all nodes need through their children; everything if there is no node."""
    common = -1
    for kids in nodes:
        union = 0
        for kid in kids:
            union |= sets[kid]
        common &= union
        if not common:
            break
    return common


def table_mandatory_sets(table: Table) -> list[int]:
    """Mandatory sets of the classes of a table."""
    kids = table.kids
    sets = mandatory_sets([[kids[node] for node in members] for members in table.members])
    return [mask if mask >= 0 else 1 << c for c, mask in enumerate(sets)]
