# SPDX-License-Identifier: Apache-2.0
"""Random arguments for a loaded model: what to put into an array when only its type is known.

Plans, measurements and verification start from them when the user gives none.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

DEFAULT_DIM = 8
"""Size of a symbolic dimension that no one gave a size."""

KEY_KINDS = {"key<fry>": "threefry2x32", "key<rbg>": "rbg", "key<urbg>": "unsafe_rbg"}
"""Element type of random keys -> JAX's name of how they are used."""

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "max": max,
    "min": min,
}


def evaluate_dim(dim: Any, sizes: Mapping[str, int]) -> int:
    """The size of a dimension that may be an expression of symbols, such as ``2*b + mod(n, 4)``."""
    if isinstance(dim, int):
        return dim

    def of(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                return sizes.get(name, DEFAULT_DIM)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -of(inner)
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATORS[type(op)](of(left), of(right))
            case ast.Call(func=ast.Name(id=name), args=args):
                return _FUNCTIONS[name](*map(of, args))
        raise AssertionError(f"dimension {dim} has an unknown form")

    return of(ast.parse(str(dim).replace("^", "**"), mode="eval").body)


def example_array(random: np.random.Generator, shape: tuple[int, ...], dtype: Any, kind: str) -> Any:
    """One random array.

    Args:
        random: source of the numbers.
        shape: of the array.
        dtype: its element type; random keys too.
        kind: ``weight`` is scaled by its fan-in, ``state`` is small and positive, as running statistics are, ``data``
            has unit scale and, where square, is well conditioned.

    Returns:
        A JAX array.
    """
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(int(random.integers(1 << 31)), impl=KEY_KINDS[str(dtype)]), shape)
    if dtype == np.dtype(bool):
        return jnp.asarray(random.integers(0, 2, shape).astype(bool))
    if jnp.issubdtype(dtype, np.integer):
        return jnp.asarray(random.integers(0, 2, shape).astype(np.int32).astype(dtype))
    values = _numbers(random, shape, kind)
    if jnp.issubdtype(dtype, np.complexfloating):
        values = values + 1j * _numbers(random, shape, kind)
    return jnp.asarray(np.asarray(values).astype(dtype))


def _numbers(random: np.random.Generator, shape: tuple[int, ...], kind: str) -> Any:
    normal = random.standard_normal(shape)
    if not shape:
        return 0.5 + random.random()
    if kind == "state":
        return 0.1 * np.abs(normal) + 0.01
    square = len(shape) >= 2 and shape[-1] == shape[-2]
    if kind == "weight":
        if len(shape) == 1:
            return 1 + 0.1 * normal
        fan_in = max(int(np.prod(shape[:-1])), int(np.prod(shape[1:])), 1)
        return normal / np.sqrt(fan_in)
    if square and shape[-1]:
        # Away from the symmetric matrices, or a confusion of a matrix with its transpose would go unseen.
        return np.eye(shape[-1]) + 0.3 * normal / np.sqrt(shape[-1])
    return normal
