# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt bisect``: which rule makes a program wrong, and on which few nodes.

A rule is about every program, so the question need not be put to the user's. One saturation with all rules gives
the terms that were met; a program of those terms alone holds the left side of every rule that fired, with no other rule
needed to reach it. Halves of the suspects are then run on that program, and a half is guilty when two e-nodes
of one class differ in value: what extraction would choose plays no part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from egraph_opt.engine import ENode, Limits, Rule, RuleSet, Saturation, Snapshot
from egraph_opt.engine.decode import as_node
from egraph_opt.engine.snapshot import is_well_typed, node_types
from egraph_opt.engine.testing import TOLERANCE, Difference, differences
from egraph_opt.engine.words import Types
from egraph_opt.errors import EgraphOptError, EngineError
from egraph_opt.ir import Builder, Graph
from egraph_opt.lower import lower_graph
from egraph_opt.shrink import shrink
from egraph_opt.verify import sample_inputs
from egraph_opt.verify.promote import promote_graph

LIMITS = Limits(seconds=30, nodes=3_000, iterations=12)
"""Of the first saturation."""

SEED_LIMITS = Limits(seconds=30, nodes=20_000, iterations=2)
"""Of a saturation of the terms that were met: what fires, fires at once."""

SEED_NODES = 4_000
ALTERNATIVES = 6
"""How many nodes the program of the met terms may have, and how many spellings of an operand it holds."""

KINDS = ("normal", "positive")
"""Inputs: any sign, and inside the domain of roots and logarithms."""

VALUES = 6
"""How many elements of a value are printed."""


@dataclass(frozen=True, slots=True)
class Bisection:
    """What was found.

    Args:
        rule: the wrong rule, or None.
        runs: saturations that it took to name it.
        fired: rules that fired on the program: the suspects.
        graph: a small program that the rule alone makes wrong.
        inputs: values of its inputs.
        want: value of the graph's output.
        got: what the rule says it is.
        problem: in words: how far they are apart, or why nobody could be named.
    """

    rule: Rule | None
    runs: int
    fired: tuple[str, ...] = ()
    graph: Graph | None = None
    inputs: tuple[Any, ...] = field(default=(), repr=False)
    want: Any = field(default=None, repr=False)
    got: Any = field(default=None, repr=False)
    problem: str = ""

    @property
    def found(self) -> bool:
        """Whether something is wrong, named or not."""
        return self.rule is not None or bool(self.problem)

    def __str__(self) -> str:
        if self.rule is None:
            return self.problem or f"no rule is wrong: {len(self.fired)} rules fired and all e-nodes agree"
        rule = self.rule
        lines = [
            f"rule {rule.name!r} is wrong: {self.problem}",
            f"  law: {rule.law}",
            f"  where: {rule.path}:{rule.line}",
            f"  named in {self.runs} runs among {len(self.fired)} rules that fired",
        ]
        if self.graph is not None:
            lines += ["a small program that shows it:", *("  " + line for line in str(self.graph).splitlines())]
            names = self.graph.names or tuple(f"arg{i}" for i in range(len(self.inputs)))
            lines += [f"  {name} = {_values(value)}" for name, value in zip(names, self.inputs, strict=True)]
            lines += [f"  it is {_values(self.want)}", f"  the rule makes {_values(self.got)}"]
        return "\n".join(lines)


