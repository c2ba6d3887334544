# SPDX-License-Identifier: Apache-2.0
"""Listens to a saturation and keeps every equation that it uses, between terms that it builds for the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from egraph_opt.engine.compile import call_in
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.facts import BAND, DTYPE, IS, SHAPE
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.sums import Reading, Sums
from egraph_opt.engine.words import infer_word, words
from egraph_opt.explain.congruence import Congruence
from egraph_opt.explain.terms import TermTable, Types
from egraph_opt.ir import Node
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Scale, Spec, identity
from egraph_opt.ir.spec_algebra import inverse
from egraph_opt.kernels import IDIOM
from egraph_opt.ops import get_op

Binding = int | str


@dataclass(frozen=True, slots=True)
class Equation:
    """Two terms that are equal, and why.

    Args:
        kind: "rule", "sum", "normal-form", "body" or "pass".
        left: the term as it was.
        right: the term as it became.
        rule: the rule, for that kind.
        bindings: what its variables stand for: a term, or the text of an attribute.
        certificates: of the bodies, for that kind.
        passes: what was done, for that kind.
    """

    kind: str
    left: int
    right: int
    rule: Rule | None = None
    bindings: Mapping[str, Binding] = field(default_factory=dict)
    certificates: tuple[Any, ...] = ()
    passes: tuple[str, ...] = ()


class Evidence:
    """All equations of one saturation; a listener of ``engine.record``.

    Args:
        table: terms.
    """

    def __init__(self, table: TermTable) -> None:
        self.table = table
        self.classes = Congruence(table)
        self.equations: list[Equation] = []
        self.encoder: Encoder | None = None
        self.goals: list[tuple[int, int]] = []
        self._term: dict[int, int] = {}
        self._of_value: dict[Any, int] = {}

    def add(self, equation: Equation) -> None:
        """Keep an equation, unless it says what is known."""
        if self.classes.find(equation.left) != self.classes.find(equation.right):
            self.equations.append(equation)
            self.classes.merge(equation.left, equation.right, len(self.equations) - 1)

    def done(self) -> bool:
        """Whether all goals are joined."""
        return bool(self.goals) and all(self.classes.find(a) == self.classes.find(b) for a, b in self.goals)

    def node(self, number: int, constructor: str, text: str, operands: Sequence[int]) -> None:
        """A loaded e-node."""
        term = self.make(constructor, text, [self._term[q] for q in operands])
        assert term is not None, f"what is loaded has a type: {constructor} {text}"
        self._term[number] = term

    def named(self, value: Any, number: int) -> None:
        """The class of a loaded number."""
        self._of_value[value] = self._term[number]

    def enode(self, value: Any, constructor: str, text: str, children: Sequence[Any]) -> bool:
        """A class that a rule made."""
        term = self.make(constructor, text, [self._of_value[c] for c in children])
        if term is not None:
            self._of_value[value] = term
        return term is not None

    def match(self, rule: Rule, values: Mapping[str, Any]) -> None:
        """A rule is about to be applied: each of its unions is an equation between instances of its patterns."""
        known = {v: self._of_value.get(x) if not isinstance(x, str | int) else x for v, x in values.items()}
        if None in known.values():
            return  # a class without a well-founded e-node
        instance = _Instance(self.make, rule, known)  # type: ignore[arg-type]
        if instance.is_ambiguous:
            self._undone(rule, known)  # type: ignore[arg-type]
            return
        for action in rule.actions:
            if action[0] != "union":
                continue
            instance.used.clear()
            left, right = (instance.term(side) for side in action[1:])
            if left is not None and right is not None and self.classes.find(left) != self.classes.find(right):
                instance.note_conditions()
                self.add(Equation("rule", left, right, rule, dict(instance.used)))

    def same(self, number: int, other: int) -> None:
        """Two loaded numbers are known to be equal: an idiom, and what a kernel makes of it."""
        self.add(Equation("pass", self._term[number], self._term[other], passes=(IDIOM,)))

    def sum(self, sums: Sums, number: int, tree: int) -> None:
        """A sum is written another way: its reading equals its terms in order, and those, as products, the tree."""
        if self.classes.find(self._term[number]) == self.classes.find(self._term[tree]):
            return
        reading, products = sums.reading(number), sums.products(tree)
        opened = self._opened(reading)
        if not products:
            self.add(Equation("sum", opened, self._term[tree]))
            return
        parts = _flat(reading, 1, {})
        plain = [self._scaled(self._term[n], k) for n, k in sorted(parts.items())]
        spelled = []
        for n, k in sorted(parts.items()):
            if n in products:
                constructor, text, operands, link = products[n]
                term = self.make(constructor, text, [self._term[q] for q in operands])
                assert term is not None
                term = self.make("Einsum1", link, [term]) if link else term
                assert term is not None
                spelled.append(self._scaled(term, k))
            else:
                spelled.append(self._scaled(self._term[n], k))
        self.add(Equation("sum", opened, self.total(plain)))
        self.add(Equation("sum", self.total(spelled), self._term[tree]))

    def term(self, number: int) -> int:
        """Term of a loaded number."""
        return self._term[number]

    def _opened(self, reading: Reading) -> int:
        if not reading.parts:
            return self._term[reading.number]
        return self.total([self._scaled(self._opened(part), k) for part, k in reading.parts])

    def _scaled(self, term: int, scale: Scale) -> int:
        if scale == 1:
            return term
        types = self.table.rows[term].types
        return self.table.add("einsum", identity(types[0].shape, scale), (term,), types)

    def total(self, parts: Sequence[int]) -> int:
        """The sum of some terms, added up from the left."""
        total = parts[0]
        for part in parts[1:]:
            total = self.table.add("add", "", (total, part), self.table.rows[part].types)
        return total

    def _undone(self, rule: Rule, known: Mapping[str, Binding]) -> None:
        """A transpose of ``x`` is a product, so ``x`` is that product with its result transposed back."""
        forms = [f[2] for f in rule.facts if f[0] == "=" and isinstance(f[2], Form)]
        link = next((f for f in forms if f[0] == "Einsum1"), None)
        product = next((f for f in forms if f[0] == "Einsum2"), None)
        if link is None or product is None or len(rule.actions) == 0:
            return
        back = inverse(str(known[str(link[1])]))
        x = known[str(link[2])]
        instance = _Instance(self.make, rule, known)
        result = instance.term(rule.actions[0][2]) if rule.actions[0][0] == "union" else None
        if back is None or result is None or not isinstance(x, int):
            return
        for spelled, plain in ((link, x), (product, result)):
            inner = instance.term(spelled)
            outer = None if inner is None else self.make("Einsum1", back, [inner])
            if outer is not None:
                self.add(Equation("normal-form", outer, plain))

    def make(self, constructor: str, text: str, args: Sequence[int]) -> int | None:
        """Term of an e-node over terms; None when it is ill-typed."""
        table = self.table
        if self.encoder is not None and text in self.encoder.calls:
            call = self.encoder.calls[text]
            return table.node(Node(call.op, (), call.attrs, call.types), args)
        operands = [table.rows[a].types[0] for a in args]
        op = words()[constructor].op
        types: Types | None
        if op == "einsum":
            spec = Spec.parse(text)
            fits = [o.shape for o in operands] == list(spec.shapes) and len({o.dtype for o in operands}) == 1
            types = (operands[0].with_shape(spec.shape),) if fits else None
        elif op == "add":
            types = (operands[0],) if operands[0] == operands[1] else None
        elif op == "reshape":
            types = (operands[0].with_shape(parse_shape(text)),)
        else:
            types = infer_word(constructor, text, operands)
        if not text and op != "add":
            text = ", ".join(f"{name}=None" for name in get_op(op).attrs)
        return None if types is None else table.add(op, text, args, types)


class _Instance:
    """Terms of the patterns of a rule under what its variables stand for; notes which of them count."""

    def __init__(
        self, make: Callable[[str, str, Sequence[int]], int | None], rule: Rule, values: Mapping[str, Binding]
    ) -> None:
        self._make, self._rule, self._values = make, rule, values
        self.used: dict[str, Binding] = {}
        self._meaning: dict[str, Form] = {}
        self.is_ambiguous = False
        for fact in rule.facts:
            if fact[0] != "=":
                continue
            for name, form in ((fact[1], fact[2]), (fact[2], fact[1])):
                if isinstance(name, str) and isinstance(form, Form) and str(form[0])[0].isupper():
                    self.is_ambiguous |= name in self._meaning
                    self._meaning[name] = form

    def term(self, pattern: Expr) -> int | None:
        """The term of a pattern."""
        if isinstance(pattern, str) and pattern in self._meaning:
            pattern = self._meaning[pattern]
        if isinstance(pattern, str):
            self.used[pattern] = self._values[pattern]
            value = self._values[pattern]
            return value if isinstance(value, int) else None
        name = str(pattern[0])
        if name not in words():
            return None
        text, rest = "", pattern[1:]
        if words()[name].constructor.has_text:
            text, rest = str(self.value(pattern[1])), pattern[2:]
        args = [self.term(p) for p in rest]
        known = [a for a in args if a is not None]
        return self._make(name, text, known) if len(known) == len(args) else None

    def value(self, atom: Expr) -> Binding:
        """What an atom stands for; a variable counts from then on."""
        if isinstance(atom, str) and atom.startswith("?"):
            term = self.term(atom) if atom in self._meaning else None
            self.used[atom] = self._values[atom] if term is None else term
            return self.used[atom]
        text = str(atom)
        return int(text) if text.lstrip("-").isdigit() else text.strip('"')

    def note_conditions(self) -> None:
        """Let the variables of conditions count, too."""
        for condition in conditions(self._rule):
            for atom in (*condition[1], condition[2]):
                self.value(atom)


def conditions(rule: Rule) -> list[tuple[str, tuple[Expr, ...], Expr]]:
    """Conditions of a rule: attribute function, arguments, the value it must have ("true" for a guard)."""
    found: list[tuple[str, tuple[Expr, ...], Expr]] = []
    for fact in rule.facts:
        if call_in(fact) is None and not any(
            isinstance(side, Form) and side[0] in (SHAPE, DTYPE, IS, BAND) for side in (fact, *fact[1:])
        ):
            continue
        if fact[0] != "=":
            assert isinstance(fact, Form)
            found.append((str(fact[0]), tuple(fact[1:]), "true"))
            continue
        call, value = (fact[2], fact[1]) if isinstance(fact[2], Form) else (fact[1], fact[2])
        found.append((str(call[0]), tuple(call[1:]), value))
    return found


def _flat(reading: Reading, scale: Scale, found: dict[int, Scale]) -> dict[int, Scale]:
    """Terms of a reading with their factors."""
    if not reading.parts:
        found[reading.number] = found.get(reading.number, 0) + scale
    for part, k in reading.parts:
        _flat(part, scale * k, found)
    return {n: k for n, k in found.items() if k != 0}
