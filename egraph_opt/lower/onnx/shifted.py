# SPDX-License-Identifier: Apache-2.0
"""Windows that XLA:CPU runs best as shifted copies are convolutions and pools again: runtimes have these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jax import lax

from egraph_opt.ir import Node
from egraph_opt.lower.onnx.convolution import CONVOLUTION
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.windows import WINDOWS
from egraph_opt.lower.onnx.writer import Writer


def _window(w: Writer, node: Node, args: list[Value]) -> Value | Sequence[Value]:
    op = f"reduce_window_{node.attr('kind')}"
    kept = tuple((name, value) for name, value in node.attrs if name != "kind")
    whole = (*kept, ("base_dilation", (1,) * node.type.rank))
    return WINDOWS[op].write(w, replace(node, op=op, attrs=whole), args)


def _conv(w: Writer, node: Node, args: list[Value]) -> Value | Sequence[Value]:
    attrs: dict[str, Any] = dict(node.attrs)
    lhs, rhs = attrs.pop("lhs_spec"), attrs.pop("rhs_spec")
    attrs |= {
        "dimension_numbers": lax.ConvDimensionNumbers(tuple(lhs), tuple(rhs), tuple(lhs)),
        "lhs_dilation": (1,) * len(attrs["window_strides"]),
        "batch_group_count": 1,
        "preferred_element_type": None,
    }
    op = "conv_general_dilated"
    return CONVOLUTION[op].write(w, replace(node, op=op, attrs=tuple(attrs.items())), args)


SHIFTED = {"shifted_window": Row(_window), "shifted_conv": Row(_conv)}
