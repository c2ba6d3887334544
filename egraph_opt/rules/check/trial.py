# SPDX-License-Identifier: Apache-2.0
"""Instances of a rule through the real engine: many are one program, saturated with the rule alone.

What the rule adds to a class must have the value of the class; ``candidates`` lists what there is to compare.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from egraph_opt.engine.limits import Limits
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.engine.saturate import Saturation
from egraph_opt.engine.snapshot import ENode, Snapshot
from egraph_opt.engine.testing import unite
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.check.cases import Case, Place
from egraph_opt.rules.check.instances import Instance
from egraph_opt.rules.check.valuation import Valuation

LIMITS = Limits(seconds=300, nodes=10**7, iterations=1, matches=10**7)


@dataclass(slots=True)
class Outcome:
    """What a batch showed.

    Args:
        matches: of the rule.
        snapshot: the e-graph.
        valuation: values of its classes.
    """

    matches: int
    snapshot: Snapshot
    valuation: Valuation

    def with_cases(self, cases: Sequence[Case]) -> Outcome:
        """The same e-graph with other values of the inputs."""
        old = self.valuation
        return Outcome(self.matches, self.snapshot, Valuation(cases, old.members, self.snapshot, old.encoder))


def build(cases: Sequence[Case]) -> tuple[Graph, list[list[int]], list[int]]:
    """The program of a batch, the number in it of each instance's nodes, and positions of its frozen inputs.

    Nodes stand in a random order: rules may ask which of two tensors is older.
    """
    rng = random.Random(len(cases))
    nodes: list[Node] = []
    frozen: list[int] = []
    places: list[list[int]] = [[-1] * len(case.instance.nodes) for case in cases]
    inputs = [(number, n) for number, case in enumerate(cases) for n in case.instance.inputs]
    rng.shuffle(inputs)
    for number, n in inputs:
        instance = cases[number].instance
        places[number][n] = len(nodes)
        if n in instance.frozen:
            frozen.append(len(nodes))
        nodes.append(replace(instance.nodes[n], attrs=(("index", len(nodes)),)))
    for number, case in enumerate(cases):
        place, left = places[number], [n for n, node in enumerate(case.instance.nodes) if node.op != "input"]
        while left:
            n = rng.choice([n for n in left if all(place[q] >= 0 for q in case.instance.nodes[n].operands)])
            left.remove(n)
            node = case.instance.nodes[n]
            place[n] = len(nodes)
            nodes.append(replace(node, operands=tuple(place[q] for q in node.operands)))
    outputs = tuple(places[number][r] for number, case in enumerate(cases) for r in case.instance.roots)
    numbers = tuple(range(len(inputs)))
    return Graph(tuple(nodes), numbers, outputs, weak_outputs=(False,) * len(outputs)), places, frozen


def saturate(rule: Rule, helpers: Sequence[Rule], cases: Sequence[Case], numerics: Numerics) -> Outcome:
    """Run the rule on a batch.

    Args:
        rule: what is checked.
        helpers: rules that set facts it asks for.
        cases: instances with values.
        numerics: class of what is done to sums between iterations: rules about open sums need ``reassociate``.

    Raises:
        RuleError: the engine cannot compile the rule.
        EngineError: the engine refuses it.
    """
    graph, places, frozen = build(cases)
    saturation = Saturation(graph, RuleSet((*helpers, rule)), LIMITS, numerics=numerics, frozen=frozen)
    try:
        pairs = [(places[k][a], places[k][b]) for k, case in enumerate(cases) for a, b in case.instance.unions]
        unite(saturation, [(saturation.numbers[a], saturation.numbers[b]) for a, b in pairs])
        snapshot = saturation.run()
    finally:
        saturation.close()
    members: dict[int, list[tuple[int, int]]] = {}
    for k, case in enumerate(cases):
        for n in range(len(case.instance.nodes)):
            c = snapshot.of_number[saturation.numbers[places[k][n]]]
            members.setdefault(c, []).append((k, n))
    for found in members.values():
        found.sort(key=lambda member: _rank(cases[member[0]].instance, member[1]))
    statistics = saturation.report.rules.get(rule.name)
    valuation = Valuation(cases, members, snapshot, saturation.encoder)
    return Outcome(statistics.matches if statistics else 0, snapshot, valuation)


def _rank(instance: Instance, n: int) -> int:
    """What the rule matched is the original; what it only mentions comes after."""
    return 0 if n in instance.roots else 2 if instance.nodes[n].op in ("input", "constant") else 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that must have the value of an original node.

    Args:
        cls: the class of both.
        origin: case and position of the original node; for a class without one, of a node that its value comes from.
        made: an e-node that a rule made.
        other: another original node, in its stead.
    """

    cls: int
    origin: Place
    made: ENode | None = None
    other: Place | None = None


def candidates(outcome: Outcome) -> Iterator[Candidate]:
    """What there is to compare.

    A class may hold nodes of several cases, when a rule says that all of them are one constant. Each case is then
    compared with what the rule made of it, and not with another one.
    """
    valuation = outcome.valuation
    for c, enodes in enumerate(outcome.snapshot.classes):
        made = [e for e in enodes if not e.constructor.startswith("Call") and e not in valuation.originals]
        members = valuation.members.get(c, [])
        if not members:
            origin = valuation.origin(c)
            if origin is not None:
                yield from (Candidate(c, origin, e) for e in made)
            continue
        owners = [valuation.owners(e) for e in made]
        first: dict[int, Place] = {}
        for member in members:
            if member[0] in first:
                yield Candidate(c, first[member[0]], other=member)
            first.setdefault(member[0], member)
        for k, origin in first.items():
            yield from (Candidate(c, origin, e) for e, own in zip(made, owners, strict=True) if not own or k in own)
        if all(owners) and len(first) > 1:
            main, *rest = first.values()
            yield from (Candidate(c, main, other=other) for other in rest)
