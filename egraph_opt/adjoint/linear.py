# SPDX-License-Identifier: Apache-2.0
"""Sums at linear operations: after them where they treat all directions alike, else on the other side of them."""

from __future__ import annotations

from egraph_opt.adjoint.passages import Passage, passage
from egraph_opt.adjoint.pushing import Pushing
from egraph_opt.adjoint.terms import UNSEEN, Letters, Term, flat
from egraph_opt.adjoint.transposing import transpose
from egraph_opt.ir import Node
from egraph_opt.ir.slices import Range, slice_attrs


def pushed_linear(pushing: Pushing, term: Term, node: Node) -> int | None:
    """A sum pushed through a linear operation; None where it stops.

    Args:
        pushing: the sums that go down.
        term: the sum.
        node: the operation.
    """
    way = passage(pushing.graph, node, term)
    made = None if way is None else through(pushing, term, node, way)
    if made is None and node.op == "concatenate":
        return parted(pushing, term, node)
    return transposed(pushing, term, node) if made is None else made


def parted(pushing: Pushing, term: Term, node: Node) -> int | None:
    """The sum over joined tensors is that of the sums over each, with the part of the factor that meets it."""
    axis, indices = node.attr("dimension"), pushing.indices
    group, factor = term.word[axis], term.factor
    if len(group) != 1 or group[0] in term.out or term.held.count(group[0]) > 1 or factor == UNSEEN:
        return None
    (letter,) = group
    if letter not in term.letters:
        return None
    place, kind, start = term.letters.index(letter), pushing.emitter.type(factor), 0
    sums = []
    for q in node.operands:
        size = pushing.graph.nodes[q].type.shape[axis]
        ranges = [Range(0, n) for n in kind.shape]
        ranges[place] = Range(start, start + size)
        shape = (*kind.shape[:place], size, *kind.shape[place + 1 :])
        part = pushing.emitter.add("slice", (factor,), slice_attrs(ranges), kind.with_shape(shape))
        names = {letter: indices.new(size)}
        word = tuple(tuple(names.get(c, c) for c in each) for each in term.word)
        letters = tuple(names.get(c, c) for c in term.letters)
        sums.append(pushing.sum(Term(q, word, part, letters, term.out)))
        start += size
    return pushing.emitter.sum_of(sums, node.sources)


def through(pushing: Pushing, term: Term, node: Node, way: Passage) -> int | None:
    """An operation that leaves some dimensions alone is done on the sum over those."""
    free = {c for d in way.free for c in term.word[d]}
    fixed = set(term.held) - free
    if len(set(term.held)) < len(term.held) or fixed & set(term.letters) or not free - set(term.out):
        return None
    keep = tuple(c for c in term.out if c not in fixed)
    home = next(d for d in way.free if not set(term.word[d]) <= set(term.out))
    result: list[Letters] = []
    for d, group in enumerate(term.word):
        left = tuple(c for c in group if c in fixed or c in keep)
        result.append((*left, *(c for c in keep if c not in free)) if d == home else left)
    operands: list[int] = []
    for k, q in enumerate(node.operands):
        if k not in way.linear:
            operands.append(pushing.place(q))
            continue
        shape = pushing.graph.nodes[q].type.shape
        back = {p: d for d, p in way.free.items()}
        word = tuple(term.word[back[p]] if p in back else (pushing.indices.new(n),) for p, n in enumerate(shape))
        target = tuple(result[back[p]] if p in back else word[p] for p in range(len(shape)))
        out = flat(target)
        made = pushing.sum(Term(q, word, term.factor, term.letters, out))
        operands.append(pushing.emitter.reshape(made, pushing.indices.sizes(target)))
    whole = pushing.indices.sizes(tuple(result))
    attrs = way.attrs({d: whole[d] for d in way.free})
    made = pushing.emitter.add(node.op, operands, attrs, node.type.with_shape(whole), node.sources)
    letters = flat(tuple(result))
    return pushing.einsum([letters], term.out, [pushing.emitter.reshape(made, pushing.indices.shape(letters))])


def transposed(pushing: Pushing, term: Term, node: Node) -> int | None:
    """A linear operation is done to the factor, where that is less than what it is done to."""
    way = transpose(pushing.graph, node)
    if way is None or term.factor == UNSEEN or len(set(term.held)) < len(term.held):
        return None
    touched = flat(tuple(term.word[d] for d in way.touched))
    images = tuple(c for c in term.letters if c not in touched)
    alike = {c for c in term.held if c not in touched}
    if not touched or not set(touched).isdisjoint(term.out):
        return None
    if set(touched).isdisjoint(term.letters) or pushing.indices.count(images) >= pushing.indices.count(alike):
        return None
    factor = pushing.einsum([term.letters], (*images, *touched), [term.factor])
    sizes = pushing.indices.sizes(tuple(term.word[d] for d in way.touched))
    factor = pushing.emitter.reshape(factor, (pushing.indices.count(images), *sizes))
    made = way.make(pushing.emitter, factor, [pushing.place(q) for q in node.operands[1:]])
    shape = pushing.graph.nodes[node.operands[0]].type.shape
    read = {d: pushing.indices.new(shape[d]) for d in way.read}
    letters = (*images, *read.values())
    made = pushing.emitter.reshape(made, pushing.indices.shape(letters))
    word = tuple((read[d],) if d in read else term.word[way.kept[d]] for d in range(len(shape)))
    return pushing.sum(Term(node.operands[0], word, made, letters, term.out))
