# SPDX-License-Identifier: Apache-2.0
"""Products of matrices with structure, in ONNX: plain products of what is read of the matrix.

The planner chose them for what they save in JAX; in ONNX they are written as what they mean.
"""

from __future__ import annotations

from egraph_opt.ir import Node
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _band(w: Writer, x: Value, lower: int, upper: int) -> Value:
    """Matrices without what lies outside of a band."""
    rank = x.type.rank
    rows, columns = (steps.counted(w, x.type.shape, axis, "int64") for axis in (rank - 2, rank - 1))
    above = w.apply("Sub", [columns, rows])
    inside = [
        w.apply("GreaterOrEqual", [above, steps.number(w, -lower, "int64")], dtype="bool"),
        w.apply("LessOrEqual", [above, steps.number(w, upper, "int64")], dtype="bool"),
    ]
    return steps.where(w, w.apply("And", inside), x, steps.filled(w, 0, x.type))


def _product(w: Writer, a: Value, b: Value) -> Value:
    shape = (*a.type.shape[:-1], b.type.shape[-1])
    if 0 in (*shape, a.type.shape[-1]):
        return steps.filled(w, 0, a.type.with_shape(shape))
    return w.apply("MatMul", [steps.full(w, a), steps.full(w, b)], shape=shape)


def _triangular(w: Writer, node: Node, args: list[Value]) -> Value:
    t, x = args
    n = max(t.type.shape[-2:])
    band = _band(w, t, n, 0) if node.attr("lower") else _band(w, t, 0, n)
    return _product(w, band, x)


def _gram(w: Writer, node: Node, args: list[Value]) -> Value:
    (x,) = args
    order = [*range(x.type.rank - 2), x.type.rank - 1, x.type.rank - 2]
    return _product(w, x, steps.transpose(w, x, order))


def _banded(w: Writer, node: Node, args: list[Value]) -> Value:
    t, x = args
    return _product(w, _band(w, t, node.attr("lower"), node.attr("upper")), x)


STRUCTURED = {
    "band_part": Row(lambda w, node, args: _band(w, args[0], node.attr("lower"), node.attr("upper"))),
    "triangular_product": Row(_triangular),
    "gram": Row(_gram),
    "banded_product": Row(_banded),
}
