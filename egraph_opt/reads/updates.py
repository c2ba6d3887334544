# SPDX-License-Identifier: Apache-2.0
"""What is read of a tensor with a replaced slice: of the tensor, of what replaced the slice, or of both."""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.slices import Range
from egraph_opt.reads.region import Plan, Region, dense, last, ranges, shape_of

UPDATE = "dynamic_update_slice"


def update_plan(graph: Graph, number: int, region: Region) -> Plan | None:
    """How a region of a tensor with a replaced slice is computed; None where the slice's place is not known.

    Args:
        graph: holds the node.
        number: of the node, a ``dynamic_update_slice``.
        region: that is asked for; not empty.
    """
    node = graph.nodes[number]
    x, update, *indices = (graph.nodes[q] for q in node.operands)
    plain = ranges(region)
    if plain is None or any(index.op != "constant" for index in indices):
        return None
    rest = (None,) * len(indices)
    starts = [
        min(max(int(index.attr("value")), 0), n - m)
        for index, n, m in zip(indices, x.type.shape, update.type.shape, strict=True)
    ]
    places = list(zip(plain, starts, update.type.shape, strict=True))
    if any(last(part) < start or part.start >= start + n for part, start, n in places):
        return Plan(region, (region, None, *rest), lambda emitter, operands: operands[0])
    if all(part.start >= start and last(part) < start + n for part, start, n in places):
        inside = tuple(Range(part.start - start, part.limit - start, part.stride) for part, start, _ in places)
        return Plan(region, (None, inside, *rest), lambda emitter, operands: operands[0])
    computed = tuple(dense(part, n) for part, n in zip(plain, x.type.shape, strict=True))
    needed, first = [], []
    for part, start, n in zip(computed, starts, update.type.shape, strict=True):
        low, high = max(part.start, start), min(part.limit, start + n)
        needed.append(Range(low - start, high - start))
        first.append(low - part.start)
    kind = node.type.with_shape(shape_of(computed))
    types = [index.type.dtype for index in indices]

    def make(emitter: Emitter, operands: Sequence[int]) -> int:
        if emitter.type(operands[1]).shape == kind.shape:
            return operands[1]
        at = [emitter.constant(value, dtype) for value, dtype in zip(first, types, strict=True)]
        return emitter.add(UPDATE, [*operands[:2], *at], node.attrs, kind, node.sources)

    return Plan(computed, (computed, tuple(needed), *rest), make)
