# SPDX-License-Identifier: Apache-2.0
"""Finds attention: two products with a softmax between them, whatever stands where.

The first product gives scores; what depends on them up to a product with something else, and a few nodes after it, is
the piece. Which dimension plays which part follows from who shares it. Scale, fill and guard are found by trying, and
the piece is attention where its values are the pattern's.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import identity
from egraph_opt.kernels.attention import ATTENTION
from egraph_opt.kernels.attention_bands import Planes
from egraph_opt.kernels.attention_fit import Fit, fit
from egraph_opt.kernels.attention_groups import grouped
from egraph_opt.kernels.attention_roles import Roles, arguments, result, roles
from egraph_opt.kernels.found import Found, Place
from egraph_opt.kernels.region import FAMILIES, Piece, can_open, is_spread, piece
from egraph_opt.kernels.values import Likeness

MOST_AFTER = 5
"""Nodes after the second product that may belong to it: a division by the sum, a guard, a layout."""

MOST_LEAVES = 7
MOST_BETWEEN = 80

TOGETHER = frozenset({"and", "or", "not", "add"})
"""Operations that put masks and biases together."""

MOST_TOGETHER = 4

REMEMBERED = 2_000

_verdicts: OrderedDict[object, Fit | None] = OrderedDict()


@dataclass(frozen=True, slots=True)
class _Place:
    """A piece that may be attention, and which of its leaves are what.

    Args:
        piece: of the program.
        scores: operands of the first product, as leaves.
        values: the other operand of the second product, as a leaf.
    """

    piece: Piece
    scores: tuple[int, int]
    values: int


def find_attention(graph: Graph, known: frozenset[int]) -> Iterator[Found]:
    """Attention in a program in normal form.

    Args:
        graph: the program.
        known: nodes that read no input.
    """
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for number, node in enumerate(graph.nodes):
        for q in dict.fromkeys(node.operands):
            readers[q].append(number)
    products = [n for n in range(len(graph.nodes)) if _is_product(graph, n) and n not in known]
    count = len(graph.nodes)
    graph = _scaled_first(graph)
    known |= {n for n in range(count, len(graph.nodes)) if graph.nodes[n].operands[0] in known}
    planes = Planes(graph, known)
    for number in products:
        for place in _places(graph, number, readers, known):
            found = _found(graph, place, planes, count)
            if found is not None:
                yield found
                break


def _scaled_first(graph: Graph) -> Graph:
    """The program with multiples that are broadcast as multiples first, behind its own nodes: they are smaller."""
    nodes = list(graph.nodes)
    for number, node in enumerate(graph.nodes):
        if node.op == "einsum" and is_spread(node):
            spec = Spec.parse(node.attr("spec"))
            if spec.scale != 1 and node.type.rank > 1 and spec.inputs[0]:
                source = graph.nodes[node.operands[0]].type
                scaled = (("spec", identity(source.shape, spec.scale)),)
                nodes.append(Node("einsum", node.operands, scaled, (source,), node.sources))
                plain = (("spec", str(Spec(spec.inputs, spec.output, spec.sizes))),)
                nodes[number] = replace(node, operands=(len(nodes) - 1,), attrs=plain)
    return replace(graph, nodes=tuple(nodes))


def _is_product(graph: Graph, number: int) -> bool:
    node = graph.nodes[number]
    if node.op != "einsum" or len(node.operands) != 2:
        return False
    return bool(Spec.parse(node.attr("spec")).summed)


def _places(graph: Graph, scores: int, readers: Sequence[Sequence[int]], known: frozenset[int]) -> Iterator[_Place]:
    """Pieces that begin with these scores, smallest first."""
    depends, second = _between(graph, scores, readers)
    for product in sorted(second):
        inner = [q for q in graph.nodes[product].operands if q in depends]
        if len(inner) != 1:
            continue
        values = next(q for q in graph.nodes[product].operands if q != inner[0])
        parted, first = _parted(graph, scores, product, values)
        for root, after in _roots(graph, product, depends, readers, known):
            leaves = _leaves(parted, root, depends | after, known, first, scores)
            made = piece(parted, root, leaves) if leaves else None
            if made is not None:
                origin = (*graph.nodes[scores].operands, values, *leaves[3:])
                yield _Place(replace(made, leaves=origin), (0, 1), 2)


def _between(graph: Graph, scores: int, readers: Sequence[Sequence[int]]) -> tuple[set[int], set[int]]:
    """What depends on scores up to products, and the products of what came through an exponential."""
    depends = {scores}
    has_exp: set[int] = set()
    second: set[int] = set()
    queue = [scores]
    while queue and len(depends) < MOST_BETWEEN:
        number = heapq.heappop(queue)
        for user in readers[number]:
            if can_open(graph.nodes[user]):
                node = graph.nodes[user]
                if FAMILIES.get(node.op) == "exp" or has_exp.intersection(node.operands):
                    has_exp.add(user)
                if user not in depends:
                    depends.add(user)
                    heapq.heappush(queue, user)
            elif _is_product(graph, user) and number in has_exp:
                second.add(user)
    return depends, second


def _parted(graph: Graph, scores: int, product: int, values: int) -> tuple[Graph, tuple[int, int, int]]:
    """The program with queries, keys and values as inputs of their own, since one tensor may be all three."""
    count = len(graph.nodes)
    nodes = list(graph.nodes)
    for i, number in enumerate((*nodes[scores].operands, values)):
        nodes.append(Node("input", (), (("index", -1 - i),), graph.nodes[number].types))
    nodes[scores] = replace(nodes[scores], operands=(count, count + 1))
    nodes[product] = replace(
        nodes[product], operands=tuple(count + 2 if q == values else q for q in nodes[product].operands)
    )
    return replace(graph, nodes=tuple(nodes)), (count, count + 1, count + 2)


def _roots(
    graph: Graph, product: int, depends: set[int], readers: Sequence[Sequence[int]], known: frozenset[int]
) -> Iterator[tuple[int, set[int]]]:
    """The second product and what follows it, with the nodes from it on."""
    after = {product}
    yield product, after
    for _ in range(MOST_AFTER):
        nexts = [
            user
            for n in after
            for user in readers[n]
            if user not in after
            and can_open(graph.nodes[user])
            and all(q in after or q in depends or q in known for q in graph.nodes[user].operands)
        ]
        if not nexts:
            return
        after = after | {min(nexts)}
        yield min(nexts), after


def _leaves(
    graph: Graph, root: int, inside: set[int], known: frozenset[int], first: Sequence[int], scores: int
) -> list[int]:
    """Where the piece begins: the operands of its products, then biases and masks; empty where that is too much."""
    leaves = list(dict.fromkeys(first))
    stack, seen = [root], {root}
    while stack:
        number = stack.pop()
        for q in graph.nodes[number].operands if number != scores else ():
            if q in seen or q in leaves:
                continue
            seen.add(q)
            node = graph.nodes[q]
            if (
                q in inside
                or _is_scalar(graph, q, known)
                or is_spread(node)
                or inside.issuperset(node.operands or (-1,))
                or _is_partly_known(graph, q, known)
            ):
                stack.append(q)
            else:
                leaves.append(q)
    leaves = [n for n in leaves if not _is_other_form(graph, n, leaves)]
    return leaves if len(leaves) <= MOST_LEAVES else []


def _is_other_form(graph: Graph, number: int, leaves: Sequence[int]) -> bool:
    """Whether a leaf is another leaf's truth values as numbers, as where weights are multiplied by the mask."""
    node = graph.nodes[number]
    if node.op != "convert_element_type" or graph.nodes[node.operands[0]].types[0].dtype != "bool":
        return False
    return any(n in leaves for n in _sources(graph, node.operands[0]))


