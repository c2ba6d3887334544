# SPDX-License-Identifier: Apache-2.0
"""Finds a certificate that two Graphs are equal: an explaining saturation of both, and the equations that join them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from egraph_opt.engine import Limits, RuleSet
from egraph_opt.engine.record import RecordedSaturation
from egraph_opt.engine.rule import base_name
from egraph_opt.engine.saturate import DELETING
from egraph_opt.errors import EngineError
from egraph_opt.explain.adjoint import adjoint_steps, normal_form, normal_forms
from egraph_opt.explain.certificate import Certificate, certificate
from egraph_opt.explain.checker import CertificateError
from egraph_opt.explain.congruence import Congruence
from egraph_opt.explain.evidence import Equation, Evidence
from egraph_opt.explain.laws import apply_laws
from egraph_opt.explain.sums import join_sums
from egraph_opt.explain.terms import TermTable, graphs_of
from egraph_opt.ir import Builder, Graph, Node
from egraph_opt.ir.numerics import Numerics
from egraph_opt.normalise import emitted
from egraph_opt.search import Stage

MORE_ITERATIONS = 4
"""Iterations beyond those of the search: the result has to meet the original in the explaining saturation."""

BODY = ("body",)
"""Stage in which the search looked into bodies of control flow."""

BODY_SHARE = 0.2
"""Of the time, for the proof of one body."""

FIRST_SHARE = 0.5
"""Of the time, for the search with the likely rules."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What a proof may take.

    Args:
        rules: rules of the search, as it admitted them.
        likely: names of rules that made the result: a search with these alone, which grows less, is tried first.
        numerics: its class.
        iterations: how many it made.
        seconds: wall clock of the explaining saturation, and of making the proof shorter [s].
        nodes: e-nodes of the explaining saturation.
        price: of a program as the search saw it, where it began with adjoints.
        stages: changes of the whole program that came first.
    """

    rules: RuleSet
    numerics: Numerics
    iterations: int = 30
    seconds: float = 60.0
    nodes: int = 30_000
    likely: frozenset[str] = frozenset()
    price: Callable[[Graph], float] | None = None
    stages: tuple[Stage, ...] = ()

    def attempts(self) -> Iterator[Effort]:
        """Efforts one after the other, until one of them is enough."""
        few = [r for r in self.rules if r.ruleset in DELETING or base_name(r.name) in self.likely]
        share = FIRST_SHARE if self.likely and len(few) < len(self.rules) else 0.0
        if share:
            yield replace(self, rules=RuleSet(tuple(few)), iterations=3 * self.iterations, seconds=self.seconds * share)
        yield replace(self, seconds=self.seconds * (1 - share))


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it.

    Args:
        certificate: the proof, or None.
        reason: why there is none, in words.
        nodes: for each term of the certificate the nodes of the original that are written so.
    """

    certificate: Certificate | None
    reason: str = ""
    nodes: Mapping[int, Sequence[int]] | None = None


def prove(before: Graph, after: Graph, effort: Effort, frozen: Collection[int] = ()) -> Proof:
    """A certificate that two programs of the same inputs return the same values.

    Args:
        before: the original.
        after: what it became.
        effort: rules and limits.
        frozen: input positions whose values stay the same between calls.
    """
    roots = [_roots(graph) for graph in (before, after)]
    if before.input_types != after.input_types or len(roots[0]) != len(roots[1]):
        return Proof(None, "the programs have other inputs or results")
    for attempt in effort.attempts():
        evidence = _Goals(TermTable())
        written = [evidence.table.graph(graph) for graph in (before, after)]
        ends = [[place[n] for n in r] for place, r in zip(written, roots, strict=True)]
        evidence.goals = list(zip(*ends, strict=True))
        start, terms = _after_passes(before, written[0], evidence, effort)
        if effort.price is not None:
            start, terms = adjoint_steps(start, terms, evidence, effort.numerics, effort.price) or (start, terms)
        both = _both(start, after, [terms, written[1]], evidence, effort)
        reason = ""
        if not evidence.done():
            reason = _saturate(both, evidence, attempt, frozen)
            apply_laws(evidence, effort.numerics)
        open_goals = [
            n for n, (a, b) in enumerate(evidence.goals) if evidence.classes.find(a) != evidence.classes.find(b)
        ]
        if not open_goals:
            break
    else:
        names = ", ".join(f"result {n}" for n in open_goals[:5])
        return Proof(None, f"no chain of rules was found for {names} ({reason})")
    steps = _needed(evidence, effort)
    try:
        made, place = certificate(evidence, ends, steps)
    except CertificateError as error:
        return Proof(None, f"the chain that was found does not hold up: {error}")
    nodes: dict[int, list[int]] = {}
    for n, t in enumerate(written[0]):
        if t in place:
            nodes.setdefault(place[t], []).append(n)
    return Proof(made, nodes=nodes)


