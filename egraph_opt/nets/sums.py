# SPDX-License-Identifier: Apache-2.0
"""Sums of products as one product: ``x W + h U = [x h] [W; U]``, the sum being over all of their summed dimensions.

Of use where one side of every product is prepared, or small: what is joined is copied. Terms that are no products, and
products that others read too, stay terms of the sum.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from egraph_opt.cost import CostModel, frozen_nodes
from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS
from egraph_opt.nets.parts import Groups, joined
from egraph_opt.nets.products import FEW_ROWS, is_product
from egraph_opt.ops import Trait, get_op


class Form(NamedTuple):
    """How terms take part in a sum: places of the result by the operands that have them, and whose are prepared."""

    batch: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    prepared: tuple[bool, bool]


class Term(NamedTuple):
    """One product: operands and words, in the order of its form, over the letters of the result and summed ones."""

    operands: tuple[int, int]
    words: tuple[str, str]
    summed: str


def joined_sums(graph: Graph, numerics: Numerics, free: Collection[int], cost: CostModel) -> Graph | None:
    """The graph with products that are added up as one product, where that is cheaper by their prices alone.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        free: nodes whose values are there beforehand.
        cost: prices of programs.

    Returns:
        None where nothing was joined.
    """
    if numerics < Numerics.REASSOCIATE:
        return None
    uses = graph.use_counts()
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    changed = False
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
            continue
        if node.op == "add" and number not in free:
            terms = {q: found for q in node.operands if uses[q] == 1 and (found := _term(graph, q, free)) is not None}
            groups = _groups(graph, node, terms, cost)
            if groups:
                changed = True
                inside = {q for _, group in groups for q in group}
                parts = [place[q] for q in node.operands if q not in inside]
                parts += [_product(emitter, graph, form, group, node, place) for form, group in groups]
                place.append(emitter.sum_of(parts, node.sources))
                continue
        operands = [place[q] for q in node.operands]
        place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    if not changed:
        return None
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


Group = dict[int, Term]


def _term(graph: Graph, number: int, free: Collection[int]) -> tuple[Form, Term] | None:
    """A product as a term; None for what is none, or is neither by rows nor by columns."""
    node = graph.nodes[number]
    if number in free or not is_product(node):
        return None
    spec = Spec.parse(node.attr("spec"))
    out, words = spec.output, spec.inputs
    batch = tuple(k for k, c in enumerate(out) if c in words[0] and c in words[1])
    sides = [tuple(k for k, c in enumerate(out) if c in word and k not in batch) for word in words]
    turned = sides[0] > sides[1]
    order = (1, 0) if turned else (0, 1)
    # Letters of the result are numbered by their places, so words of several terms speak of the same dimensions.
    table = {c: LETTERS[k] for k, c in enumerate(out)}
    summed = [c for c in words[0] if c not in out]
    table |= {c: LETTERS[len(out) + k] for k, c in enumerate(summed)}
    named = ["".join(table[c] for c in words[k]) for k in order]
    operands = [node.operands[k] for k in order]
    first, second = (sides[k] for k in order)
    prepared = (operands[0] in free, operands[1] in free)
    term = Term((operands[0], operands[1]), (named[0], named[1]), "".join(table[c] for c in summed))
    return Form(batch, first, second, prepared), term


def _groups(graph: Graph, node: Node, terms: dict[int, tuple[Form, Term]], cost: CostModel) -> list[tuple[Form, Group]]:
    """Terms of a sum that pay as one product."""
    groups: dict[Form, Group] = defaultdict(dict)
    for q, (form, term) in terms.items():
        groups[form][q] = term
    return [(f, group) for f, group in groups.items() if len(group) > 1 and _saved(graph, f, group, node, cost) > 0]


def _saved(graph: Graph, form: Form, group: Group, node: Node, cost: CostModel) -> float:
    """What one product saves against the sum of several [s]."""
    before, after = Emitter(), Emitter()
    operands = dict.fromkeys(q for term in group.values() for q in term.operands)
    fixed = [k for k, q in enumerate(operands) if any(
        form.prepared[side] and q == term.operands[side] for term in group.values() for side in (0, 1)
    )]  # fmt: skip
    mine = {q: before.input(graph.nodes[q].type) for q in operands}
    theirs = {q: after.input(graph.nodes[q].type) for q in operands}
    terms = [before.emit(graph.nodes[n], [mine[q] for q in graph.nodes[n].operands], elementwise=False) for n in group]
    programs = (
        before.build([before.sum_of(terms)]),
        after.build([_product(after, graph, form, group, node, theirs)]),
    )
    seconds = [cost.graph_seconds(program, frozen_nodes(program, fixed)) for program in programs]
    return seconds[0] - seconds[1]


def _product(
    emitter: Emitter, graph: Graph, form: Form, group: Group, node: Node, place: Sequence[int] | dict[int, int]
) -> int:
    """Append the product that the terms of a group add up to."""
    shape = node.type.shape
    sizes = dict(zip(LETTERS, shape, strict=False))
    sum_letter = LETTERS[len(shape)]
    words: list[str] = []
    wholes: list[int] = []
    for side, own in enumerate((form.first, form.second)):
        kept = [LETTERS[k] for k in (*form.batch, *own)]
        others = (form.second, form.first)[side]
        few = form.prepared[side] and math.prod(shape[k] for k in others) <= FEW_ROWS
        first = next(iter(group.values())).words[side]
        last = few or not own or first.index(LETTERS[own[0]]) < min(first.index(c) for c in first if c not in kept)
        groups: list[Groups] = []
        for term in group.values():
            word = term.words[side]
            summed = [word.index(c) for c in term.summed]
            axes = [[word.index(c)] for c in kept]
            middle = len(form.batch)
            groups.append([*axes, summed] if last else [*axes[:middle], summed, *axes[middle:]])
        tensors = [place[term.operands[side]] for term in group.values()]
        axis = len(kept) if last else len(form.batch)
        wholes.append(joined(emitter, tensors, groups, axis, node.sources))
        words.append("".join(kept) + sum_letter if last else "".join([*kept[:axis], sum_letter, *kept[axis:]]))
    sizes[sum_letter] = emitter.type(wholes[0]).shape[words[0].index(sum_letter)]
    return emitter.contract(words, LETTERS[: len(shape)], sizes, wholes, node.sources)
