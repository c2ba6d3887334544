# SPDX-License-Identifier: Apache-2.0
"""Operators on the bits of integers: and, or, exclusive or, complement, shifts."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

_BITWISE = {
    "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor",
    "BitwiseNot": "invert",
}


@operator(*_BITWISE, since=18, host=True)
def _bitwise(node: Node, *args: Array) -> Array:
    return getattr(node.xp(*args), _BITWISE[node.op])(*args)


@operator("BitShift", since=11, host=True)
def _bit_shift(node: Node, x: Array, y: Array) -> Array:
    xp = node.xp(x, y)
    bits = np.dtype(x.dtype).itemsize * 8
    inside = (y >= 0) & (y < bits)
    amount = xp.where(inside, y, y.dtype.type(0))
    match node.attr("direction"):
        case "LEFT":
            return xp.where(inside, xp.left_shift(x, amount), x.dtype.type(0))
        case "RIGHT":
            last = xp.right_shift(x, x.dtype.type(bits - 1)) if jnp.issubdtype(x.dtype, jnp.signedinteger) else 0
            return xp.where(inside, xp.right_shift(x, amount), xp.asarray(last, x.dtype))
        case other:
            raise node.fault(f"got the direction {other!r}; want LEFT or RIGHT")
