# SPDX-License-Identifier: Apache-2.0
"""A Graph as an ONNX model: inputs, outputs, weights, and the nodes that the table writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Graph, TensorType
from egraph_opt.lower.onnx.block import INSTEAD, write_graph
from egraph_opt.lower.onnx.control import info
from egraph_opt.lower.onnx.fuse import fused
from egraph_opt.lower.onnx.table import WRITERS
from egraph_opt.lower.onnx.values import IR_VERSIONS, Value, code_of, opset_of
from egraph_opt.lower.onnx.writer import Writer


def graph_to_onnx(
    graph: Graph,
    constants: Mapping[int, Any],
    input_names: Sequence[str],
    output_names: Sequence[str],
    constant_names: Mapping[int, str] | None = None,
    name: str = "optimized",
) -> ModelProto:
    """The ONNX model that computes a graph.

    Args:
        graph: what to compute.
        constants: input position -> array, for the inputs that become initializers.
        input_names: names of the other inputs, in their order.
        output_names: names of the outputs.
        constant_names: input position -> name of the initializer; the graph's own names by default.
        name: of the model's graph.

    Returns:
        A model whose weights lie in it; it may be too large for one file.

    Raises:
        UnsupportedOpError: an operation or an element type has no spelling in ONNX; one line names it and its source.
    """
    w = Writer()
    free = [position for position in range(len(graph.inputs)) if position not in constants]
    given = dict(zip(free, input_names, strict=True))
    for reserved in (*input_names, *output_names):
        w.reserve(reserved)
    values, inputs = [], []
    for position, type in enumerate(graph.input_types):
        label = given.get(position)
        if label is None:
            label = w.fresh((constant_names or {}).get(position) or graph.names[position])
            w.weight(label, np.asarray(constants[position]))
        else:
            _check_type(label, type)
            w.root.opset = max(w.root.opset, opset_of(type.dtype))
            inputs.append(info(label, type))
        w.shapes[label] = type.shape
        values.append(Value(label, type.strong(), type.shape))
    results = write_graph(w, graph, values, WRITERS)
    renamed = _output_names(w, results, output_names, {x.name for x in values})
    nodes = _live([_with_names(node, renamed) for node in w.nodes], output_names)
    counts = Counter(name for node in nodes for name in _reads(node)) + Counter(output_names)
    shapes = {renamed.get(label, label): shape for label, shape in w.shapes.items()}
    nodes = _live(fused(nodes, shapes, w.initializers, counts), output_names)
    read = {name for node in nodes for name in _reads(node)} | set(output_names)
    held = [tensor for tensor in w.initializers.values() if tensor.name in read]
    outputs = [info(label, x.type) for label, x in zip(output_names, results, strict=True)]
    proto = helper.make_graph(nodes, name, inputs, outputs, held)
    return helper.make_model(
        proto,
        producer_name="egraph_opt",
        producer_version=version("egraph_opt"),
        ir_version=IR_VERSIONS[w.opset],
        opset_imports=[helper.make_opsetid("", w.opset)],
    )


def _check_type(name: str, type: TensorType) -> None:
    try:
        code_of(type.dtype)
    except UnsupportedOpError as error:
        raise UnsupportedOpError(f"input {name!r}: {error}; it {INSTEAD}") from error


def _output_names(w: Writer, results: Sequence[Value], names: Sequence[str], taken: Iterable[str]) -> dict[str, str]:
    """Value -> name of the output that it is; copies are made of what is an output twice, an input or a weight."""
    made = {name for node in w.nodes for name in node.output} - set(taken)
    renamed: dict[str, str] = {}
    for value, name in zip(results, names, strict=True):
        source = value.name if value.name in made and value.name not in renamed else w.copied(value.name)
        renamed[source] = name
    return renamed


def _with_names(node: NodeProto, renamed: Mapping[str, str]) -> NodeProto:
    """The node with values renamed, in its bodies too; it is changed in place."""
    for names in (node.input, node.output):
        names[:] = [renamed.get(name, name) for name in names]
    for body in _bodies(node):
        for inner in body.node:
            _with_names(inner, renamed)
        for value in body.output:
            value.name = renamed.get(value.name, value.name)
    return node


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    yield from (attribute.g for attribute in node.attribute if attribute.HasField("g"))


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its bodies read included."""
    yield from node.input
    for body in _bodies(node):
        yield from (value.name for value in body.output)
        for inner in body.node:
            yield from _reads(inner)


def _live(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """The nodes that outputs need, in bodies too."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.isdisjoint(node.output):
            continue
        for body in _bodies(node):
            inner = _live(body.node, (value.name for value in body.output))
            del body.node[:]
            body.node.extend(inner)
        needed.update(_reads(node))
        kept.append(node)
    return kept[::-1]