def bisect(
    graph: Graph,
    rules: RuleSet,
    limits: Limits = LIMITS,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Bisection:
    """Find the rule that makes a program wrong.

    Args:
        graph: the program; bodies of its control flow are looked at too.
        rules: the suspects, already restricted to the numerics class.
        limits: of the first saturation; the rule must fire within them.
        seed: of the sampled inputs.
        progress: told what is being done.
    """
    fired: dict[str, None] = {}
    with jax.enable_x64(True):
        for part in (graph, *graph.subgraphs()):
            search = _Search(promote_graph(part), rules, limits, seed, progress)
            found = search.run()
            fired.update(dict.fromkeys(found.fired))
            if found.found:
                return found
    return Bisection(None, 1, tuple(fired))


class _Search:
    """The search on one graph, with the number of saturations so far."""

    def __init__(
        self, graph: Graph, rules: RuleSet, limits: Limits, seed: int, progress: Callable[[str], None]
    ) -> None:
        self.graph, self.rules, self.limits, self.progress = graph, rules, limits, progress
        self.seed = seed
        self.runs = 0

    def run(self) -> Bisection:
        """Name the rule and shrink the program."""
        self.progress("running all rules")
        first = _try(self.graph, self.rules, self.limits, self.seed)
        self.runs = 1
        if not first.wrong:
            return Bisection(None, 1, first.fired)
        suspects = [rule for rule in self.rules if rule.name in first.fired]
        for everywhere in (False, True):
            terms = met_terms(first, None if everywhere else {w.number for w in first.wrong})
            guilty = self._narrow(terms, suspects)
            self.progress(f"making the program small on which {guilty.name!r} is wrong")
            alone = _try(terms, RuleSet((guilty,)), SEED_LIMITS, self.seed)
            if alone.wrong:
                return self._small(terms, guilty, alone, first.fired)
        names = ", ".join(rule.name for rule in suspects)
        return Bisection(
            None, self.runs, first.fired, problem=f"wrong, but by no single rule alone; those that fired: {names}"
        )

    def _narrow(self, terms: Graph, suspects: Sequence[Rule]) -> Rule:
        """The rule that the halves leave over."""
        left = list(suspects)
        while len(left) > 1:
            half = left[: len(left) // 2]
            self.progress(f"{len(left)} rules are left")
            self.runs += 1
            wrong = _try(terms, RuleSet(tuple(half)), SEED_LIMITS, self.seed).wrong
            left = half if wrong else left[len(half) :]
        return left[0]

    def _small(self, terms: Graph, rule: Rule, alone: _Trial, fired: tuple[str, ...]) -> Bisection:
        alone_rules = RuleSet((rule,))

        def is_wrong(graph: Graph) -> bool:
            return bool(_try(graph, alone_rules, SEED_LIMITS, self.seed).wrong)

        wrong = {w.number for w in alone.wrong}
        places = [n for n, c in enumerate(alone.places) if c in wrong]
        small = shrink(terms, places, is_wrong)
        last = _try(small, alone_rules, SEED_LIMITS, self.seed)
        shown = next((w for w in last.wrong if w.got is not None), last.wrong[0])
        inputs = last.inputs_of(shown)
        true = lower_graph(small)(inputs)[0]
        values = (shown.want, shown.got)
        other = next((v for v in values if v is None or not _equal(v, true)), None)
        return Bisection(rule, self.runs, fired, small, inputs, true, other, shown.problem)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One saturation and what is wrong in it: differences by kind of input."""

    snapshot: Snapshot
    saturation: Saturation
    by_kind: tuple[tuple[tuple[Any, ...], list[Difference]], ...]

    @property
    def wrong(self) -> list[Difference]:
        return [difference for _, found in self.by_kind for difference in found]

    @property
    def fired(self) -> tuple[str, ...]:
        return tuple(name for name, rule in self.saturation.report.rules.items() if rule.matches)

    @property
    def places(self) -> list[int]:
        """Class of each node of the graph."""
        return [self.snapshot.of_number[number] for number in self.saturation.numbers]

    def inputs_of(self, shown: Difference) -> tuple[Any, ...]:
        return next(inputs for inputs, found in self.by_kind if any(w is shown for w in found))


def _try(graph: Graph, rules: RuleSet, limits: Limits, seed: int) -> _Trial:
    saturation = Saturation(graph, rules, limits)
    try:
        with contextlib.suppress(EngineError):
            saturation.run()
        snapshot = saturation.snapshot()  # terms of wrong shapes end a run; they are there already
    finally:
        saturation.close()
    found = []
    for kind in KINDS:
        inputs = tuple(sample_inputs(graph, seed, kind))
        with np.errstate(all="ignore"):
            found.append((inputs, list(differences(snapshot, saturation, inputs, lower_graph))))
    return _Trial(snapshot, saturation, tuple(found))


def met_terms(trial: _Trial, classes: set[int] | None) -> Graph:
    """A program of the terms of some classes (None: of all), each operand in each of its spellings.

    Classes that a wrong rule merged have several meanings; a term has one, and a rule must hold for each of them.
    """
    snapshot, saturation = trial.snapshot, trial.saturation
    terms = _Terms(snapshot, saturation)
    outputs: dict[int, None] = {}
    for number in range(len(saturation.graph.nodes)):
        outputs.setdefault(terms.original(number))
    for c in sorted(classes) if classes is not None else range(len(snapshot.classes)):
        for enode in snapshot.classes[c]:
            if len(terms.builder.nodes) < SEED_NODES:
                outputs.update(dict.fromkeys(terms.spellings(enode)))
    return terms.builder.build(list(outputs))


class _Terms:
    """Terms of an e-graph, made without simplification: rules shall find them as they are."""

    def __init__(self, snapshot: Snapshot, saturation: Saturation) -> None:
        self._snapshot, self._encoder, self._graph = snapshot, saturation.encoder, saturation.graph
        self.builder = Builder()
        self._inputs = [
            self.builder.input(t, n) for t, n in zip(self._graph.input_types, self._graph.names, strict=True)
        ]
        self._known: dict[int, int | None] = {}
        self._originals: list[int] = []
        self._types: list[Types | None] = []

    def original(self, number: int) -> int:
        """A node of the program as it was loaded; nodes come in order."""
        node = self._graph.nodes[number]
        place = self._inputs[node.attr("index")] if node.op == "input" else None
        if place is None:
            place = self.builder.copy(node, [self._originals[q] for q in node.operands])
        self._originals.append(place)
        return place

    def spellings(self, enode: ENode) -> list[int]:
        """The e-node over each spelling of each operand, one operand varied at a time, and both at first."""
        choices = [self._operands(q) for q in enode.children]
        if not all(choices):
            return []
        rows = [tuple(options[0] for options in choices)]
        for place, options in enumerate(choices):
            rows += [(*rows[0][:place], option, *rows[0][place + 1 :]) for option in options[1:]]
        if len(choices) == 2:
            rows += [(x, y) for x in choices[0][1:] for y in choices[1][1:]]
        made = (self._make(enode, row) for row in rows)
        return [number for number in made if number is not None]

    def _operands(self, c: int) -> list[int]:
        """Spellings of a class, its definition first."""
        first = self._definition(c)
        if first is None:
            return []
        made = [first]
        for enode in self._snapshot.classes[c][:ALTERNATIVES]:
            below = [self._definition(q) for q in enode.children]
            if c not in enode.children and None not in below:
                number = self._make(enode, tuple(q for q in below if q is not None))
                made += [number] if number is not None else []
        return list(dict.fromkeys(made))

    def _definition(self, c: int) -> int | None:
        stack = [c]
        while stack:
            top = stack[-1]
            enode = self._snapshot.definition[top]
            missing = [q for q in enode.children if q not in self._known] if enode is not None else []
            if missing:
                stack += missing
                continue
            stack.pop()
            below = [self._known[q] for q in enode.children] if enode is not None else [None]
            made = None
            if enode is not None and None not in below:
                made = self._make(enode, tuple(q for q in below if q is not None))
            self._known[top] = made
        return self._known[c]

    def _make(self, enode: ENode, operands: tuple[int, ...]) -> int | None:
        """The node over these operands; None where it does not fit them."""
        term = ENode(enode.constructor, enode.text, operands)
        types = self._types
        types += [node.types for node in self.builder.nodes[len(types) :]]
        try:
            found = node_types(term, types, self._encoder)
        except EgraphOptError:
            return None
        if found is None or not is_well_typed(term, found, types, self._encoder):
            return None
        node = as_node(term, found, self._encoder)
        return self._inputs[node.attr("index")] if node.op == "input" else self.builder.copy(node, operands)


def _equal(value: Any, true: Any) -> bool:
    same = np.shape(value) == np.shape(true)
    return same and np.allclose(value, true, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _values(value: Any) -> str:
    if value is None:
        return "nothing: it cannot be evaluated"
    array = np.asarray(value)
    flat = ", ".join(f"{x:.6g}" if array.dtype.kind in "fc" else str(x) for x in array.ravel()[:VALUES])
    return f"{array.dtype}{list(array.shape)} {flat}{', ...' if array.size > VALUES else ''}"
