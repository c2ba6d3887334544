# SPDX-License-Identifier: Apache-2.0
"""Quantised operators of com.microsoft: sums, products and functions of quantised numbers, weights of few bits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.contrib import embedded
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.quantization import (
    dequantized,
    dynamically_quantized,
    integer_product,
    quantized,
    rounded,
)

DOMAIN = "com.microsoft"


@operator("QuantizeLinear", domain=DOMAIN)
def _quantize(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    return quantized(node, x, scale, zero, node.attr("axis", 1))


@operator("DequantizeLinear", domain=DOMAIN)
def _dequantize(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    return dequantized(node, x, scale, zero, node.attr("axis", 1))


def real(x: Array, scale: Array, zero: Array | None) -> Array:
    """The numbers that quantised ones stand for, with one scale for all."""
    wide = jnp.asarray(x).astype(np.int32)
    if zero is not None:
        wide = wide - jnp.reshape(zero, ()).astype(np.int32)
    return wide.astype(np.float32) * jnp.reshape(scale, ())


def narrow(y: Array, scale: Array, zero: Array | None, like: Array) -> Array:
    """The integers, of the type of ``like``, that stand for y."""
    shift = None if zero is None else jnp.reshape(zero, ())
    return rounded(y / jnp.reshape(scale, ()), shift, np.dtype(like.dtype))


@operator("QLinearAdd", "QLinearMul", domain=DOMAIN)
def _combined(
    node: Node,
    a: Array,
    a_scale: Array,
    a_zero: Array | None,
    b: Array,
    b_scale: Array,
    b_zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
) -> Array:
    x, y = real(a, a_scale, a_zero), real(b, b_scale, b_zero)
    return narrow(x + y if node.op == "QLinearAdd" else x * y, y_scale, y_zero, a)


@operator("QLinearSigmoid", "QLinearLeakyRelu", domain=DOMAIN)
def _function(
    node: Node, x: Array, scale: Array, zero: Array | None, y_scale: Array, y_zero: Array | None = None
) -> Array:
    values = real(x, scale, zero)
    if node.op == "QLinearSigmoid":
        y = lax.logistic(values)
    else:
        y = jnp.where(values >= 0, values, np.asarray(node.attr("alpha", 0.01), np.float32) * values)
    return narrow(y, y_scale, y_zero, x)


@operator("QLinearGlobalAveragePool", domain=DOMAIN)
def _average(node: Node, x: Array, scale: Array, zero: Array, y_scale: Array, y_zero: Array) -> Array:
    axes = tuple(range(1, x.ndim - 1)) if node.attr("channels_last", 0) else tuple(range(2, x.ndim))
    return narrow(jnp.mean(real(x, scale, zero), axis=axes, keepdims=True), y_scale, y_zero, x)


@operator("QLinearConcat", domain=DOMAIN)
def _concatenated(node: Node, y_scale: Array, y_zero: Array, *args: Array) -> Array:
    parts = [real(*args[i : i + 3]) for i in range(0, len(args), 3)]
    return narrow(jnp.concatenate(parts, axis=node.attr("axis", 0)), y_scale, y_zero, args[0])


@operator("MatMulIntegerToFloat", domain=DOMAIN)
def _matmul_to_float(
    _node: Node,
    a: Array,
    b: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero: Array | None = None,
    b_zero: Array | None = None,
    bias: Array | None = None,
) -> Array:
    y = integer_product(a, b, a_zero, b_zero).astype(np.float32) * (jnp.reshape(a_scale, ()) * b_scale)
    return y if bias is None else y + bias


@operator("DynamicQuantizeMatMul", domain=DOMAIN)
def _dynamic_matmul(
    _node: Node, a: Array, b: Array, b_scale: Array, b_zero: Array | None = None, bias: Array | None = None
) -> Array:
    narrow, scale, zero = dynamically_quantized(a)
    y = integer_product(narrow, b, zero, b_zero).astype(np.float32) * (scale * b_scale)
    return y if bias is None else y + bias


@operator("MatMulNBits", domain=DOMAIN)
def _matmul_few_bits(
    node: Node,
    a: Array,
    b: Array,
    scales: Array,
    zeros: Array | None = None,
    group: Array | None = None,
    bias: Array | None = None,
) -> Array:
    """a[...,k] times a weight [n,k] of 2, 4 or 8 bits, packed by blocks of k with a scale each."""
    bits, block = node.attr("bits", 4), node.attr("block_size", 0)
    rows, inner = node.attr("N", 0), node.attr("K", 0)
    if bits not in (2, 4, 8):
        raise node.unsupported(f"{bits} bits are not supported; want 2, 4 or 8")
    blocks = -(-inner // block)
    values = unpacked(b.reshape(rows, blocks, -1), bits)
    if zeros is None:
        shift: Array = np.asarray(1 << (bits - 1), a.dtype)
    elif zeros.dtype == a.dtype:
        shift = zeros.reshape(rows, blocks, 1)
    else:
        shift = unpacked(zeros.reshape(rows, -1), bits)[:, :blocks, None].astype(a.dtype)
    scales, values = scales.reshape(rows, blocks, 1), values.astype(a.dtype)
    if group is None:
        weight = ((values - shift) * scales).reshape(rows, -1)[:, :inner]
    else:  # each column says which block's scale and zero point it has
        values, order = values.reshape(rows, -1)[:, :inner], group[:inner]
        shift = shift if shift.ndim == 0 else jnp.take(shift[:, :, 0], order, axis=1, mode="clip")
        weight = (values - shift) * jnp.take(scales[:, :, 0], order, axis=1, mode="clip")
    y = lax.dot_general(a, weight, (((a.ndim - 1,), (1,)), ((), ())))
    return y if bias is None else y + bias


def unpacked(x: Array, bits: int) -> Array:
    """Bytes as the numbers that they hold, the lowest bits first."""
    if bits == 8:
        return x
    most = np.uint8((1 << bits) - 1)
    parts = jnp.stack([(x >> np.uint8(low)) & most for low in range(0, 8, bits)], axis=-1)
    return parts.reshape(*x.shape[:-1], -1)


@operator("QEmbedLayerNormalization", domain=DOMAIN)
def _embedded(node: Node, ids: Array, segments: Array | None, *more: Array | None) -> Any:
    """EmbedLayerNormalization with tables, gain and offset of quantised numbers, each with its scale and zero point."""
    tables, mask, scales, zeros = more[:5], more[5], more[6:11], more[11:16]
    words, places, kinds, gain, offset = (
        None if x is None or scale is None else real(x, scale, zero)
        for x, scale, zero in zip(tables, scales, zeros, strict=True)
    )
    if words is None or places is None or gain is None or offset is None:
        raise node.fault("a table, the gain or the offset is missing, or its scale")
    return embedded(node, ids, segments, (words, places, kinds), gain, offset, mask, None)[:2]
