# SPDX-License-Identifier: Apache-2.0
"""How far a rule's left side matches an e-graph: the best partial match and the first thing that stops it.

The facts of a rule are flattened: patterns first, outermost node first, then conditions in the order in which they
are written. What is asked for is not all matches but the one that comes furthest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from egraph_opt.engine import ENode, Rule, Snapshot
from egraph_opt.engine.compile import attribute_call, call_in
from egraph_opt.engine.facts import BAND, DTYPE, IS, SHAPE
from egraph_opt.engine.sexpr import Expr, Form, heads
from egraph_opt.engine.words import vocabulary
from egraph_opt.ir.reshapes import shape_text

Value = int | str
Bindings = dict[str, Value]

MAX_STEPS = 200_000
"""Candidates that are looked at, at most."""


@dataclass(frozen=True, slots=True)
class Facts:
    """An e-graph with what rules may ask about its classes.

    Args:
        snapshot: the classes.
        relations: rows of classes by relation, as ``open-sum``.
    """

    snapshot: Snapshot
    relations: Mapping[str, frozenset[tuple[int | str, ...]]]


@dataclass(slots=True)
class Match:
    """A match, whole or partial.

    Args:
        bindings: variable -> class number or text.
        step: first step that failed; None when all hold.
        done: steps that hold.
        value: what the failed condition gave, in words.
        whole: number of steps.
    """

    bindings: Bindings = field(default_factory=dict)
    step: Step | None = None
    done: int = -1
    value: str = ""
    whole: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A flattened fact.

    Args:
        kind: "node" for a constructor pattern, "fact" for any other.
        expr: the pattern with variables for its children, or the fact as written.
        result: variable of the class that a pattern stands for.
        written: the pattern as the author wrote it.
    """

    kind: str
    expr: Form
    result: str
    written: Expr


def constructors_of(rule: Rule) -> set[str]:
    """Constructors that the left side of a rule reads."""
    words = vocabulary()
    return {head for fact in rule.facts for head in heads(fact) if head in words}


def steps_of(rule: Rule) -> list[Step]:
    """Facts of a rule, flattened: patterns before conditions."""
    words = vocabulary()
    nodes: list[Step] = []
    conditions: list[Step] = []

    def flatten(pattern: Form, result: str) -> None:
        children: list[Expr] = []
        nested: list[tuple[Form, str]] = []
        for item in pattern[1:]:
            if isinstance(item, Form):
                name = f"?_{len(nodes)}.{len(nested)}"
                nested.append((item, name))
                children.append(name)
            else:
                children.append(item)
        nodes.append(Step("node", Form((pattern[0], *children)), result, pattern))
        for form, name in nested:
            flatten(form, name)

    for fact in rule.facts:
        if isinstance(fact, Form) and fact and fact[0] == "=" and call_in(fact) is None and len(fact) == 3:
            left, right = fact[1:]
            if isinstance(left, Form) and left[0] in words:
                left, right = right, left
            if isinstance(right, Form) and right[0] in words and isinstance(left, str):
                flatten(right, left)
                continue
        assert isinstance(fact, Form), "facts are forms"
        if fact[0] in words:
            flatten(fact, f"?_{len(nodes)}")
        else:
            conditions.append(Step("fact", fact, "", fact))
    return nodes + conditions


