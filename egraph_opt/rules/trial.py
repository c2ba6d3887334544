# SPDX-License-Identifier: Apache-2.0
"""Instances of a rule through the real engine: what the rule adds to a class must have the value of the class.

Many instances are one program with many outputs, saturated with the rule alone. The value of a class is that of an
original node in it, computed outside of the engine; every other e-node of the class is computed from the values of its
operands' classes and compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from egraph_opt.engine.decode import as_node
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.limits import Limits
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.engine.saturate import Saturation
from egraph_opt.engine.snapshot import ENode, Snapshot
from egraph_opt.engine.testing import unite
from egraph_opt.engine.words import ADD, EINSUM, head, make_node
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.choices import result_type
from egraph_opt.rules.draws import Array, Style, draw
from egraph_opt.rules.evaluate import Reading, evaluate, numpy_dtype
from egraph_opt.rules.instances import Instance

LIMITS = Limits(seconds=300, nodes=10**7, iterations=1, matches=10**7)


@dataclass(slots=True)
class Case:
    """An instance with values for its inputs, what kind they are of, and the values of its nodes once computed."""

    instance: Instance
    inputs: dict[int, Array]
    style: Style
    values: dict[Reading, dict[int, Array]] = field(default_factory=dict)

    def with_inputs(self, inputs: dict[int, Array]) -> Case:
        """The same program on other inputs."""
        return Case(self.instance, inputs, self.style)


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


def give_values(instance: Instance, style: Style, values: np.random.Generator, reading: Reading) -> Case:
    """A case with random inputs.

    Args:
        instance: the program.
        style: what kind of values.
        values: source of randomness.
        reading: how values of derived inputs are computed.

    Raises:
        EvaluationError: an operation refused its operands.
    """
    case = Case(instance, {}, style)
    for n in instance.inputs:
        if n not in instance.derived:
            case.inputs[n] = draw(values, instance.nodes[n].type, style)
    for n, (spec, source) in instance.derived.items():
        back = make_node("Einsum1", spec, (source,), (instance.nodes[n].type,))
        case.inputs[n] = evaluate(back, [node_values(case, reading)[source]], reading)
    case.values[reading] = node_values(case, reading)
    return case


def node_values(case: Case, reading: Reading) -> dict[int, Array]:
    """Values of an instance's nodes, as far as its inputs are known."""
    values: dict[int, Array] = {}
    for n, node in enumerate(case.instance.nodes):
        if node.op == "input":
            if n in case.inputs:
                values[n] = case.inputs[n].astype(numpy_dtype(node.type.dtype, reading))
        elif all(q in values for q in node.operands):
            values[n] = evaluate(node, [values[q] for q in node.operands], reading)
    return values


