# SPDX-License-Identifier: Apache-2.0
"""Computes both sides of a counterexample again: what the files that ``egraph-opt rules check --out`` writes call."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from egraph_opt._compat import x64_enabled
from egraph_opt.errors import EgraphOptError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ops import get_op
from egraph_opt.rules.check.draws import Array
from egraph_opt.rules.check.evaluate import EvaluationError, Reading, evaluate, left_rounding, numpy_dtype
from egraph_opt.rules.check.expression import value_text, written
from egraph_opt.rules.check.judge import ROUNDINGS, Wide, differ, moved_by, same_bits
from egraph_opt.rules.check.valuation import largest


def graph_text(graph: Graph) -> str:
    """Text of a graph that ``Graph.parse`` reads."""
    return str(graph)


def array(dtype: str, shape: tuple[int, ...], values: Sequence[Any]) -> Array:
    """An array from its elements in row-major order."""
    kind = np.dtype(dtype)
    plain = np.array(values, np.float32 if kind.kind == "V" else kind)
    return plain.reshape(shape).astype(kind)


def run(graph: Graph, inputs: Sequence[Array], reading: Reading) -> Array:
    """Value of the only output.

    Raises:
        EvaluationError: the graph is ill-typed, or an operation refuses its operands.
    """
    return _values(graph, inputs, reading)[graph.outputs[0]]


def _values(graph: Graph, inputs: Sequence[Array], reading: Reading) -> list[Array]:
    """Values of all nodes.

    Raises:
        EvaluationError: the graph is ill-typed, or an operation refuses its operands.
    """
    values: list[Array] = []
    for node in graph.nodes:
        if node.op == "input":
            value = inputs[node.attr("index")]
            values.append(value.astype(numpy_dtype(node.type.dtype, reading)))
            continue
        types = [graph.nodes[q].type for q in node.operands]
        try:
            found = get_op(node.op).infer(types, **node.kwargs) if node.operands else node.types
        except EgraphOptError as error:
            raise EvaluationError(f"ill-typed: {error}") from None
        if found[0].strong() != node.type:
            raise EvaluationError(f"ill-typed: {node.op} gives {found[0]}, not {node.type}")
        values.append(evaluate(node, [values[q] for q in node.operands], reading))
    return values


def _again(first: Graph, second: Graph, inputs: Sequence[Array], converted: bool) -> Wide:
    """Both sides in extended precision, and what rounding is left in them."""
    reading = Reading.WIDE if converted else Reading.REAL
    before, after = (_values(graph, inputs, reading) for graph in (first, second))
    want, got = before[first.outputs[0]], after[second.outputs[0]]
    ops = (node.op for graph in (first, second) for node in graph.nodes)
    left = ROUNDINGS * left_rounding(ops) * largest([*before, *after], want.shape)
    if not converted:
        moved = run(first, inputs, Reading.MOVED), run(second, inputs, Reading.MOVED)
        left = left + moved_by((want, got), moved)
    return Wide(want, got, left)


def replay(rule: str, before: str, after: str | None, inputs: Sequence[Array], numerics: str, problem: str) -> int:
    """Print both sides; 1 while they differ, 0 when they agree.

    Args:
        rule: text of the rule.
        before: text of the original graph.
        after: text of the graph that the rule says is equal; None for a false fact.
        inputs: their inputs.
        numerics: class of the rule.
        problem: what was found.
    """
    with x64_enabled():
        return _replay(rule, before, after, inputs, numerics, problem)


def _replay(rule: str, before: str, after: str | None, inputs: Sequence[Array], numerics: str, problem: str) -> int:
    say = sys.stdout.write
    first = Graph.parse(before)
    say(f"{rule.strip()}\n{problem}\n")
    for name, value in zip(first.names, inputs, strict=True):
        say(f"  {name} = {value_text(value)}\n")
    contract = Numerics.parse(numerics)
    reading = Reading.BITS if contract is Numerics.EXACT else Reading.PLAIN
    want = run(first, inputs, reading)
    say(f"before: {written(first)}\n  = {value_text(want)}\n")
    if after is None:
        return 1
    second = Graph.parse(after)
    try:
        got = run(second, inputs, reading)
    except EvaluationError as error:
        say(f"after: {written(second)}\n  {error}\n")
        return 1
    say(f"after: {written(second)}\n  = {value_text(got)}\n")
    if (want.shape, want.dtype) != (got.shape, got.dtype):
        say(f"types differ: {want.dtype}{list(want.shape)} and {got.dtype}{list(got.shape)}\n")
        return 1
    if contract is Numerics.EXACT:
        wrong = ~same_bits(want, got)
    else:
        size = max(float(np.max(np.abs(v.astype(np.complex128)), initial=0.0)) for v in (want, got))
        nodes = (*first.nodes, *second.nodes)
        narrow = not any(node.type.dtype in ("float64", "complex128") for node in nodes)
        wrong = differ(
            want, got, first.output_types[0].dtype, size, contract,
            lambda converted: _again(first, second, inputs, converted), narrow,
        )  # fmt: skip
    say("they differ\n" if wrong.any() else "they agree\n")
    return int(bool(wrong.any()))
