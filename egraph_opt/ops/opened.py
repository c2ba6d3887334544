# SPDX-License-Identifier: Apache-2.0
"""A program with its kernels opened: plain operations alone, for whoever cannot call a lowering."""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Builder, Graph
from egraph_opt.ops.kernel import KERNEL


def opened(graph: Graph) -> Graph:
    """The program with every kernel opened: plain operations, in sub-graphs too."""
    if not any(node.op == KERNEL for g in (graph, *graph.subgraphs()) for node in g.nodes):
        return graph
    builder = Builder()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        operands = [place[q] for q in node.operands]
        if node.op == "input":
            place.append(builder.input(node.type, names[number]))
        elif node.op == KERNEL:
            place.append(_inlined(builder, opened(node.attr("body")), operands))
        else:
            attrs = tuple((name, _opened_attr(value)) for name, value in node.attrs)
            place.append(builder.add(node.op, operands, attrs, node.types, node.sources))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return builder.build(*roots, graph.weak_outputs, graph.precision)


def _opened_attr(value: object) -> object:
    if isinstance(value, Graph):
        return opened(value)
    if type(value) is tuple and any(isinstance(item, Graph) for item in value):
        return tuple(_opened_attr(item) for item in value)
    return value


def _inlined(builder: Builder, body: Graph, operands: Sequence[int]) -> int:
    place: dict[int, int] = dict(zip(body.inputs, operands, strict=True))
    for number, node in enumerate(body.nodes):
        if number not in place:
            place[number] = builder.copy(node, [place[q] for q in node.operands])
    return place[body.outputs[0]]
