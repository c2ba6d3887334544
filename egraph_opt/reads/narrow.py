# SPDX-License-Identifier: Apache-2.0
"""Programs that compute no more of a tensor than somebody reads.

From the outputs backwards every node is asked for the region that its readers take, ranges of places or places that an
index names; then the nodes are made again for these regions alone. Nothing is computed twice, and nothing more than
before: slices of products, of elementwise work, of a softmax, of a convolution, of joined tensors are those of slices.
"""

from __future__ import annotations

from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import Sources
from egraph_opt.ops import Trait, get_op
from egraph_opt.reads.plans import plan
from egraph_opt.reads.region import Plan, Read, Region, is_whole, joined, shape_of, whole, within
from egraph_opt.reads.updates import UPDATE, update_plan

READERS = frozenset({"slice", "dynamic_slice_in_dim", "take", "split", "concatenate", "pad"})


def narrowed(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with only the parts of its tensors that are read.

    Args:
        graph: any graph without dead nodes.
        numerics: class of the simplifications on the way.
    """
    made = rebuilt(graph, numerics)
    return graph if made is None else made.build()


def rebuilt(graph: Graph, numerics: Numerics) -> Rebuilt | None:
    """The nodes of ``narrowed``; None where all is read."""
    if not any(node.op in READERS for node in graph.nodes):
        return None
    plans, regions = _asked(graph)
    if all(is_whole(region, graph.nodes[n].types[0].shape) for n, region in regions.items()):
        return None
    return Rebuilt(graph, numerics, plans, regions)


def _asked(graph: Graph) -> tuple[dict[int, Plan], dict[int, Region]]:
    """How each node is computed, and of which nodes a region is."""
    asked: dict[int, Region] = {}

    def ask(number: int, region: Region) -> None:
        node = graph.nodes[number]
        if len(node.types) == 1:
            asked[number] = joined(asked.get(number, region), region, node.type.shape)

    for root in (*graph.outputs, *graph.effects):
        ask(root, whole(graph.nodes[root].types[0].shape) if graph.nodes[root].types else ())
    plans: dict[int, Plan] = {}
    regions: dict[int, Region] = {}
    for number in range(len(graph.nodes) - 1, -1, -1):
        made = _planned(graph, number, asked.get(number))
        if number in asked:
            regions[number] = made.region if made else whole(graph.nodes[number].type.shape)
        if made is not None:
            plans[number] = made
        for place, q in enumerate(graph.nodes[number].operands):
            need = made.needs[place] if made else whole(graph.nodes[q].types[0].shape)
            if need is not None:
                ask(q, need)
                for waiting in (part.place for part in need if isinstance(part, Read)):
                    ask(waiting, whole(graph.nodes[waiting].type.shape))
    return plans, regions


def _planned(graph: Graph, number: int, region: Region | None) -> Plan | None:
    """How a region of a node is computed; None where the node is computed whole."""
    node = graph.nodes[number]
    if region is None or not node.operands or node.op == "result" or 0 in shape_of(region):
        return None
    if node.op == UPDATE:
        return update_plan(graph, number, region)
    return plan(node, [graph.nodes[q].types[0] for q in node.operands], region)


class Rebuilt:
    """The nodes of a graph made again, each for its region."""

    def __init__(self, graph: Graph, numerics: Numerics, plans: dict[int, Plan], regions: dict[int, Region]) -> None:
        self.graph, self.plans, self.regions = graph, plans, regions
        self.emitter = Emitter(numerics)
        names = graph.names or [""] * len(graph.inputs)
        self.place: dict[int, int] = {
            n: self.emitter.input(graph.nodes[n].type, name) for n, name in zip(graph.inputs, names, strict=True)
        }
        for root in (*graph.effects, *graph.outputs):
            self._make(root)

    def whole(self) -> list[int]:
        """For each node of the graph the one that is equal to it; -1 where a part is computed, or nothing."""
        nodes, regions = self.graph.nodes, self.regions
        parts = {n for n, region in regions.items() if not is_whole(region, nodes[n].types[0].shape)}
        return [-1 if n in parts else self.place.get(n, -1) for n in range(len(nodes))]

    def build(self) -> Graph:
        """The whole graph."""
        graph = self.graph
        outputs = [self.place[n] for n in graph.outputs]
        effects = [self.place[n] for n in graph.effects]
        return self.emitter.build(outputs, effects, graph.weak_outputs, graph.precision)

    def _make(self, root: int) -> None:
        """Append a node and all that it needs: an index may stand after what is read at it."""
        stack = [root]
        while stack:
            number = stack[-1]
            missing = [q for q in self._needed(number) if q not in self.place]
            if missing and number not in self.place:
                stack += missing
                continue
            stack.pop()
            if number not in self.place:
                self.place[number] = self._node(number)

    def _needed(self, number: int) -> list[int]:
        node, made = self.graph.nodes[number], self.plans.get(number)
        if made is None:
            return list(node.operands)
        pairs = [(q, need) for q, need in zip(node.operands, made.needs, strict=True) if need is not None]
        waiting = [part.place for _, need in pairs for part in need if isinstance(part, Read)]
        return [q for q, _ in pairs] + waiting

    def _node(self, number: int) -> int:
        node, made = self.graph.nodes[number], self.plans.get(number)
        if made is None:
            operands = [self._read(q, None, node.sources) for q in node.operands]
            return self.emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
        operands = [
            self._read(q, need, node.sources)
            for q, need in zip(node.operands, made.needs, strict=True)
            if need is not None
        ]
        return made.make(self.emitter, operands)

    def _read(self, number: int, need: Region | None, sources: Sources) -> int:
        """The region of a node that a reader takes; all of it without one."""
        if number not in self.regions:
            return self.place[number]
        have = self.regions[number]
        want = whole(self.graph.nodes[number].type.shape) if need is None else need
        return within(self.emitter, self.place[number], have, want, self.place, sources)
