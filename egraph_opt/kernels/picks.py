# SPDX-License-Identifier: Apache-2.0
"""Gathers that take one element of each row, written in plain operations so that a piece may go through them.

``x[rows, labels]``, ``take_along_axis``, a vmapped ``x[label]``: in a piece they become a sum over the elements whose
number is the label, with what the gather's mode says of labels that no element has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import is_floating
from egraph_opt.kernels.values import Array, value

LARGEST_ROWS = 1 << 20
"""Elements of a table of row numbers that is looked at."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One element of each row.

    Args:
        source: what is taken from.
        index: node of the labels; they are in the order of the rows.
        axis: of the source, along which labels count.
        fills: whether a label that no element has gives NaN; else it means the nearest one that there is.
    """

    source: int
    index: int
    axis: int
    fills: bool

    @property
    def operands(self) -> tuple[int, int]:
        """What it reads."""
        return self.source, self.index


Picks = Mapping[int, Pick]


def picks_in(graph: Graph, known: frozenset[int]) -> dict[int, Pick]:
    """The gathers of a program that are picks.

    Args:
        graph: the program.
        known: nodes that read no input.
    """
    found: dict[int, Pick] = {}
    for number, node in enumerate(graph.nodes):
        if node.op == "gather" and number not in known:
            one = _pick(graph, number, known)
            if one is not None:
                found[number] = one
    return found


def _pick(graph: Graph, number: int, known: frozenset[int]) -> Pick | None:
    node = graph.nodes[number]
    source, index = node.operands
    shape = graph.nodes[source].type.shape
    if not is_floating(node.type.dtype) or any(s != 1 for s in node.attr("slice_sizes")) or not shape:
        return None
    mode = getattr(node.attr("mode"), "name", "")
    fill = node.attr("fill_value")
    if mode not in ("FILL_OR_DROP", "CLIP", "PROMISE_IN_BOUNDS"):
        return None
    if mode == "FILL_OR_DROP" and fill is not None and not (isinstance(fill, float) and math.isnan(fill)):
        return None
    numbers = node.attr("dimension_numbers")
    mapped, batching = tuple(numbers.start_index_map), tuple(numbers.operand_batching_dims)
    if len(mapped) == 1:
        axis = int(mapped[0])
        rest = tuple(d for d in range(len(shape)) if d != axis)
        own = tuple(numbers.start_indices_batching_dims)
        lengths = graph.nodes[index].type.shape
        counted = tuple(d for d in batching if shape[d] != 1) == tuple(d for d in rest if shape[d] != 1)
        ordered = counted and batching == tuple(sorted(batching)) and own == tuple(sorted(own))
        if not ordered or any(s != 1 for d, s in enumerate(lengths) if d not in own):
            return None
        return Pick(source, index, axis, mode == "FILL_OR_DROP")
    if batching or tuple(sorted(mapped)) != tuple(range(len(shape))):
        return None
    return _by_rows(graph, number, mapped, known)


def _by_rows(graph: Graph, number: int, mapped: tuple[int, ...], known: frozenset[int]) -> Pick | None:
    """``x[rows, labels]``: all coordinates but one count the rows."""
    node = graph.nodes[number]
    source, index = node.operands
    joined, shape = graph.nodes[index], graph.nodes[source].type.shape
    if joined.op != "concatenate" or len(joined.operands) != len(mapped):
        return None
    if (
        any(graph.nodes[q].type.shape[-1] != 1 for q in joined.operands)
        or joined.attr("dimension") != joined.type.rank - 1
    ):
        return None
    parts = dict(zip(mapped, joined.operands, strict=True))
    labels = [d for d, q in parts.items() if q not in known]
    if len(labels) != 1:
        return None
    axis = labels[0]
    rows = tuple(s for d, s in enumerate(shape) if d != axis)
    if node.type.shape != rows or math.prod(rows) > LARGEST_ROWS:
        return None
    counted = np.indices(rows)
    for place, d in enumerate(d for d in range(len(shape)) if d != axis):
        table = _known(graph, parts[d])
        if table is None or not np.array_equal(table[..., 0], counted[place]):
            return None
    return Pick(source, parts[axis], axis, getattr(node.attr("mode"), "name", "") == "FILL_OR_DROP")


def _known(graph: Graph, number: int) -> Array | None:
    """Value of a node that reads no input."""
    builder = Builder()
    place: dict[int, int] = {}
    wanted, stack = set(), [number]
    while stack:
        n = stack.pop()
        if n not in wanted:
            wanted.add(n)
            stack += graph.nodes[n].operands
    for n in sorted(wanted):
        place[n] = builder.copy(graph.nodes[n], [place[q] for q in graph.nodes[n].operands])
    return value(builder.build([place[number]]), ())


def written(builder: Builder, pick: Pick, source: int, index: int, result: TensorType) -> int:
    """The pick in plain operations.

    Args:
        builder: of the piece.
        pick: which.
        source: its source there.
        index: its labels there.
        result: its type.
    """
    x, labels = builder.type(source), builder.type(index)
    letters = LETTERS[: x.rank]
    lacking = letters.replace(letters[pick.axis], "")
    count = x.shape[pick.axis]
    rows = tuple(s for d, s in enumerate(x.shape) if d != pick.axis)
    whole, some = labels.with_shape(x.shape), labels.with_shape(rows)
    sizes = dict(zip(letters, x.shape, strict=True))

    def number(n: int) -> int:
        return builder.add("constant", (), (("value", n),), labels.with_shape(()))

    def spread(y: int, have: str) -> int:
        held = {c: sizes[c] for c in letters}
        return builder.add("einsum", [y], (("spec", canonical([have], letters, held)),), whole)

    at = builder.add("reshape", [index], (("shape", rows),), some) if labels.shape != rows else index
    inside = at
    if not pick.fills:
        at = builder.add("clamp", [number(0), at, number(count - 1)], (), some)
    own = (("dimension", 0), ("dtype", np.dtype(labels.dtype)), ("shape", (count,)))
    places = builder.add("iota", (), own, labels.with_shape((count,)))
    same = builder.add("eq", [spread(places, letters[pick.axis]), spread(at, lacking)], (), TensorType(x.shape, "bool"))
    zero = builder.add("constant", (), (("value", 0.0),), x.with_shape(()))
    kept = builder.add("select_n", [same, zero, source], (), x)
    made = builder.add("einsum", [kept], (("spec", canonical([letters], lacking, sizes)),), x.with_shape(rows))
    if pick.fills:
        flag = TensorType(rows, "bool")
        low = builder.add("ge", [inside, number(0)], (), flag)
        high = builder.add("lt", [inside, number(count)], (), flag)
        nan = builder.add("constant", (), (("value", math.nan),), x.with_shape(()))
        there = builder.add("and", [low, high], (), flag)
        made = builder.add("select_n", [there, nan, made], (), x.with_shape(rows))
    return made if result.shape == rows else builder.add("reshape", [made], (("shape", result.shape),), result)
