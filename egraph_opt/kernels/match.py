# SPDX-License-Identifier: Apache-2.0
"""Whether a piece of program is a kernel: its leaves laid out as the kernel's arguments, and equal values.

A piece is compared by what it computes, not by how it is spelled: both sides are evaluated in double precision on
several draws, ones with ties, zeros, large and tiny numbers among them, and must agree up to the rounding of constants.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.ir.types import is_floating
from egraph_opt.kernels.dims import Dims, resized
from egraph_opt.kernels.record import SPREAD, Kernel, Static, frozen
from egraph_opt.kernels.region import LABEL_DTYPES, Piece
from egraph_opt.kernels.values import Array, Likeness, likeness, tolerance_of, value

SMALL = (2, 3, 4)
SMALLER = (2,)
"""Sizes that leading dimensions are given for a comparison, and that they are given where those make too much of it."""

LARGEST = 1 << 18
"""Elements of the largest tensor that is compared; larger pieces are left alone."""

MOST_LAYOUTS = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """How leaves become arguments.

    Args:
        leaves: for each argument, which leaf of the piece.
        orders: for each argument, its dimensions as positions of the leaf's.
        types: of the arguments.
        result: dimensions of the piece's result as positions of the kernel's.
        lean: whether dimensions of size 1 are left out of leaves and result first.
    """

    leaves: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    types: tuple[TensorType, ...]
    result: tuple[int, ...]
    lean: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A piece that is a kernel.

    Args:
        kernel: which.
        piece: of the program.
        layout: how its leaves become arguments.
        static: keywords of the pattern.
        likeness: how far they are the same.
    """

    kernel: Kernel
    piece: Piece
    layout: Layout
    static: Static
    likeness: Likeness


def match(kernel: Kernel, piece: Piece) -> Match | None:
    """The piece as a kernel, if it is one."""
    found = _matched(kernel, piece, piece.graph)
    # Labels and what is picked by them have dimensions of size 1 in other places than scores.
    if (
        found is None
        and kernel.labels
        and any(1 in t.shape for t in (*piece.graph.input_types, *piece.graph.output_types))
    ):
        lean = _matched(kernel, piece, _lean(piece.graph))
        found = None if lean is None else replace(lean, layout=replace(lean.layout, lean=True))
    return found


def _lean(graph: Graph) -> Graph:
    """The piece without the dimensions of size 1 of its leaves and its result."""
    builder = Builder()
    place: dict[int, int] = {}
    for number in graph.inputs:
        type = graph.nodes[number].type
        place[number] = _shaped(builder, builder.input(lean_type(type)), type)
    for number, node in enumerate(graph.nodes):
        if node.op != "input":
            place[number] = builder.copy(node, [place[q] for q in node.operands])
    root = graph.outputs[0]
    return builder.build([_shaped(builder, place[root], lean_type(graph.nodes[root].type))])


def _shaped(builder: Builder, x: int, type: TensorType) -> int:
    return x if builder.type(x).shape == type.shape else builder.add("reshape", [x], (("shape", type.shape),), type)


def lean_type(type: TensorType) -> TensorType:
    """The type without dimensions of size 1."""
    return type.with_shape(tuple(n for n in type.shape if n != 1))


def _matched(kernel: Kernel, piece: Piece, graph: Graph) -> Match | None:
    dims = Dims(graph)
    for layout in itertools.islice(_layouts(kernel, graph, dims), MOST_LAYOUTS):
        small = _small(kernel, graph, dims, layout)
        if small is None:
            continue
        seen = _Seen(kernel, small, layout)
        for static in kernel.statics(piece.scalars(), layout.types):
            like = alike(kernel, seen, layout, frozen(static))
            if like:
                return Match(kernel, piece, layout, frozen(static), like)
    return None


def _small(kernel: Kernel, graph: Graph, dims: Dims, layout: Layout) -> Graph | None:
    """The piece at small sizes; None where it stays too large."""
    named = {dims.of(n)[order[-1 - i]] for n, order, i in _named(kernel, graph, layout)}
    free = [c for c in dims.classes() if c not in dims.fixed | dims.reduced | named]
    for small_sizes in (SMALL, SMALLER):
        sizes = {c: min(small_sizes[i % len(small_sizes)], dims.size(c)) for i, c in enumerate(free)}
        small = resized(graph, dims, sizes) if sizes else graph
        if max(math.prod(t.shape) for node in small.nodes for t in node.types) <= LARGEST:
            return small
    return None


