# SPDX-License-Identifier: Apache-2.0
"""How the leaves of a rotary embedding become the arguments of the pattern, and its result the piece's.

The pattern turns the last dimension of its first argument; tables have as many dimensions, of size 1 where they do not
depend on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import is_complex
from egraph_opt.kernels.dims import Dims

Box = Sequence[tuple[int, int]]
Classes = tuple[int, ...]

GIVEN = -1
"""In the place of a class: the dimension that is turned."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to see the result of a piece.

    Args:
        sizes: of the pattern's result, the turned dimension last.
        classes: of its dimensions; the last is ``GIVEN``.
        order: dimensions of the root as positions of the pattern's; None where the root is a reshape of it.
        root: sizes of the root.
        root_classes: of its dimensions.
    """

    sizes: tuple[int, ...]
    classes: Classes
    order: tuple[int, ...] | None
    root: tuple[int, ...]
    root_classes: Classes


@dataclass(frozen=True, slots=True)
class Turned:
    """A piece laid out as a rotary embedding.

    Args:
        leaves: types of the tensor and of the tables, or of one complex table.
        classes: of their dimensions.
        box: the part of the tensor that is read.
        order: its dimensions in the pattern's order; None where it is reshaped.
        shape: of the result.
        places: for each table, its dimensions as positions of the pattern's; ``GIVEN`` where they have size 1.
        swapped: whether the sine is the first table.
    """

    leaves: tuple[TensorType, ...]
    classes: tuple[Classes, ...]
    box: tuple[tuple[int, int], ...]
    order: tuple[int, ...] | None
    shape: Shape
    places: tuple[tuple[int, ...], ...]
    swapped: bool = False

    def counts(self) -> list[int]:
        """How many elements may be turned: 0 for all."""
        n, rank = self.shape.sizes[-1], len(self.shape.sizes)
        held = self.leaves[1].shape[self.places[0].index(rank - 1)]
        return [0 if count == n else count for count in (2 * held, held) if count <= n and count % 2 == 0]

    def resized(self, sizes: Mapping[int, int]) -> Turned:
        """The same at other sizes of some classes."""

        def of(shape: Sequence[int], classes: Classes) -> tuple[int, ...]:
            return tuple(sizes.get(c, n) for n, c in zip(shape, classes, strict=True))

        shape = self.shape
        box = ((0, sizes[c]) if c in sizes else part for part, c in zip(self.box, self.classes[0], strict=True))
        pairs = zip(self.leaves, self.classes, strict=True)
        return replace(
            self,
            leaves=tuple(t.with_shape(of(t.shape, classes)) for t, classes in pairs),
            box=tuple(box),
            shape=replace(shape, sizes=of(shape.sizes, shape.classes), root=of(shape.root, shape.root_classes)),
        )


def boxed(graph: Graph, x: int, region: set[int]) -> Box | None:
    """The part of a tensor that a region reads: what its slices span, or all of it."""
    sizes = graph.nodes[x].type.shape
    readers = [graph.nodes[n] for n in region if x in graph.nodes[n].operands and n > x]
    if not readers:
        return None
    if any(node.op != "slice" for node in readers):
        return [(0, n) for n in sizes]
    spans = []
    for node in readers:
        strides = node.attr("strides") or [1] * len(sizes)
        rows = zip(node.attr("start_indices"), node.types[0].shape, strides, strict=True)
        spans.append([(start, start + (count - 1) * stride + 1) for start, count, stride in rows])
    return [(min(s[d][0] for s in spans), max(s[d][1] for s in spans)) for d in range(len(sizes))]


def joined(graph: Graph, dims: Dims) -> Iterator[Shape]:
    """Ways to see the root: its own dimensions with one of them turned, or the last two of what it is a reshape of."""
    number = graph.outputs[0]
    node = graph.nodes[number]
    sizes, classes = node.type.shape, dims.of(number)
    if node.op == "reshape":
        before = graph.nodes[node.operands[0]].type.shape
        if len(before) >= 2:
            whole = (*before[:-2], before[-2] * before[-1])
            yield Shape(whole, (*dims.of(node.operands[0])[:-2], GIVEN), None, sizes, classes)
    for axis in reversed(range(len(sizes))):
        if sizes[axis] % 2 == 0 and classes[axis] in dims.fixed:
            rest = [d for d in range(len(sizes)) if d != axis]
            order = tuple(len(rest) if d == axis else rest.index(d) for d in range(len(sizes)))
            kept = (*(classes[d] for d in rest), GIVEN)
            yield Shape((*(sizes[d] for d in rest), sizes[axis]), kept, order, sizes, classes)


def tables_of(graph: Graph, dims: Dims, box: Box, shape: Shape) -> Turned | None:
    """The piece seen so; None where its tables, or its tensor, do not fit."""
    lead, n = shape.classes[:-1], shape.sizes[-1]
    kinds, classes = graph.input_types, tuple(dims.of(i) for i in graph.inputs)
    dtype = graph.output_types[0].dtype
    if n % 2 or len(set(lead)) != len(lead):
        return None
    places = []
    for type, own in zip(kinds[1:], classes[1:], strict=True):
        if type.dtype != dtype and not (is_complex(type.dtype) and len(kinds) == 2):
            return None
        place = [
            lead.index(c) if c in lead else GIVEN if size == 1 else len(lead)
            for size, c in zip(type.shape, own, strict=True)
        ]
        held = [p for p in place if p != GIVEN]
        at = [size for size, p in zip(type.shape, place, strict=True) if p == len(lead)]
        if len(set(held)) != len(held) or len(at) != 1 or at[0] > n:
            return None
        places.append(tuple(place))
    if len({kinds[1 + i].shape[place.index(len(lead))] for i, place in enumerate(places)}) != 1:
        return None
    order = _order(classes[0], lead, dims)
    if order is None and shape.order is not None and shape.order != tuple(range(len(shape.order))):
        return None
    spans = [hi - lo for lo, hi in box]
    if order is not None and tuple(spans[d] for d in order) != shape.sizes:
        order = None
    return Turned(kinds, classes, tuple(box), order, shape, tuple(places))


def _order(own: Classes, lead: Classes, dims: Dims) -> tuple[int, ...] | None:
    """Dimensions of the tensor in the pattern's order; None where they are others."""
    if len(own) != len(lead) + 1 or not set(lead) <= set(own) or len(set(own)) != len(own):
        return None
    (last,) = (d for d, c in enumerate(own) if c not in lead)
    return (*(own.index(c) for c in lead), last) if own[last] in dims.fixed else None


