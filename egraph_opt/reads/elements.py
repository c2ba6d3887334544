# SPDX-License-Identifier: Apache-2.0
"""Single elements of products: ``(A B)[i, j]`` at computed places needs rows of ``A`` and columns of ``B`` alone.

So do ``take_along_axis(A B, j)`` and products of which only some pairs are looked at (sampled dense-dense products).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from jax.lax import GatherDimensionNumbers

from egraph_opt.ir import Node, Spec, TensorType
from egraph_opt.ir.attrs import NAN
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.graph import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.slices import Range, slice_attrs
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import is_floating
from egraph_opt.loops.loop import Change, rewritten


def picked(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with gathers of elements of products as products of what is gathered of the operands.

    Args:
        graph: any graph without dead nodes.
        numerics: class of the changes; below ``reassociate`` nothing is done.
    """
    if numerics < Numerics.REASSOCIATE or not any(node.op == "gather" for node in graph.nodes):
        return graph
    uses = graph.use_counts()
    done = False

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        nonlocal done
        if node.op != "gather" or uses[graph.nodes[number].operands[0]] != 1:
            return None
        product = emitter.node(operands[0])
        if product.op != "einsum" or len(product.operands) != 2:
            return None
        made = _of_operands(emitter, node, product, operands[1])
        done = done or made is not None
        return None if made is None else Change([made])

    result = rewritten(graph, numerics, change)
    return result if done else graph


def _of_operands(emitter: Emitter, node: Node, product: Node, index: int) -> int | None:
    """The gathered elements from rows of the operands; None where a window or an operand does not allow it."""
    spec, numbers = Spec.parse(product.attr("spec")), node.attr("dimension_numbers")
    places = emitter.type(index).shape[:-1]
    free = [c for c in LETTERS if c not in spec.sizes][: len(places)]
    column = {spec.output[d]: k for k, d in enumerate(numbers.start_index_map)}
    paired = dict(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True))
    beside = {spec.output[d]: free[axis] for d, axis in paired.items() if len(free) == len(places)}
    gone = {*numbers.collapsed_slice_dims, *paired}
    dropped = {*gone, *numbers.start_index_map}
    whole = all(
        n == (1 if d in dropped else spec.sizes[spec.output[d]]) for d, n in enumerate(node.attr("slice_sizes"))
    )
    count = math.prod(places)
    if not whole or len(free) < len(places) or 0 in (count, *spec.shape):
        return None
    if not all(spec.sizes[c] for c in spec.summed) or not spec.summed or len(set(spec.output)) < len(spec.output):
        return None
    if _fills(node) and not (is_floating(node.type.dtype) and node.attr("fill_value") in (None, NAN)):
        return None
    sizes = {**spec.sizes, **dict(zip(free, places, strict=True))}
    words, operands = [], []
    for word, x in zip(spec.inputs, product.operands, strict=True):
        indexed = [c for c in word if c in column]
        if len(set(word)) < len(word):
            return None
        at = [_column(emitter, index, column[c], node) for c in indexed]
        if len(indexed) == 1 and not any(c in beside for c in word):
            x = _rows(emitter, node, x, word.index(indexed[0]), at[0], places)
            word = word.replace(indexed[0], "".join(free))
        elif indexed:
            axes = {word.index(c): free.index(p) for c, p in beside.items() if c in word}
            x = _parts(emitter, node, x, [word.index(c) for c in indexed], at, places, axes)
            word = "".join(free) + "".join(c for c in word if c not in column and c not in beside)
        words.append("".join(beside.get(c, c) for c in word))
        operands.append(x)
    kept = iter("" if d in dropped else c for d, c in enumerate(spec.output) if d not in gone)
    point = iter(free)
    output = "".join(next(kept) if d in numbers.offset_dims else next(point) for d in range(node.type.rank))
    made = emitter.einsum(canonical(words, output, sizes, spec.scale), operands, node.sources)
    return emitter.reshape(made, node.type.shape, node.sources)


def _fills(node: Node) -> bool:
    return str(getattr(node.attr("mode"), "name", "")) == "FILL_OR_DROP"


def _column(emitter: Emitter, index: int, column: int, node: Node) -> int:
    """One number of each index vector, one after the other."""
    shape = emitter.type(index).shape
    if shape[-1] > 1:
        part = [*(Range(0, n) for n in shape[:-1]), Range(column, column + 1)]
        kind = emitter.type(index).with_shape((*shape[:-1], 1))
        index = emitter.add("slice", [index], slice_attrs(part), kind, node.sources)
    return emitter.reshape(index, (math.prod(shape[:-1]),), node.sources)


def _rows(emitter: Emitter, node: Node, x: int, axis: int, index: int, places: Sequence[int]) -> int:
    """What stands at the places along one axis, which becomes those of the places."""
    type = emitter.type(x)
    before, after = type.shape[:axis], type.shape[axis + 1 :]
    attrs = (("axis", axis), ("mode", node.attr("mode")), ("fill_value", node.attr("fill_value")))
    taken = TensorType((*before, math.prod(places), *after), type.dtype)
    x = emitter.add("take", [x, index], attrs, taken, node.sources)
    return emitter.reshape(x, (*before, *places, *after), node.sources)


def _parts(
    emitter: Emitter,
    node: Node,
    x: int,
    axes: Sequence[int],
    columns: Sequence[int],
    places: Sequence[int],
    paired: Mapping[int, int],
) -> int:
    """The same at places along several axes, or where others go along with those of the places, which come first."""
    type, rank = emitter.type(x), len(places)
    rest = [d for d in range(type.rank) if d not in axes and d not in paired]
    numbers = GatherDimensionNumbers(
        offset_dims=tuple(range(rank, rank + len(rest))),
        collapsed_slice_dims=tuple(sorted(axes)),
        start_index_map=tuple(axes),
        operand_batching_dims=tuple(sorted(paired)),
        start_indices_batching_dims=tuple(paired[d] for d in sorted(paired)),
    )
    sizes = tuple(type.shape[d] if d in rest else 1 for d in range(type.rank))
    changed = {"dimension_numbers": numbers, "slice_sizes": sizes, "indices_are_sorted": False, "unique_indices": False}
    attrs = tuple((name, changed.get(name, value)) for name, value in node.attrs)
    parts = [emitter.reshape(column, (*places, 1), node.sources) for column in columns]
    index = parts[0]
    if len(parts) > 1:
        kind = emitter.type(index).with_shape((*places, len(parts)))
        index = emitter.add("concatenate", parts, (("dimension", rank),), kind, node.sources)
    kind = type.with_shape((*places, *(type.shape[d] for d in rest)))
    return emitter.add("gather", [x, index], attrs, kind, node.sources)
