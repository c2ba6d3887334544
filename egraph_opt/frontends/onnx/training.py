# SPDX-License-Identifier: Apache-2.0
"""Operators of the training domain: gradients inside of a graph, steps of Adagrad, Adam and Momentum.

The steps take a rate, a step number, and then all weights, all gradients and all states in turn.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

DOMAIN = "ai.onnx.preview.training"


@operator("Gradient", domain=DOMAIN)
def _gradient(node: Node, *values: Array) -> tuple[Array, ...]:
    """Derivatives of a value of the graph, summed, by others; the part of the graph between them runs again."""
    names, fixed, of = node.attr("xs"), node.attr("zs", ()), node.attr("y")
    if len(values) != len(names) + len(fixed):
        raise node.fault(
            f"got {len(values)} inputs; want one for each of the {len(names) + len(fixed)} names in xs, zs"
        )
    moving, held = values[: len(names)], dict(zip(fixed, values[len(names) :], strict=True))

    def again(*moved: Array) -> Array:
        return jnp.sum(node.frame.again({**held, **dict(zip(names, moved, strict=True))}, of))

    return tuple(jax.grad(again, argnums=tuple(range(len(names))))(*map(jnp.asarray, moving)))


def _groups(node: Node, values: tuple[Array, ...], count: int) -> list[tuple[Array, ...]]:
    """For each weight its gradient and its states."""
    if not values or len(values) % count:
        raise node.fault(f"got {len(values)} tensors; want {count} for each weight")
    each = len(values) // count
    return [tuple(values[each * part + i] for part in range(count)) for i in range(each)]


def _ungrouped(results: list[tuple[Array, ...]]) -> tuple[Array, ...]:
    return tuple(value for part in zip(*results, strict=True) for value in part)


def _regular(node: Node, x: Array, gradient: Array) -> Array:
    return np.asarray(node.attr("norm_coefficient", 0.0), x.dtype) * x + gradient


@operator("Adagrad", domain=DOMAIN)
def _adagrad(node: Node, rate: Array, step: Array, *values: Array) -> Any:
    decayed = rate / (1 + step.astype(rate.dtype) * np.asarray(node.attr("decay_factor", 0.0), rate.dtype))
    results = []
    for x, gradient, squares in _groups(node, values, 3):
        regular = _regular(node, x, gradient)
        new = squares + regular * regular
        change = regular / (jnp.sqrt(new) + np.asarray(node.attr("epsilon"), x.dtype))
        results.append((x - decayed.astype(x.dtype) * change, new))
    return _ungrouped(results)


@operator("Adam", domain=DOMAIN)
def _adam(node: Node, rate: Array, step: Array, *values: Array) -> Any:
    results = []
    for x, gradient, mean, square in _groups(node, values, 4):
        alpha, beta = (np.asarray(node.attr(name), x.dtype) for name in ("alpha", "beta"))
        one, count = np.ones((), x.dtype), step.astype(x.dtype)
        regular = _regular(node, x, gradient)
        new_mean = alpha * mean + (one - alpha) * regular
        new_square = beta * square + (one - beta) * regular * regular
        unbiased = jnp.sqrt(one - jnp.power(beta, count)) / (one - jnp.power(alpha, count))
        adjusted = jnp.where(step > 0, rate.astype(x.dtype) * unbiased, rate.astype(x.dtype))
        new = x - adjusted * new_mean / (jnp.sqrt(new_square) + np.asarray(node.attr("epsilon"), x.dtype))
        results.append(
            ((one - np.asarray(node.attr("norm_coefficient_post", 0.0), x.dtype)) * new, new_mean, new_square)
        )
    return _ungrouped(results)


@operator("Momentum", domain=DOMAIN)
def _momentum(node: Node, rate: Array, step: Array, *values: Array) -> Any:
    mode = node.attr("mode")
    if mode not in ("standard", "nesterov"):
        raise node.fault(f"got the mode {mode!r}; want standard or nesterov")
    results = []
    for x, gradient, momentum in _groups(node, values, 3):
        alpha, beta = (np.asarray(node.attr(name), x.dtype) for name in ("alpha", "beta"))
        regular = _regular(node, x, gradient)
        weight = jnp.where(step > 0, beta, np.ones((), x.dtype))
        new = alpha * momentum + weight * regular
        change = new if mode == "standard" else regular + alpha * new
        results.append((x - rate.astype(x.dtype) * change, new))
    return _ungrouped(results)
