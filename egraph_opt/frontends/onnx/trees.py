# SPDX-License-Identifier: Apache-2.0
"""Ensembles of decision trees of the domain ai.onnx.ml: all samples walk down all trees at once.

A leaf is a node that leads to itself, so as many steps as the deepest tree has levels bring every sample to its leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.reduction import softmax

DOMAIN = "ai.onnx.ml"
MODES = ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ", "MEMBER")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as tables over all their nodes.

    Args:
        feature: column that a node looks at.
        mode: place in `MODES`.
        split: number that it compares with.
        yes: next node where the comparison holds.
        no: next node where it does not.
        missing: whether NaN goes the way of yes.
        sets: numbers that a node of mode MEMBER looks for, filled up with NaN.
        weight: what a leaf adds to each target.
        votes: whether it adds anything to the target.
        roots: first node of each tree.
    """

    feature: np.ndarray
    mode: np.ndarray
    split: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    missing: np.ndarray
    sets: np.ndarray
    weight: np.ndarray
    votes: np.ndarray
    roots: np.ndarray

    def depth(self) -> int:
        """Steps from a root to the deepest leaf."""
        level, steps = set(self.roots.tolist()), 0
        while True:
            level = {
                int(child) for i in level for child in (self.yes[i], self.no[i]) if not self.yes[i] == self.no[i] == i
            }
            if not level:
                return steps
            steps += 1
            if steps > len(self.yes):
                raise ValueError("a tree has a cycle")

    def leaves(self, x: Array) -> Array:
        """Leaf of each sample in each tree."""
        place = jnp.broadcast_to(self.roots[None, :], (x.shape[0], len(self.roots)))
        for _ in range(self.depth()):
            value = jnp.take_along_axis(x, jnp.asarray(self.feature)[place], 1, mode="clip")
            goes = self._holds(value, place) | (jnp.asarray(self.missing)[place] & (value != value))
            place = jnp.where(goes, jnp.asarray(self.yes)[place], jnp.asarray(self.no)[place])
        return place

    def _holds(self, value: Array, place: Array) -> Array:
        split, mode = jnp.asarray(self.split, value.dtype)[place], jnp.asarray(self.mode)[place]
        found: Array = jnp.zeros(value.shape, bool)
        for number in np.unique(self.mode):
            match MODES[number]:
                case "LEQ":
                    holds = value <= split
                case "LT":
                    holds = value < split
                case "GTE":
                    holds = value >= split
                case "GT":
                    holds = value > split
                case "EQ":
                    holds = value == split
                case "NEQ":
                    holds = value != split
                case _:
                    holds = jnp.any(value[..., None] == jnp.asarray(self.sets, value.dtype)[place], axis=-1)
            found = jnp.where(mode == number, holds, found)
        return found

    def scores(self, x: Array, aggregate: str) -> Array:
        """What the leaves say of each target."""
        place = self.leaves(x)
        weight = jnp.asarray(self.weight, x.dtype)[place]
        if aggregate in ("SUM", "AVERAGE"):
            total = jnp.sum(weight, axis=1, dtype=x.dtype)
            return total / np.asarray(len(self.roots), x.dtype) if aggregate == "AVERAGE" else total
        votes, info = jnp.asarray(self.votes)[place], np.finfo(x.dtype)
        if aggregate == "MIN":
            return jnp.min(jnp.where(votes, weight, info.max), axis=1)
        return jnp.max(jnp.where(votes, weight, info.min), axis=1)


def transformed(node: Node, scores: Array, name: str) -> Array:
    """Scores after the transformation that a classifier or regressor names."""
    match name:
        case "NONE":
            return scores
        case "SOFTMAX":
            return softmax(scores, -1)
        case "LOGISTIC":
            return lax.logistic(scores)
        case "SOFTMAX_ZERO":
            largest = jnp.max(scores, axis=-1, keepdims=True)
            weights = jnp.where(jnp.abs(scores) > 1e-7, jnp.exp(scores - largest), scores * jnp.exp(-largest))
            total = jnp.sum(weights, axis=-1, keepdims=True)
            return jnp.where(total == 0, np.asarray(0.5, scores.dtype), weights / total)
        case "PROBIT":
            return np.asarray(np.sqrt(2), scores.dtype) * lax.erf_inv(2 * scores - 1)
    raise node.fault(f"got the transformation {name!r}; want one of {', '.join(TRANSFORMS)}")


@operator("TreeEnsemble", since=5, domain=DOMAIN)
def _tree_ensemble(node: Node, x: Array) -> Array:
    modes = np.asarray(node.attr("nodes_modes")).astype(np.int64)
    splits, weights = node.attr("nodes_splits"), node.attr("leaf_weights")
    count, leaves = len(modes), len(weights)
    targets = np.asarray(node.attr("leaf_targetids"))
    total = node.attr("n_targets", int(targets.max()) + 1)
    own = np.arange(count + leaves)
    yes, no = (_children(node, side, count, own) for side in ("true", "false"))
    weight, votes = np.zeros((count + leaves, total)), np.zeros((count + leaves, total), bool)
    weight[count + np.arange(leaves), targets], votes[count + np.arange(leaves), targets] = weights, True
    forest = Forest(
        _extended(node.attr("nodes_featureids"), leaves),
        _extended(modes, leaves),
        _extended(splits, leaves),
        yes,
        no,
        _extended(node.attr("nodes_missing_value_tracks_true", np.zeros(count)), leaves).astype(bool),
        _sets(node, modes, count + leaves),
        weight,
        votes,
        np.asarray(node.attr("tree_roots")),
    )
    scores = forest.scores(x, AGGREGATES[node.attr("aggregate_function", 1)])
    return transformed(node, scores, TRANSFORMS[node.attr("post_transform", 0)])