class _Seen:
    """A small piece's values on draws, each computed when it is first asked for."""

    def __init__(self, kernel: Kernel, small: Graph, layout: Layout) -> None:
        kinds = small.input_types
        self.small = small
        self.types = [
            kinds[leaf].with_shape(tuple(kinds[leaf].shape[d] for d in order))
            for leaf, order in zip(layout.leaves, layout.orders, strict=True)
        ]
        self.tolerance = tolerance_of([t.dtype for node in small.nodes for t in node.types])
        self._leaves = _own_draws(kernel, self.types, layout) if kernel.draws else draws(kinds)
        self._made: list[tuple[list[Array], Array | None]] = []

    def __iter__(self) -> Iterator[tuple[list[Array], Array | None]]:
        """Leaves, and the piece's value of them."""
        yield from self._made
        for leaves in self._leaves:
            self._made.append((leaves, value(self.small, leaves)))
            yield self._made[-1]


def _own_draws(kernel: Kernel, types: Sequence[TensorType], layout: Layout) -> Iterator[list[Array]]:
    """A kernel's own draws, as leaves."""
    assert kernel.draws is not None, "it was looked at"
    for arguments in kernel.draws(types):
        leaves: list[Array] = [np.zeros(())] * len(types)
        for leaf, order, x in zip(layout.leaves, layout.orders, arguments, strict=True):
            leaves[leaf] = np.transpose(x, np.argsort(order)) if order else x
        yield leaves


def alike(kernel: Kernel, seen: _Seen, layout: Layout, static: Static) -> Likeness:
    """Whether a piece and a kernel have equal values at small sizes."""
    body = kernel.body(seen.types, static)
    if body is None:
        return Likeness.NONE
    least = Likeness.SAME
    for number, (leaves, found) in enumerate(seen):
        arguments = [
            np.transpose(leaves[leaf], order) for leaf, order in zip(layout.leaves, layout.orders, strict=True)
        ]
        wanted = value(body, arguments)
        if found is None or wanted is None:
            return Likeness.NONE
        like = likeness(found, np.transpose(wanted, layout.result), seen.tolerance)
        if like is Likeness.FINITE and not all(np.isfinite(x).all() for x in arguments):
            like = Likeness.SAME  # 0 times the score of a hidden class: equality is promised for finite arguments
        least = min(least, like)
        if least < (Likeness.FINITE if number else Likeness.SAME):
            return Likeness.NONE
    return least


def draws(types: Sequence[TensorType]) -> Iterator[list[Array]]:
    """Values of leaves: plain, with ties and zeros, large, tiny around an offset."""
    for number in range(4):
        random = np.random.default_rng([7, number])
        leaves: list[Array] = []
        for type in types:
            if type.dtype == "bool":
                leaves.append(random.integers(0, 2, type.shape) > 0)
            elif not is_floating(type.dtype):
                leaves.append(random.integers(0, 3, type.shape).astype(type.dtype))
            else:
                x = random.standard_normal(type.shape)
                if number == 1:
                    x = np.round(2 * x) * random.choice([1.0, 40.0, 0.0], type.shape)
                elif number == 2:
                    x = 300.0 * x
                elif number == 3:
                    x = 1e-3 * x + 0.5
                leaves.append(x)
        yield leaves


def _named(kernel: Kernel, graph: Graph, layout: Layout) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """Leaf, order and position from the end of each argument's dimension that has a name."""
    for argument, shape in enumerate(kernel.shapes):
        words = [w for w in shape.split() if w != SPREAD]
        for i in range(len(words)):
            yield graph.inputs[layout.leaves[argument]], layout.orders[argument], i


