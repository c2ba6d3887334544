# SPDX-License-Identifier: Apache-2.0
"""Rules of the elementwise ops: arithmetic, comparison, selection, conversion, bits, complex numbers.

One of the op families that `rules` joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


def _round_away(x: Array) -> Array:
    return lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)


def _round_even(x: Array) -> Array:
    return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)


def _sign(x: Array) -> Array:
    return lax.sign(x)


TABLE.direct(
    "stablehlo",
    abs=lax.abs,
    add=lax.add,
    atan2=lax.atan2,
    cbrt=lax.cbrt,
    ceil=lax.ceil,
    clamp=lax.clamp,
    complex=lax.complex,
    cosine=lax.cos,
    count_leading_zeros=lax.clz,
    divide=lax.div,
    exponential=lax.exp,
    exponential_minus_one=lax.expm1,
    floor=lax.floor,
    imag=lambda x: lax.imag(x) if jnp.iscomplexobj(x) else lax.full_like(x, 0),
    is_finite=lax.is_finite,
    log=lax.log,
    log_plus_one=lax.log1p,
    logistic=lax.logistic,
    maximum=lax.max,
    minimum=lax.min,
    multiply=lax.mul,
    negate=lax.neg,
    popcnt=lax.population_count,
    power=lax.pow,
    real=lambda x: lax.real(x) if jnp.iscomplexobj(x) else x,
    remainder=lax.rem,
    round_nearest_afz=_round_away,
    round_nearest_even=_round_even,
    rsqrt=lax.rsqrt,
    shift_left=lax.shift_left,
    shift_right_arithmetic=lax.shift_right_arithmetic,
    shift_right_logical=lax.shift_right_logical,
    sign=_sign,
    sine=lax.sin,
    sqrt=lax.sqrt,
    subtract=lax.sub,
    tan=lax.tan,
    tanh=lax.tanh,
    xor=lax.bitwise_xor,
)
TABLE.direct("stablehlo", **{"and": lax.bitwise_and, "or": lax.bitwise_or, "not": lax.bitwise_not})

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "EQ": lax.eq,
    "NE": lax.ne,
    "LT": lax.lt,
    "LE": lax.le,
    "GT": lax.gt,
    "GE": lax.ge,
}


@TABLE.op("stablehlo.compare")
def compare(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """``x < y`` and its kin; TOTALORDER puts -NaN first, NaN last and -0 before 0."""
    x, y = args
    if op.attributes.get("compare_type") == "TOTALORDER":
        x, y = total_order_key(x), total_order_key(y)
    return COMPARISONS[op.attributes["comparison_direction"]](x, y)


def total_order_key(x: Array) -> Array:
    """Integers in the total order of a float array; other arrays as they are."""
    if not jnp.issubdtype(x.dtype, np.floating):
        return x
    bits = lax.bitcast_convert_type(x, np.dtype(f"int{8 * x.dtype.itemsize}"))
    flipped = lax.bitwise_xor(bits, np.array(np.iinfo(bits.dtype).max, bits.dtype))
    return lax.select(lax.lt(bits, np.zeros((), bits.dtype)), flipped, bits)


@TABLE.op("stablehlo.select")
def select(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Elements of the second operand where the first is true, else of the third."""
    predicate, on_true, on_false = args
    if np.ndim(predicate) == 0 and op.shape:
        predicate = lax.broadcast_in_dim(predicate, op.shape, ())
    return lax.select_n(predicate, on_false, on_true)


@TABLE.op("stablehlo.convert")
def convert(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Change of element type; a complex number gives its real part."""
    (x,) = args
    if x.dtype == op.dtype:
        return x
    if jnp.issubdtype(x.dtype, np.complexfloating) and not jnp.issubdtype(op.dtype, np.complexfloating):
        x = lax.real(x)
    return lax.convert_element_type(x, op.dtype)


@TABLE.op("stablehlo.bitcast_convert")
def bitcast_convert(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """The same bits under another element type."""
    return lax.bitcast_convert_type(args[0], op.dtype)


@TABLE.op("stablehlo.reduce_precision")
def reduce_precision(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Rounding to a smaller floating-point format, kept in the same type."""
    return lax.reduce_precision(args[0], op.attributes["exponent_bits"], op.attributes["mantissa_bits"])


@TABLE.op("stablehlo.map")
def map_(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """An arbitrary scalar computation on every element."""
    return on_elements(frame, op, args)[0]


def on_elements(frame: Frame, op: Operation, args: Sequence[Array]) -> list[Array]:
    """Apply the op's first region, a scalar function, to arrays of one shape."""
    body = frame.region(op.regions[0])
    shape = np.shape(args[0])
    for _ in shape:
        body = jax.vmap(body)
    return list(body(*(jnp.asarray(x) for x in args)))
