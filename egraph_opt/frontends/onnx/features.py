# SPDX-License-Identifier: Apache-2.0
"""Operators of the domain ai.onnx.ml on features: labels, scaling, encoding; linear models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.trees import DOMAIN, labelled, transformed


def _floats(x: Array) -> Array:
    return x if x.dtype == np.float32 else x.astype(np.float32)


@operator("ArrayFeatureExtractor", domain=DOMAIN)
def _extract(node: Node, x: Array, places: Array) -> Array:
    if node.xp(x, places) is np:
        return np.take(np.atleast_2d(x), np.reshape(places, -1), axis=-1)
    return jnp.take(jnp.atleast_2d(x), jnp.reshape(places, -1), axis=-1, mode="clip")


@operator("Binarizer", domain=DOMAIN)
def _binarize(node: Node, x: Array) -> Array:
    return (x > np.asarray(node.attr("threshold", 0.0), x.dtype)).astype(x.dtype)


@operator("LabelEncoder", domain=DOMAIN)
def _encode_classes(node: Node, x: Array) -> Array:
    """Version 1 maps strings to their places, or places to strings."""
    classes = node.attr("classes_strings", ())
    places = range(len(classes))
    if x.dtype.kind == "O":
        return _mapped(node, x, classes, np.arange(len(classes), dtype=np.int64), node.attr("default_int64", -1))
    return _mapped(node, x, list(places), np.array(classes, object), node.attr("default_string", "_Unused"))


@operator("CategoryMapper", domain=DOMAIN)
def _map_categories(node: Node, x: Array) -> Array:
    texts, numbers = list(node.attr("cats_strings", ())), list(node.attr("cats_int64s", ()))
    if len(texts) != len(numbers):
        raise node.fault(f"got {len(texts)} strings and {len(numbers)} integers; want as many")
    if x.dtype.kind == "O":
        return _mapped(node, x, texts, np.array(numbers, np.int64), node.attr("default_int64", -1))
    return _mapped(node, x, numbers, np.array(texts, object), node.attr("default_string", "_Unused"))


@operator("LabelEncoder", since=2, domain=DOMAIN)
def _encode(node: Node, x: Array) -> Array:
    keys, values = (_column(node, f"{name}s") for name in ("key", "value"))
    if len(keys) != len(values):
        raise node.fault(f"got {len(keys)} keys and {len(values)} values; want as many")
    default = node.attr("default_tensor")
    if default is not None:
        default = np.asarray(default).reshape(-1)[0]
    elif values.dtype.kind == "O":
        default = node.attr("default_string", "_Unused")
    else:
        default = node.attr("default_int64", -1) if values.dtype.kind in "iu" else node.attr("default_float", -0.0)
    return _mapped(node, x, keys, values, default)


def _column(node: Node, name: str) -> np.ndarray:
    kinds = {"strings": object, "int64s": np.int64, "floats": np.float32}
    for suffix, dtype in kinds.items():
        if (found := node.attr(f"{name}_{suffix}")) is not None:
            return np.array(found, dtype)
    tensor = node.attr(f"{name}_tensor")
    if tensor is None:
        raise node.fault(f"has no {name}")
    return np.asarray(tensor).reshape(-1)


def _mapped(node: Node, x: Array, keys: Sequence[Any] | np.ndarray, values: np.ndarray, default: Any) -> Array:
    """Each element's value: that of the last key that equals it, else the default."""
    if x.dtype.kind == "O" or values.dtype.kind == "O":
        known = node.concrete(x, "its input, since strings are read or made,")
        table = {_key(key): value for key, value in zip(keys, values, strict=True)}
        found = [table.get(_key(item), default) for item in known.reshape(-1)]
        return np.array(found, values.dtype).reshape(known.shape)
    column = np.asarray(keys, x.dtype)
    same = x[..., None] == column
    if jnp.issubdtype(x.dtype, jnp.floating) and np.isnan(column).any():
        same = same | (jnp.isnan(x)[..., None] & np.isnan(column))
    last = len(column) - 1 - jnp.argmax(jnp.flip(same, -1), axis=-1)
    return jnp.where(jnp.any(same, axis=-1), jnp.asarray(values)[last], np.asarray(default, values.dtype))


