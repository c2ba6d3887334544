# SPDX-License-Identifier: Apache-2.0
"""Products of matrices: MatMul, Gemm, Einsum; determinants."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.elementwise import aligned
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("MatMul")
def _matmul(_node: Node, a: Array, b: Array) -> Array:
    return jnp.matmul(a, b)


@operator("Einsum", since=12)
def _einsum(node: Node, *args: Array) -> Array:
    return jnp.einsum(node.attr("equation").replace(" ", ""), *args)


@operator("Gemm")
def _gemm_with_axis(node: Node, a: Array, b: Array, c: Array) -> Array:
    return _gemm(node, a, b, aligned(node, np.broadcast_to(np.float32(0), (1, 1)), c))


@operator("Gemm", since=7)
def _gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    product = jnp.matmul(a.T if node.attr("transA", 0) else a, b.T if node.attr("transB", 0) else b)
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    if alpha != 1:
        product = _scaled(product, alpha)
    if c is None or beta == 0:
        return product
    return product + (c if beta == 1 else _scaled(c, beta))


def _scaled(x: Array, factor: float) -> Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x * np.asarray(factor, x.dtype)
    return (x.astype(np.float64) * factor).astype(x.dtype)


@operator("Det", since=11)
def _determinant(_node: Node, x: Array) -> Array:
    size = x.shape[-1]
    if size != x.shape[-2]:
        raise ValueError(f"want square matrices, got {x.shape[-2]} x {size}")
    if size == 0:
        return jnp.ones(x.shape[:-2], x.dtype)
    if size == 1:
        return x[..., 0, 0]
    if size == 2:
        return x[..., 0, 0] * x[..., 1, 1] - x[..., 0, 1] * x[..., 1, 0]
    exact = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
    factors, pivots, _ = lax.linalg.lu(exact)
    swaps = jnp.sum(pivots != np.arange(size, dtype=pivots.dtype), axis=-1, dtype=np.int32)
    diagonal = jnp.diagonal(factors, axis1=-2, axis2=-1)
    sign = (1 - 2 * (swaps % 2)).astype(exact.dtype)
    return (jnp.prod(diagonal, axis=-1) * sign).astype(x.dtype)
