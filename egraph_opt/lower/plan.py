# SPDX-License-Identifier: Apache-2.0
"""Steps that compute a Graph: which nodes, in which order, spelled how.

Spelling is decided here, once per Graph and before tracing: narrow products that the Graph writes as wide ones are
recovered, and sums take their negated terms by subtraction. Nodes that no root needs are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import lax

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.spec import canonical
from egraph_opt.ir.spec_algebra import compose_product
from egraph_opt.ir.walk import topological
from egraph_opt.ops import Trait, get_op

_NARROW = {"float32": ("bfloat16", "float16", "float8"), "int32": ("int8",)}


@dataclass(frozen=True, slots=True)
class Step:
    """One call.

    Args:
        number: node whose value it makes.
        node: the node.
        function: what is called.
        operands: nodes whose values are passed.
        kwargs: static arguments.
    """

    number: int
    node: Node
    function: Callable[..., Any]
    operands: tuple[int, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


LOOP_NODES = 2
"""So many additions and multiplications before a sum run as a loop of their own."""

Run = Callable[[Graph], Callable[[Sequence[Any]], list[Any]]]


def plan(graph: Graph, precision: str | None, run: Run) -> list[Step]:
    """Steps in an order that keeps that of the effects.

    Args:
        graph: what to compute.
        precision: of every matrix product.
        run: makes a function of a sub-graph.
    """
    steps: dict[int, Step] = {}
    uses = graph.use_counts()
    for number in schedule(graph):
        steps[number] = _step(graph, number, uses, precision, run)
    needed = set()
    stack = [*graph.outputs, *graph.effects]
    while stack:
        number = stack.pop()
        if number not in needed:
            needed.add(number)
            stack.extend(steps[number].operands)
    return [step for number, step in steps.items() if number in needed]


def schedule(graph: Graph) -> Iterator[int]:
    """Node numbers, operands before users, effects in their order."""
    if list(graph.effects) == sorted(graph.effects):
        return iter(range(len(graph.nodes)))
    return topological((*graph.effects, *range(len(graph.nodes))), lambda n: graph.nodes[n].operands)


def _step(graph: Graph, number: int, uses: Sequence[int], precision: str | None, run: Run) -> Step:
    node = graph.nodes[number]
    if node.op == "constant":
        value = np.asarray(thaw(node.attr("value")), np.dtype(node.type.dtype))
        return Step(number, node, lambda: value, ())
    if node.op == "add":
        return _sum_step(graph, number, node)
    if node.op == "einsum":
        return _einsum_step(graph, number, uses, precision)
    op = get_op(node.op)
    kwargs = node.kwargs
    if op.precise:
        kwargs["precision"] = precision
    if op.nested:
        kwargs["run"] = run
    return Step(number, node, op.lower, node.operands, kwargs)


def _einsum_step(graph: Graph, number: int, uses: Sequence[int], precision: str | None) -> Step:
    node = graph.nodes[number]
    spec, operands = einsum_call(graph, node, uses)
    kwargs: dict[str, Any] = {"spec": spec, "precision": precision}
    if any(graph.nodes[q].type.dtype != node.type.dtype for q in operands):
        kwargs["accumulate"] = np.dtype(node.type.dtype)
    if Spec.parse(spec).summed and jax.default_backend() == "cpu" and is_computed(graph, operands):
        kwargs["computed"] = True
    return Step(number, node, get_op("einsum").lower, operands, kwargs)


def is_computed(graph: Graph, operands: Sequence[int]) -> bool:
    """Whether the operands are made by elementwise work that is worth a loop of its own.

    One function like ``tanh`` is, and so are several additions and multiplications.
    """
    size = max(graph.nodes[q].type.size for q in operands)
    seen: set[int] = set()
    stack = list(operands)
    while stack and len(seen) < LOOP_NODES:
        number = stack.pop()
        node = graph.nodes[number]
        if number in seen or len(node.types) != 1 or node.type.size < size or node.op in ("input", "constant"):
            continue
        op = get_op(node.op)
        if node.op == "einsum":
            spec = Spec.parse(node.attr("spec"))
            if spec.summed or (len(spec.inputs) == 1 and spec.scale == 1):
                continue
        elif node.op != "add" and Trait.ELEMENTWISE not in op.traits:
            continue
        elif op.transcendentals:
            return True
        seen.add(number)
        stack.extend(node.operands)
    return len(seen) >= LOOP_NODES


def einsum_call(graph: Graph, node: Node, uses: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """Spec and operands that an einsum is spelled with.

    A product that only a transposition reads is made in the transposed order, which costs nothing where exchanging
    the operands gives it; operands that were widened are taken as they were, see ``narrow_operands``. An inner product
    transposes its second operand: that is not one that a matrix product makes, because XLA would take the transpose
    into that product, which is slower there.
    """
    spec: str = node.attr("spec")
    if len(node.operands) == 1:
        inner = graph.nodes[node.operands[0]]
        outer = Spec.parse(spec)
        if uses[node.operands[0]] != 1 or inner.op != "einsum" or len(inner.operands) != 2:
            return spec, node.operands
        if not outer.is_permutation or outer.scale != 1 or not Spec.parse(inner.attr("spec")).is_pure:
            return spec, node.operands
        spec, node = compose_product(spec, inner.attr("spec")).core, inner
    parsed, operands = Spec.parse(spec), narrow_operands(graph, node) or node.operands
    if len(operands) == 2 and parsed.is_pure and parsed.summed and set(parsed.inputs[0]) == set(parsed.inputs[1]):
        first, second = (_is_product(graph.nodes[q]) for q in operands)
        if second and not first:
            return canonical(parsed.inputs[::-1], parsed.output, parsed.sizes), operands[::-1]
    return spec, operands


def _is_product(node: Node) -> bool:
    return node.op == "einsum" and len(node.operands) == 2 and bool(Spec.parse(node.attr("spec")).summed)


def narrow_operands(graph: Graph, node: Node) -> tuple[int, ...] | None:
    """Operands of a contraction before they were widened, when the product of the narrow ones is the same.

    The hardware product takes narrow operands and accumulates in the wide type. Every product of two such narrow values
    is exact in the wide type (8 or 11 bits of significand twice into 24; 8 bits twice into 32), so the result is the
    same up to the order of the sum. Only pairs that hardware has, which were faster, are in the table.
    """
    if len(node.operands) != 2 or not Spec.parse(node.attr("spec")).summed:
        return None
    inner = [graph.nodes[q] for q in node.operands]
    if any(n.op != "convert_element_type" for n in inner):
        return None
    narrow = tuple(n.operands[0] for n in inner)
    dtypes = {graph.nodes[q].type.dtype for q in narrow}
    if len(dtypes) != 1:
        return None
    small, wide = dtypes.pop(), node.type.dtype
    return narrow if small.startswith(_NARROW.get(wide, ())) and small != wide else None


def _sum_step(graph: Graph, number: int, node: Node) -> Step:
    terms = [negated_term(graph, q) for q in node.operands]
    if terms[0][1] and not terms[1][1]:
        terms[:2] = terms[1::-1]  # -a + b is b - a, bit for bit
    signs = [negative for _, negative in terms]
    first = node.operands[0] if signs[0] else terms[0][0]

    def total(*values: Any) -> Any:
        result = values[0]
        for value, negative in zip(values[1:], signs[1:], strict=True):
            result = lax.sub(result, value) if negative else lax.add(result, value)
        return result

    return Step(number, node, total, (first, *(q for q, _ in terms[1:])))


def negated_term(graph: Graph, number: int) -> tuple[int, bool]:
    """The operand and True for a plain negation; a term as it is and False else."""
    node = graph.nodes[number]
    if node.op == "einsum" and len(node.operands) == 1:
        spec = Spec.parse(node.attr("spec"))
        if spec.scale == -1 and spec.inputs[0] == spec.output and len(set(spec.output)) == len(spec.output):
            return node.operands[0], True
    return number, False
