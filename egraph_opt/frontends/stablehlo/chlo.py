# SPDX-License-Identifier: Apache-2.0
"""Rules of CHLO, the dialect of higher ops that JAX's exports keep: special functions, top_k, broadcasting.

One of the op families that `rules` joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.elementwise import compare
from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()

TABLE.direct(
    "chlo",
    acos=lax.acos,
    acosh=lax.acosh,
    asin=lax.asin,
    asinh=lax.asinh,
    atan=lax.atan,
    atanh=lax.atanh,
    bessel_i1e=lax.bessel_i1e,
    conj=lax.conj,
    cosh=lax.cosh,
    digamma=lax.digamma,
    erf=lax.erf,
    erf_inv=lax.erf_inv,
    erfc=lax.erfc,
    is_inf=lambda x: lax.eq(lax.abs(x), lax.full_like(x, np.inf)),
    is_neg_inf=lambda x: lax.eq(x, lax.full_like(x, -np.inf)),
    is_pos_inf=lambda x: lax.eq(x, lax.full_like(x, np.inf)),
    lgamma=lax.lgamma,
    mulhi=lax.mulhi,
    next_after=lax.nextafter,
    polygamma=lax.polygamma,
    sinh=lax.sinh,
    square=lax.square,
    tan=lax.tan,
    zeta=lax.zeta,
)

_BROADCASTING: dict[str, Callable[[Any, Any], Any]] = {
    "add": lax.add,
    "and": lax.bitwise_and,
    "atan2": lax.atan2,
    "complex": lax.complex,
    "divide": lax.div,
    "maximum": lax.max,
    "minimum": lax.min,
    "multiply": lax.mul,
    "next_after": lax.nextafter,
    "or": lax.bitwise_or,
    "polygamma": lax.polygamma,
    "power": lax.pow,
    "remainder": lax.rem,
    "shift_left": lax.shift_left,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
    "shift_right_logical": lax.shift_right_logical,
    "subtract": lax.sub,
    "xor": lax.bitwise_xor,
    "zeta": lax.zeta,
}


def _broadcasted(op: Operation, args: Sequence[Array]) -> list[Array]:
    """Operands repeated to the result's shape: numpy's rule, or the dimensions that the op names."""
    dims = op.attributes.get("broadcast_dimensions")
    shape = np.broadcast_shapes(*(np.shape(x) for x in args)) if dims is None else op.shape
    repeated = []
    for x in args:
        rank = np.ndim(x)
        places = dims if dims is not None and rank < len(shape) else range(len(shape) - rank, len(shape))
        same = np.shape(x) == tuple(shape)
        repeated.append(x if same else lax.broadcast_in_dim(x, shape, tuple(places)))
    return repeated


def _broadcasting(function: Callable[[Any, Any], Any]) -> Callable[[Frame, Operation, Sequence[Array]], Array]:
    def rule(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
        return function(*_broadcasted(op, args))

    return rule


for _name, _function in _BROADCASTING.items():
    TABLE.add(f"chlo.broadcast_{_name}", _broadcasting(_function))


@TABLE.op("chlo.broadcast_compare")
def broadcast_compare(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Comparison of operands that broadcast against each other."""
    return compare(frame, op, _broadcasted(op, args))


@TABLE.op("chlo.broadcast_select")
def broadcast_select(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Selection between operands that broadcast against each other."""
    predicate, on_true, on_false = _broadcasted(op, args)
    return lax.select_n(predicate, on_false, on_true)


@TABLE.op("chlo.constant_like")
def constant_like(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """A number repeated to the operand's shape."""
    return lax.full_like(args[0], op.attributes["value"])


@TABLE.op("chlo.top_k")
def top_k(_frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """The k largest elements of the last dimension and their positions."""
    return list(lax.top_k(args[0], op.attributes["k"]))
