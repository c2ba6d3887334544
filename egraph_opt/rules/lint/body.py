# SPDX-License-Identifier: Apache-2.0
"""Faults in the body of a rule: names, counts and sorts of arguments, and where variables come from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from egraph_opt.engine.facts import IS
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.sexpr import Expr, Form, variables
from egraph_opt.ir.structure import NAMES
from egraph_opt.rules.lint.signatures import (
    ACTIONS,
    MEANING,
    NUMBER,
    TENSOR,
    TEXT,
    Signature,
    nearest,
    signature,
    unknown,
)

PLACEHOLDER = "Op"
DELETING = ("normalize", "simplify")
Problem = tuple[int, str]


def engine_faults(rule: Rule) -> list[Problem]:
    """Faults for which a rule that was read would never match, or the engine would refuse it."""
    body = _Body(False)
    body.conditions(Form(rule.facts))
    for action in rule.actions:
        if isinstance(action, Form):
            body.action(action, DELETING[0])
    return body.problems


def body_faults(head: str, left: Expr, right: Expr, when: Form, ruleset: str, over: bool) -> list[Problem]:
    """Faults of a rule's two parts and conditions, with their lines (0 for that of the rule).

    Args:
        head: "rewrite", "birewrite" or "rule".
        left: pattern, or facts.
        right: term, or actions.
        when: conditions.
        ruleset: stem of the file.
        over: whether this is a template of a family.
    """
    if head != "rule":
        body = _Body(over)
        for side, name in ((left, "left"), (right, "right")):
            if isinstance(side, str) and (name == "left" or head == "birewrite"):
                body.say(0, f"the {name} side is {'a variable' if side.startswith('?') else side}: it matches anything")
        body.pattern(left, TENSOR)
        body.conditions(when)
        body.term(right, TENSOR)
        body.unbound(right, "right side")
        if head == "birewrite":
            body.unbound_in(left, variables(right) | _computed(when), "left side, read from the right")
        body.unused([left, right], when)
        return body.problems
    body = _Body(over)
    if not isinstance(left, Form) or not isinstance(right, Form) or any(isinstance(x, str) for x in (*left, *right)):
        body.say(0, "want (rule ((fact) ...) ((action) ...) :name ...)")
        return body.problems
    body.conditions(left)
    for action in right:
        assert isinstance(action, Form), "looked at above"
        body.action(action, ruleset)
    body.unused([right], left)
    return body.problems


def _computed(when: Form) -> set[str]:
    return {name for fact in when for name in variables(fact)}


class _Body:
    def __init__(self, over: bool) -> None:
        self.problems: list[Problem] = []
        self._over = over
        self._bound: set[str] = set()
        self._sorts: dict[str, str] = {}

    def say(self, line: int, text: str) -> None:
        """Note a problem."""
        self.problems.append((line, text))

    def pattern(self, expr: Expr, sort: str) -> None:
        """A term that is matched: its variables are bound."""
        self._walk(expr, sort, 0, "pattern")
        self._bound |= variables(expr)

    def term(self, expr: Expr, sort: str) -> None:
        """A term that is made."""
        self._walk(expr, sort, 0, "term")

    def conditions(self, facts: Form) -> None:
        """Facts in any order, attribute functions after what binds their arguments."""
        plain = [fact for fact in facts if not self._calls(fact)]
        for fact in plain:
            if isinstance(fact, Form) and fact and fact[0] == "!=":
                continue
            self._fact(fact)
            self._bound |= variables(fact)
        for fact in facts:
            if isinstance(fact, Form) and fact and fact[0] == "!=":
                self._fact(fact)
                self.unbound(fact, "condition")
            elif self._calls(fact):
                self._fact(fact)
                for call in self._calls(fact):
                    for argument in call[1:]:
                        self.unbound(argument, f"({call[0]} ...)", call.line)
                self._bound |= variables(fact)

    def action(self, action: Form, ruleset: str) -> None:
        """One action of a ``rule``."""
        head = action[0] if action and isinstance(action[0], str) else ""
        if head in ("delete", "subsume") and ruleset not in DELETING:
            self.say(action.line, f"{head} stands only in normalize.egg and simplify.egg: elsewhere it loses programs")
        if head in ("union", "set") and len(action) != 3:
            self.say(action.line, f"{head} takes 2 arguments, got {len(action) - 1}")
        elif head == "union":
            self.term(action[1], TENSOR)
            self.term(action[2], TENSOR)
        elif head == "set":
            self._walk(action[1], TEXT, action.line, "set")
            self._walk(action[2], TEXT, action.line, "term")
        elif head in ACTIONS:
            for item in action[1:]:
                self.term(item, TENSOR)
        else:
            self._walk(action, "", action.line, "action")
        self.unbound(action, "action")

    def unbound(self, expr: Expr, place: str, line: int = 0) -> None:
        """Say which variables nothing binds."""
        self.unbound_in(expr, self._bound, place, line)

    def unbound_in(self, expr: Expr, bound: set[str], place: str, line: int = 0) -> None:
        """Say which variables are not among the bound ones."""
        for name in sorted(variables(expr) - bound):
            line = expr.line if isinstance(expr, Form) else line
            self.say(line, f"{name} in the {place} is bound by nothing{nearest(name, bound) if len(name) > 2 else ''}")

    def unused(self, parts: list[Expr], when: Form) -> None:
        """Say which values are computed and never read."""
        counts = Counter(name for part in [*parts, when] for name in _names(part))
        for fact in when:
            if isinstance(fact, Form) and len(fact) == 3 and fact[0] == "=":
                for side, other in ((fact[1], fact[2]), (fact[2], fact[1])):
                    made = isinstance(other, Form) and (sig := signature(str(other[0]))) and sig.kind != "constructor"
                    if isinstance(side, str) and side.startswith("?") and made and counts[side] == 1:
                        self.say(
                            fact.line, f"{side} is computed and never read; write the function without '=', or drop it"
                        )

    def _calls(self, fact: Expr) -> list[Form]:
        """Calls of attribute functions in a fact: itself, or the sides of an equation."""
        parts = [fact] if not (isinstance(fact, Form) and fact and fact[0] == "=") else list(fact[1:])
        return [p for p in parts if isinstance(p, Form) and p and _is_function(str(p[0]))]

    def _fact(self, fact: Expr) -> None:
        if not isinstance(fact, Form) or not fact:
            self.say(0, f"condition {str(fact)!r} is no fact; want e.g. (= ?r (compose ?s ?t))")
            return
        if fact[0] in ("=", "!="):
            if len(fact) != 3:
                self.say(fact.line, f"{fact[0]} takes 2 arguments, got {len(fact) - 1}")
                return
            sort = next((s for side in fact[1:] if (s := self._sort_of(side))), "")
            for side in fact[1:]:
                self._walk(side, sort, fact.line, "equation")
            return
        self._walk(fact, "", fact.line, "fact")

    def _sort_of(self, expr: Expr) -> str:
        if isinstance(expr, Form):
            found = signature(str(expr[0])) if expr else None
            return found.result if found else TENSOR if expr and expr[0] == PLACEHOLDER else ""
        if expr.startswith("?"):
            return self._sorts.get(expr, "")
        return TEXT if expr.startswith('"') else NUMBER if re.fullmatch(r"-?\d+", expr) else ""

    def _walk(self, expr: Expr, sort: str, line: int, place: str) -> None:
        """Check an expression where a sort is wanted ("" for any); ``place`` says what may stand there."""
        if isinstance(expr, str):
            self._atom(expr, sort, line)
            return
        if not expr or not isinstance(expr[0], str):
            self.say(expr.line, f"{str(expr)[:30]!r} has no head; want (Head ...)")
            return
        head = expr[0]
        if self._over and head == PLACEHOLDER:
            for item in expr[1:]:
                self._walk(item, TENSOR, expr.line, place)
            return
        found = signature(head)
        if found is None:
            self.say(expr.line, unknown(head, place == "action"))
            for item in expr[1:]:
                if isinstance(item, Form):
                    self._walk(item, "", expr.line, place)
            return
        self._misplaced(expr, found, sort, place)
        if len(expr) - 1 != len(found.arguments):
            count = len(found.arguments)
            self.say(expr.line, f"{head} takes {count} argument{'s' * (count != 1)}, got {len(expr) - 1}")
            return
        inner = place if found.kind == "constructor" else "argument"
        for item, want in zip(expr[1:], found.arguments, strict=True):
            self._walk(item, want, expr.line, inner if place != "fact" else "argument")

    def _misplaced(self, expr: Form, found: Signature, sort: str, place: str) -> None:
        head = str(expr[0])
        if head == IS and len(expr) == 3 and (name := str(expr[1]).strip('"')) not in NAMES:
            self.say(expr.line, f"there is no structure {name!r}{nearest(name, NAMES)}")
        if place in ("pattern", "term") and found.kind == "function":
            self.say(expr.line, f"({head} ...) cannot stand inside a term; bind it: :when ((= ?r ({head} ...)))")
        elif place == "equation" and not found.result:
            self.say(expr.line, f"({head} ...) is a condition without a value; write it without '='")
        elif place == "fact" and found.kind == "constructor":
            self.say(expr.line, f"({head} ...) is a tensor and no condition; write (= ?x ({head} ...))")
        elif sort and found.result and found.result != sort and place != "set":
            self.say(expr.line, f"({head} ...) is {MEANING[found.result]} where {MEANING[sort]} is wanted")

    def _atom(self, atom: str, sort: str, line: int) -> None:
        if atom.startswith("?"):
            known = self._sorts.setdefault(atom, sort) or sort
            self._sorts[atom] = known
            if sort and known != sort:
                self.say(line, f"{atom} is {MEANING[known]} elsewhere and {MEANING[sort]} here")
            return
        kind = self._sort_of(atom)
        if not kind:
            self.say(line, f'{atom!r} is no variable; write ?{atom} for one, or "{atom}" for text')
        elif sort and kind != sort:
            self.say(line, f"{atom} is {MEANING[kind]} where {MEANING[sort]} is wanted")


def _names(expr: Expr) -> Iterator[str]:
    if isinstance(expr, str):
        yield from [expr] if expr.startswith("?") else []
    else:
        for item in expr:
            yield from _names(item)


def _is_function(head: str) -> bool:
    found = signature(head)
    return found is not None and found.kind == "function"