def _after_passes(before: Graph, terms: list[int], evidence: Evidence, effort: Effort) -> tuple[Graph, list[int]]:
    """The program after the passes of the search, and the terms of its nodes, joined with the original."""
    if not effort.stages:
        return before, terms
    graph, written = normal_form(before, terms, evidence, effort.numerics)
    inner = replace(effort, stages=(), price=None, seconds=BODY_SHARE * effort.seconds)
    known: dict[tuple[Graph, Graph], Proof] = {}
    for stage in effort.stages:
        if stage.before != graph:  # the search had another program: the e-graph is asked alone
            return before, terms
        after = evidence.table.graph(stage.after)
        if stage.passes == BODY:
            written = _bodies_changed(stage, evidence, inner, known)
        for n, q in zip(_roots(graph), _roots(stage.after), strict=True):
            evidence.add(Equation("pass", written[n], after[q], passes=stage.passes))
        graph, written = stage.after, after
    return graph, written


def _bodies_changed(
    stage: Stage, evidence: Evidence, effort: Effort, known: dict[tuple[Graph, Graph], Proof]
) -> list[int]:
    """Terms of a program's nodes where bodies that are proven equal took the place of its own."""
    made: list[int] = []
    for node in stage.before.nodes:
        args = [made[q] for q in node.operands]
        term = evidence.table.node(node, args)
        changed = _with_bodies_of(node, stage.after, known, effort)
        if changed is not None:
            other = evidence.table.node(changed[0], args)
            evidence.add(Equation("body", term, other, certificates=changed[1]))
            term = other
        made.append(term)
    return made


def _roots(graph: Graph) -> list[int]:
    return [*graph.outputs, *graph.effects]


class _Goals(Evidence):
    """Evidence that looks for equal sums, too, before it is asked whether the goals are joined."""

    def done(self) -> bool:
        if not super().done():
            join_sums(self, (t for goal in self.goals for t in goal))
        return super().done()


def _both(before: Graph, after: Graph, written: Sequence[Sequence[int]], evidence: Evidence, effort: Effort) -> Graph:
    """One Graph of both programs in normal form, with the bodies of the second one."""
    table = evidence.table
    builder = Builder()
    inputs = [builder.input(kind) for kind in before.input_types]
    known: dict[tuple[Graph, Graph], Proof] = {}
    roots: list[int] = []
    for graph, terms in zip((before, after), written, strict=True):
        emitter, place = emitted(graph, effort.numerics)
        made: list[int] = []
        image: list[int] = []
        for node in emitter.nodes:
            args = [image[q] for q in node.operands]
            if node.op == "input":
                made.append(inputs[node.attr("index")])
                image.append(table.node(node, ()))
                continue
            term = table.node(node, args)
            other = _with_bodies_of(node, after, known, effort) if graph is before else None
            if other is not None:
                changed, certificates = other
                joined = table.node(changed, args)
                evidence.add(Equation("body", term, joined, certificates=certificates))
                node, term = changed, joined
            if node.op == "add" and len(args) > 2:
                chain = args[0]
                for arg in args[1:]:
                    chain = table.add("add", "", (chain, arg), node.types)
                evidence.add(Equation("normal-form", term, chain))
            made.append(builder.copy(node, [made[q] for q in node.operands]))
            image.append(term)
        normal_forms(graph, place, image, terms, evidence)
        roots += [made[place[n]] for n in (*graph.outputs, *graph.effects)]
    for t, row in enumerate(table.rows):
        if row.op == "assume":  # a statement, and the tensor it is about
            evidence.add(Equation("normal-form", t, row.args[0]))
    return builder.build(roots)


