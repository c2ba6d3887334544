# SPDX-License-Identifier: Apache-2.0
"""Grouped queries: keys and values that are repeated for several heads of queries are taken as they were before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from egraph_opt.ir import Graph, Spec
from egraph_opt.kernels.attention_roles import Group, Roles


@dataclass(frozen=True, slots=True)
class _Repeat:
    """A tensor one of whose dimensions is a smaller one, repeated.

    Args:
        source: the tensor before.
        axis: the dimension, in both.
        times: how often.
        inner: whether neighbours are the same (``repeat``) or the whole is (``tile``).
    """

    source: int
    axis: int
    times: int
    inner: bool


def grouped(graph: Graph, leaves: Sequence[int], parts: Roles) -> tuple[tuple[int, ...], Roles]:
    """Leaves and parts with keys and values before they were repeated, if both were, alike."""
    k, v = (_repeat(graph, leaves[i]) for i in (parts.k, parts.v))
    if k is None or v is None or (k.times, k.inner) != (v.times, v.inner):
        return tuple(leaves), parts
    heads = parts.leaves[parts.k][k.axis]
    if heads != parts.leaves[parts.v][v.axis] or heads not in parts.groups["b"]:
        return tuple(leaves), parts
    few, many = max(parts.sizes) + 1, max(parts.sizes) + 2
    pair = (few, many) if k.inner else (many, few)
    sizes = parts.sizes | {few: parts.sizes[heads] // k.times, many: k.times}

    def parted(word: Group) -> Group:
        return tuple(d for c in word for d in (pair if c == heads else (c,)))

    words = [parted(word) for word in parts.leaves]
    for i in (parts.k, parts.v):
        words[i] = tuple(few if c == heads else c for c in parts.leaves[i])
    shapes = {
        i: tuple(sizes[c] for c in words[i])
        for i in range(len(leaves))
        if i not in (parts.k, parts.v) and heads in parts.leaves[i]
    }
    groups = dict(parts.groups)
    groups["b"] = tuple(few if c == heads else c for c in groups["b"])
    groups["g"] = (*groups["g"], many)
    taken = list(leaves)
    taken[parts.k], taken[parts.v] = k.source, v.source
    return tuple(taken), replace(
        parts,
        leaves=tuple(words),
        root=parted(parts.root),
        groups=groups,
        sizes=sizes,
        shapes=shapes,
        merged=tuple(parts.sizes[c] for c in parts.root),
        detail=f"GQA {parts.sizes[heads]}:{sizes[few]}",
    )


def _repeat(graph: Graph, number: int) -> _Repeat | None:
    """How a tensor is repeated: a broadcast whose new dimension a reshape merges with a neighbour."""
    node = graph.nodes[number]
    if node.op != "reshape":
        return None
    wide = graph.nodes[node.operands[0]]
    if wide.op != "einsum" or len(wide.operands) != 1:
        return None
    spec = Spec.parse(wide.attr("spec"))
    if not spec.is_copy or spec.scale != 1 or len(spec.broadcast) != 1 or not spec.has_distinct_output:
        return None
    place = spec.output.index(spec.broadcast)
    if spec.output.replace(spec.broadcast, "") != spec.inputs[0]:
        return None
    times, shape = spec.sizes[spec.broadcast], list(spec.shape)
    for axis, inner in ((place - 1, True), (place, False)):
        if 0 <= axis < len(shape) - 1:
            merged = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
            if merged == node.type.shape:
                return _Repeat(wide.operands[0], axis, times, inner)
    return None
