# SPDX-License-Identifier: Apache-2.0
"""Normalisations: batch, layer, group, instance, RMS, local response, p-norm; dropout.

Statistics of half-precision tensors are taken in single precision, or in the type that the node asks for.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type

EXACT_MASK = 1 << 20
"""Masks of dropout with at most so many elements are those of numpy's generator, as the standard's reference has."""


def _wide(x: Array, *others: Array) -> Any:
    """The widest element type, single precision at least."""
    return (
        functools.reduce(np.promote_types, [o.dtype for o in others if o.dtype.itemsize > 4], np.dtype(np.float32))
        if x.dtype.itemsize < 4
        else x.dtype
    )


def _per_channel(values: Array, rank: int) -> Array:
    return jnp.expand_dims(values, tuple(range(1, rank - 1)))


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Mean, deviations from it, and variance; over axes that are kept."""
    mean = jnp.mean(x, axis=axes, keepdims=True)
    deviation = x - mean
    return mean, deviation, jnp.mean(deviation * deviation, axis=axes, keepdims=True)


def _epsilon(node: Node, dtype: Any) -> np.ndarray:
    return np.asarray(node.attr("epsilon", 1e-5), dtype)


@operator("BatchNormalization")
def _batch_norm_old(node: Node, x: Array, scale: Array, b: Array, mean: Array, var: Array) -> Any:
    """Until version 13: training where the statistics are asked for, five outputs."""
    training = not node.attr("is_test", 0) and any(node.wants(i) for i in range(1, 5))
    each = node.attr("spatial", 1) == 0  # statistics for each place of the image
    if not training:
        return _batch_norm(node, x, scale, b, mean, var, each)
    axes = (0,) if each else _all_but_channels(x)
    now_mean, now_var = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
    y = _batch_norm(node, x, scale, b, now_mean, now_var, each)
    momentum = np.asarray(node.attr("momentum", 0.9), x.dtype)
    return y, _running(mean, now_mean, momentum), _running(var, now_var, momentum), now_mean, now_var


@operator("BatchNormalization", since=14)
def _batch_norm_new(node: Node, x: Array, scale: Array, b: Array, mean: Array, var: Array) -> Any:
    if not node.attr("training_mode", 0):
        return _batch_norm(node, x, scale, b, mean, var, False)
    wide = jnp.asarray(x).astype(_wide(x, mean))
    axes = _all_but_channels(x)
    now_mean, now_var = jnp.mean(wide, axis=axes), jnp.var(wide, axis=axes)
    momentum = np.asarray(node.attr("momentum", 0.9), wide.dtype)
    y = _batch_norm(node, x, scale, b, now_mean, now_var, False)
    running = [_running(old.astype(wide.dtype), now, momentum) for old, now in ((mean, now_mean), (var, now_var))]
    return (y, *(value.astype(mean.dtype) for value in running))


