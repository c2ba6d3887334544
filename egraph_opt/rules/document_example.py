# SPDX-License-Identifier: Apache-2.0
"""What a rule does, by an example: the rule alone runs on small programs, and the shortest change is shown.

The programs are drawn by the maker of ``rules check``, so an example is always something that the rule matches.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from egraph_opt.engine.decode import as_node
from egraph_opt.engine.limits import Limits
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.engine.saturate import Saturation
from egraph_opt.engine.sexpr import Form
from egraph_opt.engine.snapshot import ENode, Snapshot, read_provenance
from egraph_opt.engine.testing import unite
from egraph_opt.errors import EgraphOptError
from egraph_opt.ir import Node, Spec, TensorType
from egraph_opt.lower.einsum_text import product_text, signed_sum, single_text
from egraph_opt.lower.literals import MUL, Expr, call, scalar_text
from egraph_opt.lower.templates import text_of
from egraph_opt.rules.check.cases import Case
from egraph_opt.rules.check.drawing import Drawer
from egraph_opt.rules.check.draws import Style
from egraph_opt.rules.check.instances import Instance
from egraph_opt.rules.check.premises import read_premises
from egraph_opt.rules.check.run import helpers
from egraph_opt.rules.check.trial import build
from egraph_opt.rules.suggest.rules import plain

DTYPES = (*["float32"] * 4, "complex64")
"""Element type of each round; some rules are about complex numbers alone."""
DRAWS = 36
TRIES = 4_000
TRIED = 12
"""Instances that are run at once, the plainest first, until the rule does something worth showing."""

AWKWARD = ("[]", "[:]", "(())", "einsum(", "reshape((1", "(1,)", "bind(")
"""What an example had better not hold: ranks of zero, parts that are all, sizes of one."""

SHORTER = (
    (r", allow_negative_indices=False", ""),
    (r', mode="clip"', ""),
    (r"_p\.bind\(", "("),
    (r", is_stable=True, num_keys=1", ""),
)

LIMITS = Limits(seconds=60, nodes=10_000, iterations=1)


@dataclass(frozen=True, slots=True)
class RuleExample:
    """One application of a rule.

    Args:
        before: what it matched.
        after: what it made equal to it, or the fact that it stated.
    """

    before: str
    after: str

    @property
    def order(self) -> tuple[int, int, str, str]:
        """What is easy to read first."""
        text = self.before + self.after
        return sum(text.count(word) for word in AWKWARD), len(text), self.before, self.after


def example(rule: Rule) -> RuleExample | None:
    """An example of a rule; None where the engine matches it in none of the programs tried."""
    rng = random.Random(zlib.crc32(rule.name.encode()))
    for dtype in DTYPES:
        instances, _ = Drawer(read_premises(rule), rng, [dtype]).draw(DRAWS, TRIES, small=True)
        instances.sort(key=_plainness)
        for start in range(0, len(instances), TRIED):
            cases = [Case(instance, {}, Style.PLAIN) for instance in instances[start : start + TRIED]]
            found = min(_examples(rule, cases), key=lambda one: one.order, default=None)
            if found is not None:
                return found
    return None


def _plainness(instance: Instance) -> tuple[int, int]:
    """Few sizes of one, ranks of zero, einsums that do nothing and odd element types first; then few nodes."""
    sizes = sum(n < 2 for node in instance.nodes for n in node.type.shape)
    scalars = sum(not node.type.shape for node in instance.nodes)
    idle = sum(node.op == "einsum" and Spec.parse(node.attr("spec")).is_identity for node in instance.nodes)
    others = sum(node.type.dtype != "float32" for node in instance.nodes)
    return sizes + scalars + 2 * idle + others, len(instance.nodes)


def _examples(rule: Rule, cases: Sequence[Case]) -> Iterator[RuleExample]:
    """Examples in a batch of instances."""
    graph, places, frozen = build(cases)
    saturation = Saturation(graph, RuleSet((*helpers(rule), rule)), LIMITS, frozen=frozen)
    try:
        pairs = [(places[k][a], places[k][b]) for k, case in enumerate(cases) for a, b in case.instance.unions]
        unite(saturation, [(saturation.numbers[a], saturation.numbers[b]) for a, b in pairs])
        snapshot = saturation.run()
        stamps = read_provenance(saturation.session, saturation.constructors)
    finally:
        saturation.close()
    made = {enode for enode, name in stamps.items() if name == rule.name}
    facts = _facts(rule)
    for k, case in enumerate(cases):
        classes = [snapshot.of_number[saturation.numbers[place]] for place in places[k]]
        writer = _Writer(case.instance, classes, snapshot, saturation)
        for root in case.instance.roots:
            before = writer.node(root)
            made_here = [writer.enode(e, classes[root]) for e in snapshot.classes[classes[root]] if e in made]
            united = [writer.node(n) for n, c in enumerate(classes) if c == classes[root] and n != root]
            texts = [expr.text for expr in made_here or united] or [fact.format(before.text) for fact in facts]
            yield from (RuleExample(_short(before.text), _short(text)) for text in texts if text != before.text)


def _facts(rule: Rule) -> list[str]:
    """What a rule that makes nothing states about what it matched."""
    heads = [action[0] for action in rule.actions if isinstance(action, Form)]
    return [f"{{}} is {head}" for head in heads if isinstance(head, str) and head not in ("union", "set", "delete")]


def _short(text: str) -> str:
    for pattern, replacement in SHORTER:
        text = re.sub(pattern, replacement, text)
    return plain(text)


class _Writer:
    """Text of nodes and e-nodes over the variables of one instance."""

    def __init__(self, instance: Instance, classes: Sequence[int], snapshot: Snapshot, saturation: Saturation) -> None:
        self._instance, self._snapshot, self._encoder = instance, snapshot, saturation.encoder
        self._names = _names(instance)
        self._member: dict[int, int] = {}
        for n in sorted(range(len(classes)), key=lambda n: (n not in self._names, n in instance.roots)):
            self._member.setdefault(classes[n], n)

    def node(self, n: int) -> Expr:
        """A node of the instance."""
        if n in self._names:
            return Expr(self._names[n])
        node = self._instance.nodes[n]
        return formula(
            node, [self.node(q) for q in node.operands], [self._instance.nodes[q].type for q in node.operands]
        )

    def enode(self, enode: ENode, c: int) -> Expr:
        """An e-node of class ``c``."""
        types = [self._type(q) for q in enode.children]
        node = as_node(enode, (self._type(c),), self._encoder)
        return formula(node, [self._class(q) for q in enode.children], types)

    def _class(self, c: int) -> Expr:
        if c in self._member:
            return self.node(self._member[c])
        definition = self._snapshot.definition[c]
        if definition is None:
            raise EgraphOptError(f"class {c} has no definition")
        return self.enode(definition, c)

    def _type(self, c: int) -> TensorType:
        types = self._snapshot.types[c]
        if types is None:
            raise EgraphOptError(f"class {c} has no type")
        return types[0]


def _names(instance: Instance) -> dict[int, str]:
    """Inputs by the rule's own variables, others by letters that are free."""
    found: dict[int, str] = {}
    for variable, n in instance.tensors.items():
        if instance.nodes[n].op == "input" and variable[1:].isidentifier():
            found.setdefault(n, variable[1:])
    spare = (c for c in "uvwpqabcdfghkmn" if c not in found.values())
    for n in instance.inputs:
        if n not in found:
            found[n] = next(spare)
    return found


def formula(node: Node, operands: list[Expr], types: Sequence[TensorType]) -> Expr:
    """Source text of one node; nothing of its operands is merged into it."""
    if node.op == "constant":
        return Expr(scalar_text(node.attr("value"), node.type.dtype))
    if node.op == "add":
        return signed_sum([(operand, False) for operand in operands])
    if node.op == "assume":
        return call(" ".join(fact.partition(":")[0] for fact in node.attr("facts")), operands[0].text)
    if node.op != "einsum":
        return text_of(node, operands, types)
    spec = Spec.parse(node.attr("spec"))
    if len(operands) == 1:
        if spec.is_identity:
            return call("einsum", f'"{spec.inputs[0]}->{spec.output}"', operands[0].text)
        return single_text(operands[0], spec, node.type.dtype)
    x, y = (Expr(operand.at(MUL + 1)) for operand in operands)  # products of products are put into parentheses
    return product_text(x, y, spec, node.type.dtype, {})
