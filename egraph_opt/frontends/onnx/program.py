# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs as records: what `read` makes of the protocol buffers and `evaluate` runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Dim = int | str
"""A size, or the name of one that is known only when the model is called; "" where it has no name."""


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """A declared input or output.

    Args:
        name: of the value.
        dtype: its element type; None for sequences, optionals and strings.
        shape: its sizes; None when the rank is not told.
        kind: what it is when it is no tensor: "sequence", "optional", "string"; "" for a tensor, "unknown" undeclared.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[Dim, ...] | None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node.

    Args:
        op: name of the operator.
        domain: its domain, "" for ai.onnx.
        name: of the node, or one made of the operator and its place.
        inputs: names of values, "" for an optional input that is left out.
        outputs: names of values, "" for an output that nobody asks for.
        attributes: plain values; tensors as arrays, graphs as `GraphRecord`.
        references: attribute -> attribute of the surrounding function whose value it takes.
        source: user's source line as ``(file, line, function)``, or None.
        index: place in the file, from 1.
        overload: of the local function that it calls.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    references: Mapping[str, str]
    source: tuple[str, int, str] | None
    index: int
    overload: str = ""


@dataclass(frozen=True, slots=True)
class GraphRecord:
    """A graph: the main one, or the body of control flow.

    Args:
        name: of the graph.
        inputs: declared inputs that are no initializers.
        outputs: declared outputs.
        initializers: values that the file holds; arrays of external files are mapped, not read.
        nodes: in an order in which values are made before they are read.
    """

    name: str
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    initializers: Mapping[str, np.ndarray]
    nodes: tuple[NodeRecord, ...]

    def walk(self) -> Iterator[NodeRecord]:
        """All nodes, those of bodies too."""
        for node in self.nodes:
            yield node
            for value in node.attributes.values():
                for body in value if isinstance(value, tuple) else (value,):
                    if isinstance(body, GraphRecord):
                        yield from body.walk()


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """A function: of the model, or the body by which the standard defines an operator.

    Args:
        name: of the operator that it defines.
        domain: its domain.
        inputs: names of the parameters.
        outputs: names of the results.
        defaults: values of attributes that a call need not give.
        opsets: domain -> version, for its nodes.
        nodes: in an order in which values are made before they are read.
    """

    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    opsets: Mapping[str, int]
    nodes: tuple[NodeRecord, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A model.

    Args:
        graph: the main graph.
        functions: ``(domain, name, overload)`` -> local function.
        opsets: domain -> version of its operator set.
        origin: the file's path, for messages.
        metadata: what the model says of itself: producer, documentation.
    """

    graph: GraphRecord
    functions: Mapping[tuple[str, str, str], FunctionRecord]
    opsets: Mapping[str, int]
    origin: str
    metadata: Mapping[str, str] = field(default_factory=dict)
