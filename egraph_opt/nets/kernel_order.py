# SPDX-License-Identifier: Apache-2.0
"""Prepared kernels of convolutions in the order that XLA:CPU wants: space, input channels, output channels.

In any other order it transposes them in every call, which can take longer than the convolution
(docs/decisions/neural.md).
"""

from __future__ import annotations

from collections.abc import Collection

from egraph_opt.cost import CostModel
from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.nets.convs import CONV
from egraph_opt.nets.parts import turn
from egraph_opt.ops import Trait, get_op


def ordered_kernels(graph: Graph, numerics: Numerics, free: Collection[int], cost: CostModel) -> Graph | None:
    """The graph with prepared kernels transposed beforehand.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        free: nodes whose values are there beforehand.
        cost: prices of nodes.

    Returns:
        None where no kernel stands otherwise.
    """
    del cost
    convs = {n for n, node in enumerate(graph.nodes) if node.op == CONV and node.operands[1] in free}
    convs = {n for n in convs if _order(graph.nodes[n].attr("dimension_numbers").rhs_spec) is not None}
    if not convs:
        return None
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        operands = [place[q] for q in node.operands]
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
        elif number in convs:
            numbers = node.attr("dimension_numbers")
            axes = _order(numbers.rhs_spec)
            assert axes is not None, "convs were chosen by this"
            kernel = turn(emitter, operands[1], axes, node.sources)
            last = len(axes) - 1
            numbers = numbers._replace(rhs_spec=(last, last - 1, *range(last - 1)))
            attrs = tuple((k, numbers if k == "dimension_numbers" else v) for k, v in node.attrs)
            place.append(emitter.add(CONV, (operands[0], kernel), attrs, node.types, node.sources))
        else:
            place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _order(rhs_spec: tuple[int, ...]) -> tuple[int, ...] | None:
    """Dimensions of a kernel in the wanted order; None where they stand so."""
    output, channel, *space = rhs_spec
    axes = (*space, channel, output)
    return None if axes == tuple(range(len(axes))) else axes
