# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators of one or several operands: arithmetic, comparison, logic, selection.

Versions before 7 broadcast only on request, by the attributes ``broadcast`` and ``axis``.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

_UNARY = {
    "Abs": "abs", "Ceil": "ceil", "Floor": "floor", "Neg": "negative", "Sqrt": "sqrt", "Exp": "exp", "Log": "log",
    "Sign": "sign", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "arcsin", "Acos": "arccos", "Atan": "arctan",
    "Sinh": "sinh", "Cosh": "cosh", "Asinh": "arcsinh", "Acosh": "arccosh", "Atanh": "arctanh", "Tanh": "tanh",
    "Not": "logical_not", "Round": "rint",
}  # fmt: skip

_BINARY = {
    "Add": "add", "Sub": "subtract", "Mul": "multiply", "Equal": "equal", "Less": "less", "Greater": "greater",
    "LessOrEqual": "less_equal", "GreaterOrEqual": "greater_equal", "And": "logical_and", "Or": "logical_or",
    "Xor": "logical_xor",
}  # fmt: skip


@operator(*_UNARY, host=True)
def _unary(node: Node, x: Array) -> Array:
    return getattr(node.xp(x), _UNARY[node.op])(x)


@operator("Add", "Sub", "Mul", "Equal", "Less", "Greater", "And", "Or", "Xor", host=True)
def _binary_with_axis(node: Node, a: Array, b: Array) -> Array:
    return _binary(node, a, aligned(node, a, b))


@operator("Add", "Sub", "Mul", "Equal", "Less", "Greater", "And", "Or", "Xor", since=7, host=True)
@operator("LessOrEqual", "GreaterOrEqual", since=12, host=True)
def _binary(node: Node, a: Array, b: Array) -> Array:
    return getattr(node.xp(a, b), _BINARY[node.op])(a, b)


@operator("Div", host=True)
def _divide_with_axis(node: Node, a: Array, b: Array) -> Array:
    return _divide(node, a, aligned(node, a, b))


@operator("Div", since=7, host=True)
def _divide(node: Node, a: Array, b: Array) -> Array:
    xp = node.xp(a, b)
    if not jnp.issubdtype(a.dtype, jnp.integer):
        return xp.divide(a, b)
    if xp is np:
        remainder = np.fmod(a, b)
        return (a - remainder) // b  # towards zero, and exact
    a, b = jnp.broadcast_arrays(a, b)
    return lax.div(a, b)


def aligned(node: Node, a: Array, b: Array) -> Array:
    """The second operand as versions before 7 broadcast it: only on request, from a given axis on."""
    if not node.attr("broadcast", 0) or b.ndim == a.ndim:
        return b
    axis = node.attr("axis", a.ndim - b.ndim)
    axis += a.ndim if axis < 0 else 0
    return b.reshape(b.shape + (1,) * (a.ndim - axis - b.ndim))


@operator("Pow", host=True)
def _pow_with_axis(node: Node, x: Array, y: Array) -> Array:
    return _pow(node, x, aligned(node, x, y))


@operator("Pow", since=7, host=True)
def _pow(node: Node, x: Array, y: Array) -> Array:
    if node.xp(x, y) is np:
        return np.power(x, y).astype(x.dtype)
    exponent = _small_integer(y)
    if exponent is not None and x.ndim >= y.ndim:
        return lax.integer_pow(x, exponent)
    if x.dtype == y.dtype:
        return jnp.power(x, y)
    common = jnp.promote_types(x.dtype, y.dtype)
    return jnp.power(x.astype(common), y.astype(common)).astype(x.dtype)


def _small_integer(y: Array) -> int | None:
    """An exponent that makes a power a product; fractions and large ones make none."""
    if not isinstance(y, np.ndarray) or y.size != 1:
        return None
    value = float(y.reshape(()))
    return int(value) if value in (2.0, 3.0) else None


@operator("Mod", since=10, host=True)
def _mod(node: Node, a: Array, b: Array) -> Array:
    xp = node.xp(a, b)
    if node.attr("fmod", 0):
        return xp.fmod(a, b)
    rest = xp.mod(a, b)
    if xp is np or not jnp.issubdtype(a.dtype, jnp.floating):
        return rest
    return jnp.where(rest == 0, jnp.sign(b) * np.zeros((), b.dtype), rest)  # a zero has the divisor's sign


@operator("Max", "Min", "Sum", host=True)
def _variadic(node: Node, *args: Array) -> Array:
    xp = node.xp(*args)
    return functools.reduce({"Max": xp.maximum, "Min": xp.minimum, "Sum": xp.add}[node.op], args)


@operator("Mean", host=True)
def _mean(node: Node, *args: Array) -> Array:
    total = functools.reduce(node.xp(*args).add, args)
    return total / np.asarray(len(args), total.dtype)


@operator("Clip", host=True)
def _clip_attributes(node: Node, x: Array) -> Array:
    bounds = (node.attr("min"), node.attr("max"))
    return _clip(node, x, *(None if bound is None else np.asarray(bound, x.dtype) for bound in bounds))


@operator("Clip", since=11, host=True)
def _clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    xp = node.xp(x, low, high)
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


@operator("IsNaN", since=9, host=True)
def _is_nan(_node: Node, x: Array) -> Array:
    return x != x


@operator("IsInf", since=10, host=True)
def _is_inf(node: Node, x: Array) -> Array:
    xp = node.xp(x)
    if not has_infinity(x.dtype):
        return xp.zeros(x.shape, bool)
    infinity = np.asarray(np.inf, x.dtype)
    signs = (node.attr("detect_negative", 1), node.attr("detect_positive", 1))
    if all(signs):
        return xp.abs(x) == infinity
    return x == (infinity if signs[1] else -infinity) if any(signs) else xp.zeros(x.shape, bool)


def has_infinity(dtype: Any) -> bool:
    """Whether a float type has infinities; some of eight bits do not."""
    return bool(np.isinf(np.asarray(np.inf, dtype).astype(np.float32)))


@operator("Reciprocal", host=True)
def _reciprocal(_node: Node, x: Array) -> Array:
    return np.ones((), x.dtype) / x


@operator("Erf", since=9)
def _erf(_node: Node, x: Array) -> Array:
    return lax.erf(x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(np.float32)).astype(x.dtype)


@operator("Where", since=9, host=True)
def _where(node: Node, c: Array, x: Array, y: Array) -> Array:
    return node.xp(c, x, y).where(c, x, y)


@operator("Identity", host=True)
def _identity(_node: Node, x: Array = None) -> Array:
    return x
