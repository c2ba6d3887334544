# SPDX-License-Identifier: Apache-2.0
"""Looks back from a value to the product that made it: ``inputs weights + biases``, through what only moves elements.

The planner joins products of one tensor and cuts the result, and turns it on the way; all of this is undone here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from onnx import NodeProto, helper, numpy_helper

from egraph_opt.ir import TensorType
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


@dataclass(frozen=True, slots=True)
class Projection:
    """A value[t,b,g] as a product.

    Args:
        inputs: [t,b,i].
        weights: [i,g].
        biases: each [g].
    """

    inputs: Value
    weights: Value
    biases: tuple[Value, ...]


@dataclass(slots=True)
class _View:
    """How the value at the start lies in the one that is looked at.

    Args:
        name: of the one that is looked at.
        order: its axes that are the value's.
        low: where the value begins along the last of these.
        size: of the value along it.
        biases: found on the way.
    """

    name: str
    order: tuple[int, ...]
    low: int
    size: int
    biases: list[Value] = field(default_factory=list)


def projection(w: Writer, x: Value) -> Projection | None:
    """The product that made a value of rank 3, if nothing but moves and biases came after it."""
    made = {name: node for node in w.nodes for name in node.output}
    view = _View(x.name, (0, 1, 2), 0, x.type.shape[-1])
    while view.name in made:
        node = made[view.name]
        if node.op_type == "Reshape" and view.order == (0, 1, 2):
            return _of_rows(w, made, view, x)
        if node.op_type == "MatMul":
            return _product(w, node, view, x.dtype)
        if not _STEPS.get(node.op_type, _none)(w, node, view, x.dtype):
            return None
    return None


def _of_rows(w: Writer, made: dict[str, NodeProto], view: _View, x: Value) -> Projection | None:
    """The product of a value that was made as one matrix, [t*b,g]."""
    whole, (length, batch, _) = w.root.shapes.get(view.name), x.type.shape
    node = made[view.name]
    if whole is None or w.root.shapes.get(node.input[0]) != (length * batch, whole[-1]):
        return None
    view.name, view.order = node.input[0], (0, 0, 1)  # both rows in one
    while view.name in made and made[view.name].op_type in ("Slice", "Add"):
        if not _STEPS[made[view.name].op_type](w, made[view.name], view, x.dtype):
            return None
    product = made.get(view.name)
    if product is None or product.op_type not in ("Gemm", "MatMul") or len(product.input) != 2:
        return None
    options = {a.name: helper.get_attribute_value(a) for a in product.attribute}
    rows, weights = (_held(w, name, x.dtype) for name in product.input)
    if rows is None or weights is None or rows.type.rank != 2 or weights.type.rank != 2:
        return None
    if options.get("transA", 0) or options.get("alpha", 1.0) != 1.0:
        return None
    inputs = steps.reshape(w, rows, (length, batch, rows.type.shape[1]))
    weights = steps.transpose(w, weights, (1, 0)) if options.get("transB", 0) else weights
    return Projection(inputs, steps.part(w, weights, 1, view.low, view.low + view.size), tuple(view.biases))


def _none(w: Writer, node: NodeProto, view: _View, dtype: str) -> bool:
    return False


def _transpose(w: Writer, node: NodeProto, view: _View, dtype: str) -> bool:
    (order,) = (helper.get_attribute_value(a) for a in node.attribute if a.name == "perm")
    view.order = tuple(order[axis] for axis in view.order)
    view.name = node.input[0]
    return len(order) == 3


def _slice(w: Writer, node: NodeProto, view: _View, dtype: str) -> bool:
    known = [w.root.initializers.get(name) for name in node.input[1:]]
    if len(known) != 4 or any(proto is None for proto in known):
        return False
    starts, _, axes, strides = (numpy_helper.to_array(proto).tolist() for proto in known if proto is not None)
    if axes != [view.order[2]] or strides != [1] or starts[0] < 0:
        return False
    view.low += starts[0]
    view.name = node.input[0]
    return True


def _add(w: Writer, node: NodeProto, view: _View, dtype: str) -> bool:
    whole = w.root.shapes.get(view.name)
    for first, second in (tuple(node.input), tuple(node.input)[::-1]):
        shape = w.root.shapes.get(second)
        if whole is None or shape is None or len(whole) not in (2, 3) or w.root.shapes.get(first) != whole:
            continue
        wanted = tuple(size if axis == view.order[2] else 1 for axis, size in enumerate(whole))
        if (1,) * (len(whole) - len(shape)) + shape != wanted:
            continue
        held = Value(second, TensorType(shape, dtype), shape)
        flat = steps.reshape(w, held, (wanted[view.order[2]],))
        view.biases.append(steps.part(w, flat, 0, view.low, view.low + view.size))
        view.name = first
        return True
    return False


_STEPS = {"Transpose": _transpose, "Slice": _slice, "Add": _add}


def _product(w: Writer, node: NodeProto, view: _View, dtype: str) -> Projection | None:
    inputs, weights = (_held(w, name, dtype) for name in node.input)
    if inputs is None or weights is None or inputs.type.rank != 3 or weights.type.rank != 2 or view.order[2] != 2:
        return None
    turned = steps.transpose(w, inputs, view.order)
    return Projection(turned, steps.part(w, weights, 1, view.low, view.low + view.size), tuple(view.biases))


def _held(w: Writer, name: str, dtype: str) -> Value | None:
    shape: Sequence[int] | None = w.root.shapes.get(name)
    return None if shape is None else Value(name, TensorType(tuple(shape), dtype), tuple(shape))
