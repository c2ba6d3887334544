# SPDX-License-Identifier: Apache-2.0
"""The first or last few of a sorted tensor, or of the order that sorts one: ``top_k`` finds them without the rest.

``sort(x)[-k:] = rev(top_k(x, k))``, ``sort(x)[:k] = -top_k(-x, k)``, and likewise for ``argsort``; of equal values the
same are taken. XLA:CPU has a routine for the largest of float32 values alone, so narrower ones are widened before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.attrs import DType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.slices import Range, slice_attrs
from egraph_opt.reads.ordered import counts

NARROW = frozenset({"bfloat16", "float16"})
"""Types whose values are computed with in float32 at no loss."""


def leading(emitter: Emitter, node: Node, ordering: Node, which: int, cut: Sequence[Range]) -> int | None:
    """What ``node`` cuts out of a sort, by ``top_k``; None where it is more than half, or of another type.

    Args:
        emitter: of the new graph.
        node: the slice.
        ordering: the sort, by one key, which nobody else reads.
        which: the result of it that is read; 1 are the places that ``argsort`` gives.
        cut: the ranges that are read.
    """
    axis, x = ordering.attr("dimension"), ordering.operands[0]
    kind, part = emitter.type(x), cut[axis]
    size = kind.shape[axis]
    count, first = min((part.limit, True), (size - part.start, False))
    if not 0 < 2 * count <= size or part.length == 0:
        return None
    if count > 1 and kind.dtype not in NARROW | {"float32"}:
        return None
    # Of equal values the last stand at the end of an order, and top_k takes the first: it looks from there.
    turned = which == 1 and not first
    key = _turned(emitter, x, axis, node) if turned else x
    if count == 1:
        found = _extreme(emitter, key, axis, node, first)[which]
    else:
        key = emitter.scaled(key, -1, node.sources) if first else key
        key = _one_zero(emitter, key, node) if which == 1 else key
        found = largest(emitter, key, count, axis, node)[which]
        found = emitter.scaled(found, -1, node.sources) if first and which == 0 else found
    if which == 1:
        if turned != (counts(emitter, ordering.operands[1], axis) < 0):
            last = emitter.uniform(size - 1, emitter.type(found), node.sources)
            found = emitter.sum_of([last, emitter.scaled(found, -1, node.sources)], node.sources)
        found = _converted(emitter, found, node.type.dtype, node)
    inside = part
    if not first:
        found = _turned(emitter, found, axis, node)
        inside = Range(part.start - (size - count), part.limit - (size - count))
    ranges = [*cut[:axis], inside, *cut[axis + 1 :]]
    if all(r.is_all(n) for r, n in zip(ranges, emitter.type(found).shape, strict=True)):
        return found
    return emitter.add("slice", (found,), slice_attrs(ranges), node.type, node.sources)


def largest(emitter: Emitter, x: int, count: int, axis: int, node: Node) -> tuple[int, int]:
    """The largest values along an axis and their places as int32; narrow ones are found as float32."""
    kind = emitter.type(x)
    wide = _converted(emitter, x, "float32", node) if kind.dtype in NARROW else x
    shape = (*kind.shape[:axis], count, *kind.shape[axis + 1 :])
    types = (TensorType(shape, emitter.type(wide).dtype), TensorType(shape, "int32"))
    made = emitter.add("top_k", (wide,), (("k", count), ("axis", axis)), types, node.sources)
    values, places = (emitter.add("result", (made,), (("index", k),), t, node.sources) for k, t in enumerate(types))
    return _converted(emitter, values, kind.dtype, node), places


def _extreme(emitter: Emitter, x: int, axis: int, node: Node, first: bool) -> tuple[int, int]:
    """The least (or greatest) value along an axis, which is kept, and its place as int32."""
    kind = emitter.type(x)
    folded, kept = kind.shape[:axis] + kind.shape[axis + 1 :], (*kind.shape[:axis], 1, *kind.shape[axis + 1 :])
    axes = ("axes", (axis,))
    fold, place = ("reduce_min", "argmin") if first else ("reduce_max", "argmax")
    value = emitter.add(fold, (x,), (axes,), kind.with_shape(folded), node.sources)
    where = TensorType(folded, "int32")
    index = emitter.add(place, (x,), (axes, ("index_dtype", DType("int32"))), where, node.sources)
    return emitter.reshape(value, kept, node.sources), emitter.reshape(index, kept, node.sources)


def _turned(emitter: Emitter, x: int, axis: int, node: Node) -> int:
    """A tensor from its last place along an axis to the first."""
    if emitter.type(x).shape[axis] == 1:
        return x
    return emitter.add("rev", (x,), (("dimensions", (axis,)),), emitter.type(x), node.sources)


def _one_zero(emitter: Emitter, x: int, node: Node) -> int:
    """The values with zeros of one sign: a sort holds both for equal, ``top_k`` does not."""
    kind = emitter.type(x)
    zero = emitter.uniform(0, kind, node.sources)
    same = emitter.elementwise("eq", [x, zero], (), TensorType(kind.shape, "bool"), node.sources)
    return emitter.elementwise("select_n", [same, x, zero], (), kind, node.sources)


def _converted(emitter: Emitter, x: int, dtype: str, node: Node) -> int:
    kind = TensorType(emitter.type(x).shape, dtype)
    if emitter.type(x).dtype == dtype:
        return x
    return emitter.elementwise("convert_element_type", [x], (("new_dtype", DType(dtype)),), kind, node.sources)
