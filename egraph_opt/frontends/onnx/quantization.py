# SPDX-License-Identifier: Apache-2.0
"""Quantised operators: QuantizeLinear, DequantizeLinear, and products and convolutions of quantised integers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.conv import integer_convolution
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type


def is_integer(dtype: Any) -> bool:
    """Whether a type holds integers, those of 4 and 2 bits too."""
    return bool(jnp.issubdtype(dtype, np.integer))


def limits(dtype: Any) -> tuple[int, int]:
    """Smallest and largest number of an integer type."""
    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(info.min), int(info.max)


def over_blocks(node: Node, values: Array, x: Array, axis: int, block: int) -> Array:
    """A scale or zero point such that it broadcasts against x: for all, for each place of an axis, or for blocks.

    Args:
        node: that has them.
        values: one number, one for each place of the axis, or one for each block along it.
        x: what is quantised.
        axis: of the places or blocks.
        block: number of elements of a block; 0 without blocks.
    """
    if np.size(values) == 1 and values.ndim <= 1:
        return jnp.reshape(values, ())
    if not -x.ndim <= axis < x.ndim:
        raise node.fault(f"axis is {axis}, but x has rank {x.ndim}")
    axis %= x.ndim
    if block:
        want = [-(-size // block) if a == axis else size for a, size in enumerate(x.shape)]
        if list(values.shape) != want:
            raise node.fault(f"got a scale {list(values.shape)}; want {want} for blocks of {block} along axis {axis}")
        return lax.slice_in_dim(jnp.repeat(jnp.asarray(values), block, axis), 0, x.shape[axis], axis=axis)
    if values.shape != (x.shape[axis],):
        raise node.fault(f"got a scale {list(values.shape)}; want [{x.shape[axis]}] along axis {axis}")
    return jnp.expand_dims(values, tuple(a for a in range(x.ndim) if a != axis))


@operator("QuantizeLinear", since=10)
def _quantize(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    return quantized(node, x, scale, zero, node.attr("axis", 1))


def quantized(node: Node, x: Array, scale: Array, zero: Array | None, axis: int) -> Array:
    """The numbers of a narrow type that stand for x."""
    if node.attr("output_dtype"):
        dtype = element_type(node.attr("output_dtype"), node.where)
    else:
        dtype = np.dtype(np.uint8) if zero is None else np.dtype(zero.dtype)
    if zero is not None and zero.dtype != dtype:
        raise node.fault(f"output_dtype is {dtype}, but the zero point is {zero.dtype}")
    precision = node.attr("precision")
    wide = element_type(precision, node.where) if precision else np.dtype(scale.dtype)
    if not jnp.issubdtype(wide, np.floating) or wide == ml_dtypes.float8_e8m0fnu:
        wide = np.dtype(np.float32)
    block = node.attr("block_size", 0)
    ratio = _ratio(jnp.asarray(x), jnp.asarray(over_blocks(node, scale, x, axis, block)), wide)
    shift = None if zero is None else over_blocks(node, zero, x, axis, block)
    if not is_integer(dtype):
        ratio = ratio.astype(wide)
        ratio = ratio if shift is None else ratio + shift.astype(wide)
        return to_narrow_float(ratio, dtype, bool(node.attr("saturate", 1)))
    return rounded(ratio, shift, dtype)


def _ratio(x: Array, scale: Array, wide: np.dtype[Any]) -> Array:
    """X over its scale with the rounding of ``wide``; of half-precision types in float32, where compilers keep it."""
    if wide.itemsize >= 4:
        return x.astype(wide) / scale.astype(wide)
    return _held(_held(x, wide) / _held(scale, wide), wide)


def _held(x: Array, dtype: Any) -> Array:
    """A half-precision value in float32. A cast there and back is a rounding that a compiler may skip, this is not."""
    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return lax.reduce_precision(x.astype(np.float32), info.nexp, info.nmant)


def rounded(ratio: Array, shift: Array | None, dtype: Any) -> Array:
    """The nearest integers of a type, after a shift; halves go to even ones, what is beyond the limits to them."""
    low, high = limits(dtype)
    if ratio.dtype.itemsize < 4:
        ratio = _held(ratio, ratio.dtype)
    ratio = lax.round(ratio, lax.RoundingMethod.TO_NEAREST_EVEN)
    if shift is not None:
        ratio = ratio + shift.astype(ratio.dtype)
    return narrowed(jnp.clip(ratio, np.asarray(low, ratio.dtype), np.asarray(high, ratio.dtype)), dtype)


def narrowed(x: Array, dtype: Any) -> Array:
    """A cast of values that the type holds; to those of less than a byte by way of int8."""
    if ml_dtypes.iinfo(dtype).bits < 8:  # type: ignore[no-untyped-call]
        x = x.astype(np.int8)
    return x.astype(dtype)


def to_narrow_float(x: Array, dtype: Any, saturate: bool) -> Array:
    """A cast to a float type of 8 or 4 bits; numbers beyond its limits become the largest if ``saturate``."""
    if not saturate and ml_dtypes.finfo(dtype).bits == 8:  # type: ignore[no-untyped-call]
        return x.astype(dtype)
    most = np.asarray(ml_dtypes.finfo(dtype).max, np.float32).astype(x.dtype)  # type: ignore[no-untyped-call]
    return jnp.where(jnp.isnan(x), x, jnp.clip(x, -most, most)).astype(dtype)


@operator("DequantizeLinear", since=10)
def _dequantize(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    return dequantized(node, x, scale, zero, node.attr("axis", 1))


def dequantized(node: Node, x: Array, scale: Array, zero: Array | None, axis: int) -> Array:
    """The numbers that those of a narrow type stand for."""
    code = node.attr("output_dtype")
    dtype = element_type(code, node.where) if code else np.dtype(scale.dtype)
    block = node.attr("block_size", 0)
    wide = jnp.asarray(x)
    if zero is not None:
        shift = over_blocks(node, zero, x, axis, block)
        middle = np.int32 if is_integer(wide.dtype) else dtype
        wide = wide.astype(middle) - shift.astype(middle)
    return wide.astype(dtype) * over_blocks(node, scale, x, axis, block).astype(dtype)


@operator("DynamicQuantizeLinear")
def _dynamic(_node: Node, x: Array) -> tuple[Array, Array, Array]:
    return dynamically_quantized(x)


def dynamically_quantized(x: Array) -> tuple[Array, Array, Array]:
    """X as uint8 with the scale and zero point that its own range asks for."""
    none, most = np.zeros((), np.float32), np.asarray(255, np.float32)
    low, high = jnp.minimum(jnp.min(x), none), jnp.maximum(jnp.max(x), none)
    scale = (high - low) / most
    safe = jnp.where(scale == 0, np.ones((), np.float32), scale)
    zero = rounded(jnp.clip(-low / safe, none, most), None, np.uint8)
    return rounded(x / safe, zero, np.uint8), scale, zero


@operator("MatMulInteger")
def _matmul_integer(_node: Node, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
    return integer_product(a, b, a_zero, b_zero)


def integer_product(a: Array, b: Array, a_zero: Array | None, b_zero: Array | None) -> Array:
    """Product of quantised matrices in int32; zero points of the left are per row, of the right per column."""
    a, b = jnp.asarray(a).astype(np.int32), jnp.asarray(b).astype(np.int32)
    if a_zero is not None:
        a = a - _along(a_zero, -1).astype(np.int32)
    if b_zero is not None:
        b = b - _along(b_zero, -2).astype(np.int32)
    return jnp.matmul(a, b)


def _along(values: Array, axis: int) -> Array:
    """One number, or a vector that gets a new axis of size 1."""
    if np.size(values) == 1:
        return jnp.reshape(values, ())
    return jnp.expand_dims(values, axis) if values.ndim == 1 else values


@operator("QLinearMatMul")
def _qlinear_matmul(
    _node: Node, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, y_scale: Array,
    y_zero: Array,
) -> Array:  # fmt: skip
    total = integer_product(a, b, a_zero, b_zero)
    scales = [values.astype(np.float32) for values in (_along(a_scale, -1), _along(b_scale, -2), _along(y_scale, -1))]
    factor = scales[0] * scales[1] / scales[2]
    return rounded(total.astype(np.float32) * factor, _along(y_zero, -1), np.dtype(y_zero.dtype))


@operator("QLinearConv")
def _qlinear_conv(
    node: Node, x: Array, x_scale: Array, x_zero: Array, w: Array, w_scale: Array, w_zero: Array, y_scale: Array,
    y_zero: Array, b: Array | None = None,
) -> Array:  # fmt: skip
    total = integer_convolution(node, x, w, x_zero, w_zero)
    inner = tuple(range(1, x.ndim - 1))
    if b is not None:
        total = total + jnp.expand_dims(b, inner)
    factor = jnp.reshape(x_scale, ()) * jnp.reshape(w_scale, (-1,)) / jnp.reshape(y_scale, ())
    factor = jnp.reshape(factor, ()) if np.size(w_scale) == 1 else jnp.expand_dims(factor, inner)
    return rounded(total.astype(np.float32) * factor, jnp.reshape(y_zero, ()), np.dtype(y_zero.dtype))
