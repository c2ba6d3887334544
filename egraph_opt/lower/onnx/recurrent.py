# SPDX-License-Identifier: Apache-2.0
"""Loops that are recurrent layers, written as ONNX's LSTM and GRU, which runtimes run several times faster.

The operators take the inputs before they are projected, so the product that made them has to stand before the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egraph_opt.ir import Node, TensorType
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.cells import GATES, Layer, layer_of
from egraph_opt.lower.onnx.projection import Projection, projection
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer

MOST_UNCHANGED = 512
"""Width of inputs up to which a product with the identity costs less than a loop."""


def recurrent(w: Writer, node: Node, args: Sequence[Value]) -> list[Value] | None:
    """The results of a ``scan`` by one operator, or None where it is no recurrent layer of projected inputs."""
    if not node.attr("length"):
        return None
    layer = layer_of(node)
    if layer is None:
        return None
    of = projection(w, args[-1]) or _as_it_is(w, args[-1])
    return _written(w, node, args, layer, of) if of else None


def _as_it_is(w: Writer, x: Value) -> Projection | None:
    """Inputs that no product made, where they are narrow, by one that changes nothing."""
    size = x.type.shape[-1]
    return Projection(x, w.constant(np.eye(size, dtype=np.float32), "identity"), ()) if size <= MOST_UNCHANGED else None


def _written(w: Writer, node: Node, args: Sequence[Value], layer: Layer, of: Projection) -> list[Value]:
    consts, length = node.attr("num_consts"), node.attr("length")
    state = args[consts : consts + node.attr("num_carry")]
    batch, hidden = state[0].type.shape
    width = GATES[layer.op] * hidden
    rows = steps.transpose(w, args[layer.recurrent], (1, 0)) if layer.turned else args[layer.recurrent]
    weights = [_ordered(w, layer, steps.transpose(w, of.weights, (1, 0))), _ordered(w, layer, rows)]
    given = [] if layer.bias is None else [args[layer.bias]]
    offsets = [_ordered(w, layer, _offset(w, biases, width)) for biases in (of.biases, given)]
    first = [steps.reshape(w, state[place], (1, batch, hidden)) for place in layer.carry]
    inputs = [
        of.inputs.name,
        *(steps.reshape(w, x, (1, *x.type.shape)).name for x in weights),
        steps.reshape(w, steps.concatenate(w, offsets, 0), (1, 2 * width)).name,
        "",
        *(x.name for x in first),
    ]
    options = {"linear_before_reset": int(layer.after_product)} if layer.op == "GRU" else {}
    direction = "reverse" if node.attr("reverse") else "forward"
    names = w.emit(layer.op, inputs, 1 + len(first), hidden_size=hidden, direction=direction, **options)
    shapes = [(length, 1, batch, hidden), *[(1, batch, hidden)] * len(first)]
    made = []
    for name, shape in zip(names, shapes, strict=True):
        w.root.shapes[name] = shape
        made.append(Value(name, TensorType(shape, "float32"), shape))
    results = [steps.reshape(w, made[1 + layer.carry.index(place)], (batch, hidden)) for place in range(len(first))]
    rest = len(node.types) - len(results)
    return results + ([steps.reshape(w, made[0], (length, batch, hidden))] * rest if rest else [])


def _offset(w: Writer, biases: Sequence[Value], width: int) -> Value:
    """The sum of biases, for all gates: one of the last gate alone gets zeros before it."""
    if not biases:
        return w.constant(np.zeros(width, np.float32), "zeros")
    total = biases[0]
    for bias in biases[1:]:
        total = w.apply("Add", [total, bias])
    missing = width - total.type.shape[0]
    return steps.concatenate(w, [w.constant(np.zeros(missing, np.float32), "zeros"), total], 0) if missing else total


def _ordered(w: Writer, layer: Layer, x: Value) -> Value:
    """Gates along the first axis in the operator's order."""
    if layer.order == tuple(range(len(layer.order))):
        return x
    size = x.type.shape[0] // len(layer.order)
    parts = [steps.part(w, x, 0, place * size, (place + 1) * size) for place in layer.order]
    return steps.concatenate(w, parts, 0)
