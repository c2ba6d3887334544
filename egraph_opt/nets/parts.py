# SPDX-License-Identifier: Apache-2.0
"""Tensors joined along a dimension, and the parts of a result that belong to each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.sources import Sources
from egraph_opt.ir.spec import LETTERS

Groups = Sequence[Sequence[int]]
"""Dimensions in an order, those of a group as one."""


def joined(emitter: Emitter, tensors: Sequence[int], groups: Sequence[Groups], axis: int, sources: Sources = ()) -> int:
    """Tensors, arranged each by its groups, side by side along a dimension.

    A widening that all of them end with is done once, afterwards, so that products still have narrow operands.
    """
    nodes = [emitter.nodes[x] for x in tensors]
    first = nodes[0]
    if first.op == "convert_element_type":
        inner = {emitter.type(n.operands[0]).dtype for n in nodes if n.op == first.op and n.attrs == first.attrs}
        if len(inner) == 1 and all(n.op == first.op and n.attrs == first.attrs for n in nodes):
            whole = joined(emitter, [n.operands[0] for n in nodes], groups, axis, sources)
            type = first.type.with_shape(emitter.type(whole).shape)
            return emitter.elementwise(first.op, (whole,), first.attrs, type, sources)
    parts = [arranged(emitter, x, each, sources) for x, each in zip(tensors, groups, strict=True)]
    if len(parts) == 1:
        return parts[0]
    types = [emitter.type(x) for x in parts]
    shape = list(types[0].shape)
    shape[axis] = sum(t.shape[axis] for t in types)
    attrs = (("dimension", axis),)
    return emitter.add("concatenate", parts, attrs, types[0].with_shape(tuple(shape)), sources)


def part(emitter: Emitter, whole: int, axis: int, start: int, stop: int, sources: Sources = ()) -> int:
    """Places from ``start`` up to ``stop`` along a dimension."""
    type = emitter.type(whole)
    if (start, stop) == (0, type.shape[axis]):
        return whole
    starts, stops = [0] * type.rank, list(type.shape)
    starts[axis], stops[axis] = start, stop
    attrs = (("start_indices", tuple(starts)), ("limit_indices", tuple(stops)), ("strides", None))
    shape = (*type.shape[:axis], stop - start, *type.shape[axis + 1 :])
    return emitter.add("slice", (whole,), attrs, type.with_shape(shape), sources)


def arranged(emitter: Emitter, x: int, groups: Groups, sources: Sources = ()) -> int:
    """``x`` with its dimensions in another order, each group of them as one; an empty group is of size 1."""
    shape = emitter.type(x).shape
    turned = turn(emitter, x, [axis for group in groups for axis in group], sources)
    return emitter.reshape(turned, tuple(math.prod(shape[axis] for axis in group) for group in groups), sources)


def turn(emitter: Emitter, x: int, axes: Sequence[int], sources: Sources = ()) -> int:
    """``x`` with its dimensions in another order."""
    shape = emitter.type(x).shape
    word = LETTERS[: len(shape)]
    sizes = dict(zip(word, shape, strict=True))
    return emitter.contract([word], "".join(word[axis] for axis in axes), sizes, [x], sources)
