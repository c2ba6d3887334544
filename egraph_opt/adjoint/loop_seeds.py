# SPDX-License-Identifier: Apache-2.0
"""Loops that carry a whole basis through linear steps carry its sum over the directions instead.

The body is read with the sum's factor unseen: it must reach carries, slices and constants, and nothing else, so that
each trip is linear in them and does the same to every direction. Then what they hold before the loop is summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from egraph_opt.adjoint.linear import pushed_linear
from egraph_opt.adjoint.pushing import Pushing
from egraph_opt.adjoint.terms import UNSEEN, Indices, Letters, StuckError, Term, Word, flat
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.walk import ancestors
from egraph_opt.loops.loop import Loop, sub_body

Marks = tuple[int | None, ...]
"""The factor's index of each dimension of a tensor in a body, None for others."""


class Seeds(NamedTuple):
    """A body with some of its tensors summed.

    Args:
        body: the new body.
        inputs: for each of its inputs, which input of the old body it is.
        carries: for each of its carries, which carry of the old one it is.
        marks: dimensions of the inputs of the old body that are summed, by input.
    """

    body: Graph
    inputs: tuple[int, ...]
    carries: tuple[int, ...]
    marks: dict[int, Marks]


def pushed_loop(outside: Pushing, term: Term, number: int, index: int) -> int | None:
    """The sum of a result of a loop, by a loop that carries sums.

    Args:
        outside: of the graph around the loop.
        term: the sum.
        number: node of the loop.
        index: which of its results is summed.

    Returns:
        None where the loop is not linear in what is summed.
    """
    node = outside.graph.nodes[number]
    loop = Loop.of(node, node.operands)
    stacked = index >= len(loop.init)
    indices = outside.indices
    if len(set(term.held)) < len(term.held) or loop.body.effects:
        return None
    if any(len(group) > 1 for group in term.word):
        return _joined(outside, term)
    word = tuple(group or (indices.new(1),) for group in term.word)
    trips = flat(word[:1]) if stacked else ()
    inside = word[1:] if stacked else word
    summed = set(flat(inside)) & set(term.letters) - set(term.out)
    if not summed or set(trips) & set(term.letters):
        return None
    marks = tuple(c if c in term.letters else None for c in flat(inside))
    try:
        seeds = _summed_body(outside, loop, index, marks, term)
    except StuckError:
        return None
    layout = _Layout(indices, term)
    operands: list[int] = []
    count = len(loop.consts), len(loop.init)
    for k in seeds.inputs:
        q = node.operands[k]
        if k not in seeds.marks:
            operands.append(outside.place(q))
            continue
        sliced = k >= sum(count)
        within = layout.word(seeds.marks[k], outside.graph.nodes[q].type.shape[1 if sliced else 0 :])
        first = (indices.new(loop.length),) if sliced else ()
        whole = (*((c,) for c in first), *within)
        operands.append(outside.sum(Term(q, whole, term.factor, term.letters, (*first, *layout.summed(within)))))
    results = _emitted(outside.emitter, loop, seeds, operands)
    result = results[-1] if stacked else results[seeds.carries.index(index)]
    return outside.einsum([(*trips, *layout.summed(inside))], term.out, [result])


def _emitted(emitter: Emitter, loop: Loop, seeds: Seeds, operands: Sequence[int]) -> list[int]:
    """The results of a loop with another body."""
    first = sum(k < len(loop.consts) for k in seeds.inputs)
    second = first + len(seeds.carries)
    parts = tuple(operands[:first]), tuple(operands[first:second]), tuple(operands[second:])
    return replace(loop, body=seeds.body, consts=parts[0], init=parts[1], xs=parts[2]).emit(emitter)[1]


def _above(graph: Graph, numbers: set[int]) -> set[int]:
    """These nodes and all that read them."""
    found = set(numbers)
    for n, node in enumerate(graph.nodes):
        if not found.isdisjoint(node.operands):
            found.add(n)
    return found


