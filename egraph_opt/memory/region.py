# SPDX-License-Identifier: Apache-2.0
"""The part of a program that can run a block at a time along one dimension of a large intermediate.

It grows from that tensor: through every operation that is parallel along the dimension while the tensors between are
large, and up to sums over it, whose parts are added up. What leads from the part back into it must belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from egraph_opt.ir import Graph
from egraph_opt.ir.types import itemsize
from egraph_opt.memory.axes import SUM, Run, runs

SHARE = 16
"""A tensor counts as large if it has that part of the bytes of the one from which the part grows."""

MOST_NODES = 400


@dataclass(slots=True)
class Region:
    """A part of a program and a dimension of it.

    Args:
        graph: the program.
        size: of the dimension.
        inside: how the dimension runs through each of its nodes.
        axis: of the dimension, in nodes of the part and in what is sliced for it.
    """

    graph: Graph
    size: int
    inside: dict[int, Run] = field(default_factory=dict)
    axis: dict[int, int] = field(default_factory=dict)

    def sliced(self) -> list[int]:
        """Nodes outside whose slices are read."""
        read = {
            q: a
            for n, run in self.inside.items()
            for q, a in zip(self.graph.nodes[n].operands, run.operands, strict=True)
            if a is not None and q not in self.inside
        }
        return sorted(read)

    def whole(self) -> list[int]:
        """Nodes outside that are read as a whole."""
        read = {
            q
            for n, run in self.inside.items()
            for q, a in zip(self.graph.nodes[n].operands, run.operands, strict=True)
            if a is None and q not in self.inside
        }
        return sorted(read)

    def results(self) -> list[int]:
        """Nodes of the part that are read outside."""
        roots = {*self.graph.outputs, *self.graph.effects}
        roots |= {q for n, node in enumerate(self.graph.nodes) if n not in self.inside for q in node.operands}
        return sorted(roots.intersection(self.inside))


def grow(graph: Graph, seed: int, axis: int, readers: Sequence[Sequence[int]]) -> Region | None:
    """The part around a large tensor that is parallel along one of its dimensions; None where there is none."""
    region = Region(graph, graph.nodes[seed].types[0].shape[axis])
    least = graph.nodes[seed].types[0].nbytes / SHARE
    queue: list[tuple[int, int]] = [(seed, axis)]
    while queue:
        number, where = queue.pop()
        if not _enter(region, number, where) or len(region.inside) > MOST_NODES:
            return None
        run = region.inside[number]
        for q, a in zip(graph.nodes[number].operands, run.operands, strict=True):
            if a is None:
                continue
            if region.axis.get(q, a) != a:
                return None
            known = q in region.axis
            region.axis[q] = a
            if not known and _is_large(graph, q, least) and _along(graph, q, a) is not None:
                queue.append((q, a))
        if run.result != SUM and _is_large(graph, number, least):
            for user in readers[number]:
                ahead = _ahead(graph, user, number, run.result)
                if ahead is not None and user not in region.inside:
                    queue.append((user, ahead.result))
    return region if _closed(region, readers) else None


def _enter(region: Region, number: int, where: int) -> bool:
    """Make a node one of the part, if the dimension is where it was before."""
    if number in region.inside:
        return region.inside[number].result == where
    if where == SUM:
        runs_ = [r for r in _runs(region.graph, number) if r.result == SUM and _fits(region, number, r)]
        run = runs_[0] if runs_ else None
    else:
        run = _along(region.graph, number, where)
        if region.axis.setdefault(number, where) != where:
            return False
    if run is None:
        return False
    region.inside[number] = run
    return True


def _fits(region: Region, number: int, run: Run) -> bool:
    """Whether a sum is one over the dimension: its operands that belong to the part have it where it is summed."""
    pairs = list(zip(region.graph.nodes[number].operands, run.operands, strict=True))
    return any(q in region.inside and region.axis.get(q) == a for q, a in pairs) and all(
        region.axis.get(q, a) == a for q, a in pairs if a is not None and q in region.axis
    )


def _runs(graph: Graph, number: int) -> list[Run]:
    node = graph.nodes[number]
    if len(node.types) != 1 or node.op in ("input", "result", "opaque") or not node.operands:
        return []
    return runs(node, [graph.nodes[q].types[0] if graph.nodes[q].types else node.types[0] for q in node.operands])


def _along(graph: Graph, number: int, axis: int) -> Run | None:
    return next((run for run in _runs(graph, number) if run.result == axis), None)


def _ahead(graph: Graph, user: int, number: int, axis: int) -> Run | None:
    """How a dimension of an operand runs through its reader."""
    for run in _runs(graph, user):
        have = [a for q, a in zip(graph.nodes[user].operands, run.operands, strict=True) if q == number]
        if have and all(a == axis for a in have):
            # Parts of a sum are added up in its own precision, which must be one that is fit for it.
            if run.result == SUM and itemsize(graph.nodes[user].types[0].dtype) < 4:
                return None
            return run
    return None


def _is_large(graph: Graph, number: int, least: float) -> bool:
    return graph.nodes[number].types[0].nbytes >= least


def _closed(region: Region, readers: Sequence[Sequence[int]]) -> bool:
    """Add what leads from the part back into it; False where that cannot run along."""
    graph = region.graph
    for _ in range(MOST_NODES):
        after: set[int] = set()
        stack = [user for n in region.inside for user in readers[n] if user not in region.inside]
        while stack:
            number = stack.pop()
            if number not in after and number not in region.inside:
                after.add(number)
                stack += readers[number]
        between = sorted(after.intersection([*region.sliced(), *region.whole()]))
        if not between:
            return not _reads_itself(region)
        first = min(_first(graph, between, after))
        if not _join(region, first):
            return False
    return False


def _reads_itself(region: Region) -> bool:
    """Whether a node needs another one of the part as a whole."""
    return any(
        a is None and q in region.inside
        for n, run in region.inside.items()
        for q, a in zip(region.graph.nodes[n].operands, run.operands, strict=True)
    )


def _first(graph: Graph, between: Sequence[int], after: set[int]) -> list[int]:
    """Of the nodes that lie between, those that read nothing else that lies there."""
    need: set[int] = set()
    stack = list(between)
    while stack:
        number = stack.pop()
        if number in after and number not in need:
            need.add(number)
            stack += graph.nodes[number].operands
    return [n for n in need if not need.intersection(graph.nodes[n].operands)]


def _join(region: Region, number: int) -> bool:
    """Take a node in that reads nodes of the part."""
    for run in _runs(region.graph, number):
        pairs = list(zip(region.graph.nodes[number].operands, run.operands, strict=True))
        meets = [a == region.axis[q] for q, a in pairs if q in region.inside and region.inside[q].result != SUM]
        if run.result == SUM or not meets or not all(meets):
            continue
        if any(a is not None and region.axis.get(q, a) != a for q, a in pairs):
            continue
        if region.axis.get(number, run.result) != run.result:
            continue
        if any(q in region.inside and region.inside[q].result == SUM for q, _ in pairs):
            continue
        region.axis[number] = run.result
        region.inside[number] = run
        region.axis.update({q: a for q, a in pairs if a is not None})
        return True
    return False
