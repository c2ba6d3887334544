# SPDX-License-Identifier: Apache-2.0
"""Equal values are computed once: every node that has the value of an earlier one becomes a copy of that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from egraph_opt.adjoint.known import Known
from egraph_opt.adjoint.values import Values, slice_bounds
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.slices import Range, slice_result, slice_text
from egraph_opt.ir.spec import Spec, canonical
from egraph_opt.ops import Trait, get_op

State = list[tuple[str, tuple[int, ...]]]
"""Products by spec and operands; what they add up to."""


@dataclass(slots=True)
class Merged:
    """A program whose nodes have different values.

    Args:
        graph: the program as it was.
        emitter: its nodes, and those that were found to be others.
        values: of the emitter's nodes.
        known: those of them that later ones may be found equal to.
        place: for each node of ``graph`` the one it became.
        count: how many nodes became others.
        equal: pairs of nodes that are equal as polynomials.
        emitted: nodes with their operands in the emitter, and what its smart constructors made of them.
        states: equal sums that were met while a result was written differently; ``settle`` makes nodes of them.
    """

    graph: Graph
    emitter: Emitter
    values: Values
    known: Known
    place: list[int]
    count: int
    equal: list[tuple[int, int]]
    emitted: list[tuple[Node, Sequence[int], int]] = field(default_factory=list)
    states: list[tuple[State, State]] = field(default_factory=list)

    @property
    def roots(self) -> list[int]:
        """Results and effects."""
        return [self.place[n] for n in (*self.graph.outputs, *self.graph.effects)]

    def emit(self, node: Node, operands: Sequence[int]) -> int:
        """The node with operands in the emitter."""
        number = self.emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
        self.emitted.append((node, operands, number))
        return number

    def total(self, state: State) -> int:
        """The sum of some products."""
        return self.emitter.sum_of(sorted(self.emitter.einsum(spec, operands) for spec, operands in state))

    def settle(self) -> None:
        """Make pairs of nodes of the states: at the end, for what is made of a program must not depend on proofs.

        They come first, since each is a small step to what the other pairs say at once.
        """
        self.equal[:0] = [(self.total(left), self.total(right)) for left, right in self.states]
        self.states.clear()

    def build(self) -> Graph:
        """The program."""
        graph, place = self.graph, self.place
        outputs, effects = ([place[n] for n in numbers] for numbers in (graph.outputs, graph.effects))
        return self.emitter.build(outputs, effects, graph.weak_outputs, graph.precision)


def merge(graph: Graph, numerics: Numerics) -> Merged:
    """The program with equal values computed once; slices of products become products of slices.

    Args:
        graph: a program in normal form.
        numerics: class of the changes that are allowed.
    """
    emitter = Emitter(numerics)
    values = Values(emitter, graph)
    known = Known(emitter, values)
    merged = Merged(graph, emitter, values, known, [], 0, [])
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    seen: set[int] = set()
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            merged.place.append(emitter.input(node.type, names[number]))
            continue
        operands = [merged.place[q] for q in node.operands]
        new = merged.emit(node, operands)
        new = _squeezed(merged, _before_product(merged, new))
        if new not in seen and is_sum_or_product(emitter.nodes[new]):
            seen.add(new)
            found = known.find(new)
            if found:
                merged.count += 1
                link = known.link(found[0])
                merged.equal.append((new, link))
                new = link
            else:
                known.add(new)
        merged.place.append(new)
    return merged


def is_sum_or_product(node: Node) -> bool:
    """Whether a node adds or multiplies; copies are not worth finding."""
    return node.op == "add" or (
        node.op == "einsum" and (len(node.operands) == 2 or bool(Spec.parse(node.attr("spec")).summed))
    )


def _before_product(merged: Merged, number: int) -> int:
    """A slice of a product that cuts one operand alone, done on that operand."""
    emitter = merged.emitter
    node = emitter.nodes[number]
    if node.op != "slice":
        return number
    inner = emitter.nodes[node.operands[0]]
    if inner.op != "einsum" or len(inner.operands) != 2:
        return number
    cut = slice_result(slice_text([Range(*r) for r in zip(*slice_bounds(node), strict=True)]), inner.attr("spec"))
    if cut is None or sum(text is not None for text in cut.slices) != 1:
        return number
    spec = Spec.parse(cut.spec)
    operands = []
    for text, x, shape in zip(cut.slices, inner.operands, spec.shapes, strict=True):
        if text is not None:
            x = emitter.add("slice", (x,), parse_attrs(text), emitter.type(x).with_shape(shape), node.sources)
        operands.append(x)
    result = _squeezed(merged, emitter.einsum(cut.spec, operands, node.sources))
    merged.equal.append((number, result))
    return result


def _squeezed(merged: Merged, number: int) -> int:
    """An einsum without its dimensions of size one, reshaped: what differs in them only is the same tensor."""
    emitter = merged.emitter
    node = emitter.nodes[number]
    spec = Spec.parse(node.attr("spec")) if node.op == "einsum" else None
    if spec is None or 1 not in spec.sizes.values():
        return number
    kept = {c: n for c, n in spec.sizes.items() if n != 1}
    words = ["".join(c for c in word if c in kept) for word in (*spec.inputs, spec.output)]
    operands = [
        emitter.reshape(x, tuple(kept[c] for c in word), node.sources)
        for x, word in zip(node.operands, words[:-1], strict=True)
    ]
    result = emitter.einsum(canonical(words[:-1], words[-1], kept, spec.scale), operands, node.sources)
    result = emitter.reshape(result, node.type.shape, node.sources)
    merged.equal.append((number, result))
    return result
