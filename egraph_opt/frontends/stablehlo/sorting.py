# SPDX-License-Identifier: Apache-2.0
"""The rule of sort: JAX's comparators become JAX's sort, reversed ones a sort of reversed keys, any other a ranking.

One of the op families that `rules` joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.elementwise import total_order_key
from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.regions import expression, sort_comparator
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


@TABLE.op("stablehlo.sort")
def sort(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Sort operands together along one dimension, by the op's comparator."""
    rank = np.ndim(args[0])
    dimension = op.attributes.get("dimension", -1) % rank if rank else 0
    stable = op.attributes.get("is_stable", False)
    arrays = [jnp.asarray(x) for x in args]
    found = expression(op.regions[0], frame.evaluator.definitions)
    dtypes = tuple(np.dtype(x.dtype) for x in arrays)
    for keys in range(1, len(arrays) + 1):
        if found == sort_comparator(dtypes, keys):
            return list(lax.sort(arrays, dimension=dimension, is_stable=stable, num_keys=keys))
    simple = _simple_comparison(op)
    if simple is None:
        return _by_rank(frame, op, arrays, dimension)
    key, direction, total = simple
    first = total_order_key(arrays[key]) if total else arrays[key]
    if direction == "GT":
        first = _reversed(first)
    _, *rest = lax.sort([first, *arrays], dimension=dimension, is_stable=stable, num_keys=1)
    return rest


def _simple_comparison(op: Operation) -> tuple[int, str, bool] | None:
    """Operand, direction and total order of a comparator that compares one operand's two elements."""
    body = op.regions[0]
    made = body.definitions().get(body.returned[0])
    if made is None or made.name != "stablehlo.compare":
        return None
    left, right = (body.arguments.index(n) if n in body.arguments else -1 for n in made.operands)
    direction = made.attributes["comparison_direction"]
    if right == left - 1 and left % 2 == 1:
        left, right = right, left
        direction = {"LT": "GT", "GT": "LT"}.get(direction, direction)
    if left < 0 or left % 2 or right != left + 1 or direction not in {"LT", "GT"}:
        return None
    return left // 2, direction, made.attributes.get("compare_type") == "TOTALORDER"


def _reversed(key: Array) -> Array:
    """A key that sorts the other way round and is equal where the key is equal."""
    if jnp.issubdtype(key.dtype, np.floating):
        return lax.neg(key)
    return lax.bitwise_not(key)


def _by_rank(frame: Frame, op: Operation, arrays: Sequence[Any], dimension: int) -> Sequence[Array]:
    """Sort by counting, for each element, those that come before it: any comparator, n^2 comparisons, stable."""
    body = frame.region(op.regions[0])
    size = arrays[0].shape[dimension]

    def one(*lines: Array) -> list[Array]:
        def before(i: Array, j: Array) -> Array:
            def less(a: Array, b: Array) -> Array:
                return body(*(value for line in lines for value in (line[a], line[b])))[0]

            return less(i, j) | (~less(j, i) & (i < j))

        places = jnp.arange(size)
        wins = jax.vmap(lambda j: jax.vmap(lambda i: before(i, j))(places))(places)
        rank = jnp.sum(wins, axis=1, dtype=np.int32)
        return [jnp.zeros_like(line).at[rank].set(line) for line in lines]

    batched: Any = one
    moved = [jnp.moveaxis(x, dimension, -1) for x in arrays]
    for _ in range(arrays[0].ndim - 1):
        batched = jax.vmap(batched)
    return [jnp.moveaxis(x, -1, dimension) for x in batched(*moved)]
