# SPDX-License-Identifier: Apache-2.0
"""Products that share an operand, as one product: ``x A, x B, x C`` are parts of ``x [A B C]``.

Gates of recurrent cells, queries, keys and values, gated layers. All products of a tensor that do not wait for each
other are merged at once. What their other operands are put together of is free where it is prepared beforehand; then
it is held with its own dimensions first, as XLA:CPU multiplies few vectors fastest (docs/decisions/neural.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from egraph_opt.cost import CostModel, frozen_nodes
from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import merge_sources
from egraph_opt.ir.spec import LETTERS
from egraph_opt.nets.groups import compatible, independent, needs, regrouped
from egraph_opt.nets.parts import Groups, joined, part, turn

FEW_ROWS = 64
"""Products of so many vectors or fewer with a prepared matrix are made with the matrix first."""

MOST = 400
"""Groups that are looked at."""

ROLES = ("batch", "sum", "row")
Roles = tuple[str, ...]
"""What a dimension of a shared operand is to the products; for each of them one of these."""


class Shared(NamedTuple):
    """What products must have in common to be merged: the operand, how they take it, and whether the other is free."""

    operand: int
    roles: Roles
    dtype: str
    prepared: bool


class Side(NamedTuple):
    """A product as seen from the operand that it shares.

    Args:
        other: the other operand.
        axes: for each dimension of the other one that of the shared operand, or -1 for a column of its own.
        result: for each dimension of the result that of the shared operand, or ``-1 - k`` for column k.
    """

    other: int
    axes: tuple[int, ...]
    result: tuple[int, ...]

    @property
    def columns(self) -> list[int]:
        """Dimensions that only the other operand has."""
        return [k for k, axis in enumerate(self.axes) if axis < 0]


def shared_products(graph: Graph, numerics: Numerics, free: Collection[int], cost: CostModel) -> Graph | None:
    """The graph with products of one tensor merged where that is cheaper by the prices of the products alone.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        free: nodes whose values are there beforehand.
        cost: prices of nodes.

    Returns:
        None where nothing was merged.
    """
    if numerics < Numerics.REASSOCIATE:
        return None
    met = _met(graph, free)
    groups = _chosen(graph, met, cost)
    if not groups:
        return None

    def make(emitter: Emitter, group: Sequence[int], place: Mapping[int, int]) -> list[int]:
        key = groups[tuple(group)]
        return _merged(emitter, graph, key, {n: met[key][n] for n in group}, place)

    return regrouped(graph, list(groups), make, numerics)


def _met(graph: Graph, free: Collection[int]) -> dict[Shared, dict[int, Side]]:
    """Products by what they share, each under both of its operands."""
    met: dict[Shared, dict[int, Side]] = defaultdict(dict)
    for number, node in enumerate(graph.nodes):
        if number not in free and is_product(node):
            for place in (0, 1):
                key, side = _seen_from(graph, node, place, free)
                met[key].setdefault(number, side)
    return met


def _chosen(graph: Graph, met: Mapping[Shared, Mapping[int, Side]], cost: CostModel) -> dict[tuple[int, ...], Shared]:
    """Groups of products to be merged and what they share; what saves most comes first."""
    candidates = [(key, members) for key, members in met.items() if len(members) > 1][:MOST]
    needed = needs(graph) if candidates else []
    found: list[tuple[float, Shared, list[int]]] = []
    for key, members in candidates:
        parts = [part for part in independent(sorted(members), needed) if len(part) > 1]
        found += [(_saved(graph, key, {n: members[n] for n in part}, cost), key, part) for part in parts]
    taken: set[int] = set()
    groups: dict[tuple[int, ...], Shared] = {}
    for saved, key, group in sorted(found, key=lambda item: -item[0]):
        left = [n for n in group if n not in taken]
        if len(left) > 1 and len(left) < len(group):
            saved = _saved(graph, key, {n: met[key][n] for n in left}, cost)
        if len(left) > 1 and saved > 0:
            taken.update(left)
            groups[tuple(left)] = key
    return {tuple(group): groups[tuple(group)] for group in compatible(graph, list(groups))}


def is_product(node: Node) -> bool:
    """Whether a node is a sum of products of two tensors that matrix products compute."""
    if node.op != "einsum" or len(node.operands) != 2:
        return False
    spec = Spec.parse(node.attr("spec"))
    return bool(spec.summed) and spec.is_pure and set(spec.inputs[0]) != set(spec.inputs[1])


def _seen_from(graph: Graph, node: Node, place: int, free: Collection[int]) -> tuple[Shared, Side]:
    spec = Spec.parse(node.attr("spec"))
    word, theirs, out = spec.inputs[place], spec.inputs[1 - place], spec.output
    roles = tuple("sum" if c not in out else "batch" if c in theirs else "row" for c in word)
    columns = [c for c in theirs if c not in word]
    axes = tuple(word.find(c) for c in theirs)
    result = tuple(word.index(c) if c in word else -1 - columns.index(c) for c in out)
    other = node.operands[1 - place]
    return Shared(node.operands[place], roles, node.type.dtype, other in free), Side(other, axes, result)


def _width(graph: Graph, side: Side) -> int:
    shape = graph.nodes[side.other].type.shape
    return math.prod(shape[k] for k in side.columns)


def _saved(graph: Graph, key: Shared, group: Mapping[int, Side], cost: CostModel) -> float:
    """What one product saves against several [s], its parts read where they lie."""
    before = Emitter()
    nodes = [graph.nodes[n] for n in group]
    inputs = {q: before.input(graph.nodes[q].type) for q in dict.fromkeys(q for node in nodes for q in node.operands)}
    made = [before.emit(node, [inputs[q] for q in node.operands], elementwise=False) for node in nodes]
    after = Emitter()
    place = {q: after.input(graph.nodes[q].type) for q in inputs}
    product, _, _ = _product(after, graph, key, group, place)
    fixed = [k for k, q in enumerate(inputs) if key.prepared and q != key.operand]
    programs = before.build(made), after.build([product])
    seconds = [cost.graph_seconds(program, frozen_nodes(program, fixed)) for program in programs]
    return seconds[0] - seconds[1]


def _merged(
    emitter: Emitter, graph: Graph, key: Shared, members: Mapping[int, Side], place: Mapping[int, int]
) -> list[int]:
    """Append one product for all members; what each of them was."""
    product, output, column = _product(emitter, graph, key, members, place)
    return _results(emitter, graph, members, product, output, column)


def _product(
    emitter: Emitter, graph: Graph, key: Shared, members: Mapping[int, Side], place: Mapping[int, int]
) -> tuple[int, str, str]:
    """Append the product of all members: the node, the letters of its dimensions, that of all columns side by side."""
    batch, summed, rows = ("".join(c for c, r in zip(LETTERS, key.roles, strict=False) if r == role) for role in ROLES)
    axis_of = {c: k for k, c in enumerate(LETTERS[: len(key.roles)])}
    shape = graph.nodes[key.operand].type.shape
    sizes = dict(zip(LETTERS, shape, strict=False))
    few = key.prepared and math.prod(sizes[c] for c in rows) <= FEW_ROWS
    first = next(iter(members.values()))
    column_first = few or _stand_first(first.axes, summed)
    groups: list[Groups] = []
    for side in members.values():
        mine = {axis: k for k, axis in enumerate(side.axes) if axis >= 0}
        outer, inner = ([[mine[axis_of[c]]] for c in word] for word in (batch, summed))
        groups.append([*outer, side.columns, *inner] if column_first else [*outer, *inner, side.columns])
    sources = merge_sources(*(graph.nodes[n].sources for n in members))
    others = [place[side.other] for side in members.values()]
    whole = joined(emitter, others, groups, len(batch) + (0 if column_first else len(summed)), sources)
    column = LETTERS[len(key.roles)]
    other = batch + (column + summed if column_first else summed + column)
    output = batch + (column + rows if few or not rows or _stand_first(first.result, rows) else rows + column)
    sizes[column] = sum(_width(graph, side) for side in members.values())
    pair = [other, LETTERS[: len(key.roles)]]
    return emitter.contract(pair, output, sizes, [whole, place[key.operand]], sources), output, column


def _results(
    emitter: Emitter, graph: Graph, members: Mapping[int, Side], product: int, output: str, column: str
) -> list[int]:
    """The part of a merged product that each member was."""
    made: list[int] = []
    start, axis = 0, output.index(column)
    for number, side in members.items():
        node = graph.nodes[number]
        width = _width(graph, side)
        piece = part(emitter, product, axis, start, start + width, node.sources)
        start += width
        shape = emitter.type(piece).shape
        columns = [graph.nodes[side.other].type.shape[k] for k in side.columns]
        piece = emitter.reshape(piece, (*shape[:axis], *columns, *shape[axis + 1 :]), node.sources)
        # Dimensions of the piece: those of the output's letters, the columns in the place of one.
        stands: dict[int, int] = {}
        for k, c in enumerate(output):
            if c != column:
                stands[LETTERS.index(c)] = k if k < axis else k + len(columns) - 1
        stands |= {-1 - k: axis + k for k in range(len(columns))}
        made.append(turn(emitter, piece, [stands[d] for d in side.result], node.sources))
    return made


def _stand_first(axes: Sequence[int], word: str) -> bool:
    """Whether own dimensions (below 0) stand before those of the shared operand that ``word`` names."""
    theirs = [k for k, axis in enumerate(axes) if axis >= 0 and LETTERS[axis] in word]
    own = [k for k, axis in enumerate(axes) if axis < 0]
    return not own or not theirs or own[0] < theirs[0]
