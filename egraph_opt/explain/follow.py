# SPDX-License-Identifier: Apache-2.0
"""Follows a search: the equations by which a program became the one that it chose, stage by stage.

The e-graph of a search depends on its program, rules and iterations alone. It is grown once more by the very same
steps, this time recorded, so every e-node of the chosen program is met again, with all that led to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from egraph_opt.engine import Limits, RuleSet
from egraph_opt.engine.decode import Choice, emit_choice
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.record import RecordedSaturation
from egraph_opt.engine.words import ADD
from egraph_opt.errors import EngineError
from egraph_opt.explain.adjoint import adjoint_steps, normal_form
from egraph_opt.explain.evidence import Equation, Evidence
from egraph_opt.explain.pairing import follow_nodes, follow_pass
from egraph_opt.explain.terms import graphs_of
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import with_idioms
from egraph_opt.search import Search, Stage

BODY = ("body",)
"""Stage in which the search looked into bodies of control flow."""

ANY_SIZE = 1 << 60
"""Where the search ended by its nodes, its iterations are told."""

Certificate = dict[str, Any]
ProveBody = Callable[[Graph, Graph, Search], Certificate | None]


@dataclass(frozen=True, slots=True)
class Effort:
    """What a proof may use.

    Args:
        rules: rules of the search, as it admitted them.
        numerics: its class.
        seconds: wall clock of growing the e-graph once more [s].
        pairs: whether passes are taken apart, by guesses; else each is one step.
    """

    rules: RuleSet
    numerics: Numerics
    seconds: float = 60.0
    pairs: bool = True


def follow_stages(
    before: Graph, terms: Sequence[int], search: Search, evidence: Evidence, effort: Effort, body: ProveBody
) -> tuple[Graph, list[int]]:
    """The program from which the e-graph grew, and the terms of its nodes.

    Args:
        before: the original.
        terms: of its nodes.
        search: what was done to it.
        evidence: takes the equations that join both.
        effort: rules and class of the search.
        body: certificate for a body and what it became, from its search.
    """
    graph, written = normal_form(before, terms, evidence, effort.numerics)
    for stage in search.stages:
        assert stage.before == graph, "each stage begins where the last one ended"
        if stage.price is not None:  # it was used by adjoints alone
            graph, written = adjoint_steps(graph, written, evidence, effort.numerics, stage.price)
            continue
        if stage.passes == BODY:
            written = _bodies_changed(stage, evidence, body)
        known = follow_nodes(stage, written, evidence, effort.numerics) if effort.pairs else None
        graph, written = stage.after, known or follow_pass(stage, written, evidence, effort.pairs)
    return graph, written


def follow_later(after: Graph, search: Search, evidence: Evidence, effort: Effort) -> Graph:
    """The program that the e-graph, or what stands before it, gave for a candidate; it is joined with the candidate."""
    candidate = next((c for c in search.candidates if c.graph == after), None)
    for stage in reversed(candidate.stages if candidate is not None else ()):
        assert stage.after == after, "each stage ends where the next one begins"
        follow_pass(stage, evidence.table.graph(stage.before), evidence, effort.pairs)
        after = stage.before
    return after


def follow_e_graph(search: Search, after: Graph, evidence: Evidence, effort: Effort, frozen: Collection[int]) -> str:
    """Grow the e-graph of a search again until its evidence joins the goals; why it ended.

    Args:
        search: that found the program.
        after: the program, one of the search's candidates.
        evidence: takes the equations.
        effort: rules and limits.
        frozen: input positions whose values stay the same between calls.
    """
    table, graph = evidence.table, search.before
    for node, term in zip(graph.nodes, table.graph(graph), strict=True):
        if node.op == "add" and len(node.operands) > 2:
            row = table.rows[term]
            evidence.add(Equation("normal-form", term, evidence.total(row.args)))
    for term, row in enumerate(table.rows):
        if row.op == "assume":  # a statement, and the tensor it is about
            evidence.add(Equation("normal-form", term, row.args[0]))
    choice = next((c.choice for c in search.candidates if c.graph == after and not c.stages), None)
    if choice is None:
        return "it is no program of the search"
    grown = len(search.saturation.growth) - (search.saturation.stop_reason != "iterations")
    limits = Limits(seconds=effort.seconds, nodes=ANY_SIZE, iterations=grown)
    both, equal, _ = with_idioms(graph, effort.numerics)
    try:
        saturation = RecordedSaturation(both, effort.rules, limits, effort.numerics, frozen, evidence, equal)
        try:
            _decoded(graph, choice, saturation.encoder, evidence, effort.numerics)
            saturation.run()
            return saturation.report.stop_reason
        finally:
            saturation.close()
    except EngineError as error:
        return str(error)


def _decoded(graph: Graph, choice: Choice, encoder: Encoder, evidence: Evidence, numerics: Numerics) -> None:
    """Join the chosen e-nodes with the program that was made of them."""
    table = evidence.table
    term: dict[int, int] = {}
    for c, enode in choice.enodes.items():
        made = evidence.make(enode.constructor, enode.text, [term[q] for q in enode.children])
        assert made is not None, "a chosen e-node has a type"
        term[c] = made
    decoded = emit_choice(graph, choice, encoder, numerics, {})
    image: list[int] = []
    for node in decoded.emitter.nodes:
        image.append(table.node(node, [image[q] for q in node.operands]))
    for c, number in decoded.place.items():
        row, operands = table.rows[term[c]], decoded.operands[c]
        if choice.enodes[c].constructor == ADD:
            evidence.add(Equation("normal-form", term[c], table.add("add", "", [term[q] for q in operands], row.types)))
        emitted = table.add(row.op, row.attrs, [image[decoded.place[q]] for q in operands], row.types)
        evidence.add(Equation("normal-form", emitted, image[number]))
    count = len(graph.outputs)
    numbers = [decoded.place[r] for r in choice.roots]
    built = decoded.emitter.build(numbers[:count], numbers[count:], graph.weak_outputs, graph.precision)
    normal_form(built, table.graph(built), evidence, numerics)


def roots_of(graph: Graph) -> list[int]:
    """Results, then effects."""
    return [*graph.outputs, *graph.effects]


def _bodies_changed(stage: Stage, evidence: Evidence, body: ProveBody) -> list[int]:
    """Terms of a program's nodes where bodies that are proven equal took the place of its own."""
    made: list[int] = []
    for node in stage.before.nodes:
        args = [made[q] for q in node.operands]
        term = evidence.table.node(node, args)
        changed = _with_bodies(node, stage, body)
        if changed is not None:
            other = evidence.table.node(changed[0], args)
            evidence.add(Equation("body", term, other, certificates=changed[1]))
            term = other
        made.append(term)
    return made


def _with_bodies(node: Node, stage: Stage, body: ProveBody) -> tuple[Node, tuple[Certificate, ...]] | None:
    """The node with the bodies of a node of the stage's result that its own became, and the proofs."""
    mine = graphs_of(node)
    for other in stage.after.nodes if mine else ():
        theirs = graphs_of(other)
        pairs = [pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]]
        if other.op != node.op or len(theirs) != len(mine) or not stage.searches.keys() >= {*pairs}:
            continue
        if _rest(node) != _rest(other):
            continue
        proofs = [body(*pair, stage.searches[pair]) for pair in pairs]
        known = tuple(proof for proof in proofs if proof is not None)
        return (replace(node, attrs=other.attrs), known) if pairs and len(known) == len(proofs) else None
    return None


def _rest(node: Node) -> list[Any]:
    """Types, and attributes but for bodies."""
    return [node.types, *((k, None if _holds(v) else v) for k, v in node.attrs)]


def _holds(value: Any) -> bool:
    return any(isinstance(item, Graph) for item in (value if type(value) is tuple else (value,)))
