# SPDX-License-Identifier: Apache-2.0
"""Sequences, which are Python lists while a model is evaluated, and optionals, which are the value itself or None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.selection import checked_axis
from egraph_opt.frontends.onnx.slicing import split_at


@operator("SequenceConstruct", since=11, host=True)
def _construct(_node: Node, *args: Array) -> list[Array]:
    return list(args)


@operator("SequenceEmpty", since=11, host=True)
def _empty(_node: Node) -> list[Array]:
    return []


@operator("SequenceLength", since=11, host=True)
def _length(node: Node, sequence: Any) -> Array:
    return np.asarray(len(_list(node, sequence)), np.int64)


@operator("SequenceAt", since=11, host=True)
def _at(node: Node, sequence: Any, position: Array) -> Array:
    items = _list(node, sequence)
    return items[_place(node, position, len(items), len(items) - 1)]


@operator("SequenceInsert", since=11, host=True)
def _insert(node: Node, sequence: Any, item: Array, position: Array | None = None) -> list[Array]:
    items = _list(node, sequence)
    place = len(items) if position is None else _place(node, position, len(items), len(items), index=2)
    return [*items[:place], item, *items[place:]]


@operator("SequenceErase", since=11, host=True)
def _erase(node: Node, sequence: Any, position: Array | None = None) -> list[Array]:
    items = _list(node, sequence)
    place = len(items) - 1 if position is None else _place(node, position, len(items), len(items) - 1)
    if place < 0:
        raise node.fault("got an empty sequence; want one with an element to erase")
    return [*items[:place], *items[place + 1 :]]


def _list(node: Node, sequence: Any) -> list[Array]:
    if not isinstance(sequence, list | tuple):
        raise node.fault("got a tensor; want a sequence")
    return list(sequence)


def _place(node: Node, position: Array, size: int, most: int, index: int = 1) -> int:
    place = node.ints(index, position)[0]
    if not -size <= place <= most:
        raise node.fault(f"got the position {place}; the sequence has {size} elements")
    return place + size if place < 0 else place


@operator("ConcatFromSequence", since=11, host=True)
def _concat(node: Node, sequence: Any) -> Array:
    items = _list(node, sequence)
    if not items:
        raise node.fault("got an empty sequence; want one with elements")
    xp, axis = node.xp(*items), node.attr("axis")
    return xp.stack(items, axis=axis) if node.attr("new_axis", 0) else xp.concatenate(items, axis=axis)


@operator("SplitToSequence", since=11, host=True)
def _split(node: Node, x: Array, split: Array | None = None) -> list[Array]:
    axis = checked_axis(node, node.attr("axis", 0), x.ndim)
    size = x.shape[axis]
    given = None if split is None else node.static(1, split)
    if given is not None and given.ndim:
        sizes: Sequence[int] = [int(part) for part in given]
    else:
        each = 1 if given is None else int(given)
        if each < 1:
            raise node.fault(f"got parts of {each} elements; want at least 1")
        sizes = [min(each, size - start) for start in range(0, size, each)]
    if sum(sizes) != size or min(sizes, default=0) < 0:
        raise node.fault(f"got parts of the sizes {list(sizes)}; the axis has {size} elements")
    parts = split_at(x, sizes, axis)
    if split is None and not node.attr("keepdims", 1):
        return [node.xp(part).squeeze(part, axis) for part in parts]
    return parts


@operator("SequenceMap", since=17)
def _map(node: Node, sequence: Any, *others: Any) -> Any:
    run, results = node.body("body"), []
    items = _list(node, sequence)
    for place, item in enumerate(items):
        rest = (other[place] if isinstance(other, list | tuple) else other for other in others)
        results.append(run(item, *rest))
    return tuple([result[i] for result in results] for i in range(len(node.outputs)))


@operator("Optional", since=15, host=True)
def _optional(_node: Node, value: Any = None) -> Any:
    return value


@operator("OptionalGetElement", since=15, host=True)
def _get_element(node: Node, value: Any = None) -> Any:
    if value is None:
        raise node.fault("got an optional without a value")
    return value


@operator("OptionalHasElement", since=15, host=True)
def _has_element(_node: Node, value: Any = None) -> Array:
    return np.asarray(value is not None)
