# SPDX-License-Identifier: Apache-2.0
"""Short text of small graphs and arrays, for counterexamples."""

from __future__ import annotations

from typing import Any

import numpy as np

from egraph_opt.ir import Graph
from egraph_opt.ir.attrs import format_attr

MOST_SHOWN = 24
"""Elements of an array that are shown."""


def written(graph: Graph) -> str:
    """The only output of a graph as one expression over the names of its inputs."""
    names = dict(zip(graph.inputs, graph.names, strict=True))

    def term(n: int) -> str:
        if n in names:
            return names[n]
        node = graph.nodes[n]
        if node.op == "constant":
            return f"{format_attr(node.attr('value'))}"
        parts = [term(q) for q in node.operands]
        if node.op == "einsum":
            return f"einsum({', '.join((repr(node.attr('spec')), *parts))})"
        if node.op == "add":
            return f"({' + '.join(parts)})"
        given = [f"{key}={format_attr(value)}" for key, value in node.attrs if value is not None]
        return f"{node.op}({', '.join((*parts, *given))})"

    return term(graph.outputs[0])


def value_text(value: np.ndarray[Any, Any]) -> str:
    """An array in one line; long ones are cut."""
    plain = value.astype(np.float64) if value.dtype.kind == "V" else value
    if plain.size <= MOST_SHOWN:
        return repr(_rounded(plain.tolist()))
    return f"{_rounded(plain.ravel()[:MOST_SHOWN].tolist())!r}... ({plain.size} elements)"


def _rounded(item: Any) -> Any:
    if isinstance(item, list):
        return [_rounded(part) for part in item]
    if isinstance(item, float) and item == item and abs(item) != float("inf"):
        return float(f"{item:.6g}")
    return item