def arguments(emitter: Emitter, leaves: Sequence[int], turned: Turned) -> list[int]:
    """The pattern's arguments, made of the leaves."""
    x, rank = leaves[0], len(turned.shape.sizes)
    if any((lo, hi) != (0, n) for (lo, hi), n in zip(turned.box, emitter.type(x).shape, strict=True)):
        spans = tuple(hi - lo for lo, hi in turned.box)
        attrs = (
            ("start_indices", tuple(lo for lo, _ in turned.box)),
            ("limit_indices", tuple(hi for _, hi in turned.box)),
            ("strides", None),
        )
        x = emitter.add("slice", [x], attrs, emitter.type(x).with_shape(spans))
    if turned.order is not None:
        x = _permuted(emitter, x, turned.order)
    made = [emitter.reshape(x, turned.shape.sizes)]
    tables = [_table(emitter, y, place, rank) for y, place in zip(leaves[1:], turned.places, strict=True)]
    if len(tables) == 1:
        type = TensorType(emitter.type(tables[0]).shape, emitter.type(x).dtype)
        tables = [emitter.elementwise(op, tables, (), type) for op in ("real", "imag")]
    return made + (tables[::-1] if turned.swapped else tables)


def _table(emitter: Emitter, y: int, place: Sequence[int], rank: int) -> int:
    """A table with the pattern's dimensions."""
    shape = emitter.type(y).shape
    kept = [(p, n) for p, n in zip(place, shape, strict=True) if p != GIVEN]
    y = emitter.reshape(y, tuple(n for _, n in kept))
    order = sorted(range(len(kept)), key=lambda d: kept[d][0])
    y = _permuted(emitter, y, order)
    held = dict(kept)
    return emitter.reshape(y, tuple(held.get(p, 1) for p in range(rank)))


def _permuted(emitter: Emitter, x: int, order: Sequence[int]) -> int:
    letters = LETTERS[: len(order)]
    sizes = dict(zip(letters, emitter.type(x).shape, strict=True))
    return emitter.einsum(canonical([letters], "".join(letters[d] for d in order), sizes), [x])


def argument_types(turned: Turned) -> tuple[TensorType, ...]:
    """Types of the pattern's arguments."""
    emitter = Emitter()
    inputs = [emitter.input(type) for type in turned.leaves]
    return tuple(emitter.type(n) for n in arguments(emitter, inputs, turned))


def result(emitter: Emitter, node: int, turned: Turned) -> int:
    """The piece's result, made of the pattern's."""
    shape = turned.shape
    if shape.order is None:
        return emitter.reshape(node, shape.root)
    return _permuted(emitter, node, shape.order)
