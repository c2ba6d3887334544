# SPDX-License-Identifier: Apache-2.0
"""Recognises what a region computes: a sum, a maximum, or exactly what JAX writes for one of its own primitives.

The second kind is found by comparison: the JAX primitive is lowered here, and its region is compared as an expression
with the one in the file. So argmax and sort come back as themselves, whatever their comparators look like.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.module import Block, Operation
from egraph_opt.frontends.stablehlo.parse import parse_module

MONOIDS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lax.add,
    "multiply": lax.mul,
    "maximum": lax.max,
    "minimum": lax.min,
    "and": lax.bitwise_and,
    "or": lax.bitwise_or,
    "xor": lax.bitwise_xor,
}


def monoids(block: Block) -> list[str] | None:
    """The commutative operation of each component of a combining region, or None if one is something else.

    Args:
        block: a region of 2n scalars (n accumulated, n new) that returns n scalars.
    """
    count = len(block.returned)
    made = block.definitions()
    names = []
    for position, number in enumerate(block.returned):
        op = made.get(number)
        pair = {block.arguments[position], block.arguments[count + position]}
        if op is None or set(op.operands) != pair or len(op.operands) != 2:
            return None
        name = op.name.removeprefix("stablehlo.")
        if name not in MONOIDS:
            return None
        names.append(name)
    return names


def monoid(block: Block) -> str | None:
    """`monoids` of a region with one component."""
    names = monoids(block)
    return names[0] if names is not None and len(names) == 1 else None


def identity(name: str, dtype: np.dtype[Any]) -> np.ndarray:
    """The neutral element of a monoid."""
    if name in {"add", "or", "xor"}:
        return np.zeros((), dtype)
    if name == "multiply":
        return np.ones((), dtype)
    if name == "and":
        return np.ones((), dtype) if dtype.kind == "b" else np.array(-1).astype(dtype)
    return extreme(dtype, lowest=name == "maximum")


def extreme(dtype: np.dtype[Any], *, lowest: bool) -> np.ndarray:
    """The lowest or highest value of an element type, infinities included."""
    if dtype.kind == "b":
        return np.array(not lowest)
    if jnp.issubdtype(dtype, np.integer):
        info: Any = jnp.iinfo(dtype)  # type: ignore[no-untyped-call]
        return np.array(info.min if lowest else info.max, dtype)
    return np.array(-np.inf if lowest else np.inf).astype(dtype)


def is_constant(value: Any, expected: np.ndarray) -> bool:
    """Whether a value is known now and equal to a scalar."""
    return isinstance(value, (np.ndarray, np.generic)) and value.shape == () and bool(value == expected)


def expression(block: Block, definitions: Mapping[int, Operation]) -> tuple[Any, ...]:
    """What a region of scalars computes, as nested tuples that compare equal when the computations are the same."""
    known: dict[int, Any] = {number: ("argument", i) for i, number in enumerate(block.arguments)}
    inner = block.definitions()

    def of(number: int) -> Any:
        if number not in known:
            op = inner.get(number) or definitions.get(number)
            known[number] = ("free", number) if op is None else written(op)
        return known[number]

    def written(op: Operation) -> Any:
        if op.name == "stablehlo.constant":
            value = op.attributes["value"]
            return ("constant", value.dtype.name, value.shape, value.tobytes())
        attributes = tuple(sorted((key, repr(value)) for key, value in op.attributes.items()))
        return (op.name, attributes, op.result_types, tuple(of(n) for n in op.operands))

    return tuple(of(number) for number in block.returned)


@functools.cache
def argument_extremum(dtype: np.dtype[Any], index: np.dtype[Any], *, largest: bool) -> tuple[Any, ...]:
    """The region that JAX writes for argmax or argmin."""
    function = lax.argmax if largest else lax.argmin
    return _reference(lambda x: function(x, 0, index), [dtype], "stablehlo.reduce")


@functools.cache
def sort_comparator(dtypes: Sequence[np.dtype[Any]], num_keys: int) -> tuple[Any, ...]:
    """The region that JAX writes for a sort by the first ``num_keys`` operands."""
    return _reference(lambda *xs: lax.sort(xs, num_keys=num_keys), dtypes, "stablehlo.sort")


def _reference(function: Callable[..., Any], dtypes: Sequence[np.dtype[Any]], op_name: str) -> tuple[Any, ...]:
    shapes = [jax.ShapeDtypeStruct((2,), dtype) for dtype in dtypes]
    text = jax.jit(function).lower(*shapes).as_text()
    module = parse_module(text.encode(), "reference")
    definitions = {result: op for op in module.walk() for result in op.results}
    found = next(op for op in module.walk() if op.name == op_name)
    return expression(found.regions[0], definitions)
