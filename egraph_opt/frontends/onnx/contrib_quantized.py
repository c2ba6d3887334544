# SPDX-License-Identifier: Apache-2.0
"""Quantised operators of com.microsoft: sums, products and functions of quantised numbers, weights of few bits."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

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


def _real(x: Array, scale: Array, zero: Array | None) -> Array:
    """The numbers that quantised ones stand for, with one scale for all."""
    wide = jnp.asarray(x).astype(np.int32)
    if zero is not None:
        wide = wide - jnp.reshape(zero, ()).astype(np.int32)
    return wide.astype(np.float32) * jnp.reshape(scale, ())


def _narrow(y: Array, scale: Array, zero: Array | None, like: Array) -> Array:
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
    x, y = _real(a, a_scale, a_zero), _real(b, b_scale, b_zero)
    return _narrow(x + y if node.op == "QLinearAdd" else x * y, y_scale, y_zero, a)


@operator("QLinearSigmoid", "QLinearLeakyRelu", domain=DOMAIN)
def _function(
    node: Node, x: Array, scale: Array, zero: Array | None, y_scale: Array, y_zero: Array | None = None
) -> Array:
    real = _real(x, scale, zero)
    if node.op == "QLinearSigmoid":
        y = lax.logistic(real)
    else:
        y = jnp.where(real >= 0, real, np.asarray(node.attr("alpha", 0.01), np.float32) * real)
    return _narrow(y, y_scale, y_zero, x)


@operator("QLinearGlobalAveragePool", domain=DOMAIN)
def _average(node: Node, x: Array, scale: Array, zero: Array, y_scale: Array, y_zero: Array) -> Array:
    axes = tuple(range(1, x.ndim - 1)) if node.attr("channels_last", 0) else tuple(range(2, x.ndim))
    return _narrow(jnp.mean(_real(x, scale, zero), axis=axes, keepdims=True), y_scale, y_zero, x)


@operator("QLinearConcat", domain=DOMAIN)
def _concatenated(node: Node, y_scale: Array, y_zero: Array, *args: Array) -> Array:
    parts = [_real(*args[i : i + 3]) for i in range(0, len(args), 3)]
    return _narrow(jnp.concatenate(parts, axis=node.attr("axis", 0)), y_scale, y_zero, args[0])


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
    """a[...,k] times a weight [n,k] of 4 or 8 bits, packed by blocks of k with a scale each."""
    bits, block = node.attr("bits", 4), node.attr("block_size", 0)
    rows, inner = node.attr("N", 0), node.attr("K", 0)
    if bits not in (4, 8) or group is not None:
        raise node.unsupported(f"{bits} bits or reordered groups are not supported; want 4 or 8 bits in order")
    blocks = -(-inner // block)
    values = _unpacked(b.reshape(rows, blocks, -1), bits)
    if zeros is None:
        shift = np.asarray(1 << (bits - 1), a.dtype)
    elif zeros.dtype == a.dtype:
        shift = zeros.reshape(rows, blocks, 1)
    else:
        shift = _unpacked(zeros.reshape(rows, -1), bits)[:, :blocks, None].astype(a.dtype)
    weight = (values.astype(a.dtype) - shift) * scales.reshape(rows, blocks, 1)
    weight = weight.reshape(rows, -1)[:, :inner]
    y = lax.dot_general(a, weight, (((a.ndim - 1,), (1,)), ((), ())))
    return y if bias is None else y + bias


def _unpacked(x: Array, bits: int) -> Array:
    """Bytes as the numbers that they hold, the low half first."""
    if bits == 8:
        return x
    halves = jnp.stack([x & np.uint8(15), x >> np.uint8(4)], axis=-1)
    return halves.reshape(*x.shape[:-1], -1)
