# SPDX-License-Identifier: Apache-2.0
"""Pieces of a program that end in one node: where they may begin, and the piece as a graph of its own."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from egraph_opt.ir import Builder, Graph, Node, Spec
from egraph_opt.kernels.picks import Picks, written
from egraph_opt.ops import Trait, get_op

MOST_STEPS = 60
"""Nodes that a piece has at most."""

LABEL_DTYPES = frozenset({"int32", "int64"})
"""Element types of labels: so wide that a number of classes can be added to one."""

BARRIERS = frozenset({"conv_general_dilated", "gather", "scatter", "dynamic_slice", "sort", "take", "dot_general"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a program with one result.

    Args:
        graph: it as a graph whose inputs are the leaves.
        root: its result in the program.
        leaves: where it begins, in the program.
        inside: its nodes in the program, leaves excluded.
    """

    graph: Graph
    root: int
    leaves: tuple[int, ...]
    inside: frozenset[int]

    def scalars(self) -> list[float]:
        """Numbers that stand in it, those of specs included, each once."""
        found: dict[float, None] = {}
        for node in self.graph.nodes:
            if node.op == "constant" and not node.type.shape and isinstance(node.attr("value"), int | float):
                found[float(node.attr("value"))] = None
            elif node.op == "einsum":
                found[float(Spec.parse(node.attr("spec")).scale)] = None
        return list(found)


NO_PICKS: Picks = MappingProxyType({})


def piece(graph: Graph, root: int, leaves: Sequence[int], picks: Picks = NO_PICKS) -> Piece | None:
    """The piece between leaves and a root; None where it reads something else, or a leaf plays no part.

    Args:
        graph: the program.
        root: result of the piece.
        leaves: where it begins.
        picks: gathers that it may go through.
    """
    builder = Builder()
    place = {leaf: builder.input(graph.nodes[leaf].types[0]) for leaf in leaves}
    inside: set[int] = set()
    stack = [root]
    while stack:
        number = stack[-1]
        if number in place:
            stack.pop()
            continue
        node = graph.nodes[number]
        if node.op == "input" or len(node.types) != 1 or len(inside) > MOST_STEPS:
            return None
        missing = [q for q in read_by(graph, number, picks) if q not in place]
        stack += missing
        if not missing:
            stack.pop()
            inside.add(number)
            if number in picks:
                pick = picks[number]
                place[number] = written(builder, pick, place[pick.source], place[pick.index], node.type)
            else:
                place[number] = builder.add(node.op, [place[q] for q in node.operands], node.attrs, node.types)
    read = {q for number in inside for q in read_by(graph, number, picks)}
    if not inside or not read.issuperset(leaves):
        return None
    return Piece(builder.build([place[root]]), root, tuple(leaves), frozenset(inside))


def read_by(graph: Graph, number: int, picks: Picks) -> tuple[int, ...]:
    """What a node reads in a piece."""
    return picks[number].operands if number in picks else graph.nodes[number].operands


def texts(graph: Graph) -> frozenset[int]:
    """Nodes that read no input."""
    found: set[int] = set()
    for number, node in enumerate(graph.nodes):
        if node.op != "input" and get_op(node.op).arity != 0 and not node.operands:
            continue  # an effect, or an operation that makes something of nothing
        if node.op != "input" and found.issuperset(node.operands) and number not in graph.effects:
            found.add(number)
    return frozenset(found)


def cuts(
    graph: Graph, root: int, known: frozenset[int], most: int, picks: Picks = NO_PICKS
) -> Iterator[tuple[int, ...]]:
    """Places where a piece with this root may begin, nearest first: each is a set of at most ``most`` nodes.

    Args:
        graph: the program.
        root: result of the piece.
        known: nodes that read no input; they belong to every piece.
        most: leaves at most.
        picks: gathers that pieces may go through.
    """
    frontier = {root}
    stuck = 0
    # Broadcasts are opened first, then what stands last in the program, parts of tensors in the end, for they may be
    # what a piece is of; a heap gives least first.
    heaps: tuple[list[int], list[int], list[int]] = ([], [-root], [])
    for _ in range(MOST_STEPS):
        if not any(heaps) or stuck > most:
            return
        number = -heapq.heappop(heaps[0] or heaps[1] or heaps[2])
        frontier.discard(number)
        for q in read_by(graph, number, picks):
            if q not in known and q not in frontier:
                frontier.add(q)
                if q in picks or (can_open(graph.nodes[q]) and not _is_label_slice(graph.nodes[q])):
                    heapq.heappush(heaps[0 if is_spread(graph.nodes[q]) else 2 if _is_part(graph, q) else 1], -q)
                else:
                    stuck += 1
        if 0 < len(frontier) <= most and not heaps[0]:
            yield tuple(sorted(frontier))


def can_open(node: Node) -> bool:
    """Whether a piece may go through the node: no matrix product, no routine, no control flow."""
    if node.op in ("input", "opaque", "result") or node.op in BARRIERS or len(node.types) != 1:
        return False
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        return len(node.operands) == 1 or not spec.summed or set(spec.inputs[0]) == set(spec.inputs[1])
    return Trait.EXPENSIVE not in get_op(node.op).traits


def _is_part(graph: Graph, number: int) -> bool:
    """A part of a tensor, be it in another shape."""
    node = graph.nodes[number]
    return node.op == "slice" or (node.op == "reshape" and graph.nodes[node.operands[0]].op == "slice")


def _is_label_slice(node: Node) -> bool:
    """A part of some whole numbers, such as the next tokens of a text: labels begin with it."""
    return node.op == "slice" and node.types[0].dtype in LABEL_DTYPES


def is_spread(node: Node) -> bool:
    """A broadcast, be it of a multiple."""
    if node.op != "einsum" or len(node.operands) != 1:
        return False
    spec = Spec.parse(node.attr("spec"))
    return spec.is_copy and bool(spec.broadcast)


FAMILIES = {
    "exp": "exp", "exp2": "exp", "logistic": "exp", "tanh": "exp", "expm1": "exp", "sinh": "exp", "cosh": "exp",
    "erf": "erf", "erfc": "erf",
    "sqrt": "root", "rsqrt": "root", "pow": "root",
    "log": "log", "log1p": "log", "cumlogsumexp": "log",
    "sin": "angle", "cos": "angle", "tan": "angle",
}  # fmt: skip
"""Operations by which a piece is looked for; those of one family may stand for each other."""


def families(nodes: Iterable[Node]) -> frozenset[str]:
    """Families of the operations among some nodes."""
    return frozenset(FAMILIES[node.op] for node in nodes if node.op in FAMILIES)
