# SPDX-License-Identifier: Apache-2.0
"""The left side of a rule as patterns over the e-graph's normal forms.

In the e-graph a product has its operands in the order of their classes, transposes are absorbed into specs, and what
reads a tensor may read its transpose. So one captured expression becomes several patterns: all operand orders, with and
without a transpose in between. Specs are variables; one attribute function per nest of einsums compares what they
compute together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from egraph_opt.engine.patterns import MAX_NEST
from egraph_opt.errors import RuleError
from egraph_opt.ir import Spec
from egraph_opt.ir.nests import RESULT, Tree, flatten
from egraph_opt.ir.spec import LETTERS
from egraph_opt.ir.spec_algebra import purify
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.define.side import Side

MAX_PATTERNS = 64
MAX_TERMS = 4
"""Most patterns that one left side may become, and most terms of a sum in it."""


@dataclass(slots=True)
class Left:
    """One pattern of a left side.

    Args:
        term: the pattern.
        facts: conditions.
        binding: variable that holds all sizes, "" when nothing is bound.
        turned: name of the group in whose order each variable was found, where that is free.
        turned_back: whether the result may come in another order.
        covered: variables whose sizes the einsums bind.
    """

    term: str = ""
    facts: list[str] = field(default_factory=list)
    binding: str = ""
    turned: dict[str, str] = field(default_factory=dict)
    turned_back: bool = False
    covered: set[str] = field(default_factory=set)


def patterns(side: Side, shapes: bool, most: int | None = None, free: bool = True) -> list[Left]:
    """All patterns of a left side.

    Args:
        side: the left side.
        shapes: whether sizes of variables that no einsum reads must be bound.
        most: how many are wanted.
        free: whether operands and results of einsums may be found with their dimensions in another order.

    Raises:
        RuleError: something in it cannot be matched, or there are too many patterns.
    """
    found: dict[str, Left] = {}
    choices = _Choices()
    while choices.advance():
        left = _Writer(side, choices, free).write(shapes)
        found.setdefault(f"{left.term} {left.facts}", left)
        if len(found) == most:
            break
        if len(found) > MAX_PATTERNS:
            raise RuleError(f"the left side has more than {MAX_PATTERNS} spellings; use fewer products and sums in it")
    return list(found.values())


class _Choices:
    """Every way through a function that picks: an odometer over the picks in their order."""

    def __init__(self) -> None:
        self._picked: list[tuple[int, int]] = []
        self._place = 0
        self._started = False

    def advance(self) -> bool:
        """Go to the next way; False after the last one."""
        self._place = 0
        if not self._started:
            self._started = True
            return True
        while self._picked:
            index, count = self._picked.pop()
            if index + 1 < count:
                self._picked.append((index + 1, count))
                return True
        return False

    def pick(self, count: int) -> int:
        """A number below ``count``."""
        if self._place == len(self._picked):
            self._picked.append((0, count))
        self._place += 1
        return self._picked[self._place - 1][0]


class _Writer:
    def __init__(self, side: Side, choices: _Choices, free: bool) -> None:
        self._free = free
        self._side, self._graph, self._choices = side, side.first, choices
        self._left = Left()
        self._checks: list[str] = []
        self._late: list[tuple[str, str]] = []
        self._values: list[tuple[str, str]] = []
        self._bindings: list[str] = []
        self._counts: dict[str, int] = {}
        self._terms: dict[int, str] = {}
        self._users: dict[int, set[int]] = {n: set() for n in range(len(self._graph.nodes))}
        for n, node in enumerate(self._graph.nodes):
            for q in node.operands:
                self._users[q].add(n)
        self._users[side.root].add(-1)

    def write(self, shapes: bool) -> Left:
        """The pattern of the choices made."""
        left, side = self._left, self._side
        left.term = self._visit(side.root)
        plain: list[str] = []
        for n in self._graph.inputs:
            name = side.name(n)
            if shapes and name not in left.covered:
                plain.append(f"(= ?shape-{name} (shape ?{name}))")
                self._bindings.append(f"?m-{name}")
                self._checks.append(f'(= ?m-{name} (bind-shape "{side.dims(n)}" ?shape-{name}))')
        left.facts = [*plain, *self._checks]
        if self._bindings:
            left.binding = self._bindings[0]
            for other in self._bindings[1:]:
                joined = self._fresh("j")
                left.facts.append(f"(= {joined} (join {left.binding} {other}))")
                left.binding = joined
        left.facts += [f'(= {var} (fill {left.binding} "{text}"))' for var, text in self._late]
        left.facts += [f'(is-value {var} {left.binding} "{text}")' for var, text in self._values]
        return left

    def _fresh(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"?{kind}{self._counts[kind]}"

    def _visit(self, n: int) -> str:
        """Term of a node; where it is read again it is the same term: its class holds what was matched once."""
        if n not in self._terms:
            self._terms[n] = self._written(n)
        return self._terms[n]

    def _written(self, n: int) -> str:
        node = self._graph.nodes[n]
        if node.op == "input":
            return f"?{self._side.name(n)}"
        if node.op == "einsum":
            return self._nest(n)
        if node.op == "add":
            return self._sum(node.operands)
        if node.op == "constant":
            return self._constant(n)
        constructor, text = self._side.text(n)
        operands = list(map(self._visit, node.operands))
        commutes = Trait.COMMUTATIVE in get_op(node.op).traits and len(set(operands)) == 2
        if commutes and self._choices.pick(2):
            operands = operands[::-1]
        parts = [constructor, *operands]
        if text is not None:
            var = f'"{text}"'
            if "{" in text:
                var = self._fresh("t")
                self._late.append((var, text))
            parts.insert(1, var)
        return f"({' '.join(parts)})"

    def _constant(self, n: int) -> str:
        text, depends = self._side.number(n)
        var = self._fresh("k")
        if depends:
            self._values.append((var, text))
        else:
            self._checks.append(f'(is-number {var} "{text}")')
        return f"(Constant {var})"

    def _sum(self, operands: Sequence[int]) -> str:
        if len(operands) > MAX_TERMS:
            raise RuleError(f"a sum of {len(operands)} terms on the left; at most {MAX_TERMS} are matched")
        orders = list(itertools.permutations(operands))
        order = orders[self._choices.pick(math.factorial(len(operands)))]
        terms = list(map(self._visit, order))
        return f"{'(Add ' * (len(terms) - 1)}{terms[0]} {') '.join(terms[1:])})"

    def _nest(self, top: int) -> str:
        """Term of a nest of einsums, with the check of what it computes."""
        side = self._side
        members, leaves = list(self._members(top)), list(self._leaves(top))
        if len(members) > MAX_NEST:
            raise RuleError(f"{len(members)} einsums in one product on the left; at most {MAX_NEST} are matched")
        tree = self._shape(top, itertools.count())
        first, second = (
            flatten(tree, [Spec.parse(g.nodes[n].attr("spec")) for n in members]) for g in (side.first, side.second)
        )
        assert first is not None, "a captured nest fits together"
        assert second is not None, "the captures differ in sizes only"
        words, output = first.inputs, first.output
        merged = self._merged(first, len(members)) if len(leaves) == 2 else None
        if merged is not None and self._choices.pick(2):
            tree = merged
        is_root = self._users[top] == {-1}
        rank = len(output)
        if not is_root and len(tree) == 2 and rank > 1 and self._choices.pick(2):
            tree = (tree,)
        tree = self._ordered(tree, leaves)
        numbered = _leaf_numbers(tree)
        table: dict[str, str] = {}
        sizes: list[str] = []
        for c in [*itertools.chain(*(words[i] for i in numbered)), *output]:
            if c not in table:
                table[c] = LETTERS[len(table)]
                sizes.append(side.expression(first.sizes[c], second.sizes[c]))
        names = {i: self._group(leaves[i], set(members)) for i in numbered}
        parts = {i: (f"{names[i]}:" if names[i] else "") + "".join(table[c] for c in words[i]) for i in numbered}
        any_order = self._free and is_root and rank > 1
        self._left.turned_back |= any_order
        letters = f"{_tree_text(tree, parts)}->{RESULT if any_order else ''}{''.join(table[c] for c in output)}"
        factor = side.factor(first.scale, second.scale)
        pattern = f"{letters};{','.join(sizes)}" + ("" if factor in ("1", "1.0") else f"|{factor}")
        specs: list[str] = []
        terms = {i: self._visit(leaves[i]) for i in numbered}
        term = self._term(tree, terms, specs)
        binding = self._fresh("m")
        self._bindings.append(binding)
        self._checks.append(f'(= {binding} (nest{len(specs)} "{pattern}" {" ".join(specs)}))')
        for i in numbered:
            self._left.covered |= set(self._under(leaves[i]))
        return term

    def _members(self, n: int) -> Iterator[int]:
        yield n
        for q in self._graph.nodes[n].operands:
            if self._graph.nodes[q].op == "einsum":
                yield from self._members(q)

    def _leaves(self, n: int) -> Iterator[int]:
        for q in self._graph.nodes[n].operands:
            if self._graph.nodes[q].op == "einsum":
                yield from self._leaves(q)
            else:
                yield q

    def _shape(self, n: int, number: Iterator[int]) -> tuple[Tree, ...]:
        """The tree of the nest at ``n`` as it was captured, leaves numbered from the left."""
        return tuple(
            self._shape(q, number) if self._graph.nodes[q].op == "einsum" else next(number)
            for q in self._graph.nodes[n].operands
        )

    def _ordered(self, tree: tuple[Tree, ...], leaves: Sequence[int]) -> tuple[Tree, ...]:
        """The tree with the operands of its products in a chosen order."""
        children = tuple(t if isinstance(t, int) else self._ordered(t, leaves) for t in tree)
        same = [leaves[t] if isinstance(t, int) else t for t in children]
        if len(children) == 2 and same[0] != same[1] and self._choices.pick(2):
            return children[::-1]
        return children

    @staticmethod
    def _merged(flat: Spec, count: int) -> tuple[Tree, ...] | None:
        """The tree of the one product that a nest with two leaves is, where it was captured as more."""
        pure = purify(flat.inputs, flat.output, flat.sizes, flat.scale)
        if count == 1 or pure.before_x is not None or pure.before_y is not None:
            return None
        return (0, 1) if pure.post is None else ((0, 1),)

    def _group(self, leaf: int, readers: set[int]) -> str:
        """Name under which the order of a leaf is free: a variable, or an elementwise term of variables, of its own."""
        inside = self._inside(leaf)
        variables = [n for n in sorted(inside) if self._graph.nodes[n].op == "input" and self._side.rank(n)]
        if not self._free or self._side.rank(leaf) < 2 or not variables or not self._users[leaf] <= readers:
            return ""
        for n in inside:
            fits = self._side.is_elementwise(n) or self._graph.nodes[n].op == "input"
            if self._side.rank(n) and not (fits and self._side.rank(n) == self._side.rank(leaf)):
                return ""
            if n != leaf and self._side.rank(n) and not self._users[n] <= inside:
                return ""
        group = self._side.name(variables[0])
        self._left.turned.update({self._side.name(n): group for n in variables})
        return group

    def _inside(self, n: int) -> set[int]:
        """Nodes that an elementwise term is made of."""
        found = {n}
        if self._side.is_elementwise(n):
            for q in self._graph.nodes[n].operands:
                found |= self._inside(q)
        return found

    def _under(self, n: int) -> Iterator[str]:
        """Variables that have the shape of an elementwise term, whatever was matched.

        Of several operands any may be a scalar, as long as another one is not; those of a sum are never.
        """
        node = self._graph.nodes[n]
        if node.op == "input":
            yield self._side.name(n)
        elif self._side.is_elementwise(n):
            operands = {q for q in node.operands if self._graph.nodes[q].op != "constant"}
            if node.op == "add" or len(operands) == 1:
                for q in operands:
                    yield from self._under(q)

    def _term(self, tree: Tree, terms: dict[int, str], specs: list[str]) -> str:
        if isinstance(tree, int):
            return terms[tree]
        spec = self._fresh("s")
        specs.append(spec)
        children = [self._term(child, terms, specs) for child in tree]
        return f"(Einsum{len(children)} {spec} {' '.join(children)})"


def _leaf_numbers(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [i for child in tree for i in _leaf_numbers(child)]


def _tree_text(tree: Tree, parts: dict[int, str]) -> str:
    return parts[tree] if isinstance(tree, int) else f"({','.join(_tree_text(child, parts) for child in tree)})"