def _all_but_channels(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _running(old: Array, now: Array, momentum: np.ndarray) -> Array:
    return old * momentum + now * (np.ones((), momentum.dtype) - momentum)


def _batch_norm(node: Node, x: Array, scale: Array, b: Array, mean: Array, var: Array, each: bool) -> Array:
    dtype = _wide(x, scale, mean)
    scale, b, mean, var = (jnp.asarray(value).astype(dtype) for value in (scale, b, mean, var))
    factor = scale * lax.rsqrt(var + _epsilon(node, dtype))  # of weights alone
    if not each:
        factor, b, mean = (_per_channel(value, x.ndim) for value in (factor, b, mean))
    return ((x.astype(dtype) - mean) * factor + b).astype(x.dtype)


@operator("LayerNormalization")
def _layer_norm(node: Node, x: Array, scale: Array, b: Array | None = None) -> Any:
    return layer_norm(node, x, scale, b, _inner_axes(node, x))


def layer_norm(node: Node, x: Array, scale: Array, b: Array | None, axes: tuple[int, ...]) -> Any:
    """Normalised x, its mean and the inverse of its standard deviation."""
    stash = element_type(node.attr("stash_type", 1), node.where)
    mean, deviation, variance = _moments(jnp.asarray(x).astype(stash), axes)
    inverse = lax.rsqrt(variance + _epsilon(node, stash))
    y = (deviation * inverse).astype(x.dtype) * scale
    return y if b is None else y + b, mean, inverse


def _inner_axes(node: Node, x: Array) -> tuple[int, ...]:
    axis = node.attr("axis", -1)
    if not -x.ndim <= axis < x.ndim:
        raise node.fault(f"axis is {axis}, but X has rank {x.ndim}")
    return tuple(range(axis % x.ndim, x.ndim))


@operator("RMSNormalization")
def _rms_norm(node: Node, x: Array, scale: Array) -> Array:
    return rms_norm(node, x, scale, _inner_axes(node, x))[0]


def rms_norm(node: Node, x: Array, scale: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """X over its root mean square, and the inverse of that."""
    stash = element_type(node.attr("stash_type", 1), node.where)
    wide = jnp.asarray(x).astype(stash)
    inverse = lax.rsqrt(jnp.mean(wide * wide, axis=axes, keepdims=True) + _epsilon(node, stash))
    return (wide * inverse).astype(scale.dtype) * scale, inverse


@operator("GroupNormalization", since=18)
def _group_norm_old(node: Node, x: Array, scale: Array, b: Array) -> Array:
    """Version 18: scale and bias per group."""
    each = x.shape[1] // node.attr("num_groups", 1)
    return _group_norm(node, x, jnp.repeat(scale, each), jnp.repeat(b, each))


@operator("GroupNormalization", since=21)
def _group_norm(node: Node, x: Array, scale: Array, b: Array) -> Array:
    groups = node.attr("num_groups", 1)
    if groups < 1 or x.shape[1] % groups:
        raise node.fault(f"num_groups is {groups}, which does not divide the {x.shape[1]} channels")
    stash = element_type(node.attr("stash_type", 1), node.where) if node.version >= 21 else _wide(x)
    parts = jnp.asarray(x).astype(stash).reshape(x.shape[0], groups, -1)
    _, deviation, variance = _moments(parts, (2,))
    y = (deviation * lax.rsqrt(variance + _epsilon(node, stash))).reshape(x.shape).astype(x.dtype)
    return y * _per_channel(scale, x.ndim) + _per_channel(b, x.ndim)


@operator("InstanceNormalization")
def _instance_norm(node: Node, x: Array, scale: Array, b: Array) -> Array:
    dtype = _wide(x)
    _, deviation, variance = _moments(jnp.asarray(x).astype(dtype), tuple(range(2, x.ndim)))
    y = deviation * lax.rsqrt(variance + _epsilon(node, dtype))
    scale, b = scale.astype(dtype), b.astype(dtype)
    return (y * _per_channel(scale, x.ndim) + _per_channel(b, x.ndim)).astype(x.dtype)


@operator("LRN")
def _local_response(node: Node, x: Array) -> Array:
    size = node.attr("size")
    if not isinstance(size, int) or size < 1:
        raise node.fault("attribute size is missing or no positive number")
    dtype = _wide(x)
    wide = jnp.asarray(x).astype(dtype)
    low = (size - 1) // 2
    pads = [(low, size - 1 - low) if axis == 1 else (0, 0) for axis in range(x.ndim)]
    window = tuple(size if axis == 1 else 1 for axis in range(x.ndim))
    total = lax.reduce_window(wide * wide, np.zeros((), dtype), lax.add, window, (1,) * x.ndim, pads)
    base = np.asarray(node.attr("bias", 1.0), dtype) + np.asarray(node.attr("alpha", 1e-4) / size, dtype) * total
    return (wide / jnp.power(base, np.asarray(node.attr("beta", 0.75), dtype))).astype(x.dtype)


@operator("MeanVarianceNormalization")
def _mean_variance(node: Node, x: Array) -> Array:
    axes = node.attr("axes", (0, 2, 3))
    _, deviation, variance = _moments(x, tuple(axis % x.ndim for axis in axes))
    return deviation / (jnp.sqrt(variance) + np.asarray(1e-9, x.dtype))


@operator("LpNormalization")
def _lp_norm(node: Node, x: Array) -> Array:
    axis, p = node.attr("axis", -1), node.attr("p", 2)
    if p not in (1, 2):
        raise node.fault(f"p is {p}; want 1 or 2")
    total = jnp.sum(jnp.abs(x) if p == 1 else x * x, axis=axis, keepdims=True)
    zero = total == 0  # the gradient of a root at zero is not finite: it is not taken there
    safe = jnp.where(zero, np.ones((), x.dtype), total)
    return jnp.where(zero, np.zeros((), x.dtype), x / (safe if p == 1 else jnp.sqrt(safe)))


@operator("Dropout")
def _dropout_oldest(node: Node, x: Array) -> Any:
    """Until version 6: random unless is_test is given."""
    if node.attr("is_test", 0):
        return x, np.ones((), x.dtype)
    kept, y = _dropped(node, x, node.attr("ratio", 0.5), None)
    return y, kept.astype(x.dtype)


@operator("Dropout", since=7)
def _dropout_of_inference(node: Node, x: Array) -> Any:
    """Versions 7 to 11 say what dropout does when the model is used: nothing."""
    dtype = x.dtype if node.version < 10 else np.bool_
    return (x, jnp.ones(x.shape, dtype)) if node.wants(1) else x


@operator("Dropout", since=12)
def _dropout(node: Node, x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
    if training is None or (isinstance(training, np.ndarray) and not training.any()):
        return (x, jnp.ones(x.shape, np.bool_)) if node.wants(1) else x
    if isinstance(ratio, np.ndarray) and float(ratio.reshape(())) == 0:
        return x, jnp.ones(x.shape, np.bool_)
    kept, y = _dropped(node, x, 0.5 if ratio is None else jnp.reshape(ratio, ()), node.attr("seed"))
    training = jnp.reshape(training, ())
    return jnp.where(training, y, x), kept | ~training


def _dropped(node: Node, x: Array, ratio: Any, seed: int | None) -> tuple[Array, Array]:
    """What is kept, and the tensor without the rest. A function has no state: without a seed it is 0."""
    seed = 0 if seed is None else int(seed)
    if x.size <= EXACT_MASK:
        kept = jnp.asarray(np.random.RandomState(seed % (1 << 32)).uniform(0, 1, x.shape)) >= ratio
    else:
        kept = jax.random.uniform(jax.random.key(seed), x.shape, np.float32) >= ratio
    scale = jnp.asarray(1 / (1 - jnp.asarray(ratio, np.float32)), x.dtype)
    return kept, jnp.where(kept, x * scale, np.zeros((), x.dtype))
