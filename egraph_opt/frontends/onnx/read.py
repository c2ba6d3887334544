# SPDX-License-Identifier: Apache-2.0
"""Reads an ONNX file into records, and refuses what is no whole model: cycles, missing values, unknown operators.

The first step of every run that starts from an ONNX file. Everything that can be said without arguments is said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, helper

from egraph_opt.errors import ModelError
from egraph_opt.frontends.onnx.declared import check_declared, domain_of, opsets_of
from egraph_opt.frontends.onnx.program import Dim, FunctionRecord, GraphRecord, NodeRecord, Program, ValueInfo
from egraph_opt.frontends.onnx.tensors import element_type, sparse_tensor, tensor

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
"""How torch's exporter notes the user's lines in a node's metadata."""


def read_model(content: bytes, path: Path) -> Program:
    """The records of a model file.

    Raises:
        ModelError: the bytes are no ONNX model, or one that contradicts itself.
    """
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(f"{path}: got data that is no ONNX model, or a damaged one; export it again") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{path}: got data without an ONNX graph; export the model again")
    return program_of(proto, path)


def program_of(proto: onnx.ModelProto, path: Path) -> Program:
    """The records of a model that is in memory; external data lie beside ``path``.

    Raises:
        ModelError: the model contradicts itself.
    """
    check_declared(proto, str(path))
    reader = _Reader(str(path), path.parent)
    opsets = opsets_of(proto.opset_import, str(path))
    functions = [reader.function(f) for f in proto.functions]
    return Program(
        reader.graph(proto.graph, frozenset()),
        {(f.domain, f.name, proto.functions[i].overload): f for i, f in enumerate(functions)},
        opsets,
        str(path),
        {"producer": f"{proto.producer_name} {proto.producer_version}".strip(), "ir": str(proto.ir_version)},
    )