def _extended(values: Any, more: int) -> np.ndarray:
    array = np.asarray(values)
    return np.concatenate([array, np.zeros(more, array.dtype)])


def _children(node: Node, side: str, count: int, own: np.ndarray) -> np.ndarray:
    """Next nodes; leaves stand behind the inner nodes."""
    children, are_leaves = (np.asarray(node.attr(f"nodes_{side}{kind}")) for kind in ("nodeids", "leafs"))
    next_nodes = own.copy()
    next_nodes[:count] = np.where(are_leaves != 0, children + count, children)
    return next_nodes


def _sets(node: Node, modes: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the MEMBER nodes, which the file gives in one row with NaN behind each set."""
    places = np.flatnonzero(modes == MODES.index("MEMBER"))
    values = np.asarray(node.attr("membership_values", np.zeros(0)))
    ends = np.flatnonzero(np.isnan(values))
    if len(ends) != len(places):
        raise node.fault(f"got {len(ends)} sets of members for {len(places)} nodes that look for members")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    sets = np.full((count, max([1, *(ends - starts)])), np.nan)
    for place, start, end in zip(places, starts, ends, strict=True):
        sets[place, : end - start] = values[start:end]
    return sets


def _old_forest(node: Node, kind: str, total: int) -> Forest:
    """The forest of a regressor or classifier: nodes are named by tree and number, votes name the leaf they are for."""

    def numbers(name: str) -> np.ndarray:
        tensor = node.attr(f"{name}_as_tensor")
        return np.asarray(node.attr(name, ()) if tensor is None else tensor)

    trees, ids = numbers("nodes_treeids"), numbers("nodes_nodeids")
    place = {(int(tree), int(number)): i for i, (tree, number) in enumerate(zip(trees, ids, strict=True))}
    modes: Sequence[str] = node.attr("nodes_modes")
    own = np.arange(len(ids))
    leaf = np.array([mode == "LEAF" for mode in modes])
    names = [mode.removeprefix("BRANCH_") for mode in modes]
    unknown = [name for name in names if name not in (*MODES, "LEAF")]
    if unknown:
        raise node.fault(f"got the mode {unknown[0]!r}; want one of {', '.join(MODES)} or LEAF")

    def children(name: str) -> np.ndarray:
        given = numbers(name)
        return np.array([i if leaf[i] else place[int(trees[i]), int(given[i])] for i in own])

    yes, no = children("nodes_truenodeids"), children("nodes_falsenodeids")
    inner = {int(child) for i in own[~leaf] for child in (yes[i], no[i])}
    weight, votes = np.zeros((len(ids), total)), np.zeros((len(ids), total), bool)
    fields = (numbers(f"{kind}_{name}") for name in ("treeids", "nodeids", "ids", "weights"))
    for tree, number, target, value in zip(*fields, strict=True):
        weight[place[int(tree), int(number)], int(target)] += value
        votes[place[int(tree), int(number)], int(target)] = True
    missing = np.asarray(node.attr("nodes_missing_value_tracks_true", np.zeros(len(ids)))).astype(bool)
    mode = np.array([0 if name == "LEAF" else MODES.index(name) for name in names])
    roots = np.array([i for i in own if i not in inner])
    split = numbers("nodes_values")
    sets = np.full((len(ids), 1), np.nan)
    return Forest(numbers("nodes_featureids"), mode, split, yes, no, missing, sets, weight, votes, roots)


def _base(node: Node, scores: Array) -> Array:
    base = node.attr("base_values_as_tensor", node.attr("base_values"))
    return scores if base is None or not len(base) else scores + np.asarray(base, scores.dtype)


@operator("TreeEnsembleRegressor", domain=DOMAIN)
def _tree_regressor(node: Node, x: Array) -> Array:
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(np.float32)
    forest = _old_forest(node, "target", node.attr("n_targets"))
    scores = _base(node, forest.scores(x, node.attr("aggregate_function", "SUM"))).astype(np.float32)
    return transformed(node, scores, node.attr("post_transform", "NONE"))


@operator("TreeEnsembleClassifier", domain=DOMAIN)
def _tree_classifier(node: Node, x: Array) -> tuple[Array, Array]:
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(np.float32)
    labels = node.attr("classlabels_int64s", node.attr("classlabels_strings"))
    if labels is None:
        raise node.fault("has no labels of its classes")
    used = sorted({int(number) for number in node.attr("class_ids")})
    forest = _old_forest(node, "class", max(len(labels), max(used) + 1))
    scores = forest.scores(x, "SUM").astype(np.float32)
    name = node.attr("post_transform", "NONE")
    if len(used) == 1 and len(labels) == 2:
        positive = bool(np.all(forest.weight >= 0))
        return _two_classes(node, _base(node, scores[:, used[0]][:, None])[:, -1], positive, name, labels)
    scores = _base(node, scores)
    return labelled(node, jnp.argmax(scores, axis=1), labels), transformed(node, scores, name)


def _two_classes(node: Node, score: Array, positive: bool, name: str, labels: Sequence[Any]) -> tuple[Array, Array]:
    """A forest that scores only one of two classes: a probability where all votes are positive, else a margin."""
    chosen = labelled(node, (score > np.float32(0.5 if positive else 0)).astype(np.int64), labels)
    if positive:
        return chosen, jnp.stack([1 - score, score], axis=1)
    both = jnp.stack([-score, score], axis=1)
    return chosen, lax.logistic(both) if name == "LOGISTIC" else both


def labelled(node: Node, places: Array, labels: Sequence[Any]) -> Array:
    """The labels at places."""
    if isinstance(labels[0], str):
        return np.array(labels, object)[node.concrete(places, "the place of the label, which is a string,")]
    return jnp.asarray(np.asarray(labels, np.int64))[places]
