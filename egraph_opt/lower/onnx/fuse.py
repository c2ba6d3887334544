# SPDX-License-Identifier: Apache-2.0
"""Nodes that one operator of ONNX does together: ``Relu``, the bias of ``Conv`` and ``Gemm``, the scale of ``Gemm``.

Runtimes run these fused, and some of them only when they are written so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

Shapes = Mapping[str, tuple[int, ...]]


def fused(
    nodes: Sequence[NodeProto], shapes: Shapes, held: Mapping[str, TensorProto], read: Counter[str]
) -> list[NodeProto]:
    """The nodes of one graph, fused where an operator does the work of two; those not read any more stay.

    Args:
        nodes: in order; bodies are fused by themselves.
        shapes: of values, where they are known.
        held: initializers.
        read: how often each value is read, as an output too.
    """
    made: dict[str, NodeProto] = {}
    result = []
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                inner = fused(attribute.g.node, shapes, held, read)
                del attribute.g.node[:]
                attribute.g.node.extend(inner)
        node = _fused(node, _Around(made, shapes, held, read))
        made.update(dict.fromkeys(node.output, node))
        result.append(node)
    return result


class _Around:
    """What is known of the values that a node reads."""

    def __init__(
        self, made: Mapping[str, NodeProto], shapes: Shapes, held: Mapping[str, TensorProto], read: Counter[str]
    ) -> None:
        self.made, self.shapes, self.held, self.read = made, shapes, held, read

    def only(self, name: str, op: str) -> NodeProto | None:
        """The node that makes a value which is read once, if it is this operator with two operands."""
        node = self.made.get(name)
        if node is None or node.op_type != op or self.read[name] != 1 or len(node.input) != 2:
            return None
        return node

    def scalar(self, name: str) -> float | None:
        """The value of a scalar float initializer."""
        proto = self.held.get(name)
        if proto is None or len(proto.dims) or proto.data_type != TensorProto.FLOAT:
            return None
        return float(np.asarray(numpy_helper.to_array(proto)).item())


def _fused(node: NodeProto, around: _Around) -> NodeProto:
    for pattern in _PATTERNS.get(node.op_type, ()):
        for first, second in (tuple(node.input), tuple(node.input)[::-1]):
            new = pattern(node, first, second, around)
            if new is not None:
                return new
    return node


def _relu(node: NodeProto, x: str, bound: str, around: _Around) -> NodeProto | None:
    return _like(node, "Relu", [x]) if around.scalar(bound) == 0 else None


def _scaled_gemm(node: NodeProto, x: str, scale: str, around: _Around) -> NodeProto | None:
    gemm, factor = around.only(x, "Gemm"), around.scalar(scale)
    if gemm is None or factor is None:
        return None
    attrs = {a.name: helper.get_attribute_value(a) for a in gemm.attribute}
    return _like(node, "Gemm", gemm.input, **{**attrs, "alpha": factor * attrs.get("alpha", 1.0)})


def _biased_gemm(node: NodeProto, x: str, bias: str, around: _Around) -> NodeProto | None:
    gemm, shape = around.only(x, "Gemm"), around.shapes.get(bias)
    if gemm is None or shape is None or len(shape) != 1 or shape[0] != around.shapes[x][-1]:
        return None
    return _with_input(node, gemm, bias)


def _biased_conv(node: NodeProto, x: str, bias: str, around: _Around) -> NodeProto | None:
    conv = around.only(x, "Conv")
    flat = _channels(bias, around, around.shapes.get(x, ())) if conv else None
    return _with_input(node, conv, flat) if conv and flat else None


def _biased_in_sum(node: NodeProto, x: str, bias: str, around: _Around) -> NodeProto | None:
    """``(conv + y) + bias`` as ``(conv + bias) + y``: how a convolution adds up is the runtime's to say anyway."""
    inner = around.only(x, "Add")
    flat = _channels(bias, around, around.shapes.get(x, ())) if inner else None
    if inner is None or flat is None:
        return None
    for name in inner.input:
        conv = around.only(name, "Conv")
        if conv is not None and around.shapes[name] == around.shapes[x]:
            conv.input.append(flat)
            return _like(node, "Add", inner.input)
    return None


def _channels(bias: str, around: _Around, shape: tuple[int, ...]) -> str | None:
    """The weight that was reshaped to stand for the channels of a tensor of a shape."""
    node = around.made.get(bias)
    held = around.shapes.get(bias)
    if node is None or node.op_type != "Reshape" or held is None or len(shape) < 3:
        return None
    source = node.input[0]
    wanted = (shape[1], *(1,) * (len(shape) - 2))
    weight = around.held.get(source)
    return source if held[-len(wanted) :] == wanted and weight is not None and list(weight.dims) == [shape[1]] else None


def _with_input(node: NodeProto, inner: NodeProto, name: str) -> NodeProto:
    attrs = {a.name: helper.get_attribute_value(a) for a in inner.attribute}
    return _like(node, inner.op_type, [*inner.input, name], inner.name, **attrs)


def _like(node: NodeProto, op: str, inputs: Iterable[str], name: str = "", **attrs: Any) -> NodeProto:
    return helper.make_node(
        op, list(inputs), list(node.output), name=name or node.name, doc_string=node.doc_string, **attrs
    )


_PATTERNS: dict[str, tuple[Callable[[NodeProto, str, str, _Around], NodeProto | None], ...]] = {
    "Max": (_relu,),
    "Mul": (_scaled_gemm,),
    "Add": (_biased_gemm, _biased_conv, _biased_in_sum),
}