def _joined(outside: Pushing, term: Term) -> int | None:
    """The sum with one index for each dimension; None where one stands for indices that are treated differently."""
    indices, emitter = outside.indices, outside.emitter
    names: dict[Letters, int] = {}
    factor, letters, out = term.factor, term.letters, term.out
    for group in term.word:
        if len(group) < 2:
            continue
        kinds = {(c in term.letters, c in term.out) for c in group}
        if len(kinds) > 1 or factor == UNSEEN:
            return None
        names[group] = c = indices.new(indices.count(group))
        if group[0] in letters:
            rest = tuple(p for p in letters if p not in group)
            moved = outside.einsum([letters], (*rest, *group), [factor])
            letters = (*rest, c)
            factor = emitter.reshape(moved, indices.shape(letters))
        if group[0] in out:
            out = (*(p for p in out if p not in group), c)
    word = tuple((names[group],) if group in names else group for group in term.word)
    made = outside.sum(Term(term.node, word, factor, letters, out))
    back = {c: group for group, c in names.items()}
    split = tuple(p for c in out for p in back.get(c, (c,)))
    return outside.einsum([split], term.out, [emitter.reshape(made, indices.shape(split))])


class _Layout:
    """Order of the dimensions of what is summed: those that stay, then those that only the factor has."""

    def __init__(self, indices: Indices, term: Term) -> None:
        self._indices = indices
        self._gone = set(term.letters) - set(term.out)
        self._new = tuple(c for c in term.letters if c in term.out and c not in term.held)

    def summed(self, word: Word) -> Letters:
        """The indices of the sum of a tensor with these."""
        return (*(c for c in flat(word) if c not in self._gone), *self._new)

    def word(self, marks: Marks, shape: tuple[int, ...]) -> Word:
        """A word with the factor's indices at their places and new ones elsewhere."""
        return tuple((self._indices.new(n) if c is None else c,) for c, n in zip(marks, shape, strict=True))


class _Inside(Pushing):
    """Sums in a body whose factor is unseen: they end at the body's inputs.

    Args:
        outside: of the graph around the loop.
        body: the body.
        known: the inputs that are summed, as far as that is known.
        layout: of what is summed.
        needed: indices of the factor that all tensors must have.

    After the sums are made, ``found`` holds the inputs that they met.
    """

    def __init__(
        self, outside: Pushing, body: Graph, known: Mapping[int, Marks], layout: _Layout, needed: set[int]
    ) -> None:
        emitter, places = Emitter(outside.emitter.numerics), dict[int, int]()
        for k, number in enumerate(body.inputs):
            kind = body.nodes[number].type
            if k in known:
                emitter.input(outside.indices.over(kind, layout.summed(layout.word(known[k], kind.shape))))
            else:
                places[number] = emitter.input(kind)
        super().__init__(body, emitter, outside.indices, places, pushed_loop, pushed_linear)
        self._above = _above(body, {body.inputs[k] for k in known})
        self._layout, self._needed, self._inputs = layout, needed, frozenset(known)
        self.found: dict[int, Marks] = {}

    def stop(self, term: Term) -> int:
        """The sum computed here, or an input that is summed already."""
        if term.factor != UNSEEN:
            return super().stop(term)
        if self.graph.nodes[term.node].op != "input" or any(len(group) > 1 for group in term.word):
            raise StuckError
        word = tuple(group or (self.indices.new(1),) for group in term.word)
        marks = tuple(c if c in term.letters else None for c in flat(word))
        position = self.graph.inputs.index(term.node)
        if not self._needed <= set(marks) or self.found.setdefault(position, marks) != marks:
            raise StuckError
        if position not in self._inputs:  # its type is known in the next round
            kind = self.indices.over(self.graph.nodes[term.node].type, term.out)
            return self.emitter.uniform(0, kind)
        return self.einsum([self._layout.summed(word)], term.out, [self.emitter.inputs[position]])

    def _read_by(self, number: int) -> Sequence[int]:
        node = self.graph.nodes[number]
        if not self._is_part(node):
            return node.operands
        return [self.graph.nodes[node.operands[0]].operands[k] for k in self._part(node).inputs]

    def _made(self, node: Node) -> int:
        if not self._is_part(node):
            return super()._made(node)
        scan, part = self.graph.nodes[node.operands[0]], self._part(node)
        operands = [self._places[scan.operands[k]] for k in part.inputs]
        results = _emitted(self.emitter, Loop.of(scan, scan.operands), part, operands)
        return results[part.carries.index(node.attr("index"))] if node.attr("index") in part.carries else results[-1]

    def _is_part(self, node: Node) -> bool:
        """Whether a node is the result of a loop that reads what is summed, maybe for other results alone."""
        return (
            node.op == "result" and node.operands[0] in self._above and self.graph.nodes[node.operands[0]].op == "scan"
        )

    def _part(self, node: Node) -> Seeds:
        """What a loop needs for one of its results."""
        scan = self.graph.nodes[node.operands[0]]
        loop, index = Loop.of(scan, scan.operands), node.attr("index")
        if loop.body.effects:
            raise StuckError
        emitter = Emitter(self.emitter.numerics)
        places = {n: emitter.input(loop.body.nodes[n].type) for n in loop.body.inputs}
        inside = Pushing(loop.body, emitter, self.indices, places, pushed_loop, pushed_linear)
        wanted = inside.place(loop.body.outputs[index])
        carried = index < len(loop.init)
        return _built(loop, inside, {index: wanted} if carried else {}, [] if carried else [wanted], {})

    def output(self, number: int, marks: Marks, letters: Letters) -> int:
        """An output of the body, summed."""
        node = self.graph.outputs[number]
        word = self._layout.word(marks, self.graph.nodes[node].type.shape)
        return self.sum(Term(node, word, UNSEEN, letters, self._layout.summed(word)))


