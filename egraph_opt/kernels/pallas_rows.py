# SPDX-License-Identifier: Apache-2.0
"""Norms and softmax as Pallas programs for GPUs (Triton): each has a few whole rows in hand, read and written once.

They are not measured on GPU: the race against what XLA makes of the plain form decides. Programs take sizes that are
powers of two, as Triton does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.kernel import Lowering

Rows = Callable[..., Any]
"""``rows(x[r,n], *vectors[n], **static) -> [r,n]`` in at least float32."""

DTYPES = frozenset({"float32", "bfloat16", "float16", "float64"})
LEAST, MOST = 64, 16_384
"""Sizes of a row."""

IN_HAND = 8_192
"""Elements that one program has at once, where a row is not longer."""

ROWS_AT_MOST = 8
ELEMENTS_A_WARP = 1_024
MOST_WARPS = 8


def over_rows(rows: Rows) -> Callable[..., Any]:
    """A function of whole arrays that runs ``rows`` on blocks of them.

    Args:
        rows: what to do with a block.
    """

    @functools.wraps(rows)
    def run(x: Any, *vectors: Any, interpret: bool = False, **static: Any) -> Any:
        # Pallas takes half a second to import, and only those who run it need it.
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton

        n = x.shape[-1]
        count = math.prod(x.shape[:-1])
        block = block_of(count, n)
        wide = jnp.promote_types(x.dtype, jnp.float32)

        def program(*refs: Any) -> None:
            values = [ref[...].astype(wide) for ref in refs[:-1]]
            refs[-1][...] = rows(*values, **static).astype(x.dtype)

        of_rows = pl.BlockSpec((block, n), lambda i: (i, 0))
        of_vectors = [pl.BlockSpec((1, n), lambda i: (0, 0)) for _ in vectors]
        made = pl.pallas_call(
            program,
            out_shape=jax.ShapeDtypeStruct((count, n), x.dtype),
            grid=(count // block,),
            in_specs=[of_rows, *of_vectors],
            out_specs=of_rows,
            compiler_params=triton.CompilerParams(num_warps=_warps(block * n)),
            interpret=interpret,
        )(x.reshape(count, n), *(v.reshape(1, n) for v in vectors))
        return made.reshape(x.shape)

    return run


def block_of(count: int, n: int) -> int:
    """Rows that one program takes: a power of two that divides them."""
    return math.gcd(count, ROWS_AT_MOST, 1 << max(0, (IN_HAND // n).bit_length() - 1))


def _warps(elements: int) -> int:
    return min(MOST_WARPS, max(1, elements // ELEMENTS_A_WARP))


def fits(types: Sequence[TensorType], static: Mapping[str, Any]) -> bool:
    """Whether the programs take these operands."""
    del static
    n = types[0].shape[-1]
    return types[0].dtype in DTYPES and types[0].size > 0 and LEAST <= n <= MOST and n & (n - 1) == 0


def way(rows: Rows, axes: int = 1) -> Lowering:
    """The lowering that runs ``rows`` on a GPU.

    Args:
        rows: what to do with a block.
        axes: how many trailing dimensions are one row.
    """
    run = over_rows(rows)

    def merged(x: Any, *vectors: Any, **keywords: Any) -> Any:
        return run(x.reshape(*x.shape[: x.ndim - axes], -1), *vectors, **keywords).reshape(x.shape)

    def admits(types: Sequence[TensorType], static: Mapping[str, Any]) -> bool:
        shape = types[0].shape
        return fits([types[0].with_shape((*shape[:-axes], math.prod(shape[-axes:])))], static)

    return Lowering(name="pallas", function=merged, devices=("gpu",), when=admits)


def layer_norm(x: Any, *vectors: Any, eps: float) -> Any:
    """Rows less their means, over the roots of their variances; then a gain, then an offset."""
    n = x.shape[-1]
    centred = x - x.sum(-1, keepdims=True) / n
    return _affine(centred * lax.rsqrt((centred * centred).sum(-1, keepdims=True) / n + eps), vectors)


def rms_norm(x: Any, *vectors: Any, eps: float) -> Any:
    """Rows over the roots of the means of their squares; then a gain."""
    return _affine(x * lax.rsqrt((x * x).sum(-1, keepdims=True) / x.shape[-1] + eps), vectors)


def _affine(x: Any, vectors: Sequence[Any]) -> Any:
    for number, vector in enumerate(vectors):
        x = x + vector if number else x * vector
    return x


def softmax(x: Any) -> Any:
    """Shares of the exponentials of each row."""
    shares = jnp.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    """Their logarithms."""
    less = x - x.max(-1, keepdims=True)
    return less - jnp.log(jnp.exp(less).sum(-1, keepdims=True))
