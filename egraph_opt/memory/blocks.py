# SPDX-License-Identifier: Apache-2.0
"""Large intermediates a block at a time: a part of the program becomes a loop over slices of one dimension.

The scores of attention, the logits of a large vocabulary, all pairwise distances: what is made, used and never needed
as a whole. The dimension and the block are those with the lowest price. Sums over the dimension are added up, all else
is computed as before, so results differ by the order of those sums at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from egraph_opt.cost.kernels import stored_nodes
from egraph_opt.ir import Builder, Graph, Node, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.memory.axes import SUM, sliced
from egraph_opt.memory.masks import without_bands
from egraph_opt.memory.region import Region, grow
from egraph_opt.normalise import normalise

Price = Callable[[Graph], float]

BLOCKS = "in-blocks"
LAWS = {BLOCKS: "a large intermediate is made and used up a block at a time"}
"""What a loop over blocks counts as among the rules, and what it says."""

BLOCK_BYTES = 1 << 20
"""About what the largest tensor of a block should have."""

LEAST_BYTES = 1 << 18
"""Intermediates that are smaller are left as they are."""

MOST_TRIPS = 512
"""Blocks of a dimension at most."""

ROUNDS = 4
MOST_SEEDS = 3
GAIN = 0.9
"""A loop must bring the price below this part of what it was."""


def blocked(graph: Graph, price: Price, numerics: Numerics = Numerics.REASSOCIATE) -> Graph:
    """The program with large intermediates a block at a time, where that lowers its price; the same object where not.

    Args:
        graph: in normal form.
        price: what is to become less.
        numerics: class of the rewrites that are allowed.
    """
    if numerics < Numerics.REASSOCIATE:  # a product of fewer rows may round otherwise
        return graph
    written, graph = graph, without_bands(graph, numerics)
    found = False
    for _ in range(ROUNDS):
        now = price(graph)
        best = min(((price(new), i, new) for i, new in enumerate(_tries(graph, numerics))), default=None)
        if best is None or best[0] > GAIN * now:
            break
        graph, found = best[2], True
    return graph if found else written


def _tries(graph: Graph, numerics: Numerics) -> Iterator[Graph]:
    """The program with a loop for one of its largest intermediates, along each dimension that allows one."""
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for number, node in enumerate(graph.nodes):
        for q in dict.fromkeys(node.operands):
            readers[q].append(number)
    kept = {*graph.inputs, *graph.outputs, *graph.effects}
    stored = [n for n in stored_nodes(graph) if n not in kept and graph.nodes[n].op not in ("scan", "while", "cond")]
    large = [n for n in stored if graph.nodes[n].types[0].nbytes >= LEAST_BYTES]
    for seed in sorted(large, key=lambda n: (-graph.nodes[n].types[0].nbytes, n))[:MOST_SEEDS]:
        for axis in range(graph.nodes[seed].types[0].rank):
            region = grow(graph, seed, axis, readers)
            block = 0 if region is None else _block(region)
            if region is not None and 0 < block < region.size:
                yield normalise(_looped(region, block), numerics)


def _block(region: Region) -> int:
    """The largest divisor of the dimension with which a block is no larger than it should be."""
    most = max(region.graph.nodes[n].types[0].nbytes for n in region.inside)
    want = max(1.0, BLOCK_BYTES / (most / region.size))
    least = -(-region.size // MOST_TRIPS)
    fitting = [d for d in range(least, region.size) if region.size % d == 0 and d <= max(want, least)]
    return max(fitting, default=0)


def _looped(region: Region, block: int) -> Graph:
    """The program with the part as a loop."""
    graph = region.graph
    whole, cut, results = region.whole(), region.sliced(), region.results()
    sums = [n for n in results if region.inside[n].result == SUM]
    maps = [n for n in results if region.inside[n].result != SUM]
    length = region.size // block
    body = _body(region, block, whole, sums, cut, maps)
    emitter = Emitter()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: dict[int, int] = {}
    for number in graph.inputs:
        place[number] = emitter.input(graph.nodes[number].types[0], names[number])
    needed = {*whole, *cut}

    def emit_loop() -> None:
        types = [graph.nodes[n].types[0] for n in sums]
        start = [emitter.uniform(0, t) for t in types]
        rows = [_in_blocks(emitter, place[n], region.axis[n], block) for n in cut]
        stacked = [t for n, t in zip(maps, body.output_types[len(sums) :], strict=True) if n >= 0]
        all_types = [*types, *(t.with_shape((length, *t.shape)) for t in stacked)]
        attrs = (
            ("body", body),
            ("num_consts", len(whole)),
            ("num_carry", len(sums)),
            ("length", length),
            ("reverse", False),
            ("unroll", 1),
        )
        sources = graph.nodes[max(region.inside)].sources
        loop = emitter.add("scan", [*(place[n] for n in whole), *start, *rows], attrs, all_types, sources)
        for index, n in enumerate((*sums, *maps)):
            part = loop
            if len(all_types) > 1:
                part = emitter.add("result", [loop], (("index", index),), all_types[index])
            place[n] = part if n in sums else _in_one(emitter, part, region.axis[n], graph.nodes[n])

    done = False
    for number, node in _order(region, needed):
        if number < 0:
            emit_loop()
            done = True
        elif number not in place:
            place[number] = emitter.copy(node, [place[q] for q in node.operands])
    assert done, "the order has the loop"
    outputs = [place[n] for n in graph.outputs]
    return emitter.build(outputs, [place[n] for n in graph.effects], graph.weak_outputs, graph.precision)


def _order(region: Region, needed: set[int]) -> Iterator[tuple[int, Node]]:
    """The nodes outside, those that the loop needs first, then the loop as number -1, then the rest."""
    graph = region.graph
    before: set[int] = set()
    stack = list(needed)
    while stack:
        number = stack.pop()
        if number not in before:
            before.add(number)
            stack += graph.nodes[number].operands
    for number, node in enumerate(graph.nodes):
        if number in before and node.op != "input":
            yield number, node
    yield -1, graph.nodes[0]
    for number, node in enumerate(graph.nodes):
        if number not in before and number not in region.inside and node.op != "input":
            yield number, node


def _body(region: Region, block: int, whole: list[int], sums: list[int], cut: list[int], maps: list[int]) -> Graph:
    """One trip: whole operands, sums so far, slices; sums with this slice's part, slices of results."""
    graph, builder = region.graph, Builder()
    entire = {n: builder.input(graph.nodes[n].types[0]) for n in whole}
    totals = [builder.input(graph.nodes[n].types[0]) for n in sums]
    place = {n: builder.input(_slice_type(graph.nodes[n], region.axis[n], block)) for n in cut}
    for n in sorted(region.inside):
        run = region.inside[n]
        node = sliced(graph.nodes[n], run, block)
        operands = zip(node.operands, run.operands, strict=True)
        place[n] = builder.copy(node, [entire[q] if a is None else place[q] for q, a in operands])
    outputs = [
        builder.add("add", (total, place[n]), (), graph.nodes[n].types[0])
        for total, n in zip(totals, sums, strict=True)
    ]
    return builder.build([*outputs, *(place[n] for n in maps)], precision=graph.precision)


def _slice_type(node: Node, axis: int, block: int) -> TensorType:
    shape = list(node.types[0].shape)
    shape[axis] = block
    return node.types[0].with_shape(tuple(shape))


def _in_blocks(emitter: Emitter, x: int, axis: int, block: int) -> int:
    """A tensor as blocks along a dimension, which come first; each has its dimensions in order."""
    shape = emitter.type(x).shape
    parts = emitter.reshape(x, (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :]))
    order = [axis, *(d for d in range(len(shape) + 1) if d != axis)]
    return _turned(emitter, parts, order)


def _in_one(emitter: Emitter, x: int, axis: int, node: Node) -> int:
    """Stacked blocks as one tensor."""
    rank = node.types[0].rank + 1
    order = [*range(1, axis + 1), 0, *range(axis + 1, rank)]
    return emitter.reshape(_turned(emitter, x, order), node.types[0].shape)


def _turned(emitter: Emitter, x: int, order: list[int]) -> int:
    letters = LETTERS[: len(order)]
    sizes = dict(zip(letters, emitter.type(x).shape, strict=True))
    return emitter.einsum(canonical([letters], "".join(letters[d] for d in order), sizes), [x])
