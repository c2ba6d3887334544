# SPDX-License-Identifier: Apache-2.0
"""How one dimension runs through an operation.

A node is parallel along a dimension where each slice of its result needs the same slice of its operands and nothing
else of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from egraph_opt.ir import Node, Spec, TensorType
from egraph_opt.ir.spec import canonical
from egraph_opt.ops import Trait, get_op

SUM = -1
"""Instead of an axis of the result: the dimension is summed, so that parts of the sum can be added up."""

FOLDING = frozenset({"reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_prod", "argmax", "argmin"})
ALONG = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "sort"})
KEEPING = frozenset({"stop_gradient", "copy", "assume"})


@dataclass(frozen=True, slots=True)
class Run:
    """How a dimension runs through a node.

    Args:
        result: axis of the result, or ``SUM``.
        operands: axis of each operand; None for one that lacks it.
    """

    result: int
    operands: tuple[int | None, ...]


def runs(node: Node, types: Sequence[TensorType]) -> list[Run]:
    """All dimensions along which a node is parallel, and those that it sums.

    Args:
        node: with one result.
        types: of its operands.
    """
    rank = node.types[0].rank
    if node.op == "einsum":
        return _einsum(Spec.parse(node.attr("spec")))
    if node.op == "add" or Trait.ELEMENTWISE in get_op(node.op).traits:
        return [Run(a, tuple(a if t.rank == rank else None for t in types)) for a in range(rank)]
    if node.op in KEEPING:
        return [Run(a, (a,)) for a in range(rank)]
    if node.op in FOLDING:
        kept = [a for a in range(types[0].rank) if a not in node.attr("axes")]
        return [Run(place, (a,)) for place, a in enumerate(kept)]
    if node.op in ALONG and len(types) == 1:
        own = node.attr("dimension" if node.op == "sort" else "axis")
        return [Run(a, (a,)) for a in range(rank) if a != own]
    if node.op == "reshape":
        return _reshape(types[0].shape, node.type.shape)
    return _gather(node) if node.op == "gather" else []


def _einsum(spec: Spec) -> list[Run]:
    found = []
    for c in spec.sizes:
        words = (*spec.inputs, spec.output)
        if any(word.count(c) > 1 for word in words) or c in spec.broadcast:
            continue
        operands = tuple(word.index(c) if c in word else None for word in spec.inputs)
        found.append(Run(spec.output.index(c) if c in spec.output else SUM, operands))
    same = [spec.output.index(c) for c in spec.broadcast if spec.output.count(c) == 1]  # every slice is the same
    return found + [Run(place, (None,) * len(spec.inputs)) for place in same]


def _reshape(before: tuple[int, ...], after: tuple[int, ...]) -> list[Run]:
    """Dimensions with as many elements before them, and of the same size."""
    places = {(math.prod(after[:i]), n): i for i, n in enumerate(after) if n > 1}
    return [
        Run(places[key], (i,)) for i, n in enumerate(before) if n > 1 and (key := (math.prod(before[:i]), n)) in places
    ]


def _gather(node: Node) -> list[Run]:
    """Dimensions in which operand and indices go together."""
    numbers = node.attr("dimension_numbers")
    free = [a for a in range(node.type.rank) if a not in numbers.offset_dims]
    pairs = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    return [Run(free[index], (operand, index)) for operand, index in pairs if index < len(free)]


def sliced(node: Node, run: Run, size: int) -> Node:
    """The node on slices of so many elements along a dimension; operands keep their numbers."""
    type = node.types[0]
    if run.result != SUM:
        shape = list(type.shape)
        shape[run.result] = size
        type = type.with_shape(tuple(shape))
    attrs = node.attrs
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        place = next(((w, a) for w, a in zip(spec.inputs, run.operands, strict=True) if a is not None), None)
        letter = spec.output[run.result] if place is None else place[0][place[1]]
        attrs = (("spec", canonical(spec.inputs, spec.output, {**spec.sizes, letter: size}, spec.scale)),)
    elif node.op == "reshape":
        attrs = (("shape", type.shape),)
    return Node(node.op, node.operands, attrs, (type,), node.sources)
