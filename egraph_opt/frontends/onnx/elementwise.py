# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators: arithmetic, comparison, logic, activations, casts."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


def _same(*names: str, host: bool = True, **functions: Any) -> None:
    """Operators that are one function of numpy and of JAX by the same name."""
    for name, function in functions.items():
        operator(name, host=host)(_rule(function))


def _rule(function: str) -> Any:
    def rule(node: Node, *args: Array) -> Array:
        return getattr(node.xp(*args), function)(*args)

    return rule


_same(
    Abs="abs", Ceil="ceil", Floor="floor", Neg="negative", Sqrt="sqrt", Exp="exp", Log="log", Sign="sign",
    Sin="sin", Cos="cos", Tan="tan", Asin="arcsin", Acos="arccos", Atan="arctan", Sinh="sinh", Cosh="cosh",
    Asinh="arcsinh", Acosh="arccosh", Atanh="arctanh", Tanh="tanh", Not="logical_not",
    Equal="equal", Less="less", Greater="greater", LessOrEqual="less_equal", GreaterOrEqual="greater_equal",
    And="logical_and", Or="logical_or", Xor="logical_xor",
)  # fmt: skip


@operator("Add", "Sub", "Mul", since=1, host=True)
def _arithmetic_with_axis(node: Node, a: Array, b: Array) -> Array:
    return _ring(node, a, aligned(node, a, b))


@operator("Add", "Sub", "Mul", since=7, host=True)
def _ring(node: Node, a: Array, b: Array) -> Array:
    xp = node.xp(a, b)
    return {"Add": xp.add, "Sub": xp.subtract, "Mul": xp.multiply}[node.op](a, b)


@operator("Div", since=1, host=True)
def _divide_with_axis(node: Node, a: Array, b: Array) -> Array:
    return _divide(node, a, aligned(node, a, b))


@operator("Div", since=7, host=True)
def _divide(node: Node, a: Array, b: Array) -> Array:
    xp = node.xp(a, b)
    if np.issubdtype(a.dtype, np.integer):
        if xp is np:
            return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
        a, b = jnp.broadcast_arrays(a, b)
        return lax.div(a, b)
    return xp.divide(a, b)


def aligned(node: Node, a: Array, b: Array) -> Array:
    """The second operand as versions before 7 broadcast it: only on request, from a given axis on."""
    if not node.attr("broadcast", 0) or b.ndim == a.ndim:
        return b
    axis = node.attr("axis", a.ndim - b.ndim)
    axis += a.ndim if axis < 0 else 0
    return b.reshape(b.shape + (1,) * (a.ndim - axis - b.ndim))


@operator("Relu")
def _relu(_node: Node, x: Array) -> Array:
    return jnp.maximum(x, np.zeros((), x.dtype))


@operator("Sigmoid")
def _sigmoid(_node: Node, x: Array) -> Array:
    return lax.logistic(x)


@operator("Reciprocal")
def _reciprocal(_node: Node, x: Array) -> Array:
    return np.ones((), x.dtype) / x


@operator("Erf")
def _erf(_node: Node, x: Array) -> Array:
    return lax.erf(x)


@operator("Pow", host=True)
def _pow(node: Node, x: Array, y: Array) -> Array:
    xp = node.xp(x, y)
    if xp is np:
        return np.power(x, y).astype(x.dtype)
    if isinstance(y, np.ndarray) and y.size == 1 and float(y.reshape(())) in (2.0, 3.0) and x.ndim >= y.ndim:
        return lax.integer_pow(x, int(y.reshape(())))
    return jnp.power(x, y).astype(x.dtype)


@operator("Where", host=True)
def _where(node: Node, c: Array, x: Array, y: Array) -> Array:
    return node.xp(c, x, y).where(c, x, y)


@operator("Cast", host=True)
def _cast(node: Node, x: Array) -> Array:
    from egraph_opt.frontends.onnx.tensors import element_type

    return x.astype(element_type(node.attr("to"), node.where))


@operator("Identity", host=True)
def _identity(_node: Node, x: Array) -> Array:
    return x
