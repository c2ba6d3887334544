# SPDX-License-Identifier: Apache-2.0
"""A proof as a certificate: plain data that the checker replays; rules become told laws, steps name their leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from egraph_opt.engine import Rule
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.words import words
from egraph_opt.explain.checker import CertificateError, Terms, check, digest, verify
from egraph_opt.explain.evidence import Equation, Evidence, conditions
from egraph_opt.explain.terms import TermTable, body_rows, graphs_of
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ops import get_op

Certificate = dict[str, Any]

FINITE = "finite"
"""What is told of a rule that holds where its left side is finite."""

LEVELS = 4
"""Sums and products that are opened below what both sides share."""

MOST_OPENED = 400
"""Terms down to the inputs, where a step does not hold whatever the terms that its sides share."""


def certificate(
    evidence: Evidence, ends: Sequence[Sequence[int]], steps: Sequence[int]
) -> tuple[Certificate, dict[int, int]]:
    """The certificate of some equations, and the number in it of each term.

    Args:
        evidence: terms and equations.
        ends: results of the original and of what it became.
        steps: numbers of the equations.

    Raises:
        CertificateError: some step does not hold up.
    """
    equations = [evidence.equations[s] for s in steps]
    bound = [v for e in equations for v in e.bindings.values() if isinstance(v, int)]
    sides = [t for e in equations for t in (e.left, e.right)]
    numbers = evidence.table.reach([*(t for end in ends for t in end), *sides, *bound])
    place = {t: n for n, t in enumerate(numbers)}
    table = evidence.table.json(numbers)
    bodies = [body_rows(graph) for graph in _bodies(evidence.table, numbers)]
    terms = Terms(table, bodies)
    made: Certificate = {
        "terms": table,
        "bodies": bodies,
        "before": [place[t] for t in ends[0]],
        "after": [place[t] for t in ends[1]],
        "rules": {e.rule.name: told(e.rule) for e in equations if e.rule is not None},
        "steps": [_step(evidence.table, terms, n, e, place) for n, e in enumerate(equations)],
    }
    made["digest"] = digest(made)
    check(made)
    return made, place


def _bodies(table: TermTable, numbers: Sequence[int]) -> list[Graph]:
    """Bodies of the control flow among some terms, and of that in them, where they can be run for their values."""
    found: dict[Graph, None] = {}
    stack = [body for text, body in table.bodies.items() if any(text in table.rows[t].attrs for t in numbers)]
    while stack:
        graph = stack.pop()
        if graph not in found and not graph.effects:
            found[graph] = None
            stack += [body for node in graph.nodes for body in graphs_of(node)]
    return [*found]


def told(rule: Rule) -> list[Any]:
    """A rule as a certificate tells it: pattern, pattern, conditions, and "finite" if it is of that class.

    A pattern is a variable or ``[variable or "", operation, attributes, patterns of the operands]``.
    """
    union = next(action for action in rule.actions if action[0] == "union")
    meaning = {
        name: form
        for fact in rule.facts
        if fact[0] == "="
        for name, form in ((fact[1], fact[2]), (fact[2], fact[1]))
        if isinstance(name, str) and isinstance(form, Form) and str(form[0])[0].isupper()
    }

    def pattern(expr: Expr) -> Any:
        name = ""
        if isinstance(expr, str):
            if expr not in meaning:
                return expr
            name, expr = expr, meaning[expr]
        word = words()[str(expr[0])]
        inner = [*expr[1:]]
        if word.constructor.has_text:
            text = str(inner.pop(0)).strip('"')
        else:
            text = "" if word.op == "add" else ", ".join(f"{attr}=None" for attr in get_op(word.op).attrs)
        return [name, word.op, text, list(map(pattern, inner))]

    needed = [[name, list(map(_atom, arguments)), _atom(value)] for name, arguments, value in conditions(rule)]
    loose = [FINITE] if rule.numerics == Numerics.FINITE else []
    return [pattern(union[1]), pattern(union[2]), needed, *loose]


def _atom(atom: Expr) -> int | str:
    text = str(atom)
    return int(text) if text.lstrip("-").isdigit() else text.strip('"')


def _step(table: TermTable, terms: Terms, number: int, equation: Equation, place: Mapping[int, int]) -> dict[str, Any]:
    """A step as the certificate tells it."""
    alone, shared = table.apart(equation.left, equation.right)
    kind = equation.kind
    if kind not in ("rule", "body", "pass"):
        kind = "sum" if any(table.rows[t].op == "add" for t in alone) else "normal-form"
    step: dict[str, Any] = {"number": number, "kind": kind}
    step |= {"left": place[equation.left], "right": place[equation.right]}
    if kind == "body":
        return step | {"certificates": list(equation.certificates)}
    if kind == "pass":
        step["passes"] = list(equation.passes)
    given = [sorted(place[t] for t in shared)]
    rules: dict[str, Any] = {}
    if equation.rule is not None:
        law = told(equation.rule)
        patterns, needed, rules = law[:2], law[2], {equation.rule.name: law}
        bound = {v: place[b] if isinstance(b, int) else b for v, b in sorted(equation.bindings.items())}
        values = [
            [name, [bound.get(a, a) for a in arguments], bound.get(value, value)] for name, arguments, value in needed
        ]
        step |= {"rule": equation.rule.name, "bindings": bound, "conditions": values}
        opened = {
            t for side, p in zip((step["left"], step["right"]), patterns, strict=True) for t in _opened(terms, side, p)
        }
        given.insert(0, sorted({t for v in _variables(patterns) if isinstance(t := bound[v], int)} - opened))
    opens = len(table.reach([equation.left, equation.right])) <= MOST_OPENED
    return step | {"given": _leaves(terms, rules, step, given, opens)}


def _variables(patterns: Sequence[Any]) -> set[str]:
    """What stands for terms in patterns, and is no name of a pattern itself."""
    return {v for p in patterns for v in ([p] if isinstance(p, str) else _variables(p[3]))}


def _opened(terms: Terms, t: int, pattern: Any) -> Iterator[int]:
    """Terms that stand for more than a variable: also where they stand for one, what they are made of may count."""
    if not isinstance(pattern, str):
        yield t
        for a, inner in zip(terms.rows[t][2], pattern[3], strict=True):
            yield from _opened(terms, a, inner)


def _leaves(
    terms: Terms, rules: Mapping[str, Any], step: Mapping[str, Any], choices: Sequence[list[int]], opens: bool
) -> list[int]:
    """The terms whatever which a step holds: the first choice that holds, or else the inputs if it ``opens``.

    In between the last choice is opened level by level: two of its terms may have to do with each other.
    """
    tried = [*choices]
    for _ in range(LEVELS):
        parts = {q for t in tried[-1] for q in (terms.rows[t][2] if terms.rows[t][0] in ("einsum", "add") else (t,))}
        if sorted(parts) == tried[-1]:
            break
        tried.append(sorted(parts))
    for given in tried:
        try:
            verify(terms, rules, {**step, "given": given}, "")
        except CertificateError:
            continue
        return given
    return [] if opens else choices[0]
