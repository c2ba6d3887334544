# SPDX-License-Identifier: Apache-2.0
"""Finds a certificate that two Graphs are equal: of the equations of the search that made the second, those needed."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from egraph_opt.explain.certificate import Certificate, certificate
from egraph_opt.explain.checker import CertificateError
from egraph_opt.explain.congruence import Congruence
from egraph_opt.explain.evidence import Evidence
from egraph_opt.explain.follow import Effort, ProveBody, follow_e_graph, follow_later, follow_stages, roots_of
from egraph_opt.explain.terms import TermTable
from egraph_opt.ir import Graph
from egraph_opt.search import Search

SHORTER_SECONDS = 5.0
"""What may go into making a proof shorter [s]."""


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


def prove(before: Graph, after: Graph, search: Search, effort: Effort, frozen: Collection[int] = ()) -> Proof:
    """A certificate that a program returns the same values as the original.

    Args:
        before: the original.
        after: what a search of it made: one of its candidates, or the original.
        search: the search.
        effort: rules and limits.
        frozen: input positions whose values stay the same between calls.
    """
    roots = [roots_of(graph) for graph in (before, after)]
    if before.input_types != after.input_types or len(roots[0]) != len(roots[1]):
        return Proof(None, "the programs have other inputs or results")
    evidence = Evidence(TermTable())
    written = [evidence.table.graph(graph) for graph in (before, after)]
    ends = [[place[n] for n in r] for place, r in zip(written, roots, strict=True)]
    evidence.goals = list(zip(*ends, strict=True))
    reason = ""
    if not evidence.done():
        follow_stages(before, written[0], search, evidence, effort, _bodies(effort))
        extracted = follow_later(after, search, evidence, effort)
    if not evidence.done():
        reason = follow_e_graph(search, extracted, evidence, effort, frozen)
    if not evidence.done():
        goals = [n for n, (a, b) in enumerate(evidence.goals) if evidence.classes.find(a) != evidence.classes.find(b)]
        names = ", ".join(f"result {n}" for n in goals[:5])
        return Proof(None, f"no chain of rules was found for {names} ({reason})")
    try:
        made, place = certificate(evidence, ends, _needed(evidence))
    except CertificateError as error:
        if effort.pairs and search.stages:
            return prove(before, after, search, replace(effort, pairs=False), frozen)
        return Proof(None, f"the chain that was found does not hold up: {error}")
    nodes: dict[int, list[int]] = {}
    for n, t in enumerate(written[0]):
        if t in place:
            nodes.setdefault(place[t], []).append(n)
    return Proof(made, nodes=nodes)


def _bodies(effort: Effort) -> ProveBody:
    """Proves bodies of control flow, each once."""
    known: dict[tuple[Graph, Graph], Certificate | None] = {}

    def body(old: Graph, new: Graph, inner: Search) -> Certificate | None:
        if (old, new) not in known:
            known[old, new] = prove(old, new, inner, effort).certificate
        return known[old, new]

    return body


def _needed(evidence: Evidence) -> list[int]:
    """Equations that join the goals, none of which can be left out, as far as time allows to find out."""
    until = time.perf_counter() + SHORTER_SECONDS
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
