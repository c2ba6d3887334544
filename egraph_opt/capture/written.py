# SPDX-License-Identifier: Apache-2.0
"""Products of a program as it is written, counted on its jaxpr.

The captured Graph is simplified while it is made (equal products are one, identity matrices vanish), so it does not
tell what the original costs. Every product counts here as often as it stands there. Loops and branches are left out on
both sides: their bodies are simplified too, but what XLA hoists out of them cannot be told from what is written.
"""

from __future__ import annotations

import math
from typing import Any

from egraph_opt.cost import count_node
from egraph_opt.ir import Graph

LOOPS = frozenset({"scan", "while", "cond"})


def written_products(jaxpr: Any) -> float:
    """Arithmetic of the matrix products and convolutions of an open jaxpr [flop]."""
    return sum(_equation(eqn) for eqn in jaxpr.eqns)


def captured_products(graph: Graph) -> float:
    """The same for a Graph [flop]."""
    straight = (node for node in graph if node.operands and node.op not in LOOPS)
    types = graph.nodes
    return sum(
        count_node(node, [types[q].types[0] for q in node.operands]).contraction_flops
        for node in straight
        if all(types[q].types for q in node.operands)
    )


def _equation(eqn: Any) -> float:
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape
        return 2.0 * _size(eqn.outvars[0]) * float(math.prod(shape[d] for d in contracted))
    if name == "conv_general_dilated":
        out_features = eqn.invars[1].aval.shape[params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * _size(eqn.outvars[0]) * _size(eqn.invars[1]) / float(max(out_features, 1))
    if name in LOOPS:
        return 0.0
    inner = [written_products(j) for value in params.values() if (j := _inner(value)) is not None]
    return max(inner, default=0.0)


def _inner(value: Any) -> Any | None:
    """The open jaxpr in a parameter, if it is one."""
    value = getattr(value, "jaxpr", value)
    return value if hasattr(value, "eqns") and hasattr(value, "invars") else None


def _size(atom: Any) -> int:
    return math.prod(getattr(atom.aval, "shape", ()))
