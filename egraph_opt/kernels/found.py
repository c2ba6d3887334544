# SPDX-License-Identifier: Apache-2.0
"""What was recognised in a program, and the nodes that put a kernel beside, or in the place of, what was there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.kernels.match import Match, lean_type
from egraph_opt.kernels.record import Kernel, Static
from egraph_opt.kernels.values import Likeness
from egraph_opt.ops.kernel import KERNEL, Lowering

Place = Callable[[int], int]
"""Node of the program to node of the one that is being built."""


@dataclass(frozen=True, slots=True)
class Found:
    """One recognised idiom.

    Args:
        kernel: which.
        static: keywords of its pattern.
        root: node whose value it is.
        leaves: nodes that it reads.
        inside: nodes that it stands for.
        types: of its arguments.
        arguments: makes the arguments from nodes of the program.
        result: makes the root's value from the kernel's.
        detail: what to say of it beside its static keywords.
        overflows: whether what is there overflows where the kernel does not, as softmax without its maximum.
    """

    kernel: Kernel
    static: Static
    root: int
    leaves: tuple[int, ...]
    inside: frozenset[int]
    types: tuple[TensorType, ...]
    arguments: Callable[[Emitter, Place], list[int]] = field(repr=False)
    result: Callable[[Emitter, int], int] = field(repr=False)
    detail: str = ""
    overflows: bool = False

    @property
    def label(self) -> str:
        """What it is: ``attention (causal, GQA 8:2)``."""
        said = [text for text in (self.kernel.describe(dict(self.static)), self.detail) if text]
        return f"{self.kernel.name} ({', '.join(said)})" if said else self.kernel.name

    def lowerings(self, platform: str, numerics: Numerics) -> list[Lowering]:
        """Ways to run it here that a numerics class admits."""
        if numerics < (Numerics.FINITE if self.overflows else Numerics.REASSOCIATE):
            return []
        return [low for low in self.kernel.lowerings if low.fits(platform, self.types, dict(self.static))]

    def emit(self, emitter: Emitter, place: Place, lowering: Lowering, graph: Graph) -> int:
        """Add it to a program that is being built; the node that has the root's value."""
        body = self.kernel.body(self.types, self.static)
        assert body is not None, "it was compared"
        attrs = (("name", self.kernel.name), ("lowering", lowering.name), ("static", self.static), ("body", body))
        sources = graph.nodes[self.root].sources
        node = emitter.add(KERNEL, self.arguments(emitter, place), attrs, body.output_types, sources)
        return self.result(emitter, node)


def found_of(match: Match) -> Found:
    """What a matched piece is, with its layout."""
    piece, layout = match.piece, match.layout

    def arguments(emitter: Emitter, place: Place) -> list[int]:
        nodes = [place(piece.leaves[leaf]) for leaf in layout.leaves]
        if layout.lean:
            nodes = [emitter.reshape(n, lean_type(emitter.type(n)).shape) for n in nodes]
        return [transposed(emitter, n, order) for n, order in zip(nodes, layout.orders, strict=True)]

    def result(emitter: Emitter, node: int) -> int:
        made = transposed(emitter, node, layout.result)
        return emitter.reshape(made, piece.graph.output_types[0].shape) if layout.lean else made

    return Found(
        match.kernel,
        match.static,
        piece.root,
        piece.leaves,
        piece.inside,
        layout.types,
        arguments,
        result,
        overflows=match.likeness is Likeness.FINITE,
    )


def transposed(emitter: Emitter, x: int, order: Sequence[int]) -> int:
    """The tensor with its dimensions in another order."""
    if tuple(order) == tuple(range(len(order))):
        return x
    letters = LETTERS[: len(order)]
    sizes = dict(zip(letters, emitter.type(x).shape, strict=True))
    return emitter.einsum(canonical([letters], "".join(letters[d] for d in order), sizes), [x])


def beside(
    graph: Graph, found: Sequence[Found], platform: str, numerics: Numerics
) -> tuple[Graph, list[tuple[int, int]]]:
    """The program with a node for each lowering of each idiom behind its own nodes, and which nodes are equal.

    Args:
        graph: in normal form; its nodes keep their numbers.
        found: what was recognised in it.
        platform: on which it will run.
        numerics: class of the rewrites that are allowed.
    """
    emitter = _copied(graph)
    pairs = [
        (one.root, one.emit(emitter, _same, lowering, graph))
        for one in found
        for lowering in one.lowerings(platform, numerics)
    ]
    if not pairs:
        return graph, []
    nodes = tuple(emitter.nodes)
    return Graph(
        nodes, graph.inputs, graph.outputs, graph.effects, graph.names, graph.weak_outputs, graph.precision
    ), pairs


def _same(number: int) -> int:
    return number


def _copied(graph: Graph) -> Emitter:
    """The nodes of a graph under their numbers, open for more."""
    emitter = Emitter()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    for number, node in enumerate(graph.nodes):
        is_input = node.op == "input"
        made = emitter.input(node.type, names[number]) if is_input else emitter.copy(node, node.operands)
        assert made == number, "a graph in normal form has each node once"
    return emitter


def replaced(graph: Graph, chosen: Sequence[tuple[Found, Lowering]]) -> Graph:
    """The program with some idioms run by a lowering; idioms inside of others are left out."""
    by_root = {one.root: (one, lowering) for one, lowering in chosen}
    emitter = Emitter()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
        elif number in by_root:
            one, lowering = by_root[number]
            place.append(one.emit(emitter, place.__getitem__, lowering, graph))
        else:
            place.append(emitter.copy(node, [place[q] for q in node.operands]))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)