class _Reader:
    """Reads the graphs of one model."""

    def __init__(self, origin: str, folder: Path) -> None:
        self.origin, self.folder = origin, folder

    def function(self, proto: onnx.FunctionProto) -> FunctionRecord:
        where = f"{self.origin}: function {proto.name}"
        inner = frozenset(proto.input) | {name for node in proto.node for name in node.output}
        nodes = [self.node(node, number, inner) for number, node in enumerate(proto.node, 1)]
        defaults = {a.name: self.attribute(a, where) for a in proto.attribute_proto}
        return FunctionRecord(
            proto.name,
            domain_of(proto.domain),
            tuple(proto.input),
            tuple(proto.output),
            defaults,
            opsets_of(proto.opset_import, self.origin),
            self.ordered(nodes, frozenset(proto.input), filter(None, proto.output), where),
        )

    def graph(self, proto: onnx.GraphProto, outer: frozenset[str]) -> GraphRecord:
        """A graph whose nodes may read the values ``outer`` of the graphs around it."""
        initializers: dict[str, np.ndarray] = {}
        for item in proto.initializer:
            initializers[item.name] = tensor(item, self.folder, f"{self.origin}: initializer {item.name!r}")
        for sparse in proto.sparse_initializer:
            name = sparse.values.name
            initializers[name] = sparse_tensor(sparse, self.folder, f"{self.origin}: sparse initializer {name!r}")
        inputs = tuple(self.value(info) for info in proto.input if info.name not in initializers)
        known = outer | initializers.keys() | {info.name for info in inputs}
        inner = known | {name for node in proto.node for name in node.output if name}
        nodes = [self.node(node, number, inner) for number, node in enumerate(proto.node, 1)]
        names = [info.name for info in proto.output]
        where = f"{self.origin}: graph {proto.name!r}"
        return GraphRecord(
            proto.name,
            inputs,
            tuple(self.value(info) for info in proto.output),
            initializers,
            self.ordered(nodes, known, names, where),
        )

    def value(self, info: onnx.ValueInfoProto) -> ValueInfo:
        which = info.type.WhichOneof("value")
        if which is None:
            return ValueInfo(info.name, None, None, "unknown")
        if which != "tensor_type":
            return ValueInfo(info.name, None, None, which.removesuffix("_type"))
        kind = info.type.tensor_type
        where = f"{self.origin}: value {info.name!r}"
        if kind.elem_type == onnx.TensorProto.UNDEFINED:
            return ValueInfo(info.name, None, None, "unknown")
        dtype = element_type(kind.elem_type, where)
        shape = tuple(map(_dim, kind.shape.dim)) if kind.HasField("shape") else None
        return ValueInfo(info.name, None, shape, "string") if dtype.kind == "O" else ValueInfo(info.name, dtype, shape)

    def node(self, proto: onnx.NodeProto, number: int, outer: frozenset[str] = frozenset()) -> NodeRecord:
        name = proto.name or f"{proto.op_type}_{number}"
        where = f"{self.origin}: node {name!r} ({proto.op_type})"
        attributes = {}
        for attribute in proto.attribute:
            if not attribute.ref_attr_name:
                attributes[attribute.name] = self.attribute(attribute, where, outer)
        return NodeRecord(
            proto.op_type,
            domain_of(proto.domain),
            name,
            tuple(proto.input),
            tuple(proto.output),
            attributes,
            {a.name: a.ref_attr_name for a in proto.attribute if a.ref_attr_name},
            _source(proto),
            number,
            proto.overload,
        )

    def attribute(self, proto: AttributeProto, where: str, outer: frozenset[str] = frozenset()) -> Any:
        match proto.type:
            case AttributeProto.GRAPH:
                return self.graph(proto.g, outer)
            case AttributeProto.GRAPHS:
                return tuple(self.graph(g, outer) for g in proto.graphs)
            case AttributeProto.TENSOR:
                return tensor(proto.t, self.folder, f"{where}: attribute {proto.name}")
            case AttributeProto.SPARSE_TENSOR:
                return sparse_tensor(proto.sparse_tensor, self.folder, f"{where}: attribute {proto.name}")
            case AttributeProto.STRING:
                return proto.s.decode(errors="replace")
            case AttributeProto.STRINGS:
                return tuple(s.decode(errors="replace") for s in proto.strings)
            case AttributeProto.FLOATS | AttributeProto.INTS:
                return tuple(helper.get_attribute_value(proto))
        try:
            return helper.get_attribute_value(proto)
        except ValueError as error:
            raise ModelError(f"{where}: attribute {proto.name} has no type; export the model again") from error

    def ordered(
        self, nodes: Sequence[NodeRecord], known: frozenset[str], outputs: Iterable[str], where: str
    ) -> tuple[NodeRecord, ...]:
        """The nodes such that every value is made before it is read.

        Raises:
            ModelError: a value is made twice or never, or needs itself.
        """
        makers: dict[str, NodeRecord] = {}
        for node in nodes:
            for name in filter(None, node.outputs):
                if name in makers:
                    raise ModelError(
                        f"{where}: nodes {makers[name].name!r} and {node.name!r} both make the value {name!r}"
                    )
                makers[name] = node
        for node in nodes:
            for name in _reads(node):
                if name not in makers and name not in known:
                    raise ModelError(
                        f"{where}: node {node.name!r} ({node.op}) reads {name!r}, which is no input, no initializer and"
                        " no output of a node"
                    )
        for name in outputs:
            if name not in makers and name not in known:
                raise ModelError(f"{where}: the output {name!r} is made by no node")
        done: dict[int, NodeRecord] = {}
        for node in nodes:
            self._visit(node, makers, done, where)
        return tuple(done.values())

    def _visit(
        self, first: NodeRecord, makers: Mapping[str, NodeRecord], done: dict[int, NodeRecord], where: str
    ) -> None:
        """Put a node behind all that it needs; without recursion, since models are deep."""
        open_nodes: dict[int, None] = {}
        stack = [first]
        while stack:
            node = stack[-1]
            if node.index in done:
                stack.pop()
                continue
            waiting = [m for name in _reads(node) if (m := makers.get(name)) is not None and m.index not in done]
            if not waiting:
                open_nodes.pop(node.index, None)
                done[node.index] = node
                stack.pop()
                continue
            open_nodes[node.index] = None
            for maker in waiting:
                if maker.index in open_nodes:
                    raise ModelError(
                        f"{where}: node {maker.name!r} ({maker.op}) needs its own output: the graph has a cycle"
                    )
            stack.extend(waiting)


def _reads(node: NodeRecord) -> list[str]:
    """Names of all values that a node reads; those that its bodies read of the graphs around them too."""
    names = [name for name in node.inputs if name]
    for value in node.attributes.values():
        for body in value if isinstance(value, tuple) else (value,):
            if isinstance(body, GraphRecord):
                names += _free_names(body)
    return names


def _free_names(graph: GraphRecord) -> list[str]:
    made = {info.name for info in graph.inputs} | graph.initializers.keys()
    made |= {name for node in graph.nodes for name in node.outputs}
    read = [name for node in graph.nodes for name in _reads(node)] + [info.name for info in graph.outputs]
    return [name for name in read if name not in made]


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else ""
    return str(dim.dim_param)


def _source(proto: onnx.NodeProto) -> tuple[str, int, str] | None:
    """The innermost line of the user's program, where the exporter wrote it down."""
    for entry in proto.metadata_props:
        if entry.key.endswith("stack_trace"):
            frames = _FRAME.findall(entry.value)
            if frames:
                file, line, function = frames[-1]
                return file, int(line), function
    return None


def function_record(proto: onnx.FunctionProto) -> FunctionRecord:
    """The record of a function that the standard itself holds."""
    return _Reader("the ONNX standard", Path()).function(proto)
