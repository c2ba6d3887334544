# SPDX-License-Identifier: Apache-2.0
"""Conversions between element types: Cast, CastLike, BitCast; floats of eight and four bits, strings."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import onnx
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node, is_known
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type

_LARGEST = {"float8_e4m3fn": 448.0, "float8_e4m3fnuz": 240.0, "float8_e5m2": 57344.0, "float8_e5m2fnuz": 57344.0}
_BELOW_A_BYTE = frozenset({"int4", "uint4", "int2", "uint2"})


@operator("Cast", host=True)
def _cast(node: Node, x: Array) -> Array:
    code = node.attr("to")
    if isinstance(code, str):  # version 1 has the type's name
        if code.upper() not in dict(onnx.TensorProto.DataType.items()):
            raise node.fault(f"got the type {code!r}, which the standard does not have")
        code = onnx.TensorProto.DataType.Value(code.upper())
    return converted(node, x, element_type(code, node.where))


@operator("CastLike", since=15, host=True)
def _cast_like(node: Node, x: Array, like: Array) -> Array:
    return converted(node, x, np.dtype(like.dtype))


@operator("BitCast", since=26, host=True)
def _bit_cast(node: Node, x: Array) -> Array:
    target = element_type(node.attr("to"), node.where)
    if _bits(x.dtype) != _bits(target):
        raise node.fault(f"got {x.dtype} and {target}; want element types of one width")
    if x.dtype == target:
        return x
    if is_known(x) and target.name not in _BELOW_A_BYTE:
        return np.asarray(x).view(target)
    if x.dtype.kind == "b":
        x = x.astype(np.uint8)
    if target.kind == "b":
        return lax.bitcast_convert_type(x, np.uint8) != 0
    return lax.bitcast_convert_type(jnp.asarray(x), target)


def _bits(dtype: Any) -> int:
    name = np.dtype(dtype).name
    small = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}
    return small.get(name, int(np.dtype(dtype).itemsize) * 8)


def converted(node: Node, x: Array, dtype: np.dtype[Any]) -> Array:
    """The array in another element type, out-of-range values as the standard and the node's ``saturate`` say."""
    if dtype == x.dtype:
        return x
    if dtype.kind == "O":
        return _to_text(node.concrete(x, "the numbers that become strings"))
    if x.dtype.kind == "O":
        return _from_text(node, x, dtype)
    saturate = bool(node.attr("saturate", 1))
    if dtype.name == "float8_e8m0fnu":
        return _to_exponents(node, x, saturate, node.attr("round_mode", "up"))
    if dtype.name in _LARGEST and saturate:
        return _saturated(node, x, dtype)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    if dtype.name in _BELOW_A_BYTE and floating:
        return x.astype(np.int32).astype(dtype)  # higher bits are discarded, as between integers
    if dtype.kind == "b":
        return x != np.zeros((), x.dtype)
    return x.astype(dtype)


def _saturated(node: Node, x: Array, dtype: np.dtype[Any]) -> Array:
    """Values beyond the largest become the largest, infinities too; NaN stays."""
    xp = node.xp(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or _bits(x.dtype) < 16:
        x = x.astype(np.float32)
    high = np.asarray(_LARGEST[dtype.name], x.dtype)
    return xp.minimum(xp.maximum(x, -high), high).astype(dtype)


def _to_exponents(node: Node, x: Array, saturate: bool, mode: str) -> Array:
    """The powers of two that float8e8m0 holds; its code is the exponent of float32."""
    xp = node.xp(x)
    wide = xp.asarray(x, np.float32)
    bits = wide.view(np.uint32) & np.uint32(0x7FFFFFFF)
    exponent, fraction = bits >> np.uint32(23), bits & np.uint32(0x7FFFFF)
    # A number without leading one lies below 2**-126: code 0 is 2**-127, which its fraction 0x400000 is.
    half = np.uint32(0x400000)
    below = exponent == 0
    if mode == "up":
        step = xp.where(below, fraction > half, fraction > 0)
    elif mode == "nearest":
        step = xp.where(below, fraction >= half + (half >> np.uint32(1)), fraction >= half)
    elif mode == "down":
        step = xp.zeros(wide.shape, bool)
    else:
        raise node.fault(f"got the rounding mode {mode!r}; want up, down or nearest")
    code = exponent + step.astype(np.uint32)
    special = exponent == 255
    if saturate:
        code = xp.where(special, np.uint32(254), xp.minimum(code, np.uint32(254)))
    else:
        code = xp.where(special | (below & (fraction < half)), np.uint32(255), code)
    code = xp.where(wide != wide, np.uint32(255), code).astype(np.uint8)
    target = np.dtype(ml_dtypes.float8_e8m0fnu)
    return code.view(target) if xp is np else lax.bitcast_convert_type(code, target)


def _to_text(x: np.ndarray) -> np.ndarray:
    words = ["NaN" if item != item else _number_text(item) for item in x.reshape(-1)]
    return np.array(words, object).reshape(x.shape)


def _number_text(item: Any) -> str:
    if isinstance(item, bool | np.bool_):
        return str(int(item))
    text = str(item)
    return {"inf": "INF", "-inf": "-INF"}.get(text, text)


def _from_text(node: Node, x: Array, dtype: np.dtype[Any]) -> np.ndarray:
    kind = float if jnp.issubdtype(dtype, jnp.floating) else _integer
    try:
        numbers = [kind(text) for text in np.asarray(x).reshape(-1)]
    except ValueError as error:
        raise node.fault(f"got a string that is no number: {' '.join(str(error).split())}") from error
    wide = np.asarray(numbers, np.float64 if kind is float else object)
    return wide.astype(dtype).reshape(np.shape(x))


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return int(float(text))
