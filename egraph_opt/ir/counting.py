# SPDX-License-Identifier: Apache-2.0
"""Integers that count: places, the steps of a carry, and the trips of a loop that compares one with a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egraph_opt.ir.attrs import Array
from egraph_opt.ir.graph import Graph, Node
from egraph_opt.ir.spec import Spec
from egraph_opt.ir.types import is_integer

_UPWARD = {"lt": 0, "le": 1}
_DOWNWARD = {"gt": 0, "ge": 1}
_TURNED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}

MOST_TRIPS = 2**31 - 1


_PLACES = frozenset({"iota", "argmax", "argmin"})
_KEEPING = frozenset({"reshape", "rev", "slice", "dynamic_slice_in_dim", "stop_gradient", "copy", "concatenate"})
_DEEPEST = 8


def is_place(nodes: Sequence[Node], number: int, depth: int = 0) -> bool:
    """Whether a tensor holds integers that are never negative, as places in an order or along an axis are.

    Args:
        nodes: of a graph, made so far.
        number: of one of them.
        depth: how many nodes were gone through.
    """
    node = nodes[number]
    if depth > _DEEPEST or not is_integer(node.types[0].dtype):
        return False
    if node.op in _PLACES or node.types[0].dtype.startswith("uint"):
        return True
    if node.op == "constant":
        value = node.attr("value")
        return bool(np.all((value.value if isinstance(value, Array) else np.asarray(value)) >= 0))
    if node.op == "result":
        order, which = nodes[node.operands[0]], node.attr("index")
        if order.op == "sort":
            return is_place(nodes, order.operands[which], depth + 1)
        return order.op == "top_k" and which == 1
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        return (
            len(node.operands) == 1
            and spec.is_copy
            and spec.scale == 1
            and is_place(nodes, node.operands[0], depth + 1)
        )
    if node.op == "take":  # what stands for places beyond the end may be negative
        return "FILL" not in str(node.attr("mode")) and is_place(nodes, node.operands[0], depth + 1)
    if node.op in _KEEPING:
        tensors = node.operands if node.op == "concatenate" else node.operands[:1]
        return all(is_place(nodes, q, depth + 1) for q in tensors)
    return False


def integer_value(node: Node) -> int | None:
    """Value of an integer constant of rank 0."""
    if node.op != "constant" or node.type.shape or not is_integer(node.type.dtype):
        return None
    value = node.attr("value")
    return None if isinstance(value, Array) else int(value)


def counter_step(body: Graph, before: int, after: int) -> int | None:
    """By how much an integer carry grows in every trip; None for other carries.

    Args:
        body: of the loop.
        before: its node for the carry before a trip.
        after: its node for the carry after it.
    """
    node, kind = body.nodes[after], body.nodes[before].type
    if kind.shape or not is_integer(kind.dtype) or node.op != "add" or len(node.operands) != 2:
        return None
    if before not in node.operands:
        return None
    return integer_value(body.nodes[node.operands[1] if node.operands[0] == before else node.operands[0]])


def counted_trips(cond: Graph, body: Graph, cond_nconsts: int, body_nconsts: int, init: list[Node]) -> int | None:
    """How often a ``while`` runs whose condition compares a counter with a constant; None for others, and for no trip.

    Args:
        cond: constants and carries to a truth value.
        body: constants and carries to carries.
        cond_nconsts: how many inputs of ``cond`` are constants.
        body_nconsts: how many inputs of ``body`` are constants.
        init: nodes of the first values of the carries.
    """
    test = cond.nodes[cond.outputs[0]]
    carries = cond.inputs[cond_nconsts:]
    if cond.effects or test.op not in _TURNED:
        return None
    (left, right), op = test.operands, test.op
    if right in carries:
        left, right, op = right, left, _TURNED[op]
    limit = integer_value(cond.nodes[right])
    if left not in carries or limit is None:
        return None
    k = carries.index(left)
    step = counter_step(body, body.inputs[body_nconsts + k], body.outputs[k])
    begin = integer_value(init[k])
    if begin is None or not step:
        return None
    table = _UPWARD if step > 0 else _DOWNWARD
    if op not in table:
        return None
    distance = limit - begin if step > 0 else begin - limit
    trips = -(-(distance + table[op]) // abs(step))
    kind = np.iinfo(np.dtype(cond.nodes[left].type.dtype))
    return trips if 0 < trips <= MOST_TRIPS and kind.min <= begin + step * trips <= kind.max else None