def _key(item: Any) -> Any:
    return "nan" if isinstance(item, float | np.floating) and item != item else item


@operator("FeatureVectorizer", domain=DOMAIN)
def _join(_node: Node, *args: Array) -> Array:
    rows = [_floats(x).reshape(x.shape[0] if x.ndim > 1 else 1, -1) for x in args]
    return jnp.concatenate(rows, axis=1)


@operator("Imputer", domain=DOMAIN)
def _impute(node: Node, x: Array) -> Array:
    integral = x.dtype.kind in "iu"
    kind = "int64" if integral else "float"
    filled = np.asarray(node.attr(f"imputed_value_{kind}s"), x.dtype)
    replaced = node.attr(f"replaced_value_{kind}", 0)
    missing = jnp.isnan(x) if not integral and np.isnan(replaced) else x == np.asarray(replaced, x.dtype)
    return jnp.where(missing, filled.reshape(()) if filled.size == 1 else filled, x)


@operator("Scaler", domain=DOMAIN)
def _scale(node: Node, x: Array) -> Array:
    offset, scale = node.attr("offset", 0), node.attr("scale", 1)
    return (_floats(x) - np.asarray(offset, np.float32)) * np.asarray(scale, np.float32)


@operator("Normalizer", domain=DOMAIN)
def _normalize(node: Node, x: Array) -> Array:
    x = _floats(x)
    match node.attr("norm", "MAX"):
        case "MAX":
            size = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
        case "L1":
            size = jnp.sum(jnp.abs(x), axis=-1, keepdims=True)
        case "L2":
            size = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))
        case other:
            raise node.fault(f"got the norm {other!r}; want MAX, L1 or L2")
    return x / jnp.where(size == 0, np.float32(1), size)


@operator("OneHotEncoder", domain=DOMAIN)
def _one_hot(node: Node, x: Array) -> Array:
    texts, numbers = node.attr("cats_strings"), node.attr("cats_int64s")
    if x.dtype.kind == "O":
        known = node.concrete(x, "its input, which holds strings,")
        hot = np.equal(known[..., None], np.array(texts, object)).astype(np.float32)
    else:
        hot = (x[..., None] == np.asarray(numbers, x.dtype)).astype(np.float32)
    if not node.attr("zeros", 1) and not node.concrete(hot.any(axis=-1), "whether every element is a category").all():
        raise node.fault("got an element that is none of the categories; zeros = 0 forbids that")
    return hot


@operator("LinearRegressor", domain=DOMAIN)
def _regress(node: Node, x: Array) -> Array:
    scores = _linear(node, _floats(x), node.attr("targets", 1))
    return transformed(node, scores, node.attr("post_transform", "NONE"))


def _linear(node: Node, x: Array, count: int) -> Array:
    weights = np.asarray(node.attr("coefficients"), np.float32).reshape(count, -1)
    product = jnp.matmul(x if x.ndim == 2 else x.reshape(1, -1), weights.T)
    offsets = node.attr("intercepts")
    return product if offsets is None or not len(offsets) else product + np.asarray(offsets, np.float32)


@operator("LinearClassifier", domain=DOMAIN)
def _classify(node: Node, x: Array) -> tuple[Array, Array]:
    labels = node.attr("classlabels_ints", node.attr("classlabels_strings"))
    if not labels:
        raise node.fault("has no labels of its classes")
    x = _floats(x)
    count = len(node.attr("coefficients")) // x.shape[-1]
    scores, name = _linear(node, x, count), node.attr("post_transform", "NONE")
    if count == 1 and len(labels) == 2:
        scores = jnp.concatenate([-scores, scores], axis=1)
    elif count != len(labels):
        raise node.fault(f"got {len(labels)} labels for {count} rows of coefficients")
    return labelled(node, jnp.argmax(scores, axis=1), labels), transformed(node, scores, name)
