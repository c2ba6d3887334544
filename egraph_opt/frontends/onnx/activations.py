# SPDX-License-Identifier: Apache-2.0
"""Activations, in plain operations whose derivatives stay finite: exponentials are taken of what is not positive."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


def constant(x: Array, value: float) -> Array:
    """A number in an array's element type."""
    return np.asarray(value, x.dtype)


@operator("Relu", host=True)
def _relu(node: Node, x: Array) -> Array:
    return node.xp(x).maximum(x, constant(x, 0))


@operator("Sigmoid")
def _sigmoid(_node: Node, x: Array) -> Array:
    return lax.logistic(x)


@operator("Elu")
def _elu(node: Node, x: Array) -> Array:
    return jnp.where(x > 0, x, constant(x, node.attr("alpha", 1.0)) * _exponential_minus_one(x))


@operator("Selu")
def _selu(node: Node, x: Array) -> Array:
    # Versions 1 and 6 have other digits of the constants; they are the schema's defaults.
    alpha, gamma = constant(x, node.attr("alpha")), constant(x, node.attr("gamma"))
    return gamma * jnp.where(x > 0, x, alpha * _exponential_minus_one(x))


@operator("Celu", since=12)
def _celu(node: Node, x: Array) -> Array:
    alpha = constant(x, node.attr("alpha", 1.0))
    return jnp.where(x > 0, x, alpha * _exponential_minus_one(x / alpha))


def _exponential_minus_one(x: Array) -> Array:
    return jnp.expm1(jnp.minimum(x, constant(x, 0)))


@operator("LeakyRelu")
def _leaky_relu(node: Node, x: Array) -> Array:
    return jnp.where(x >= 0, x, constant(x, node.attr("alpha", 0.01)) * x)


@operator("PRelu")
def _prelu_by_channel(node: Node, x: Array, slope: Array) -> Array:
    if slope.size == 1:
        return _prelu(node, x, slope.reshape(()))
    return _prelu(node, x, slope.reshape(slope.shape + (1,) * (x.ndim - 1 - slope.ndim)))


@operator("PRelu", since=7)
def _prelu(_node: Node, x: Array, slope: Array) -> Array:
    return jnp.where(x < 0, slope * x, x)


@operator("ThresholdedRelu", since=10)
def _thresholded_relu(node: Node, x: Array) -> Array:
    return jnp.where(x > constant(x, node.attr("alpha", 1.0)), x, constant(x, 0))


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Array) -> Array:
    return _hard(x, node.attr("alpha", 0.2), node.attr("beta", 0.5))


@operator("HardSwish", since=14)
def _hard_swish(_node: Node, x: Array) -> Array:
    return x * _hard(x, 1 / 6, 0.5)


def _hard(x: Array, alpha: float, beta: float) -> Array:
    line = constant(x, alpha) * x + constant(x, beta)
    return jnp.maximum(jnp.minimum(line, constant(x, 1)), constant(x, 0))


@operator("Softplus")
def _softplus(_node: Node, x: Array) -> Array:
    return softplus(x)


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))`` without overflow."""
    return jnp.maximum(x, constant(x, 0)) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@operator("Softsign")
def _softsign(_node: Node, x: Array) -> Array:
    return x / (constant(x, 1) + jnp.abs(x))


@operator("Mish", since=18)
def _mish(_node: Node, x: Array) -> Array:
    return x * jnp.tanh(softplus(x))


@operator("Swish", since=24)
def _swish(node: Node, x: Array) -> Array:
    alpha = node.attr("alpha", 1.0)
    return x * lax.logistic(x if alpha == 1 else constant(x, alpha) * x)


@operator("Gelu", since=20)
def _gelu(node: Node, x: Array) -> Array:
    half, one = constant(x, 0.5), constant(x, 1)
    if node.attr("approximate", "none") == "tanh":
        inner = constant(x, math.sqrt(2 / math.pi)) * (x + constant(x, 0.044715) * lax.integer_pow(x, 3))
        return half * x * (one + jnp.tanh(inner))
    return half * x * (one + lax.erf(x * constant(x, math.sqrt(0.5))))


@operator("Shrink", since=9)
def _shrink(node: Node, x: Array) -> Array:
    bias, limit = constant(x, node.attr("bias", 0.0)), constant(x, node.attr("lambd", 0.5))
    return jnp.where(x < -limit, x + bias, jnp.where(x > limit, x - bias, constant(x, 0)))


@operator("Scale", "ScaledTanh", "ParametricSoftplus", "Affine", "ImageScaler")
def _experimental(node: Node, x: Array) -> Array:
    """Elementwise operators of opset 1 that later ones dropped; Caffe2 and CoreML converters wrote them."""
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    match node.op:
        case "Scale":
            return constant(x, node.attr("scale", 1.0)) * x
        case "Affine":
            return constant(x, alpha) * x + constant(x, node.attr("beta", 0.0))
        case "ScaledTanh":
            return constant(x, alpha) * jnp.tanh(constant(x, beta) * x)
        case "ParametricSoftplus":
            return constant(x, alpha) * softplus(constant(x, beta) * x)
    bias = np.asarray(node.attr("bias"), x.dtype)
    return constant(x, node.attr("scale", 1.0)) * x + bias.reshape((-1, *(1,) * (x.ndim - 2)))
