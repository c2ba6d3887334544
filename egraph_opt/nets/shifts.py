# SPDX-License-Identifier: Apache-2.0
"""Windows by shifted copies: convolutions with few channels a group, pools of small windows, where faster."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from egraph_opt.cost import CostModel
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.types import is_floating, itemsize
from egraph_opt.nets.convs import CONV
from egraph_opt.ops import Trait, get_op

MOST_TERMS = 64
"""Shifted copies that one sum may have: each is code of its own."""

KINDS = {"reduce_window_sum": "sum", "reduce_window_max": "max", "reduce_window_min": "min"}


def shifted_windows(graph: Graph, numerics: Numerics, free: Collection[int], cost: CostModel) -> Graph | None:
    """The graph with windows as sums of shifted copies where these are cheaper.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        free: nodes whose values are there beforehand.
        cost: prices of nodes.

    Returns:
        None where nothing changes.
    """
    if numerics < Numerics.REASSOCIATE or not any(node.op == CONV or node.op in KINDS for node in graph.nodes):
        return None
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    changed = False
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
            continue
        operands = [place[q] for q in node.operands]
        other = None if number in free else _shifted(graph, node)
        types = [graph.nodes[q].type for q in node.operands if other is not None]
        if other is not None and cost.node_cost(other, types) < cost.node_cost(node, types):
            changed = True
            place.append(emitter.copy(other, operands))
        else:
            place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    if not changed:
        return None
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _shifted(graph: Graph, node: Node) -> Node | None:
    """The node by shifted copies; None where it cannot be written so, or would be a sum of very many."""
    if node.op == CONV:
        attrs = _conv(graph, node)
        name = "shifted_conv"
    elif node.op in KINDS:
        attrs = _window(node)
        name = "shifted_window"
    else:
        return None
    return None if attrs is None else Node(name, node.operands, tuple(attrs.items()), node.types, node.sources)


def _conv(graph: Graph, node: Node) -> dict[str, Any] | None:
    x, kernel = (graph.nodes[q].type for q in node.operands)
    numbers = node.attr("dimension_numbers")
    terms = math.prod(kernel.shape[axis] for axis in numbers.rhs_spec[1:])
    wide = is_floating(node.type.dtype) and itemsize(node.type.dtype) >= 4  # a narrow sum would lose digits
    if not wide or {x.dtype, kernel.dtype} != {node.type.dtype} or not 0 < terms <= MOST_TERMS:
        return None
    plain = node.attr("batch_group_count") == 1 and set(node.attr("lhs_dilation")) <= {1}
    if not plain or numbers.lhs_spec != numbers.out_spec or 0 in node.type.shape:
        return None
    return {
        "window_strides": node.attr("window_strides"),
        "padding": node.attr("padding"),
        "rhs_dilation": node.attr("rhs_dilation"),
        "lhs_spec": numbers.lhs_spec,
        "rhs_spec": numbers.rhs_spec,
        "feature_group_count": node.attr("feature_group_count"),
    }


def _window(node: Node) -> dict[str, Any] | None:
    kind, dtype = KINDS[node.op], node.type.dtype
    taps = math.prod(node.attr("window_dimensions"))
    if not is_floating(dtype) or (kind == "sum" and itemsize(dtype) < 4):
        return None
    if not set(node.attr("base_dilation")) <= {1} or not 0 < taps <= MOST_TERMS or 0 in node.type.shape:
        return None
    names = ("window_dimensions", "window_strides", "padding", "window_dilation")
    return {"kind": kind, **{name: node.attr(name) for name in names}}
