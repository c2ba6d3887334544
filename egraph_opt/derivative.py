# SPDX-License-Identifier: Apache-2.0
"""Derivatives of a chosen program that may not be taken from it, but from the original.

Functions with a custom derivative and checkpointed parts are opened for the optimiser. Differentiating the chosen
program would then ignore what the user asked for. Facts that are stated of an argument hold at its value, not along
every direction in which it is differentiated: a program that reads one triangle of a symmetric argument has another
gradient. So there, too, derivatives are those of the original.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.walk import ancestors
from egraph_opt.ops import Trait, all_ops
from egraph_opt.ops.declared import ASSUME

Flat = Callable[[Sequence[Any]], list[Any]]

OPEN = frozenset({"nonnegative", "positive"})
"""Facts that hold in all directions near a point where they hold."""


def with_derivative_of(
    program: Flat, original: Callable[..., list[Any]], places: Collection[int] | None = None
) -> Flat:
    """``program`` with the derivative of ``original``.

    Args:
        program: function of a flat list.
        original: the same function of positional arguments.
        places: positions in the list; the derivative is taken from ``original`` only if it is one for some of these.
            None for any.

    Returns:
        A function like ``program``.
    """
    jvp = jax.custom_jvp(lambda *leaves: program(leaves))

    def tangent(primals: Any, tangents: Any) -> Any:
        return jax.jvp(original, primals, tangents)

    def tangent_of_one(primals: Any, tangents: Any) -> Any:
        kept = all(isinstance(tangents[place], SymbolicZero) for place in places or ())
        function = (lambda *leaves: program(leaves)) if kept else original
        return jax.jvp(function, tuple(primals), tuple(_instantiated(t) for t in tangents))

    if places is None:
        jvp.defjvp(tangent)
    else:
        jvp.defjvp(tangent_of_one, symbolic_zeros=True)
    return lambda leaves: list(jvp(*leaves))


def stated_inputs(graph: Graph) -> frozenset[int]:
    """Positions of inputs whose tangents need not have the facts that are stated of them, or of what is made of them.

    What is computed may have a fact by the way it is computed, as a kernel matrix is symmetric for all points. Not so
    an input of which the fact is stated as it stands, nor a square one that enters: a sum of symmetric matrices.
    """
    found: set[int] = set()
    positions = {number: place for place, number in enumerate(graph.inputs)}
    for node in graph.nodes:
        if not _states(node):
            continue
        needed = ancestors(graph, node.operands)
        plain = set(_as_they_stand(graph, node.operands))
        for number in needed & positions.keys():
            shape = graph.nodes[number].type.shape
            if number in plain or (len(shape) > 1 and shape[-1] == shape[-2]):
                found.add(positions[number])
    return frozenset(found)


def _states(node: Node) -> bool:
    """Whether a node, or one of those in its sub-graphs, states a fact that tangents need not have."""
    if node.op == ASSUME:
        return not OPEN.issuperset(node.attr("facts"))
    inside = Graph((node,), (), ()).subgraphs()
    return any(_states(inner) for body in inside for inner in body.nodes if inner.op == ASSUME)


def _as_they_stand(graph: Graph, roots: Sequence[int]) -> Iterator[int]:
    """The roots, and what they are by moving and converting elements."""
    for number in roots:
        yield number
        node = graph.nodes[number]
        moved = node.op == "convert_element_type" or (node.op == "einsum" and len(node.operands) == 1)
        if moved or (node.op in all_ops() and Trait.LAYOUT in all_ops()[node.op].traits):
            yield from _as_they_stand(graph, node.operands)


def _instantiated(tangent: Any) -> Any:
    if not isinstance(tangent, SymbolicZero):
        return tangent
    if tangent.dtype == float0:
        return np.zeros(tangent.shape, float0)
    return jnp.zeros(tangent.shape, tangent.dtype)