def _is_partly_known(graph: Graph, number: int, known: frozenset[int], depth: int = MOST_TOGETHER) -> bool:
    """Whether masks or biases of which some read no input come together here: those are looked at by themselves."""
    node = graph.nodes[number]
    if node.op not in TOGETHER or number in known or not depth:
        return False
    below = [n for q in node.operands for n in _sources(graph, q)]
    return any(
        bool(graph.nodes[n].types[0].shape) if n in known else _is_partly_known(graph, n, known, depth - 1)
        for n in below
    )


def _sources(graph: Graph, number: int) -> Iterator[int]:
    """A node, and what it is a broadcast of."""
    yield number
    while is_spread(graph.nodes[number]):
        number = graph.nodes[number].operands[0]
        yield number


def _is_scalar(graph: Graph, number: int, known: frozenset[int]) -> bool:
    return number in known and not graph.nodes[number].types[0].shape


def _found(graph: Graph, place: _Place, planes: Planes, count: int) -> Found | None:
    made = place.piece
    parts = roles(made.graph, place.scores, place.values)
    if parts is None:
        return None
    key = (made.graph, place.scores, place.values)
    if key not in _verdicts:
        _verdicts[key] = fit(made, place.scores, place.values, parts)
        if len(_verdicts) > REMEMBERED:
            _verdicts.popitem(last=False)
    held = _verdicts[key]
    if held is None:
        return None
    return _idiom(graph, made, replace(parts, hiding=held.hiding), held, planes, count)


def _idiom(graph: Graph, made: Piece, parts: Roles, held: Fit, planes: Planes, count: int) -> Found:
    """The idiom, its masks that read no input looked at: those that are a band are told by numbers."""
    parts, held, band = planes.taken(made.leaves, parts, held)
    leaves, kept = grouped(graph, made.leaves, parts)
    static = held.static(bool(kept.biases), bool(kept.masks), band.ahead, band.behind)
    emitter = Emitter()
    inputs = [emitter.input(graph.nodes[n].types[0]) for n in leaves]
    types = tuple(emitter.type(n) for n in arguments(emitter, inputs, kept))

    def placed(emitter: Emitter, where: Place, number: int) -> int:
        if number < count:
            return where(number)
        node = graph.nodes[number]  # a multiple that was put before its broadcast
        return emitter.einsum(node.attr("spec"), [where(node.operands[0])])

    return Found(
        ATTENTION,
        static,
        made.root,
        tuple(n if n < count else graph.nodes[n].operands[0] for n in leaves),
        made.inside,
        types,
        lambda emitter, where: arguments(emitter, [placed(emitter, where, n) for n in leaves], kept),
        lambda emitter, node: result(emitter, node, kept),
        detail=kept.detail,
        overflows=held.likeness is Likeness.FINITE,
    )
