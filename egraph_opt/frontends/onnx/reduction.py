# SPDX-License-Identifier: Apache-2.0
"""Reductions over axes, and softmax."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("Softmax", "LogSoftmax")
def _softmax_flat(node: Node, x: Array) -> Array:
    axis = node.attr("axis", 1)
    axis += x.ndim if axis < 0 else 0
    rows = x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)
    return softmax(rows, 1, node.op == "LogSoftmax").reshape(x.shape)


@operator("Softmax", "LogSoftmax", since=13)
def _softmax(node: Node, x: Array) -> Array:
    return softmax(x, node.attr("axis", -1), node.op == "LogSoftmax")


def softmax(x: Array, axis: int, logarithm: bool = False) -> Array:
    """Softmax along an axis, or its logarithm, in plain operations."""
    shifted = x - lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    if logarithm:
        return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))
    weights = jnp.exp(shifted)
    return weights / jnp.sum(weights, axis=axis, keepdims=True)
