# SPDX-License-Identifier: Apache-2.0
"""A program in double precision: the same Graph with every float type widened to float64, for reference values.

What depends on the bits of its operands (bit casts, random generators, primitives without a record) keeps its own
types, between conversions.
"""

from __future__ import annotations

from typing import Any

from egraph_opt.ir import Attrs, Builder, Graph, Node, TensorType
from egraph_opt.ir.attrs import Array, DType
from egraph_opt.ir.types import is_complex, is_floating

FIXED = frozenset({"opaque", "bitcast_convert_type", "reduce_precision", "nextafter", "random_bits", "random_unwrap"})
"""Ops that run in their own element types."""


def promote_graph(graph: Graph) -> Graph:
    """The graph with float types as float64 and complex types as complex128, sub-graphs, inputs and outputs included.

    Run it with 64-bit types enabled, on promoted inputs (``promoted_dtype``).
    """
    builder = Builder()
    place: dict[int, int] = {}
    for number, name in zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True):
        place[number] = builder.input(_promoted(graph.nodes[number].type), name)
    for number, node in enumerate(graph.nodes):
        if number not in place:
            place[number] = _emit(builder, graph, node, [place[q] for q in node.operands])
    outputs = [place[n] for n in graph.outputs]
    effects = [place[n] for n in graph.effects]
    return builder.build(outputs, effects, graph.weak_outputs or None, graph.precision)


def promoted_dtype(dtype: str) -> str:
    """The element type that stands for ``dtype`` in a promoted graph."""
    if is_floating(dtype):
        return "float64"
    return "complex128" if is_complex(dtype) else dtype


def _promoted(type: TensorType) -> TensorType:
    return TensorType(type.shape, promoted_dtype(type.dtype))


def _emit(builder: Builder, graph: Graph, node: Node, operands: list[int]) -> int:
    fixed = node.op in FIXED
    if node.op == "result" and graph.nodes[node.operands[0]].op in FIXED:
        held = builder.add(node.op, operands, node.attrs, node.types, node.sources)
        return _convert(builder, held, _promoted(node.types[0]))
    if not fixed:
        types = tuple(map(_promoted, node.types))
        return builder.add(node.op, operands, _attrs(node), types, node.sources)
    narrow = [_convert(builder, x, graph.nodes[q].types[0]) for x, q in zip(operands, node.operands, strict=True)]
    number = builder.add(node.op, narrow, node.attrs, node.types, node.sources)
    # The results of a node with several are widened one by one, where they are read.
    return _convert(builder, number, _promoted(node.types[0])) if len(node.types) == 1 else number


def _convert(builder: Builder, number: int, type: TensorType) -> int:
    have = builder.nodes[number].types
    if len(have) != 1 or have[0].dtype == type.dtype:
        return number
    return builder.add("convert_element_type", [number], (("new_dtype", DType(type.dtype)),), type.strong())


def _attrs(node: Node) -> Attrs:
    return tuple((name, _attr(value)) for name, value in node.attrs)


def _attr(value: Any) -> Any:
    if isinstance(value, Graph):
        return promote_graph(value)
    if isinstance(value, DType):
        return DType(promoted_dtype(str(value)))
    if isinstance(value, Array):
        wide = promoted_dtype(value.value.dtype.name)
        return value if wide == value.value.dtype.name else Array(value.value.astype(wide))
    if type(value) is tuple:
        return tuple(_attr(item) for item in value)
    return value
