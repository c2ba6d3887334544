# SPDX-License-Identifier: Apache-2.0
"""Operators on strings, which stay on the host as numpy arrays of objects; counts of n-grams."""

from __future__ import annotations

import locale
import re
from typing import Any

import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("StringConcat", since=20, host=True)
def _concat(_node: Node, x: Array, y: Array) -> Array:
    return np.asarray(np.add(np.asarray(x, object), np.asarray(y, object)), object)


@operator("StringSplit", since=20, host=True)
def _split(node: Node, x: Array) -> tuple[Array, Array]:
    delimiter, most = node.attr("delimiter") or None, node.attr("maxsplit", -1)
    x = np.asarray(x, object)
    parts = [str(text).split(delimiter, most) if text else [] for text in x.reshape(-1)]
    width = max(map(len, parts), default=0)
    padded = np.array([row + [""] * (width - len(row)) for row in parts], object)
    counts = np.array([len(row) for row in parts], np.int64)
    return padded.reshape(*x.shape, width), counts.reshape(x.shape)


@operator("StringNormalizer", since=10, host=True)
def _normalise(node: Node, x: Array) -> Array:
    x = np.asarray(x, object)
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise node.fault(f"got strings of the shape {list(x.shape)}; want [n] or [1, n]")
    stop, same = node.attr("stopwords", ()), bool(node.attr("is_case_sensitive", 0))
    change = node.attr("case_change_action", "NONE")
    if change not in ("NONE", "LOWER", "UPPER"):
        raise node.fault(f"got the action {change!r}; want NONE, LOWER or UPPER")
    _check_locale(node)
    stopped = {word if same else word.lower() for word in stop}
    words = [word for word in x.reshape(-1) if (word if same else word.lower()) not in stopped]
    if change != "NONE":
        words = [word.lower() if change == "LOWER" else word.upper() for word in words]
    found = np.array(words or [""], object)
    return found if x.ndim == 1 else found.reshape(1, -1)


def _check_locale(node: Node) -> None:
    """Python changes case by Unicode; a language that has rules of its own is refused."""
    name = node.attr("locale") or "en_US"
    if locale.normalize(name).split("_")[0] in ("tr", "az", "lt"):
        raise node.unsupported(f"the locale {name!r} has rules of its own for the case of letters")


@operator("RegexFullMatch", since=20, host=True)
def _full_match(node: Node, x: Array) -> Array:
    try:
        pattern = re.compile(node.attr("pattern"))
    except re.error as error:
        raise node.fault(f"got a pattern that is no regular expression: {error}") from error
    x = np.asarray(x, object)
    return np.array([pattern.fullmatch(text) is not None for text in x.reshape(-1)], bool).reshape(x.shape)


@operator("TfIdfVectorizer", since=9, host=True)
def _count_ngrams(node: Node, x: Array) -> Array:
    pool, starts = node.attr("pool_int64s", node.attr("pool_strings")), node.attr("ngram_counts")
    places = node.attr("ngram_indexes")
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    xp = node.xp(x)
    counts = xp.zeros((rows.shape[0], max(places) + 1), np.float32)
    number = 0
    for length, start in enumerate(starts, 1):
        end = starts[length] if length < len(starts) else len(pool)
        grams = np.array(pool[start:end], object if isinstance(pool[0], str) else np.int64).reshape(-1, length)
        columns = np.asarray(places[number : number + len(grams)], np.int64)
        number += len(grams)
        if not node.attr("min_gram_length") <= length <= node.attr("max_gram_length") or not len(grams):
            continue
        found = _occurrences(xp, rows, grams, node.attr("max_skip_count") if length > 1 else 0)
        spread = (columns[:, None] == np.arange(counts.shape[1])).astype(np.float32)
        counts = counts + xp.matmul(found, spread)
    counts = _weighted(node, xp, counts, places)
    return counts.reshape(-1) if x.ndim == 1 else counts


def _occurrences(xp: Any, rows: Array, grams: np.ndarray, most_skipped: int) -> Array:
    """How often each n-gram occurs in each row, its elements up to so many places apart."""
    length, width = grams.shape[1], rows.shape[1]
    total = xp.zeros((rows.shape[0], len(grams)), np.float32)
    for skip in range(most_skipped + 1):
        windows = width - (length - 1) * (skip + 1)
        if windows < 1:
            break
        same: Any = True
        for i in range(length):
            first = i * (skip + 1)
            same = same & (rows[:, first : first + windows, None] == grams[:, i])
        total = total + xp.sum(same, axis=1, dtype=np.float32)
    return total


def _weighted(node: Node, xp: Any, counts: Array, places: tuple[int, ...]) -> Array:
    mode = node.attr("mode")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise node.fault(f"got the mode {mode!r}; want TF, IDF or TFIDF")
    weights = np.ones(counts.shape[1], np.float32)
    given = node.attr("weights")
    if given is not None:
        weights[np.asarray(places)] = given
    if mode == "TF":
        return counts
    return xp.where(counts > 0, weights, np.float32(0)) if mode == "IDF" else counts * weights
