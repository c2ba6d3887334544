# SPDX-License-Identifier: Apache-2.0
"""Products of matrices: MatMul, Gemm, Einsum."""

from __future__ import annotations

import jax.numpy as jnp

from egraph_opt.frontends.onnx.elementwise import aligned
from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("MatMul")
def _matmul(_node: Node, a: Array, b: Array) -> Array:
    return jnp.matmul(a, b)


@operator("Einsum")
def _einsum(node: Node, *args: Array) -> Array:
    return jnp.einsum(node.attr("equation").replace(" ", ""), *args)


@operator("Gemm")
def _gemm_with_axis(node: Node, a: Array, b: Array, c: Array) -> Array:
    return _gemm(node, a, b, aligned(node, jnp.zeros((a.shape[0], b.shape[1])), c))


@operator("Gemm", since=7)
def _gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    product = jnp.matmul(a.T if node.attr("transA", 0) else a, b.T if node.attr("transB", 0) else b)
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    if alpha != 1:
        product = product * jnp.asarray(alpha, product.dtype)
    if c is None:
        return product
    return product + (c if beta == 1 else c * jnp.asarray(beta, c.dtype))
