# SPDX-License-Identifier: Apache-2.0
"""What an ONNX file says of itself: versions, names of inputs and outputs, attributes by name and kind.

Asked before anything is read into records, on the file's own messages: what contradicts the standard here would be
read as something else further on, or be ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import onnx
from onnx import AttributeProto

from egraph_opt.errors import ModelError
from egraph_opt.frontends.onnx.schema import SCHEMAS

Operator = tuple[str, str]
"""Domain and name."""

_WIDER: Mapping[int, int] = {
    AttributeProto.FLOAT: AttributeProto.INT,
    AttributeProto.FLOATS: AttributeProto.INTS,
}
"""Kinds that may be written as another one: whole numbers are numbers."""

FIRST_WITH_IMPORTS = 3
"""Version of the format from which on a model names its operator sets."""


def domain_of(name: str) -> str:
    """A domain by its usual name: ai.onnx is the empty one."""
    return "" if name == "ai.onnx" else name


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto], origin: str) -> dict[str, int]:
    """Versions of operator sets by domain.

    Raises:
        ModelError: a version of the standard that is not known.
    """
    opsets = {domain_of(entry.domain): entry.version for entry in imports}
    newest = onnx.defs.onnx_opset_version()
    version = opsets.get("", 1)
    if version > newest:
        raise ModelError(
            f"{origin}: got opset {version} of ai.onnx; the installed package onnx knows them up to {newest}:"
            " upgrade it, or export for an older opset"
        )
    if version < 1:
        raise ModelError(f"{origin}: got opset {version} of ai.onnx; want 1 to {newest}: export the model again")
    return opsets or {"": 1}


def check_declared(model: onnx.ModelProto, origin: str) -> None:
    """Refuse a model that contradicts the standard in what it declares.

    Raises:
        ModelError: a version, a name or an attribute that cannot be; the first one is told.
    """
    newest = int(onnx.IR_VERSION)
    if model.ir_version > newest:
        raise ModelError(
            f"{origin}: got version {model.ir_version} of the file format; the installed package onnx knows it up to"
            f" {newest}: upgrade it, or export for an older one"
        )
    if not model.opset_import and model.ir_version >= FIRST_WITH_IMPORTS:
        raise ModelError(f"{origin}: the model names no operator set (opset_import); export it again")
    _check_signature(model.graph, f"{origin}: graph {model.graph.name!r}")
    local = {(domain_of(f.domain), f.name) for f in model.functions}
    _check_nodes(model.graph.node, opsets_of(model.opset_import, origin), local, origin)
    for function in model.functions:
        _check_nodes(function.node, opsets_of(function.opset_import, origin), local, origin)


def _check_signature(graph: onnx.GraphProto, where: str) -> None:
    if not graph.output:
        raise ModelError(f"{where}: it has no output, so there is nothing to compute; export the model again")
    for what, infos in (("input", graph.input), ("initializer", graph.initializer)):
        twice = [name for name, count in Counter(info.name for info in infos).items() if count > 1]
        if twice:
            raise ModelError(f"{where}: the {what} {twice[0]!r} is there twice; give each its own name")
    given = {info.name for info in graph.input} | {item.name for item in graph.initializer}
    for node in graph.node:
        for name in given.intersection(node.output):
            raise ModelError(f"{where}: {name!r} is an input or initializer, and an output of node {node.name!r} too")


def _check_nodes(
    nodes: Iterable[onnx.NodeProto], opsets: Mapping[str, int], local: Collection[Operator], origin: str
) -> None:
    for number, node in enumerate(nodes, 1):
        domain = domain_of(node.domain)
        if (domain, node.op_type) not in local:
            where = f"{origin}: node {node.name or f'{node.op_type}_{number}'!r} ({node.op_type})"
            _check_attributes(node, domain, opsets.get(domain, 1), where)
        for body in _bodies(node):
            _check_nodes(body.node, opsets, local, origin)


def _check_attributes(node: onnx.NodeProto, domain: str, version: int, where: str) -> None:
    schema = SCHEMAS.find(domain, node.op_type, version)
    if schema is None:
        return
    for attribute in node.attribute:
        formal = schema.attributes.get(attribute.name)
        if formal is None:
            known = ", ".join(sorted(schema.attributes)) or "none"
            raise ModelError(
                f"{where}: attribute {attribute.name!r} is none of version {schema.since_version} ({known});"
                " export the model again"
            )
        got, want = attribute.type, int(formal.type.value)
        if got not in (AttributeProto.UNDEFINED, want, _WIDER.get(want)):
            kinds = AttributeProto.AttributeType
            raise ModelError(
                f"{where}: attribute {attribute.name} is of kind {kinds.Name(got)}; want {kinds.Name(want)}"
            )


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs
