# SPDX-License-Identifier: Apache-2.0
"""Recognised pieces of program for which ONNX has one operator, or runtimes a form that they fuse.

A piece is a node of the operation ``kernel``, by whose name it stands in this table; any other is written as what it
computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from egraph_opt.ir import Node
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Write
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _last(op: str) -> Write:
    """An operator over the last dimension."""

    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        (x,) = args
        return w.apply(op, [x], shape=x.type.shape, axis=x.type.rank - 1)

    return write


def _computed(op: str, w: Writer, args: Sequence[Value], steps: Callable[..., Value]) -> Value:
    """Steps in the element type in which runtimes have an operator; norms add up in float32 by themselves."""
    dtype = args[0].dtype
    inner = w.computed(op, dtype)
    return w.cast(steps(*(w.cast(x, inner) for x in args)), dtype)


def _layer_norm(w: Writer, node: Node, args: list[Value]) -> Value:
    """``LayerNormalization``, which wants a gain; the offset may be left out."""
    eps = float(dict(node.attr("static"))["eps"])

    def norm(x: Value, *scale: Value) -> Value:
        gain, *offset = scale or (w.constant(np.ones(x.type.shape[-1:], x.dtype), "gain"),)
        names = [value.name for value in (gain, *offset)]
        axis = x.type.rank - 1
        return w.apply("LayerNormalization", [x], *names, shape=x.type.shape, axis=axis, epsilon=eps)

    return _computed("LayerNormalization", w, args, norm)


def _group_norm(w: Writer, node: Node, args: list[Value]) -> Value:
    """``InstanceNormalization`` with the groups as channels."""
    eps = float(dict(node.attr("static"))["eps"])
    axes = 2 if node.attr("name") == "group_norm" else 3

    def norm(x: Value) -> Value:
        shape = x.type.shape
        groups = steps.size_of(shape[:-axes])
        flat = steps.reshape(w, x, (1, groups, steps.size_of(shape[-axes:])))
        gain = w.constant(np.ones(groups, x.dtype), "gain")
        offset = w.constant(np.zeros(groups, x.dtype), "offset")
        names = (gain.name, offset.name)
        normed = w.apply("InstanceNormalization", [flat], *names, shape=flat.type.shape, epsilon=eps)
        return steps.reshape(w, normed, shape)

    return _computed("InstanceNormalization", w, args, norm)


def _gelu(w: Writer, node: Node, args: list[Value]) -> Value:
    """In the form that runtimes fuse; the operator itself came with opset 20."""

    def gelu(x: Value) -> Value:
        inner = w.apply("Erf", [w.apply("Div", [x, steps.number(w, math.sqrt(2), x.dtype)])])
        scaled = w.apply("Mul", [x, w.apply("Add", [inner, steps.number(w, 1, x.dtype)])])
        return w.apply("Mul", [scaled, steps.number(w, 0.5, x.dtype)])

    return steps.widely(w, args, gelu)


IDIOMS: dict[str, Write] = {
    "softmax": _last("Softmax"),
    "log_softmax": _last("LogSoftmax"),
    "layer_norm": _layer_norm,
    "layer_norm_gain": _layer_norm,
    "layer_norm_affine": _layer_norm,
    "group_norm": _group_norm,
    "group_norm_2d": _group_norm,
    "gelu": _gelu,
}
