# SPDX-License-Identifier: Apache-2.0
"""Integers of a loop body that are known for each trip: counters, and what is computed of them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from egraph_opt.ir import Node, Spec
from egraph_opt.ir.attrs import Array
from egraph_opt.ir.counting import counter_step, integer_value
from egraph_opt.ir.types import is_integer
from egraph_opt.loops.loop import Loop

Numbers = dict[int, np.ndarray]
"""Value of a node in each trip, in the order in which trips are stacked."""

_OPS: dict[str, Callable[..., Any]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "not": np.bitwise_not,
    "max": np.maximum,
    "min": np.minimum,
}


def counters(loop: Loop, outside: Callable[[int], Node]) -> dict[int, int]:
    """Steps of the carries, by position, that count from a constant on.

    Args:
        loop: the loop.
        outside: the node of a number of the graph around the loop.
    """
    found: dict[int, int] = {}
    for k, (before, after) in enumerate(zip(loop.carry_inputs, loop.carry_outputs, strict=True)):
        step = counter_step(loop.body, before, after)
        start = integer_value(outside(loop.init[k]))
        if step is None or start is None:
            continue
        limits = np.iinfo(np.dtype(loop.body.nodes[before].type.dtype))
        if limits.min <= start + step * loop.length <= limits.max:
            found[k] = step
    return found


def known_numbers(loop: Loop, outside: Callable[[int], Node]) -> Numbers:
    """Every node of the body, of rank 0, that is computed of counters, slices of constants and constants alone.

    Args:
        loop: the loop.
        outside: the node of a number of the graph around the loop.
    """
    known = _given(loop, outside)
    if not known:
        return {}
    constants = {
        number: np.asarray(node.attr("value"), node.type.dtype)
        for number, node in enumerate(loop.body.nodes)
        if node.op == "constant" and not node.type.shape and _is_discrete(node)
    }
    for number, node in enumerate(loop.body.nodes):
        if len(node.types) != 1 or node.type.shape or not any(q in known for q in node.operands):
            continue
        if all(q in known or q in constants for q in node.operands):
            result = _evaluated(node, [known[q] if q in known else constants[q] for q in node.operands])
            if result is not None:
                known[number] = np.broadcast_to(result, (loop.length,)).astype(node.type.dtype)
    return known


def _given(loop: Loop, outside: Callable[[int], Node]) -> Numbers:
    """Counters, and slices of constants."""
    known: Numbers = {}
    for k, step in counters(loop, outside).items():
        start = integer_value(outside(loop.init[k]))
        assert start is not None, "counters start at constants"
        values = start + step * np.arange(loop.length, dtype=np.int64)
        before = loop.carry_inputs[k]
        known[before] = (values[::-1] if loop.reverse else values).astype(loop.body.nodes[before].type.dtype)
    for inner, outer in zip(loop.x_inputs, loop.xs, strict=True):
        node, kind = outside(outer), loop.body.nodes[inner].type
        if kind.shape or not is_integer(kind.dtype):
            continue
        if node.op == "iota":
            known[inner] = np.arange(loop.length, dtype=kind.dtype)
        elif node.op == "constant" and isinstance(node.attr("value"), Array):
            known[inner] = np.asarray(node.attr("value").value)
    return known


def _is_discrete(node: Node) -> bool:
    return is_integer(node.type.dtype) or node.type.dtype == "bool"


def _evaluated(node: Node, values: list[Any]) -> Any:
    """Value of a scalar node in every trip; None where the operation is not known here."""
    dtype = node.type.dtype
    if not _is_discrete(node):
        return None
    with np.errstate(over="ignore"):
        if node.op == "add":
            return sum(values[1:], start=values[0])
        if node.op == "einsum":
            scale = Spec.parse(node.attr("spec")).scale
            result = np.asarray(scale, dtype)
            for value in values:
                result = result * value
            return result
        if node.op == "select_n":
            which = np.broadcast_to(values[0], np.broadcast_shapes(*(np.shape(v) for v in values)))
            return np.choose(which.astype(np.int64), values[1:])
        if node.op == "convert_element_type":
            return np.asarray(values[0]).astype(dtype)
        found = _OPS.get(node.op)
        return found(*values) if found else None
