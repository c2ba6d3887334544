# SPDX-License-Identifier: Apache-2.0
"""Convolutions in ONNX: ``Conv``, and ``ConvTranspose`` where the input is dilated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.attrs import thaw
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _conv(w: Writer, node: Node, args: list[Value]) -> Value:
    numbers: Any = node.attr("dimension_numbers")
    x, kernel = args
    x = steps.transpose(w, x, numbers.lhs_spec)
    kernel = steps.transpose(w, kernel, numbers.rhs_spec)
    groups = node.attr("feature_group_count")
    batches = node.attr("batch_group_count")
    if batches > 1:
        x, groups = _batches_as_groups(w, x, batches), batches
    wanted = node.attr("preferred_element_type")
    dtype = str(thaw(wanted)) if wanted is not None else x.dtype
    if dtype != x.dtype:
        x, kernel = w.cast(x, dtype), w.cast(kernel, dtype)
    padding = [tuple(pair) for pair in node.attr("padding")]
    dilation = tuple(node.attr("lhs_dilation"))
    strides, spread = tuple(node.attr("window_strides")), tuple(node.attr("rhs_dilation"))
    order = numbers.out_spec
    shape = tuple(node.type.shape[axis] for axis in order)
    if x.type.size == 0 or kernel.type.size == 0 or 0 in shape:
        return steps.filled(w, 0, TensorType(node.type.shape, dtype))
    if any(n != 1 for n in dilation) and _is_transposed(kernel, padding, strides, spread):
        out = _transposed(w, x, kernel, padding, dilation, spread, groups, shape)
    else:
        out = _plain(w, x, kernel, padding, dilation, strides, spread, groups, shape)
    return steps.transpose(w, out, [order.index(axis) for axis in range(len(order))])


def _batches_as_groups(w: Writer, x: Value, count: int) -> Value:
    """Groups of the batch as groups of channels: output channel by output channel they are the same sums."""
    n, channels, *spatial = x.type.shape
    x = steps.reshape(w, x, (count, n // count, channels, *spatial))
    x = steps.transpose(w, x, [1, 0, *range(2, x.type.rank)])
    return steps.reshape(w, x, (n // count, count * channels, *spatial))


def _plain(
    w: Writer, x: Value, kernel: Value, padding: Sequence[tuple[int, int]], dilation: Sequence[int],
    strides: Sequence[int], spread: Sequence[int], groups: int, shape: tuple[int, ...],
) -> Value:  # fmt: skip
    zero = steps.number(w, 0, x.dtype)
    x = steps.dilate(w, x, zero, [0, 0, *(n - 1 for n in dilation)])
    cut = [[0, 0, *(min(pair[k], 0) for pair in padding)] for k in (0, 1)]
    x = steps.pad(w, x, zero, *cut)
    pads = [max(pair[k], 0) for k in (0, 1) for pair in padding]
    attrs: dict[str, Any] = {"strides": list(strides), "pads": pads, "dilations": list(spread), "group": groups}
    if not padding:  # a convolution without spatial dimensions is a product of channels
        x = steps.reshape(w, x, (*x.type.shape, 1))
        kernel = steps.reshape(w, kernel, (*kernel.type.shape, 1))
        return steps.reshape(w, w.apply("Conv", [x, kernel], shape=(*shape, 1), group=groups), shape)
    return _convolved(w, "Conv", x, kernel, shape, {**attrs, "kernel_shape": list(kernel.type.shape[2:])})


def _is_transposed(
    kernel: Value, padding: Sequence[tuple[int, int]], strides: Sequence[int], spread: Sequence[int]
) -> bool:
    reach = [(k - 1) * d for k, d in zip(kernel.type.shape[2:], spread, strict=True)]
    fits = all(max(pair) <= most for pair, most in zip(padding, reach, strict=True))
    return fits and all(n == 1 for n in strides)


def _transposed(
    w: Writer, x: Value, kernel: Value, padding: Sequence[tuple[int, int]], dilation: Sequence[int],
    spread: Sequence[int], groups: int, shape: tuple[int, ...],
) -> Value:  # fmt: skip
    """``ConvTranspose`` takes the kernel with input channels first and its spatial dimensions backwards."""
    out, per_group, *spatial = kernel.type.shape
    kernel = steps.reverse(w, kernel, [axis + 2 for axis, k in enumerate(spatial) if k > 1])
    kernel = steps.reshape(w, kernel, (groups, out // groups, per_group, *spatial))
    kernel = steps.transpose(w, kernel, [0, 2, 1, *range(3, kernel.type.rank)])
    kernel = steps.reshape(w, kernel, (groups * per_group, out // groups, *spatial))
    reach = [(k - 1) * d for k, d in zip(spatial, spread, strict=True)]
    pads = [most - pair[k] for k in (0, 1) for most, pair in zip(reach, padding, strict=True)]
    attrs: dict[str, Any] = {
        "strides": list(dilation), "pads": pads, "dilations": list(spread), "group": groups, "kernel_shape": spatial,
    }  # fmt: skip
    return _convolved(w, "ConvTranspose", x, kernel, shape, attrs)


def _convolved(w: Writer, op: str, x: Value, kernel: Value, shape: tuple[int, ...], attrs: dict[str, Any]) -> Value:
    x, kernel = steps.full(w, x), steps.full(w, kernel)
    return w.apply(op, [x, kernel], shape=shape, **attrs)


CONVOLUTION = {"conv_general_dilated": Row(_conv)}