def _with_bodies_of(
    node: Node, after: Graph, known: dict[tuple[Graph, Graph], Proof], effort: Effort
) -> tuple[Node, tuple[Certificate, ...]] | None:
    """The node with the bodies of a node of ``after``, if those are others and proven equal, and the proofs."""
    mine = graphs_of(node)
    if not mine:
        return None
    for other in after.nodes:
        theirs = graphs_of(other)
        same = other.op == node.op and other.types == node.types and len(theirs) == len(mine)
        if not same or [k for k, v in node.attrs if not _holds(v)] != [k for k, v in other.attrs if not _holds(v)]:
            continue
        if any(v != w and not _holds(v) for (_, v), (_, w) in zip(node.attrs, other.attrs, strict=True)):
            continue
        if theirs == mine:
            return None
        certificates = []
        for pair in zip(mine, theirs, strict=True):
            if pair[0] == pair[1]:
                continue
            if pair not in known:
                known[pair] = prove(*pair, effort)
            found = known[pair].certificate
            if found is None:
                break
            certificates.append(found)
        else:
            return replace(node, attrs=other.attrs), tuple(certificates)
    return None


def _holds(value: Any) -> bool:
    return any(isinstance(item, Graph) for item in (value if type(value) is tuple else (value,)))


def _saturate(both: Graph, evidence: Evidence, effort: Effort, frozen: Collection[int]) -> str:
    """Grow until the goals are joined; why it ended."""
    limits = Limits(seconds=effort.seconds, nodes=effort.nodes, iterations=effort.iterations + MORE_ITERATIONS)
    try:
        saturation = RecordedSaturation(both, effort.rules, limits, effort.numerics, frozen, evidence)
        try:
            saturation.run()
            return saturation.report.stop_reason
        finally:
            saturation.close()
    except EngineError as error:
        return str(error)


def _needed(evidence: Evidence, effort: Effort) -> list[int]:
    """Equations that join the goals, none of which can be left out, as far as time allows to find out."""
    until = time.perf_counter() + effort.seconds / 12
    steps: list[int] = []
    classes = evidence.classes
    while True:  # an explanation of the goals by the equations of an explanation is a shorter one
        found = classes.explain(*evidence.goals)
        if steps and len(found) >= len(steps):
            break
        steps = found
        if not steps:
            break
        classes = _closure(evidence, steps)
    for step in reversed(steps):
        if time.perf_counter() > until:
            break
        fewer = [s for s in steps if s != step]
        if _joins(evidence, _closure(evidence, fewer)):
            steps = fewer
    return _new_ones(evidence, steps)


def _closure(evidence: Evidence, steps: Sequence[int]) -> Congruence:
    """Classes of the terms of the goals and some equations, by these alone."""
    equations = [evidence.equations[s] for s in steps]
    sides = [t for e in equations for t in (e.left, e.right)]
    classes = Congruence(evidence.table, evidence.table.reach([*(t for goal in evidence.goals for t in goal), *sides]))
    for step, equation in zip(steps, equations, strict=True):
        classes.merge(equation.left, equation.right, step)
    return classes


def _joins(evidence: Evidence, classes: Congruence) -> bool:
    return all(classes.find(a) == classes.find(b) for a, b in evidence.goals)


def _new_ones(evidence: Evidence, steps: Sequence[int]) -> list[int]:
    """The steps that say what the terms and steps before them do not."""
    equations = [evidence.equations[s] for s in steps]
    sides = [t for e in equations for t in (e.left, e.right)]
    bound = [b for e in equations for b in e.bindings.values() if isinstance(b, int)]
    goals = [t for goal in evidence.goals for t in goal]
    classes = Congruence(evidence.table, evidence.table.reach([*goals, *sides, *bound]))
    kept = []
    for step, equation in zip(steps, equations, strict=True):
        if classes.find(equation.left) != classes.find(equation.right):
            classes.merge(equation.left, equation.right, step)
            kept.append(step)
    return kept
