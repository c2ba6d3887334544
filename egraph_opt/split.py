# SPDX-License-Identifier: Apache-2.0
"""Cut a Graph at its frozen inputs: one part is run once, the other on every call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from egraph_opt.cost import frozen_nodes
from egraph_opt.ir import Builder, Graph


@dataclass(frozen=True, slots=True)
class Split:
    """The two parts.

    Args:
        prepare: from the frozen inputs, in their order, to the values that the other part needs.
        run: from the other inputs, in their order, followed by the prepared values, to the outputs.
        frozen: positions of the frozen inputs.
    """

    prepare: Graph
    run: Graph
    frozen: tuple[int, ...]


def split(graph: Graph, frozen: Collection[int]) -> Split:
    """Cut ``graph``: what reads only the inputs at the positions ``frozen`` goes into ``Split.prepare``."""
    positions = tuple(sorted(frozen))
    free = frozen_nodes(graph, positions)
    needed: dict[int, None] = {}
    for number, node in enumerate(graph.nodes):
        if number not in free:
            needed.update(dict.fromkeys(q for q in node.operands if q in free))
    needed.update(dict.fromkeys(n for n in graph.outputs if n in free))
    return Split(
        _prepare_part(graph, positions, free, list(needed)), _run_part(graph, positions, free, needed), positions
    )


def _prepare_part(graph: Graph, positions: Sequence[int], free: Collection[int], needed: Sequence[int]) -> Graph:
    builder = Builder()
    place: dict[int, int] = {}
    for position in positions:
        number = graph.inputs[position]
        place[number] = builder.input(graph.nodes[number].type, graph.names[position])
    for number, node in enumerate(graph.nodes):
        if node.op != "input" and (number in free or node.op == "constant"):
            place[number] = builder.copy(node, [place[q] for q in node.operands])
    return builder.build([place[number] for number in needed], precision=graph.precision)


def _run_part(graph: Graph, positions: Sequence[int], free: Collection[int], needed: Iterable[int]) -> Graph:
    builder = Builder()
    place: dict[int, int] = {}
    for position, number in enumerate(graph.inputs):
        if position not in positions:
            place[number] = builder.input(graph.nodes[number].type, graph.names[position])
    for index, number in enumerate(needed):
        place[number] = builder.input(graph.nodes[number].type, f"prepared{index}")
    for number, node in enumerate(graph.nodes):
        if number not in place and number not in free:
            place[number] = builder.copy(node, [place[q] for q in node.operands])
    return builder.build(
        [place[n] for n in graph.outputs], [place[n] for n in graph.effects], graph.weak_outputs, graph.precision
    )
