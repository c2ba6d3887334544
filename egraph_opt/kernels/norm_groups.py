# SPDX-License-Identifier: Apache-2.0
"""Group norm written over merged dimensions: a layer norm of rows that channels and places were reshaped into."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import replace

from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.kernels.found import Found, Place
from egraph_opt.kernels.record import Kernel, all_kernels


def as_group_norm(graph: Graph, found: Found, wanted: Sequence[Kernel]) -> Found:
    """The idiom as a group norm where its rows are several dimensions of what they were reshaped from.

    Args:
        graph: the program.
        found: an idiom of it.
        wanted: kernels that are looked for.
    """
    group = all_kernels().get("group_norm")
    if found.kernel.name != "layer_norm" or group not in wanted or group is None:
        return found
    leaf, row = graph.nodes[found.leaves[0]], found.types[0].shape
    if leaf.op != "reshape" or leaf.type.shape != row:
        return found
    places = _places(graph.nodes[leaf.operands[0]].type.shape, row[-1])
    if places is None:
        return found
    parted = found.types[0].with_shape((*row[:-1], row[-1] // places, places))

    def arguments(emitter: Emitter, place: Place) -> list[int]:
        return [emitter.reshape(x, parted.shape) for x in found.arguments(emitter, place)]

    def result(emitter: Emitter, node: int) -> int:
        return found.result(emitter, emitter.reshape(node, row))

    return replace(found, kernel=group, types=(parted,), arguments=arguments, result=result)


def _places(shape: Sequence[int], count: int) -> int | None:
    """The most of so many elements that are whole trailing dimensions; None where the last one is all of them."""
    sizes = [p for p in itertools.accumulate(reversed(shape), operator.mul) if count % p == 0 and 1 < p < count]
    return max(sizes, default=None)
