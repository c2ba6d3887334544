# SPDX-License-Identifier: Apache-2.0
"""What a rule asks for, sorted for building an instance of it: definitions, text equations, facts, conditions."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from egraph_opt.engine.attributes import FUNCTIONS
from egraph_opt.engine.compile import attribute_call
from egraph_opt.engine.facts import BAND, DTYPE, FROZEN, IS, NAMES, OPEN_SUM, SHAPE
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.sexpr import Expr, Form, heads
from egraph_opt.engine.words import words
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.check.asked import Asked, is_literal, unquote

TYPE_FACTS = (SHAPE, DTYPE)


@dataclass(slots=True)
class Premises:
    """The facts of one rule by what they say.

    Args:
        definitions: of a tensor variable, the terms that it must equal.
        roots: terms to build, in order; a fact that is a bare term has a variable of its own.
        equations: ``(wanted, call)`` of attribute functions; ``wanted`` is None for a guard.
        asked: the same, ready to be asked.
        computing: those that give a variable its value, by its name.
        types: ``(fact, wanted, variable)``: shape or element type of a tensor.
        types_of: the same by variable.
        frozen: tensors that must be frozen.
        open_sums: pairs whose sum must be open to rules.
        distinct: pairs that must differ.
        same: pairs of texts that must agree.
        structure: facts that a tensor must have, by variable.
        bands: ``(wanted, variable)``: bandwidths of a tensor.
        read: texts and plain tensor variables that the roots read; None where a variable is defined twice or by itself.
        under: of a plain variable, the spec of an einsum and the operand of it that has the variable's shape.
        named: element types in the attributes of terms, as of conversions and of indices.
    """

    definitions: dict[str, list[Form]] = field(default_factory=lambda: defaultdict(list))
    roots: list[str] = field(default_factory=list)
    equations: list[tuple[Expr | None, Form]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    computing: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    types: list[tuple[str, Expr, str]] = field(default_factory=list)
    types_of: dict[str, list[tuple[str, Expr]]] = field(default_factory=lambda: defaultdict(list))
    frozen: list[str] = field(default_factory=list)
    open_sums: list[tuple[str, str]] = field(default_factory=list)
    distinct: list[tuple[Expr, Expr]] = field(default_factory=list)
    same: list[tuple[str, str]] = field(default_factory=list)
    structure: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bands: list[tuple[Expr, str]] = field(default_factory=list)
    read: tuple[list[Expr], list[str]] | None = None
    under: dict[str, tuple[Expr, int]] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def letters_of(self, text: str) -> str | None:
        """Letters that a condition wants of a spec variable, if it names them."""
        return self._wanted("letters", text)

    def scale_of(self, text: str) -> str | None:
        """Factor that a condition wants of a spec variable, if it names it."""
        return self._wanted("scale-of", text)

    def _wanted(self, function: str, text: str) -> str | None:
        for wanted, call in self.equations:
            if call[0] == function and call[1] == text and isinstance(wanted, str) and is_literal(wanted):
                return unquote(wanted)
        return None


def read_premises(rule: Rule) -> Premises:
    """The facts of a rule, sorted."""
    found = Premises()
    for number, fact in enumerate(rule.facts):
        if not isinstance(fact, Form) or not fact:
            continue
        if fact[0] == "=" and len(fact) == 3:
            _equation(found, fact[1], fact[2], number)
        elif fact[0] == "!=" and len(fact) == 3:
            found.distinct.append((fact[1], fact[2]))
        elif fact[0] == FROZEN:
            found.frozen.append(str(fact[1]))
        elif fact[0] == IS:
            found.structure[str(fact[2])].append(unquote(str(fact[1])))
        elif fact[0] == OPEN_SUM:
            found.open_sums.append((str(fact[1]), str(fact[2])))
        elif is_term(fact):
            _define(found, f"?fact{number}", fact)
        elif attribute_call(fact):
            found.equations.append((None, fact))
    _index(found)
    return found


def _index(found: Premises) -> None:
    """Find once what is looked up for every instance."""
    for kind, wanted, name in found.types:
        found.types_of[name].append((kind, wanted))
    for result, call in found.equations:
        found.asked.append(Asked(result, call))
        if isinstance(result, str) and call[0] != "letters":
            found.computing[result].append(found.asked[-1])
    walk = _Walk(found)
    if all(walk.visit(name) for name in found.roots):
        found.read = list(walk.texts), list(walk.plain)
    attributes = " ".join(unquote(str(text)) for text in walk.texts if is_literal(text))
    found.named = re.findall(r"dtype\('(\w+)'\)", attributes)


class _Walk:
    """Collects what terms read."""

    def __init__(self, found: Premises) -> None:
        self._found = found
        self._above: list[str] = []
        self.texts: dict[Expr, None] = {}
        self.plain: dict[str, None] = {}

    def visit(self, part: Expr, place: tuple[Expr, int] | None = None) -> bool:
        """Whether each variable below is plain or is defined once; ``place``: whose operand has its shape."""
        if isinstance(part, str):
            return self._variable(part, place)
        if part[0] not in words():
            return False
        word = words()[str(part[0])]
        held = 2 if word.constructor.has_text else 1
        self.texts.update(dict.fromkeys(part[1:held]))
        same = word.op == "add" or Trait.ELEMENTWISE in get_op(word.op).traits
        visited = [
            self.visit(operand, (part[1], i) if word.op == "einsum" else place if same else None)
            for i, operand in enumerate(part[held:])
        ]
        return all(visited)

    def _variable(self, name: str, place: tuple[Expr, int] | None) -> bool:
        definitions = self._found.definitions.get(name, [])
        if not definitions:
            self.plain[name] = None
            if place is not None:
                self._found.under.setdefault(name, place)
            return name not in self._found.structure
        if len(definitions) > 1 or name in self._above:
            return False
        self._above.append(name)
        try:
            return self.visit(definitions[0], place)
        finally:
            self._above.pop()


def _equation(found: Premises, left: Expr, right: Expr, number: int) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Form) and one and one[0] in (BAND, *TYPE_FACTS):
            _fact(found, one, other, number)
            return
        if isinstance(one, Form) and attribute_call(one):
            found.equations.append((other, one))
            return
    if is_term(left) and is_term(right):
        for side in (left, right):
            _define(found, f"?fact{number}", side)
        return
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str) and is_term(other):
            _define(found, one, other)
            return
    if isinstance(left, str) and isinstance(right, str):
        found.same.append((left, right))


def _fact(found: Premises, one: Form, other: Expr, number: int) -> None:
    """A fact with a value: bandwidths, shape or element type."""
    if one[0] == BAND:
        found.bands.append((other, str(one[1])))
    elif isinstance(other, Form) and other and other[0] == one[0]:
        shared = f"?type{number}"
        found.types += [(str(one[0]), shared, str(one[1])), (str(one[0]), shared, str(other[1]))]
    else:
        found.types.append((str(one[0]), other, str(one[1])))


def _define(found: Premises, name: str, term: Expr) -> None:
    assert isinstance(term, Form)
    if name not in found.roots:
        found.roots.append(name)
    found.definitions[name].append(term)


def is_term(expr: Expr) -> bool:
    """Whether an expression is a constructor applied to something."""
    return isinstance(expr, Form) and bool(expr) and expr[0] in words()


def is_variable(expr: Expr) -> bool:
    """Whether an expression is a pattern variable."""
    return isinstance(expr, str) and expr.startswith("?")


def unknown_heads(rule: Rule) -> list[str]:
    """Words that a rule's facts begin with and that are nothing known; what egglog has itself is no word of letters."""
    known = {*words(), *NAMES, "ordering-max", "ordering-min", "guard", "or", "and", "not"}
    found = sorted({head for fact in rule.facts for head in heads(fact)} - known)
    return [h for h in found if h[:1].isalpha() and h.partition(".")[0] not in FUNCTIONS]


def constructors(rule: Rule) -> set[str]:
    """Constructors that a rule reads or makes."""
    found: set[str] = set()

    def walk(expr: Expr) -> None:
        if isinstance(expr, Form):
            if is_term(expr):
                found.add(str(expr[0]))
            for item in expr:
                walk(item)

    for part in (*rule.facts, *rule.actions):
        walk(part)
    return found


def literals(rule: Rule) -> list[str]:
    """Quoted texts in a rule."""
    found: list[str] = []

    def walk(expr: Expr) -> None:
        if isinstance(expr, Form):
            for item in expr:
                walk(item)
        elif is_literal(expr):
            found.append(unquote(expr))

    for part in (*rule.facts, *rule.actions):
        walk(part)
    return found
