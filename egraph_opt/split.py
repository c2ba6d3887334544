# SPDX-License-Identifier: Apache-2.0
"""Cut a Graph at its frozen inputs: one part is run once, the other on every call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from egraph_opt.cost import frozen_nodes
from egraph_opt.ir import Builder, Graph, Spec


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


def is_spread(graph: Graph, number: int) -> bool:
    """Whether a node only repeats the elements of the one it reads, which is never worth keeping."""
    node = graph.nodes[number]
    if node.op != "einsum" or len(node.operands) != 1 or node.type.size <= graph.nodes[node.operands[0]].type.size:
        return False
    spec = Spec.parse(node.attr("spec"))
    return spec.scale == 1 and spec.is_copy and spec.has_distinct_output


def split(graph: Graph, frozen: Collection[int]) -> Split:
    """Cut ``graph``: what reads only the inputs at the positions ``frozen`` goes into ``Split.prepare``.

    Broadcasts at the cut are made in ``Split.run``: what is kept between calls stays as small as it was.
    """
    positions = tuple(sorted(frozen))
    free = frozen_nodes(graph, positions)
    needed: dict[int, None] = {}
    repeated: set[int] = set()
    stack = [q for number, node in enumerate(graph.nodes) if number not in free for q in node.operands]
    stack += graph.outputs
    for number in stack:
        while number in free and is_spread(graph, number):
            repeated.add(number)
            (number,) = graph.nodes[number].operands
        if number in free:
            needed[number] = None
    made = free - repeated
    return Split(
        _prepare_part(graph, positions, free, list(needed)), _run_part(graph, positions, made, needed), positions
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
