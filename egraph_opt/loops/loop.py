# SPDX-License-Identifier: Apache-2.0
"""A scan as a record, and the means to take its body apart and to put one together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.ir import Builder, Graph, Node, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import Sources
from egraph_opt.ir.walk import ancestors
from egraph_opt.ops import Trait, get_op

CONTROL = frozenset({"scan", "while", "cond"})


@dataclass(frozen=True, slots=True)
class Loop:
    """A scan.

    Args:
        body: constants, carries and slices to carries and slices.
        consts: operands that every trip reads.
        init: first values of the carries.
        xs: operands of which each trip reads one slice.
        length: number of trips.
        reverse: whether the last slices come first.
        unroll: trips that one turn of the compiled loop makes.
        sources: user lines.
    """

    body: Graph
    consts: tuple[int, ...]
    init: tuple[int, ...]
    xs: tuple[int, ...]
    length: int
    reverse: bool
    unroll: int
    sources: Sources = ()

    @staticmethod
    def of(node: Node, operands: Sequence[int]) -> Loop:
        """The record of a scan node that reads ``operands``."""
        values = node.kwargs
        first = values["num_consts"]
        second = first + values["num_carry"]
        return Loop(
            values["body"],
            tuple(operands[:first]),
            tuple(operands[first:second]),
            tuple(operands[second:]),
            values["length"],
            values["reverse"],
            values["unroll"],
            node.sources,
        )

    @property
    def const_inputs(self) -> tuple[int, ...]:
        """Nodes of the body that are the constants."""
        return self.body.inputs[: len(self.consts)]

    @property
    def carry_inputs(self) -> tuple[int, ...]:
        """Nodes of the body that are the carries before the trip."""
        return self.body.inputs[len(self.consts) : len(self.consts) + len(self.init)]

    @property
    def x_inputs(self) -> tuple[int, ...]:
        """Nodes of the body that are the slices."""
        return self.body.inputs[len(self.consts) + len(self.init) :]

    @property
    def carry_outputs(self) -> tuple[int, ...]:
        """Nodes of the body that are the carries after the trip."""
        return self.body.outputs[: len(self.init)]

    @property
    def y_outputs(self) -> tuple[int, ...]:
        """Nodes of the body that are stacked."""
        return self.body.outputs[len(self.init) :]

    @property
    def last(self) -> int:
        """Place of the last trip in what is stacked."""
        return 0 if self.reverse else self.length - 1

    def emit(self, emitter: Builder) -> tuple[int, list[int]]:
        """Append the scan: its node, and the nodes of its results."""
        outputs = [t.strong() for t in self.body.output_types]
        count = len(self.init)
        types = [*outputs[:count], *(t.with_shape((self.length, *t.shape)) for t in outputs[count:])]
        attrs = (
            ("body", self.body),
            ("num_consts", len(self.consts)),
            ("num_carry", count),
            ("length", self.length),
            ("reverse", self.reverse),
            ("unroll", min(self.unroll, self.length) or 1),
        )
        number = emitter.add("scan", (*self.consts, *self.init, *self.xs), attrs, types, self.sources)
        return number, results_of(emitter, number, types, self.sources)


@dataclass(frozen=True, slots=True)
class Change:
    """What takes the place of a node with several results.

    Args:
        results: the new node of each result; None where nobody reads it.
        node: what stands for the node itself among the effects.
    """

    results: Sequence[int | None]
    node: int | None = None


def results_of(emitter: Builder, number: int, types: Sequence[TensorType], sources: Sources) -> list[int]:
    """Nodes of the results of a node."""
    if len(types) == 1:
        return [number]
    return [emitter.add("result", (number,), (("index", k),), t, sources) for k, t in enumerate(types)]


def rewritten(
    graph: Graph, numerics: Numerics, change: Callable[[Emitter, int, Node, Sequence[int]], Change | None]
) -> Graph:
    """The graph with some nodes replaced.

    Args:
        graph: any graph.
        numerics: class of the simplifications on the way.
        change: told the emitter, a node's number, the node and its new operands; None leaves it as it is.
    """
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    results: dict[int, Sequence[int | None]] = {}
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
            continue
        if node.op == "result" and node.operands[0] in results:
            found = results[node.operands[0]][node.attr("index")]
            place.append(-1 if found is None else found)
            continue
        operands = [place[q] for q in node.operands]
        done = change(emitter, number, node, operands)
        if done is None:
            place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
            continue
        if len(node.types) > 1:
            results[number] = done.results
            place.append(-1 if done.node is None else done.node)
        else:
            only = done.node if not done.results or done.results[0] is None else done.results[0]
            place.append(-1 if only is None else only)
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def inlined(emitter: Emitter, body: Graph, known: Mapping[int, int], roots: Iterable[int]) -> list[int]:
    """Copy what some nodes of a sub-graph need into another graph.

    Args:
        emitter: of the other graph.
        body: the sub-graph.
        known: nodes of the body that stand for nodes of the other graph.
        roots: nodes of the body that are wanted.
    """
    place = dict(known)
    wanted = list(roots)
    for number in sorted(ancestors(body, wanted, known)):
        if number not in place:
            node = body.nodes[number]
            operands = [place[q] for q in node.operands]
            place[number] = emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
    return [place[n] for n in wanted]


def sub_body(
    body: Graph, inputs: Sequence[Sequence[int]], roots: Sequence[int], numerics: Numerics, effects: Sequence[int] = ()
) -> Graph:
    """A body made of a part of another.

    Args:
        body: the other.
        inputs: for each input of the new one, the nodes of the other that it stands for; at least one each.
        roots: nodes of the other that are the outputs.
        numerics: class of the simplifications on the way.
        effects: nodes of the other that must run.
    """
    emitter = Emitter(numerics)
    known: dict[int, int] = {}
    for group in inputs:
        number = emitter.input(body.nodes[group[0]].type)
        known.update(dict.fromkeys(group, number))
    placed = inlined(emitter, body, known, [*roots, *effects])
    return emitter.build(placed[: len(roots)], placed[len(roots) :], None, body.precision)


def read_results(graph: Graph) -> dict[int, set[int]]:
    """For each control-flow node, the results that somebody reads."""
    found: dict[int, set[int]] = {}
    for number, node in enumerate(graph.nodes):
        if node.op in CONTROL:
            found[number] = {0} if len(node.types) == 1 else set()
        elif node.op == "result" and node.operands[0] in found:
            found[node.operands[0]].add(node.attr("index"))
    return found