class Valuation:
    """Values of the classes of an e-graph that began as a batch of cases."""

    def __init__(
        self, cases: Sequence[Case], members: dict[int, list[tuple[int, int]]], snapshot: Snapshot, encoder: Encoder
    ) -> None:
        self.cases, self.members, self.snapshot = cases, members, snapshot
        self.encoder = encoder
        self._class_of = {member: c for c, found in members.items() for member in found}
        self._classes: dict[tuple[int, Reading], Array | None] = {}
        self._definition = self._well_founded()
        self.originals = {enode for k, n in (m for ms in members.values() for m in ms) for enode in self._enode(k, n)}

    def node(self, case: int, n: int, reading: Reading) -> Array:
        """Value of an original node."""
        known = self.cases[case].values
        if reading not in known:
            known[reading] = node_values(self.cases[case], reading)
        return known[reading][n]

    def of(self, c: int, reading: Reading) -> Array | None:
        """Value of a class; None when only ill-typed e-nodes define it."""
        key = (c, reading)
        if key not in self._classes:
            if c in self.members:
                self._classes[key] = self.node(*self.members[c][0], reading)
            else:
                definition = self._definition.get(c)
                self._classes[key] = self.made(definition, reading) if definition else None
        return self._classes[key]

    def type(self, c: int) -> TensorType | None:
        """Type of a class, by an original node in it or else by its definition."""
        if c in self.members:
            case, n = self.members[c][0]
            return self.cases[case].instance.nodes[n].type
        definition = self._definition.get(c)
        return self.made_type(definition) if definition else None

    def made_type(self, enode: ENode) -> TensorType | None:
        """Type of an e-node; None when it is ill-typed."""
        operands = [self.type(q) for q in enode.children]
        return result_type(enode.constructor, enode.text, [t for t in operands if t]) if None not in operands else None

    def made(self, enode: ENode, reading: Reading) -> Array | None:
        """Value of an e-node that is no call; None when it is ill-typed."""
        type_ = self.made_type(enode)
        operands = [self.of(q, reading) for q in enode.children]
        if type_ is None or any(v is None for v in operands):
            return None
        node = replace(as_node(enode, (type_,), self.encoder), types=(type_,))
        return evaluate(node, [v for v in operands if v is not None], reading)

    def definition(self, c: int) -> ENode | None:
        """The e-node that gives a class without original nodes its value."""
        return self._definition.get(c)

    def origin(self, c: int) -> tuple[int, int] | None:
        """An original node in a class, or one that its definition reads."""
        if c in self.members:
            return self.members[c][0]
        definition = self._definition.get(c)
        if definition is None:
            return None
        return next((found for q in definition.children if (found := self.origin(q))), None)

    def all_finite(self, case: int) -> bool:
        """Whether no original node of a case is infinite or NaN anywhere."""
        count = len(self.cases[case].instance.nodes)
        values = [self.node(case, n, Reading.PLAIN) for n in range(count)]
        return all(bool(np.isfinite(plain(v)).all()) for v in values if v.dtype.kind in "fcV")

    def specs(self, case: int, made: ENode | None) -> list[str]:
        """Specs of all einsums of a case and of what was made there."""
        found = [n.attr("spec") for n in self.cases[case].instance.nodes if n.op == "einsum"]
        stack = [made] if made else []
        while stack:
            enode = stack.pop()
            if enode.constructor in EINSUM.values():
                found.append(enode.text)
            stack += [d for q in enode.children if q not in self.members and (d := self._definition.get(q))]
        return found

    def scale(self, c: int) -> float:
        """Largest finite magnitude in a class."""
        value = self.of(c, Reading.PLAIN)
        return magnitude(value) if value is not None else 0.0

    def _enode(self, case: int, n: int) -> list[ENode]:
        """The e-node of an original node."""
        node = self.cases[case].instance.nodes[n]
        found = (ADD, ()) if node.op == "add" else head(node)
        if found is None or node.op == "input":
            return []
        children = tuple(self._class_of[case, q] for q in node.operands)
        return [ENode(found[0], found[1][0] if found[1] else "", children)]

    def _well_founded(self) -> dict[int, ENode]:
        """An e-node for every class without original nodes."""
        found: dict[int, ENode] = {}
        waiting = [c for c in range(len(self.snapshot.classes)) if c not in self.members]
        while waiting:
            left = []
            for c in waiting:
                ready = [
                    e
                    for e in self.snapshot.classes[c]
                    if all(q in self.members or q in found for q in e.children) and c not in e.children
                ]
                if ready:
                    found[c] = ready[0]
                else:
                    left.append(c)
            if len(left) == len(waiting):
                break
            waiting = left
        return found


def plain(value: Array) -> Array:
    """Values of a type that numpy cannot compute with, in one that it can."""
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def magnitude(value: Array) -> float:
    """Largest finite magnitude of an array."""
    if value.dtype.kind not in "fcV":
        return 0.0
    with np.errstate(all="ignore"):
        size = np.abs(value.astype(np.complex128))
    return float(np.max(size[np.isfinite(size)], initial=0.0))


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
    statistics = saturation.report.rules.get(rule.name)
    valuation = Valuation(cases, members, snapshot, saturation.encoder)
    return Outcome(statistics.matches if statistics else 0, snapshot, valuation)


def candidates(outcome: Outcome) -> Iterator[tuple[int, ENode | None, tuple[int, int] | None]]:
    """What there is to compare: what rules made in classes, and further original nodes of the same class."""
    valuation = outcome.valuation
    for c, enodes in enumerate(outcome.snapshot.classes):
        for other in valuation.members.get(c, ())[1:]:
            yield c, None, other
        for enode in enodes:
            if not enode.constructor.startswith("Call") and enode not in valuation.originals:
                yield c, enode, None
