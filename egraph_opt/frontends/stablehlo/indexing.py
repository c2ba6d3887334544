# SPDX-License-Identifier: Apache-2.0
"""Rules of gather and scatter.

StableHLO moves a gather's box inside the operand and leaves out a scatter's updates that stick out: JAX's modes CLIP
and FILL_OR_DROP say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Block, Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


@TABLE.op("stablehlo.gather")
def gather(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Boxes of the operand at computed places."""
    return gather_boxes(op, args[0], args[1], op.attributes["slice_sizes"])


def gather_boxes(op: Operation, operand: Array, indices: Array, sizes: Sequence[int]) -> Array:
    """A gather of boxes of the given sizes."""
    numbers = op.attributes["dimension_numbers"]
    return lax.gather(
        operand,
        _last(indices, numbers.index_vector_dim),
        lax.GatherDimensionNumbers(
            offset_dims=numbers.offset_dims,
            collapsed_slice_dims=numbers.collapsed_slice_dims,
            start_index_map=numbers.start_index_map,
            operand_batching_dims=numbers.operand_batching_dims,
            start_indices_batching_dims=numbers.start_indices_batching_dims,
        ),
        tuple(sizes),
        indices_are_sorted=op.attributes.get("indices_are_sorted", False),
        mode=lax.GatherScatterMode.CLIP,
    )


def _last(indices: Array, dim: int) -> Array:
    """Indices with the dimension of their components last, as JAX wants them."""
    rank = np.ndim(indices)
    if dim == rank:
        return lax.expand_dims(indices, (rank,))
    if dim == rank - 1:
        return indices
    return jnp.moveaxis(indices, dim, -1)


_SCATTERS: dict[str, Callable[..., Array]] = {
    "add": lax.scatter_add,
    "multiply": lax.scatter_mul,
    "minimum": lax.scatter_min,
    "maximum": lax.scatter_max,
    "subtract": lax.scatter_sub,
    "replace": lax.scatter,
}


@TABLE.op("stablehlo.scatter")
def scatter(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Combine updates into the operands at computed places."""
    count = len(args) // 2
    operands, indices, updates = args[:count], args[count], args[count + 1 :]
    body = op.regions[0]
    names = [_combination(body, position) for position in range(count)]
    numbers = _scatter_numbers(op.attributes["scatter_dimension_numbers"])
    indices = _last(indices, op.attributes["scatter_dimension_numbers"].index_vector_dim)
    if None in names:
        return _scatter_in_order(frame, op, numbers, operands, indices, updates)
    return [
        _SCATTERS[str(name)](
            operand,
            indices,
            update,
            numbers,
            indices_are_sorted=op.attributes.get("indices_are_sorted", False),
            unique_indices=op.attributes.get("unique_indices", False),
            mode=lax.GatherScatterMode.FILL_OR_DROP,
        )
        for name, operand, update in zip(names, operands, updates, strict=True)
    ]


def _combination(body: Block, position: int) -> str | None:
    """How one component's update enters: by a known operation of exactly its old value and its update."""
    count = len(body.returned)
    old, new = body.arguments[position], body.arguments[count + position]
    returned = body.returned[position]
    if returned == new:
        return "replace"
    op = body.definitions().get(returned)
    if op is None:
        return None
    name = op.name.removeprefix("stablehlo.")
    if name == "subtract" and op.operands == (old, new):
        return name
    known = name in _SCATTERS and name not in {"subtract", "replace"}
    return name if known and {*op.operands} == {old, new} and len(op.operands) == 2 else None


def _scatter_numbers(numbers: Any) -> lax.ScatterDimensionNumbers:
    return lax.ScatterDimensionNumbers(
        update_window_dims=numbers.update_window_dims,
        inserted_window_dims=numbers.inserted_window_dims,
        scatter_dims_to_operand_dims=numbers.scattered_dims_to_operand_dims,
        operand_batching_dims=numbers.input_batching_dims,
        scatter_indices_batching_dims=numbers.scatter_indices_batching_dims,
    )


def _scatter_in_order(
    frame: Frame,
    op: Operation,
    numbers: lax.ScatterDimensionNumbers,
    operands: Sequence[Array],
    indices: Array,
    updates: Sequence[Array],
) -> Sequence[Array]:
    """A scatter with an arbitrary region: one update after another, in a loop."""
    if numbers.operand_batching_dims:
        raise frame.unsupported(op, "a region other than add, multiply, minimum, maximum or replace with batching")
    window = tuple(numbers.update_window_dims)
    rank = np.ndim(updates[0])
    loose = tuple(d for d in range(rank) if d not in window)
    flat = [
        lax.collapse(jnp.transpose(u, (*loose, *window)), 0, len(loose)) if loose else u[None]
        for u in map(jnp.asarray, updates)
    ]
    places = jnp.reshape(jnp.asarray(indices), (flat[0].shape[0], np.shape(indices)[-1]))
    inner, inserted = tuple(range(len(window))), tuple(numbers.inserted_window_dims)
    places_to_dims = tuple(numbers.scatter_dims_to_operand_dims)
    single = lax.ScatterDimensionNumbers(inner, inserted, places_to_dims)
    taking = lax.GatherDimensionNumbers(inner, inserted, places_to_dims)
    kept = [d for d in range(np.ndim(operands[0])) if d not in numbers.inserted_window_dims]
    box = dict(zip(kept, flat[0].shape[1:], strict=True))
    sizes = tuple(box.get(d, 1) for d in range(np.ndim(operands[0])))
    combine: Any = frame.region(op.regions[0])
    for _ in window:
        combine = jax.vmap(combine)

    def step(i: Array, current: tuple[Array, ...]) -> tuple[Array, ...]:
        place = places[i]
        old = [lax.gather(x, place, taking, sizes, mode=lax.GatherScatterMode.CLIP) for x in current]
        new = combine(*old, *(update[i] for update in flat))
        mode = lax.GatherScatterMode.FILL_OR_DROP
        return tuple(lax.scatter(x, place, n, single, mode=mode) for x, n in zip(current, new, strict=True))

    return list(lax.fori_loop(0, flat[0].shape[0], step, tuple(jnp.asarray(x) for x in operands)))
