# SPDX-License-Identifier: Apache-2.0
"""Evidence for what happened to a program before its search: equal values merged, adjoints used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from egraph_opt.adjoint import adjoint_form
from egraph_opt.adjoint.merging import Merged
from egraph_opt.explain.evidence import Equation, Evidence
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.normalise import emitted

Price = Callable[[Graph], float]


def adjoint_steps(
    before: Graph, terms: Sequence[int], evidence: Evidence, numerics: Numerics, price: Price
) -> tuple[Graph, list[int]]:
    """The program that adjoints made of another one, and the terms of its nodes.

    Args:
        before: the program, in normal form.
        terms: of its nodes.
        evidence: takes the equations that join both.
        numerics: class of the search.
        price: of a program, as the search saw it.
    """
    table = evidence.table
    steps: list[Merged] = []
    adjoint_form(before, numerics, price, steps)
    if not steps:
        return before, [*terms]
    (merged,) = steps
    made: list[int] = []
    for node in merged.emitter.nodes:
        made.append(table.node(node, [made[q] for q in node.operands]))
    for node, operands, number in merged.emitted:
        evidence.add(Equation("normal-form", table.node(node, [made[q] for q in operands]), made[number]))
    for left, right in merged.equal:
        evidence.add(Equation("normal-form", made[left], made[right]))
    built = merged.build()
    return normal_form(built, table.graph(built), evidence, numerics)


def normal_forms(
    graph: Graph,
    place: Sequence[int],
    image: Sequence[int],
    terms: Sequence[int],
    evidence: Evidence,
    passes: tuple[str, ...] = (),
) -> None:
    """Each node over what its operands became equals what it became; inside of sums nothing became of a node yet.

    Args:
        graph: the program.
        place: number of what each node became; -1 for nothing.
        image: terms of these.
        terms: of leaves of the program.
        evidence: takes the equations.
        passes: what was done, where it was no normal form.
    """
    became: list[int] = []
    for n, node in enumerate(graph.nodes):
        term = evidence.table.node(node, [became[q] for q in node.operands]) if node.operands else terms[n]
        if place[n] >= 0:
            evidence.add(Equation("pass" if passes else "normal-form", term, image[place[n]], passes=passes))
            term = image[place[n]]
        became.append(term)


def normal_form(graph: Graph, terms: Sequence[int], evidence: Evidence, numerics: Numerics) -> tuple[Graph, list[int]]:
    """The program in normal form, joined with the program."""
    emitter, place = emitted(graph, numerics)
    image: list[int] = []
    for node in emitter.nodes:
        image.append(evidence.table.node(node, [image[q] for q in node.operands]))
    normal_forms(graph, place, image, terms, evidence)
    outputs, effects = ([place[n] for n in numbers] for numbers in (graph.outputs, graph.effects))
    plain = emitter.build(outputs, effects, graph.weak_outputs, graph.precision)
    return plain, evidence.table.graph(plain)