class Matcher:
    """Looks for the best match of rules in one e-graph."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._classes = facts, facts.snapshot.classes
        self._by_head: defaultdict[str, list[tuple[int, ENode]]] = defaultdict(list)
        for c, enodes in enumerate(self._classes):
            for enode in enodes:
                self._by_head[enode.constructor].append((c, enode))

    @property
    def heads(self) -> set[str]:
        """Constructors in the e-graph."""
        return set(self._by_head)

    def best(self, rule: Rule) -> Match:
        """The match of a rule that comes furthest."""
        steps = steps_of(rule)
        found = Match(whole=len(steps))
        left = MAX_STEPS
        stack: list[tuple[int, Bindings]] = [(0, {})]
        while stack and left and found.done < len(steps):
            place, bindings = stack.pop()
            if place == len(steps):
                return Match(bindings, None, place, "", len(steps))
            left -= 1
            step = steps[place]
            if step.kind == "node":
                following = list(self._nodes(step, bindings))
                value = "" if following else self._what_is_there(step, bindings)
            else:
                further, value = self._holds(step.expr, bindings)
                following = [further] if further is not None else []
            if not following and place > found.done:
                found = Match(bindings, step, place, value, len(steps))
            stack += [(place + 1, further) for further in reversed(following)]
        return found

    def matches(self, rule: Rule, count: int = 50) -> Iterator[Bindings]:
        """Whole matches of a rule, some of them."""
        steps = steps_of(rule)
        stack: list[tuple[int, Bindings]] = [(0, {})]
        left = MAX_STEPS
        while stack and left and count:
            left -= 1
            place, bindings = stack.pop()
            if place == len(steps):
                count -= 1
                yield bindings
            elif steps[place].kind == "node":
                stack += [(place + 1, b) for b in self._nodes(steps[place], bindings)]
            else:
                further, _ = self._holds(steps[place].expr, bindings)
                stack += [(place + 1, further)] if further is not None else []

    def _nodes(self, step: Step, bindings: Bindings) -> Iterator[Bindings]:
        """Bindings that a pattern allows."""
        head = str(step.expr[0])
        bound = bindings.get(step.result)
        if isinstance(bound, int):
            candidates = [(bound, enode) for enode in self._classes[bound] if enode.constructor == head]
        else:
            candidates = self._by_head.get(head, [])
        for c, enode in candidates:
            values: list[Value] = [enode.text, *enode.children] if has_text(head) else list(enode.children)
            further = dict(bindings)
            if step.result.startswith("?"):
                further[step.result] = c
            if all(_bind(further, str(name), value) for name, value in zip(step.expr[1:], values, strict=True)):
                yield further

    def _what_is_there(self, step: Step, bindings: Bindings) -> str:
        """What stands where a pattern does not match."""
        bound = bindings.get(step.result)
        if not isinstance(bound, int):
            return f"no {step.expr[0]} with these operands"
        names = sorted({_name(enode) for enode in self._classes[bound]})
        return f"there is {' or '.join(names[:6])}"

    def _holds(self, fact: Form, bindings: Bindings) -> tuple[Bindings | None, str]:
        """Bindings after a condition, None where it fails; and the value that failed."""
        if fact[0] in ("=", "!=") and len(fact) == 3:
            return self._compared(fact, bindings)
        value = self._value(fact, bindings)
        if fact[0] == IS and value is False:
            known = sorted(
                str(row[0]) for row in self._facts.relations.get(IS, ()) if row[1] == bindings.get(str(fact[2]))
            )
            return None, f"it is known to be {', '.join(known)}" if known else "no structure of it is known"
        return (bindings, "") if value is True else (None, "undefined" if value is None else "false")

    def _compared(self, fact: Form, bindings: Bindings) -> tuple[Bindings | None, str]:
        sides = [self._value(side, bindings) for side in fact[1:]]
        for place, side in enumerate(fact[1:]):
            other = sides[1 - place]
            if isinstance(side, str) and side.startswith("?") and side not in bindings and other is not None:
                return ({**bindings, side: other} if fact[0] == "=" else None), "unbound"
        if None in sides:
            asks_bands = any(isinstance(side, Form) and side[0] == BAND for side in fact[1:])
            return None, "no bandwidths of it are known" if asks_bands else "undefined"
        if (sides[0] == sides[1]) == (fact[0] == "="):
            return bindings, ""
        computed = [v for v, side in zip(sides, fact[1:], strict=True) if isinstance(side, Form)]
        return None, f"it is {computed[0]}" if computed else f"{sides[0]} and {sides[1]}"

    def _value(self, expr: Expr, bindings: Bindings) -> Value | None:
        """Value of a variable, a literal, an attribute function or a fact; None where undefined."""
        if isinstance(expr, str):
            return bindings.get(expr) if expr.startswith("?") else _literal(expr)
        arguments = [self._value(item, bindings) for item in expr[1:]]
        if None in arguments:
            return None
        head = str(expr[0])
        call = attribute_call(expr)
        if call is not None:
            try:
                result = call[0].call(*arguments)
            except ValueError:
                return None  # operands of shapes that do not fit
            return result.get(call[1]) if isinstance(result, Mapping) else result
        if head in ("ordering-min", "ordering-max"):
            # Classes are numbered by first appearance, which is the engine's order for most of them.
            numbers = [a for a in arguments if isinstance(a, int)]
            return min(numbers) if head == "ordering-min" else max(numbers)
        if head in (SHAPE, DTYPE) and isinstance(arguments[0], int):
            types = self._facts.snapshot.types[arguments[0]]
            if types is None or len(types) != 1:
                return None
            return shape_text(types[0].shape) if head == SHAPE else types[0].dtype
        rows = self._facts.relations.get(head, frozenset())
        if head == BAND:
            return next((row[1] for row in rows if row[0] == arguments[0]), None)
        return tuple(arguments) in rows


def instantiate(expr: Expr, bindings: Bindings, snapshot: Snapshot) -> list[tuple[ENode, int | None]]:
    """E-nodes of a right side, innermost first, and the class of each; None where the e-graph lacks it."""
    index = {enode: c for c, enodes in enumerate(snapshot.classes) for enode in enodes}
    made: list[tuple[ENode, int | None]] = []

    def visit(part: Expr) -> Value | None:
        if isinstance(part, str):
            return bindings.get(part) if part.startswith("?") else _literal(part)
        values = [visit(item) for item in part[1:]]
        head = str(part[0])
        text = str(values.pop(0)) if has_text(head) and values else ""
        if not all(isinstance(value, int) for value in values):
            return None
        enode = ENode(head, text, tuple(value for value in values if isinstance(value, int)))
        made.append((enode, index.get(enode)))
        return index.get(enode)

    visit(expr)
    return made


def has_text(head: str) -> bool:
    """Whether e-nodes of a constructor have a text before their operands."""
    words = vocabulary()
    return head in words and words[head].has_text


def shown(expr: Expr, bindings: Bindings) -> str:
    """An expression with the texts of its variables filled in."""
    if isinstance(expr, str):
        value = bindings.get(expr)
        return f'"{value}"' if isinstance(value, str) else expr
    return f"({' '.join(shown(item, bindings) for item in expr)})"


def root_of(rule: Rule, bindings: Bindings) -> int | None:
    """Class of the outermost pattern of a match."""
    first = next((step for step in steps_of(rule) if step.kind == "node"), None)
    value = bindings.get(first.result) if first is not None else None
    return value if isinstance(value, int) else None


def _bind(bindings: Bindings, name: str, value: Value) -> bool:
    if not name.startswith("?"):
        return _literal(name) == value
    return bindings.setdefault(name, value) == value


def _literal(atom: str) -> Value:
    if atom.startswith('"'):
        return atom.strip('"')
    return int(atom) if atom.lstrip("-").isdigit() else atom


def _name(enode: ENode) -> str:
    return enode.text.partition("#")[0] if enode.constructor.startswith("Call") else enode.constructor
