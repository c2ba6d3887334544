# SPDX-License-Identifier: Apache-2.0
"""Rules of the reductions: whole dimensions, windows, and the scatter that belongs to a window's maximum.

Known regions become JAX's own primitives, which differentiate and which rewrite rules know; others keep their region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.regions import (
    MONOIDS,
    argument_extremum,
    expression,
    extreme,
    identity,
    is_constant,
    monoid,
    monoids,
)
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()

_REDUCERS: dict[str, Callable[..., Array]] = {
    "add": lax.reduce_sum,
    "multiply": lax.reduce_prod,
    "maximum": lax.reduce_max,
    "minimum": lax.reduce_min,
    "and": lax.reduce_and,
    "or": lax.reduce_or,
    "xor": lax.reduce_xor,
}


@TABLE.op("stablehlo.reduce")
def reduce(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Reduction of whole dimensions, of several operands at once where the region combines tuples."""
    count = len(args) // 2
    operands, inits = args[:count], args[count:]
    dimensions = op.attributes["dimensions"]
    names = monoids(op.regions[0])
    if names is not None:
        return [
            _reduce_one(name, operand, init, dimensions)
            for name, operand, init in zip(names, operands, inits, strict=True)
        ]
    extremum = _argument_extremum(frame, op, inits)
    if extremum is not None:
        function, reducer = extremum
        return [reducer(operands[0], dimensions), function(operands[0], dimensions[0], op.tensor_type(1).dtype)]
    body = frame.region(op.regions[0])

    def combine(left: Sequence[Array], right: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(body(*left, *right))

    return list(lax.reduce(tuple(operands), tuple(inits), combine, dimensions))


def _reduce_one(name: str, operand: Array, init: Array, dimensions: Sequence[int]) -> Array:
    reduced = _REDUCERS[name](operand, dimensions) if dimensions else operand
    if is_constant(init, identity(name, np.dtype(operand.dtype))):
        return reduced
    return MONOIDS[name](lax.broadcast_in_dim(init, np.shape(reduced), ()), reduced)


def _argument_extremum(frame: Frame, op: Operation, inits: Sequence[Array]) -> Any:
    """The JAX functions for position and value of the largest or smallest element, if the op is one of the two."""
    if len(inits) != 2 or len(op.attributes["dimensions"]) != 1:
        return None
    positions = frame.definition(op.operands[1])
    if positions is None or positions.name != "stablehlo.iota":
        return None
    if positions.attributes["iota_dimension"] != op.attributes["dimensions"][0]:
        return None
    dtype, index = op.dtype, op.tensor_type(1).dtype
    if not is_constant(inits[1], np.zeros((), index)) or index.kind not in "iu":
        return None
    found = expression(op.regions[0], frame.evaluator.definitions)
    for largest, functions in ((True, (lax.argmax, lax.reduce_max)), (False, (lax.argmin, lax.reduce_min))):
        start = extreme(dtype, lowest=largest)
        if is_constant(inits[0], start) and found == argument_extremum(dtype, index, largest=largest):
            return functions
    return None


@TABLE.op("stablehlo.reduce_window")
def reduce_window(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Reduction of every window; windows that end (or begin) at each element are cumulative sums and their kin."""
    count = len(args) // 2
    operands, inits = args[:count], args[count:]
    name = monoid(op.regions[0])
    window = _window(op)
    if name is None or not is_constant(inits[0], identity(name, op.dtype)):
        body = frame.region(op.regions[0])

        def combine(left: Sequence[Array], right: Sequence[Array]) -> tuple[Array, ...]:
            return tuple(body(*left, *right))

        return list(lax.reduce_window(tuple(operands), tuple(inits), combine, *window))
    cumulative = _cumulative(name, np.shape(operands[0]), window)
    if cumulative is not None:
        return [cumulative(operands[0])]
    return [lax.reduce_window(operands[0], inits[0], MONOIDS[name], *window)]


def _window(op: Operation) -> tuple[Any, ...]:
    """Window, strides, padding, base dilation and window dilation in the order of ``lax.reduce_window``."""
    attributes, rank = op.attributes, len(op.shape)
    ones = (1,) * rank
    padding = np.asarray(attributes.get("padding", np.zeros((rank, 2), int))).reshape(rank, 2)
    return (
        attributes["window_dimensions"],
        attributes.get("window_strides", ones),
        [(int(low), int(high)) for low, high in padding],
        attributes.get("base_dilations", ones),
        attributes.get("window_dilations", ones),
    )


_CUMULATIVE = {"add": lax.cumsum, "multiply": lax.cumprod, "maximum": lax.cummax, "minimum": lax.cummin}


def _cumulative(name: str, shape: tuple[int, ...], window: tuple[Any, ...]) -> Callable[[Array], Array] | None:
    """The cumulative operation that a reduce_window is, if it is one."""
    sizes, strides, padding, *dilations = window
    axes = [axis for axis, size in enumerate(sizes) if size != 1]
    plain = all(step == 1 for steps in (strides, *dilations) for step in steps)
    if name not in _CUMULATIVE or len(axes) != 1 or not plain:
        return None
    axis = axes[0]
    if sizes[axis] != shape[axis] or any(pair != (0, 0) for i, pair in enumerate(padding) if i != axis):
        return None
    reach = shape[axis] - 1
    if padding[axis] not in {(reach, 0), (0, reach)}:
        return None
    reverse = padding[axis] == (0, reach)
    return lambda x: _CUMULATIVE[name](x, axis, reverse)


@TABLE.op("stablehlo.select_and_scatter")
def select_and_scatter(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Sends each source element to the extremum of its window: the gradient of max pooling, and built as such."""
    operand, source, init = args
    select, scatter = op.regions
    chooser = select.definitions().get(select.returned[0])
    direction = chooser.attributes.get("comparison_direction") if chooser is not None else None
    straight = chooser is not None and chooser.operands == select.arguments
    if monoid(scatter) != "add" or direction not in {"GE", "LE"} or not straight:
        raise frame.unsupported(op, "want a selection by GE or LE and a scatter that adds")
    name = "maximum" if direction == "GE" else "minimum"
    rank = len(op.shape)
    ones = (1,) * rank
    padding = np.asarray(op.attributes.get("padding", np.zeros((rank, 2), int))).reshape(rank, 2)

    def pooled(x: Array) -> Array:
        return lax.reduce_window(
            x,
            identity(name, op.dtype),
            MONOIDS[name],
            op.attributes["window_dimensions"],
            op.attributes.get("window_strides", ones),
            [(int(low), int(high)) for low, high in padding],
        )

    (scattered,) = jax.vjp(pooled, operand)[1](source)
    if is_constant(init, identity("add", op.dtype)):
        return scattered
    return lax.add(scattered, lax.broadcast_in_dim(init, op.shape, ()))
