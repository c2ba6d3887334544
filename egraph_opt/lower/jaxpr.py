# SPDX-License-Identifier: Apache-2.0
"""A Graph as an ordinary JAX function.

The function works on flat lists of arrays and under every JAX transformation. Each node is traced under its user's
named scope and, where tracebacks are given, with its user's source line: profiles and errors point to user code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import lax

from egraph_opt._compat import hide_frames, source_context
from egraph_opt.ir import Graph, Node, Source, TensorType
from egraph_opt.ir.sources import lines_scope
from egraph_opt.lower.joined_sums import joined
from egraph_opt.lower.orders import ordered
from egraph_opt.lower.plan import Step, plan

Tracebacks = Mapping[Source, Any]
Function = Callable[[Sequence[Any]], list[Any]]

_RANK = {None: 0, "default": 0, "high": 1, "highest": 2}

for _folder in ("lower", "ops"):
    hide_frames(str(Path(__file__).resolve().parents[1] / _folder) + os.sep)


def lower_graph(graph: Graph, tracebacks: Tracebacks | None = None) -> Function:
    """A JAX-traceable function of the graph's inputs.

    Args:
        graph: what to compute.
        tracebacks: where user source lines are in the process that runs it.

    Returns:
        ``f(leaves) -> outputs``: arrays in input order to arrays in output order, weak types as the graph says.
    """
    inner = _function(graph, None, tracebacks or {})
    weak = graph.weak_outputs or (False,) * len(graph.outputs)

    def lowered(leaves: Sequence[Any]) -> list[Any]:
        return [with_weak_type(value, mark) for value, mark in zip(inner(leaves), weak, strict=True)]

    return lowered


def _function(graph: Graph, precision: str | None, tracebacks: Tracebacks) -> Function:
    """The graph without weak types."""
    if _RANK.get(graph.precision, 2) >= _RANK.get(precision, 2):
        precision = graph.precision
    graph = joined(ordered(graph))

    def run(body: Graph) -> Function:
        function = _function(body, precision, tracebacks)
        return lambda leaves: [with_weak_type(value, False) for value in function(leaves)]

    inputs = graph.inputs
    types = graph.input_types
    steps = [step for step in plan(graph, precision, run) if step.node.op != "input"]
    places = [_place(step.node, tracebacks) for step in steps]

    def call(leaves: Sequence[Any]) -> list[Any]:
        values: list[Any] = [None] * len(graph.nodes)
        for number, type, leaf in zip(inputs, types, leaves, strict=True):
            values[number] = _as_input(leaf, type)
        for step, (traceback, scope) in zip(steps, places, strict=True):
            with source_context(traceback, scope):
                values[step.number] = _value(step, values)
        return [values[number] for number in graph.outputs]

    return call


def _value(step: Step, values: list[Any]) -> Any:
    """Array of a node with one result, tuple of arrays of any other."""
    if step.node.op == "result":
        held = values[step.operands[0]]
        return held[step.kwargs["index"]] if isinstance(held, tuple) else held
    value = step.function(*(values[q] for q in step.operands), **step.kwargs)
    if isinstance(value, tuple | list):
        return value[0] if len(step.node.types) == 1 else tuple(value)
    return value if len(step.node.types) == 1 else (value,)


def _place(node: Node, tracebacks: Tracebacks) -> tuple[Any, str]:
    """Traceback and scope of the first source line; of another one where that has no traceback.

    XLA keeps one line for each operation: where there are several, the scope lists them all.
    """
    if not node.sources:
        return None, ""
    known = next((source for source in node.sources if source in tracebacks), None)
    scope = next((source.scope for source in node.sources if source.scope), "") if known is None else known.scope
    lines = lines_scope(node.sources)
    return tracebacks[known] if known else None, f"{scope}/{lines}" if scope and lines else scope or lines


def _as_input(leaf: Any, type: TensorType) -> Any:
    if isinstance(leaf, bool | int | float | complex | np.ndarray | np.generic):
        leaf = jax.numpy.asarray(leaf, np.dtype(type.dtype))
    return with_weak_type(leaf, False)


def with_weak_type(value: Any, weak: bool) -> Any:
    """The array with or without JAX's weak type."""
    aval = jax.typeof(value)
    if getattr(aval, "weak_type", False) == weak:
        return value
    return lax.convert_element_type_p.bind(value, new_dtype=np.dtype(aval.dtype), weak_type=weak, sharding=None)
