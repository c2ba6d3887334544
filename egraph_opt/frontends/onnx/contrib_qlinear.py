# SPDX-License-Identifier: Apache-2.0
"""More operators of com.microsoft on quantised numbers: pools, softmax, choice, Gemm, and tables of few bits.

These are what onnxruntime's quantisation tools write in their format of quantised operators.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.contrib_quantized import narrow, real, unpacked
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.pooling import average_pool
from egraph_opt.frontends.onnx.quantization import integer_product, is_integer, over_blocks

DOMAIN = "com.microsoft"


@operator("QLinearAveragePool", domain=DOMAIN)
def _average_pool(
    node: Node, x: Array, scale: Array, zero: Array | None, y_scale: Array, y_zero: Array | None = None
) -> Array:
    values, last = real(x, scale, zero), node.attr("channels_last", 0)
    y = average_pool(node, jnp.moveaxis(values, -1, 1) if last else values)
    return narrow(jnp.moveaxis(y, 1, -1) if last else y, y_scale, y_zero, x)


@operator("QLinearReduceMean", domain=DOMAIN)
def _mean(node: Node, x: Array, scale: Array, zero: Array | None, y_scale: Array, y_zero: Array | None = None) -> Array:
    axes = tuple(axis % x.ndim for axis in node.attr("axes", range(x.ndim)))
    y = jnp.mean(real(x, scale, zero), axis=axes, keepdims=bool(node.attr("keepdims", 1)))
    return narrow(y, y_scale, y_zero, x)


@operator("QLinearSoftmax", domain=DOMAIN)
def _softmax(node: Node, x: Array, scale: Array, zero: Array | None, y_scale: Array, y_zero: Array) -> Array:
    old = node.attr("opset", 13) < 13
    axis = node.attr("axis", 1 if old else -1) % x.ndim
    axes = tuple(range(axis, x.ndim)) if old else (axis,)
    values = real(x, scale, zero)
    weights = jnp.exp(values - lax.stop_gradient(jnp.max(values, axis=axes, keepdims=True)))
    return narrow(weights / jnp.sum(weights, axis=axes, keepdims=True), y_scale, y_zero, x)


@operator("QLinearWhere", domain=DOMAIN)
def _where(
    _node: Node, condition: Array, x: Array, x_scale: Array, x_zero: Array, y: Array, y_scale: Array, y_zero: Array,
    z_scale: Array, z_zero: Array,
) -> Array:  # fmt: skip
    return narrow(jnp.where(condition, real(x, x_scale, x_zero), real(y, y_scale, y_zero)), z_scale, z_zero, x)


@operator("QGemm", domain=DOMAIN)
def _gemm(
    node: Node, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array | None,
    c: Array | None = None, y_scale: Array | None = None, y_zero: Array | None = None,
) -> Array:  # fmt: skip
    a, b = (x.T if node.attr(name, 0) else x for x, name in ((a, "transA"), (b, "transB")))
    total = integer_product(a, b, jnp.reshape(a_zero, ()), b_zero)
    total = total if c is None else total + c
    alpha = np.asarray(node.attr("alpha", 1.0), np.float32)
    y = total.astype(np.float32) * (alpha * jnp.reshape(a_scale, ()) * b_scale)
    return y if y_scale is None else narrow(y, y_scale, y_zero, a if y_zero is None else y_zero)


@operator("GatherBlockQuantized", domain=DOMAIN)
def _gather_blocks(node: Node, data: Array, indices: Array, scales: Array, zeros: Array | None = None) -> Array:
    """Rows of a table of 2, 4 or 8 bits, packed along its last axis where it is given as bytes."""
    bits, block = node.attr("bits", 4), node.attr("block_size", 128)
    table, middle = jnp.asarray(data), 0
    if not is_integer(table.dtype):
        raise node.unsupported(f"a table of {table.dtype} is not supported; want integers")
    if table.dtype == np.uint8:
        table, middle = unpacked(table, bits), 1 << (bits - 1)
        zeros = None if zeros is None else unpacked(jnp.asarray(zeros), bits)[..., : scales.shape[-1]]
    axis = node.attr("quantize_axis", 1)
    # the rows are taken first: few of a large table are read
    along = node.attr("gather_axis", 0) % table.ndim
    size = table.shape[along]
    place = jnp.where(indices < 0, indices + size, indices)
    wide = over_blocks(node, scales, table, axis, block)
    shift = np.asarray(middle, np.int32) if zeros is None else over_blocks(node, zeros, table, axis, block)
    parts = [table, wide] if zeros is None else [table, wide, shift]
    taken = [jnp.take(part, place, axis=along, mode="clip") for part in parts]
    shift = taken[2].astype(np.int32) if zeros is not None else shift
    y = (taken[0].astype(np.int32) - shift).astype(scales.dtype) * taken[1]
    inside = ((place >= 0) & (place < size)).reshape(*(1,) * along, *indices.shape, *(1,) * (table.ndim - 1 - along))
    return jnp.where(inside, y, np.zeros((), y.dtype))
