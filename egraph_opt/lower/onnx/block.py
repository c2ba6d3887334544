# SPDX-License-Identifier: Apache-2.0
"""Writes the nodes of a Graph, those of a body of control flow into the graph around it where it has no loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.sources import shown
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.einsum import einsum, is_matmul, total
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer
from egraph_opt.lower.plan import einsum_call, negated_term, schedule

INSTEAD = "cannot be written as ONNX; save the program as .jaxexport"


def write_graph(w: Writer, graph: Graph, inputs: Sequence[Value], table: dict[str, Row]) -> list[Value]:
    """Write a graph; the values of its outputs, with broadcasts written out.

    Args:
        w: where the nodes go.
        graph: what to compute.
        inputs: value of each input.
        table: how operations are written.

    Raises:
        UnsupportedOpError: an operation has no spelling in ONNX; the message names it and the user's line.
    """
    return Block(w, graph, inputs, table).write()


class Block:
    """The values of one graph while it is written."""

    def __init__(self, w: Writer, graph: Graph, inputs: Sequence[Value], table: dict[str, Row]) -> None:
        self.w, self.graph, self.table = w, graph, table
        self._values: dict[int, list[Value]] = {}
        for number, value in zip(graph.inputs, inputs, strict=True):
            self._values[number] = [value]
        self._uses = graph.use_counts()

    def write(self) -> list[Value]:
        """Write what the outputs need."""
        needed: set[int] = set()
        stack = [*self.graph.outputs, *self.graph.effects]
        while stack:
            number = stack.pop()
            if number not in needed:
                needed.add(number)
                stack.extend(self._operands(number))
        around = self.w.sources
        for number in schedule(self.graph):
            if number in needed and number not in self._values:
                node = self.graph.nodes[number]
                self.w.sources = node.sources or around
                self._values[number] = self._results(number, node)
        self.w.sources = around
        return [steps.full(self.w, self.value(number)) for number in self.graph.outputs]

    def value(self, number: int) -> Value:
        """The value of a node with one result."""
        return self._values[number][0]

    def _operands(self, number: int) -> tuple[int, ...]:
        node = self.graph.nodes[number]
        if node.op == "add":
            return tuple(q for q, _ in self._terms(node))
        return einsum_call(self.graph, node, self._uses)[1] if node.op == "einsum" else node.operands

    def _terms(self, node: Node) -> list[tuple[int, bool]]:
        """Terms of a sum; one that is not negated stands first where there is one."""
        terms = [negated_term(self.graph, q) for q in node.operands]
        if terms[0][1] and not terms[1][1]:
            terms[:2] = terms[1::-1]  # -a + b is b - a, bit for bit
        return terms

    def _results(self, number: int, node: Node) -> list[Value]:
        try:
            found = self._written(node)
        except UnsupportedOpError as error:
            if INSTEAD in str(error):
                raise  # a body has said it
            raise UnsupportedOpError(self._refusal(node, str(error))) from error
        values: list[Value] = [found] if isinstance(found, Value) else list(found)
        for value, type in zip(values, node.types if node.op != "result" else node.types[:1], strict=True):
            got, want = (value.type.shape, value.dtype), (type.shape, type.dtype)
            assert got == want, f"{node.op}: made {got} for {want}"
        return values

    def _written(self, node: Node) -> Value | Sequence[Value]:
        w = self.w
        if node.op == "constant":
            return w.constant(np.asarray(thaw(node.attr("value")), np.dtype(node.type.dtype)))
        if node.op == "result":
            index: int = node.attr("index")
            return self._values[node.operands[0]][index]
        if node.op == "add":
            return total(w, [(self.value(q), negative) for q, negative in self._terms(node)])
        if node.op == "einsum":
            spec, operands = einsum_call(self.graph, node, self._uses)
            return self._einsum(Spec.parse(spec), [self.value(q) for q in operands], node.type.dtype)
        row = self.table.get(node.op)
        if row is None:
            raise UnsupportedOpError("it has no operator")
        args = [self.value(q) for q in node.operands]
        return row.write(w, node, args if row.takes_held else [steps.full(w, x) for x in args])

    def _einsum(self, spec: Spec, args: list[Value], dtype: str) -> Value:
        """An einsum whose operands may be narrower than its result; products of int8 have an operator of their own."""
        w = self.w
        if any(x.dtype not in ("int8", "uint8") for x in args) or dtype != "int32" or not is_matmul(spec):
            return einsum(w, spec, [w.cast(x, dtype) for x in args])
        (name,) = w.emit("MatMulInteger", [steps.full(w, x).name for x in args])
        return Value(name, TensorType(spec.shape, dtype), spec.shape)

    def _refusal(self, node: Node, reason: str) -> str:
        name = f"primitive {node.attr('name')!r}" if node.op == "opaque" else f"operation {node.op!r}"
        place = f" at {shown(node.sources[:1])}" if node.sources else ""
        types = ", ".join(str(self.graph.nodes[q].types[0]) for q in node.operands)
        return f"{name} of ({types}){place}: {reason}; it {INSTEAD}"