def _summed_body(outside: Pushing, loop: Loop, index: int, marks: Marks, term: Term) -> Seeds:
    """The body with a result summed, and all that it needs.

    Raises:
        StuckError: it is not linear in the carries of what is summed.
    """
    layout = _Layout(outside.indices, term)
    first, count = len(loop.consts), len(loop.init)
    known: dict[int, Marks] = {first + index: marks} if index < count else {}
    while True:
        inside = _Inside(outside, loop.body, known, layout, {c for c in marks if c is not None})
        carries = {k - first: m for k, m in known.items() if first <= k < first + count}
        roots = {k: inside.output(k, m, term.letters) for k, m in carries.items()}
        stacked = [inside.output(index, marks, term.letters)] if index >= count else []
        if any(inside.found.get(k, m) != m for k, m in known.items()):
            raise StuckError
        if inside.found.keys() <= known.keys():
            return _built(loop, inside, roots, stacked, known)
        known = {**known, **inside.found}


def _built(loop: Loop, inside: Pushing, roots: dict[int, int], stacked: list[int], known: dict[int, Marks]) -> Seeds:
    """The body of what is summed and of the carries that this reads.

    Raises:
        StuckError: one of these carries depends on what is summed.
    """
    emitter, first = inside.emitter, len(loop.consts)
    position = {n: k for k, n in enumerate(emitter.inputs)}
    roots = dict(roots)
    while True:
        read = {position[n] for n in ancestors(emitter, [*roots.values(), *stacked]) if n in position}
        missing = {k - first for k in read if first <= k < first + len(loop.init)} - roots.keys()
        if not missing:
            break
        roots |= {k: inside.place(loop.body.outputs[k]) for k in missing}
    carries = tuple(sorted(roots))
    inputs = tuple(sorted(read | {first + k for k in carries}))
    body = emitter.build([*(roots[k] for k in carries), *stacked], (), None, loop.body.precision)
    body = sub_body(body, [[body.inputs[k]] for k in inputs], body.outputs, emitter.numerics)
    return Seeds(body, inputs, carries, {k: m for k, m in known.items() if k in inputs})
