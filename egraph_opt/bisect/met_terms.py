# SPDX-License-Identifier: Apache-2.0
"""The terms of an e-graph as one program: what rules met, each spelled as they met it.

A rule is about every program. On this one the left side of each rule that fired is there from the start, so a rule
shows what it does without the others that led to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from egraph_opt.engine import ENode, Rule, Saturation, Snapshot
from egraph_opt.engine.decode import as_node
from egraph_opt.engine.snapshot import is_well_typed, node_types
from egraph_opt.engine.words import Types
from egraph_opt.errors import EgraphOptError
from egraph_opt.explain.partial_match import Bindings, Facts, Matcher, has_text, steps_of
from egraph_opt.ir import Builder, Graph

SEED_NODES = 4_000
ALTERNATIVES = 6
LEFT_SIDES = 40
"""How many nodes the program of the met terms may have, how many spellings of an operand and matches of a rule."""


def met_terms(
    saturation: Saturation,
    snapshot: Snapshot,
    relations: Mapping[str, frozenset[tuple[int | str, ...]]],
    rules: Sequence[Rule],
    classes: set[int] | None,
) -> Graph:
    """A program of the terms that an e-graph met, each operand in each of its spellings.

    Classes that a wrong rule merged have several meanings; a term has one, and a rule must hold for each of them.

    Args:
        saturation: that was run.
        snapshot: its e-graph.
        relations: rows of classes that rules may ask for.
        rules: left sides of these rules are among the terms, however deep they are.
        classes: whose e-nodes are terms; None for all.
    """
    terms = _Terms(snapshot, saturation)
    outputs: dict[int, None] = {}
    for number in range(len(saturation.graph.nodes)):
        outputs.setdefault(terms.original(number))
    matcher = Matcher(Facts(snapshot, relations))
    for rule in rules:
        for bindings in matcher.matches(rule, LEFT_SIDES):
            outputs.update(dict.fromkeys(terms.left_sides(rule, bindings)))
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

    def left_sides(self, rule: Rule, bindings: Bindings) -> list[int]:
        """The patterns of a rule where it matches, over the definitions of its variables."""
        patterns = {step.result: step for step in steps_of(rule) if step.kind == "node"}
        made: dict[str, int | None] = {}

        def make(name: str) -> int | None:
            value = bindings.get(name)
            if not isinstance(value, int):
                return None
            if name not in patterns:
                return self._definition(value)
            if name not in made:
                made[name] = self._definition(value)  # what a cycle leads back to
                head, *arguments = map(str, patterns[name].expr)
                text = arguments.pop(0) if has_text(head) else ""
                operands = tuple(q for argument in arguments if (q := make(argument)) is not None)
                if len(operands) == len(arguments):
                    made[name] = self._make(ENode(head, str(bindings.get(text, text.strip('"'))), operands), operands)
            return made[name]

        return [number for name in patterns if (number := make(name)) is not None]

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