def _layouts(kernel: Kernel, graph: Graph, dims: Dims) -> Iterator[Layout]:
    """Ways to see the leaves as arguments such that names of sizes and classes of dimensions go together."""
    count = len(kernel.shapes)
    kinds = [t.dtype for t in graph.input_types]
    floats = {t.dtype for t in (*graph.input_types, *graph.output_types) if t.dtype not in LABEL_DTYPES}
    if len(kinds) != count or len(floats) != 1 or sum(d in LABEL_DTYPES for d in kinds) != len(kernel.labels):
        return
    root = dims.of(graph.outputs[0])
    for leaves in itertools.permutations(range(count)):
        if any((kinds[leaf] in LABEL_DTYPES) != (i in kernel.labels) for i, leaf in enumerate(leaves)):
            continue
        choices = [
            list(_orders(shape, graph.nodes[graph.inputs[leaf]].type.rank))
            for shape, leaf in zip(kernel.shapes, leaves, strict=True)
        ]
        for orders in itertools.product(*choices):
            table = _bound(kernel, graph, dims, leaves, orders)
            result = None if table is None else _result(kernel.result, table, root)
            if result is not None:
                types = tuple(
                    _turned(graph.nodes[graph.inputs[leaf]].type, order)
                    for leaf, order in zip(leaves, orders, strict=True)
                )
                yield Layout(leaves, orders, types, result)


def _turned(type: TensorType, order: Sequence[int]) -> TensorType:
    return type.with_shape(tuple(type.shape[d] for d in order))


def _orders(shape: str, rank: int) -> Iterator[tuple[int, ...]]:
    """Orders of the dimensions of a tensor such that the named ones stand last, as written first."""
    words = shape.split()
    named = len([w for w in words if w != SPREAD])
    if rank < named or (SPREAD not in words and rank != named):
        return
    for last in sorted(itertools.permutations(range(rank), named), reverse=True, key=_plainness(rank)):
        yield (*(d for d in range(rank) if d not in last), *last)


def _plainness(rank: int) -> Any:
    return lambda last: last == tuple(range(rank - len(last), rank))


def _bound(
    kernel: Kernel, graph: Graph, dims: Dims, leaves: Sequence[int], orders: Sequence[Sequence[int]]
) -> dict[str, tuple[int, ...]] | None:
    """Classes of each name of sizes; None where one name would stand for two, or leading ones are folded."""
    table: dict[str, tuple[int, ...]] = {}
    for shape, leaf, order in zip(kernel.shapes, leaves, orders, strict=True):
        own = dims.of(graph.inputs[leaf])
        words = [w for w in shape.split() if w != SPREAD]
        held = [own[d] for d in order]
        split = len(held) - len(words)
        parts = [(SPREAD, tuple(held[:split]))] if SPREAD in shape.split() else []
        parts += [(w, (c,)) for w, c in zip(words, held[split:], strict=True)]
        for word, classes in parts:
            if table.setdefault(word, classes) != classes:
                return None
    if any(c in dims.reduced for c in table.get(SPREAD, ())):
        return None
    folded = _folded(kernel)
    if any((classes[0] in dims.reduced) != (word in folded) for word, classes in table.items() if word != SPREAD):
        return None
    listed = [c for classes in table.values() for c in classes]
    return table if len(set(listed)) == len(listed) else None


def _result(shape: str, table: Mapping[str, tuple[int, ...]], root: Sequence[int]) -> tuple[int, ...] | None:
    """Dimensions of the root as positions of the kernel's result; None where they are others."""
    made = [c for word in shape.split() for c in table.get(word, (-1,))]
    if sorted(made) != sorted(root) or len(set(made)) != len(made):
        return None
    return tuple(made.index(c) for c in root)


@functools.lru_cache(maxsize=1_000)
def _folded(kernel: Kernel) -> frozenset[str]:
    """Names of the sizes that the pattern folds."""
    body = kernel.body(kernel.sample(), frozen(kernel.samples[0]))
    if body is None:
        return frozenset()
    dims = Dims(body)
    pairs = zip(kernel.shapes, body.inputs, strict=True)
    return frozenset(
        word
        for shape, number in pairs
        for word, c in zip(shape.split(), dims.of(number), strict=True)
        if c in dims.reduced
    )
