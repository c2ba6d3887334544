# SPDX-License-Identifier: Apache-2.0
"""Losses of classification: negative log likelihood, and softmax with cross-entropy."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.reduction import softmax


@operator("NegativeLogLikelihoodLoss", since=12)
def _negative_log_likelihood(node: Node, x: Array, target: Array, weight: Array | None = None) -> Array:
    return _loss(node, x, target, weight)


@operator("SoftmaxCrossEntropyLoss", since=12)
def _softmax_cross_entropy(node: Node, scores: Array, labels: Array, weights: Array | None = None) -> Any:
    logarithms = softmax(jnp.asarray(scores), 1, logarithm=True)
    return _loss(node, logarithms, labels, weights), logarithms


def _loss(node: Node, x: Array, target: Array, weight: Array | None) -> Array:
    """Of log probabilities x[n,c,...] and classes target[n,...]; those of ``ignore_index`` do not count."""
    reduction, ignored = node.attr("reduction", "mean"), node.attr("ignore_index")
    if reduction not in ("mean", "sum", "none"):
        raise node.fault(f"reduction is {reduction!r}; want mean, sum or none")
    if target.shape != (x.shape[0], *x.shape[2:]):
        raise node.fault(f"got classes {list(target.shape)} for {list(x.shape)}; want {[x.shape[0], *x.shape[2:]]}")
    counted = None if ignored is None else target != ignored
    classes = target if counted is None else jnp.where(counted, target, 0)
    picked = jnp.take_along_axis(x, jnp.expand_dims(classes, 1).astype(np.int64), axis=1, mode="clip")
    losses = -jnp.squeeze(picked, 1)
    none, one = np.zeros((), x.dtype), np.ones((), x.dtype)
    factors = None if weight is None else jnp.take(jnp.asarray(weight), classes, axis=0, mode="clip")
    if counted is not None:
        factors = jnp.where(counted, one if factors is None else factors, none)
    if factors is not None:
        losses = jnp.where(factors == 0, none, losses * factors)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return jnp.sum(losses)
    return jnp.mean(losses) if factors is None else jnp.sum(losses) / jnp.sum(factors)
