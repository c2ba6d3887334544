# SPDX-License-Identifier: Apache-2.0
"""Groups of nodes that become one: which nodes do not wait for each other, and a program with each group made at once.

Merging makes every result of a group wait for the operands of all of it, so neither may a member need another one, nor
may two groups need each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.walk import topological
from egraph_opt.ops import Trait, get_op

Make = Callable[[Emitter, Sequence[int], Mapping[int, int]], Sequence[int]]
"""Told the emitter, the members of a group and the new number of each node so far; the new number of each member."""


def needs(graph: Graph) -> list[int]:
    """For each node the nodes that it needs, itself included, as bits of a number."""
    found: list[int] = []
    for number, node in enumerate(graph.nodes):
        bits = 1 << number
        for q in node.operands:
            bits |= found[q]
        found.append(bits)
    return found


def independent(members: Sequence[int], needed: Sequence[int]) -> list[list[int]]:
    """The nodes in parts of which none needs another, each as large as taking them in order makes it."""
    parts: list[list[int]] = []
    for number in members:
        for part in parts:
            # What stands later in a program is never needed by what stands before it.
            if not any(needed[number] >> other & 1 for other in part):
                part.append(number)
                break
        else:
            parts.append([number])
    return parts


def order(graph: Graph, groups: Sequence[Sequence[int]]) -> list[int] | None:
    """Nodes in an order in which each group can be made at once, its last member standing for all of it.

    Returns:
        None where two groups need each other.
    """
    group_of = {member: group for group in groups for member in group}

    def operands(number: int) -> Sequence[int]:
        group = group_of.get(number)
        if group is None:
            return graph.nodes[number].operands
        first = group[0]
        if number != first:
            return (first,)
        return tuple(dict.fromkeys(q for member in group for q in graph.nodes[member].operands))

    found = list(topological((*graph.inputs, *graph.effects, *graph.outputs), operands))
    place = {number: k for k, number in enumerate(found)}
    return found if all(place[q] < place[n] for n in found for q in operands(n)) else None


def compatible(graph: Graph, groups: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The groups that can be made together, earlier ones first."""
    if order(graph, groups) is not None:
        return list(groups)
    kept: list[Sequence[int]] = []
    for group in groups:
        if order(graph, [*kept, group]) is not None:
            kept.append(group)
    return kept


def regrouped(graph: Graph, groups: Sequence[Sequence[int]], make: Make, numerics: Numerics) -> Graph:
    """The graph with each group made by ``make``.

    Args:
        graph: any graph.
        groups: nodes with one result each, compatible.
        make: appends what stands for a group.
        numerics: class of the simplifications on the way.
    """
    group_of = {member: group for group in groups for member in group}
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place = {n: emitter.input(graph.nodes[n].type, names[n]) for n in graph.inputs}
    ordered = order(graph, groups)
    assert ordered is not None, "groups were told to be compatible"
    for number in ordered:
        if number in place:
            continue
        group = group_of.get(number)
        if group is not None:
            place.update(zip(group, make(emitter, group, place), strict=True))
            continue
        node = graph.nodes[number]
        operands = [place[q] for q in node.operands]
        place[number] = emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)
