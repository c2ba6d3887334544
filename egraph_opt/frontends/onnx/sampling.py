# SPDX-License-Identifier: Apache-2.0
"""Random operators: the seed that the node gives, or one of its own, makes a key of JAX; runs can be repeated."""

from __future__ import annotations

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type


def key_of(node: Node) -> Array:
    """A random key: the same for the same seed, and for a node without seed different from that of others."""
    seed = node.attr("seed")
    text = np.float32(seed).tobytes() if seed is not None else f"{node.record.name} {node.record.index}".encode()
    return jax.random.key(zlib.crc32(text))


@operator("RandomNormal", "RandomUniform")
def _random(node: Node) -> Array:
    shape = node.attr("shape")
    if shape is None:
        raise node.fault("has no shape")
    return _draw(node, tuple(shape), element_type(node.attr("dtype", 1), node.where))


@operator("RandomNormalLike", "RandomUniformLike")
def _random_like(node: Node, like: Array) -> Array:
    code = node.attr("dtype")
    return _draw(node, np.shape(like), like.dtype if code is None else element_type(code, node.where))


def _draw(node: Node, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if node.op.startswith("RandomNormal"):
        mean, scale = (np.asarray(node.attr(name, default), dtype) for name, default in (("mean", 0.0), ("scale", 1.0)))
        return mean + scale * jax.random.normal(key_of(node), shape, dtype)
    low, high = (np.asarray(node.attr(name, default), dtype) for name, default in (("low", 0.0), ("high", 1.0)))
    return low + (high - low) * jax.random.uniform(key_of(node), shape, dtype)


@operator("Bernoulli", since=15)
def _bernoulli(node: Node, x: Array) -> Array:
    code = node.attr("dtype")
    dtype = x.dtype if code is None else element_type(code, node.where)
    return (jax.random.uniform(key_of(node), x.shape, x.dtype) < x).astype(dtype)


@operator("Multinomial", since=7)
def _multinomial(node: Node, x: Array) -> Array:
    count = node.attr("sample_size", 1)
    drawn = jax.random.categorical(key_of(node), jnp.asarray(x)[:, None, :], -1, (x.shape[0], count))
    return drawn.astype(element_type(node.attr("dtype", 6), node.where))
