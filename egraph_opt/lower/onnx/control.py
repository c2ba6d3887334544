# SPDX-License-Identifier: Apache-2.0
"""Control flow in ONNX: ``If``, ``Scan`` and ``Loop``, whose bodies read the values around them by name.

Kernels that no operator stands for are opened: they are written as what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import GraphProto, ValueInfoProto, helper

from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ir.types import is_floating
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.block import write_graph
from egraph_opt.lower.onnx.idioms import IDIOMS
from egraph_opt.lower.onnx.recurrent import recurrent
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value, code_of
from egraph_opt.lower.onnx.writer import Writer

Make = Callable[[Writer, list[Value]], list[Value]]


def control(table: dict[str, Row]) -> dict[str, Row]:
    """The rows of control flow, whose bodies are written by ``table``."""

    def inline(graph: Graph, consts: Sequence[Value] = ()) -> Make:
        return lambda w, values: write_graph(w, graph, [*consts, *values], table)

    return {
        "cond": Row(lambda w, node, args: _cond(w, node, args, inline)),
        "scan": Row(lambda w, node, args: _scan(w, node, args, inline)),
        "while": Row(lambda w, node, args: _while(w, node, args, inline)),
        "kernel": Row(lambda w, node, args: _kernel(w, node, args, inline)),
    }


def _kernel(w: Writer, node: Node, args: list[Value], inline: Callable[..., Make]) -> list[Value]:
    idiom = IDIOMS.get(node.attr("name"))
    floats = all(is_floating(x.dtype) and x.type.size for x in args)
    if idiom is None or not floats:
        return inline(node.attr("body"))(w, args)
    found = idiom(w, node, args)
    return [found] if isinstance(found, Value) else list(found)


def info(name: str, type: TensorType) -> ValueInfoProto:
    """The declaration of a value."""
    return helper.make_tensor_value_info(name, code_of(type.dtype), type.shape)


def _body(w: Writer, inputs: Sequence[TensorType], make: Make, label: str) -> GraphProto:
    """A graph of its own: its inputs have the given types, ``make`` gives its outputs."""
    inner = Writer(w)
    values = [Value(inner.fresh(f"{label}_in"), type, type.shape) for type in inputs]
    outputs = make(inner, values)
    outputs = [steps.full(inner, value) for value in outputs]
    made = {name for node in inner.nodes for name in node.output}
    named: list[Value] = []
    for value in outputs:
        if value.name not in made or value in named:  # an output is made in the body, once
            value = value._replace(name=inner.copied(value.name))
        named.append(value)
    return helper.make_graph(
        inner.nodes, w.fresh(label), [info(x.name, x.type) for x in values], [info(x.name, x.type) for x in named]
    )


def _results(names: Sequence[str], types: Sequence[TensorType]) -> list[Value]:
    return [Value(name, type.strong(), type.shape) for name, type in zip(names, types, strict=True)]


def _cond(w: Writer, node: Node, args: list[Value], inline: Callable[..., Make]) -> list[Value]:
    """Branches by a chain of ``If``: an index below the first means the first, one above the last the last."""
    index = args[0]
    branches = [inline(branch, args[1:]) for branch in node.attr("branches")]
    if index.dtype == "bool":
        no, yes = branches[0], branches[-1]
        return _if(w, node, index, yes, no)
    if len(branches) == 1:
        return branches[0](w, [])
    return _chain(w, node, index, branches, 0)


def _chain(w: Writer, node: Node, index: Value, branches: Sequence[Make], first: int) -> list[Value]:
    here = w.apply("LessOrEqual", [index, steps.number(w, first, index.dtype)], dtype="bool")

    def rest(inner: Writer, values: list[Value]) -> list[Value]:
        if first + 2 == len(branches):
            return branches[-1](inner, values)
        return _chain(inner, node, index, branches, first + 1)

    return _if(w, node, here, branches[first], rest)


def _if(w: Writer, node: Node, condition: Value, yes: Make, no: Make) -> list[Value]:
    then_branch, else_branch = _body(w, (), yes, "then"), _body(w, (), no, "else")
    names = w.emit("If", [condition.name], len(node.types), then_branch=then_branch, else_branch=else_branch)
    return _results(names, node.types)


def _scan(w: Writer, node: Node, args: list[Value], inline: Callable[..., Make]) -> list[Value]:
    body: Graph = node.attr("body")
    consts, carry, length = node.attr("num_consts"), node.attr("num_carry"), node.attr("length")
    state, scanned = args[consts : consts + carry], args[consts + carry :]
    if not length:
        empty = [steps.filled(w, 0, type) for type in node.types[carry:]]
        return [*state, *empty]
    layer = recurrent(w, node, args)
    if layer is not None:
        return layer
    make = inline(body, args[:consts])
    extra = [] if scanned else [w.constant(np.arange(length, dtype=np.int64), "steps")]  # Scan wants something to scan

    def step(inner: Writer, values: list[Value]) -> list[Value]:
        return make(inner, values[: len(values) - len(extra)])

    rows = [*scanned, *extra]
    types = [*(x.type for x in state), *(x.type.with_shape(x.type.shape[1:]) for x in rows)]
    backwards = int(node.attr("reverse"))
    names = w.emit(
        "Scan",
        [x.name for x in (*state, *rows)],
        len(node.types),
        body=_body(w, types, step, "step"),
        num_scan_inputs=len(rows),
        scan_input_directions=[backwards] * len(rows),
        scan_output_directions=[backwards] * (len(node.types) - carry),
    )
    return _results(names, node.types)


def _while(w: Writer, node: Node, args: list[Value], inline: Callable[..., Make]) -> list[Value]:
    first, second = node.attr("cond_nconsts"), node.attr("body_nconsts")
    state = args[first + second :]
    proceed = inline(node.attr("cond"), args[:first])
    advance = inline(node.attr("body"), args[first : first + second])

    def step(inner: Writer, values: list[Value]) -> list[Value]:
        after = advance(inner, values[2:])
        return [*proceed(inner, after), *after]

    (begin,) = proceed(w, state)
    types = [TensorType((), "int64"), TensorType((), "bool"), *(x.type for x in state)]
    inputs = ["", begin.name, *(x.name for x in state)]
    names = w.emit("Loop", inputs, len(node.types), body=_body(w, types, step, "step"))
    return _results(names, node.types)
