# SPDX-License-Identifier: Apache-2.0
"""Rules to egglog text.

Three things are added to what the author wrote: a question rule per attribute function call (which argument tuples
matched?), the table declarations, and provenance: every e-node that an action makes is stamped with the rule's name.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.engine.attributes import FUNCTIONS, AttributeFunction
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.sexpr import Expr, Form, heads, rename, variables
from egraph_opt.errors import RuleError

UNITE = "unite "
"""Before a rule's name: the rule that does its unions where they are counted."""


JOINED = "why-joined"
"""Table of classes that a rule found equal to a tensor that was there already: it makes no e-node to be stamped."""


@dataclass(frozen=True, slots=True)
class Constructor:
    """An e-graph constructor: name, sorts of its arguments (``"String"`` before ``"T"``)."""

    name: str
    arguments: tuple[str, ...]

    @property
    def has_text(self) -> bool:
        """Whether the first argument is text (a spec or a key)."""
        return self.arguments[:1] == ("String",)


@dataclass(frozen=True, slots=True)
class Program:
    """Compiled rules.

    Args:
        text: declarations and rules.
        functions: attribute functions that are asked for.
        stages: rulesets that hold rules.
        chained: stages in which an attribute function's argument comes from another one: answers raise questions.
    """

    text: str
    functions: tuple[AttributeFunction, ...]
    stages: tuple[str, ...]
    chained: frozenset[str]


def attribute_call(expr: Expr) -> tuple[AttributeFunction, str, tuple[Expr, ...]] | None:
    """The attribute function, output name and arguments of a call, if ``expr`` is one."""
    if not isinstance(expr, Form) or not expr or not isinstance(expr[0], str):
        return None
    name, _, output = expr[0].partition(".")
    function = FUNCTIONS.get(name)
    return (function, output, expr[1:]) if function else None


def call_in(fact: Expr) -> tuple[AttributeFunction, str, tuple[Expr, ...]] | None:
    """The attribute call of a fact: a guard, or one side of an equation."""
    direct = attribute_call(fact)
    if direct:
        return direct
    if isinstance(fact, Form) and fact and fact[0] == "=":
        return next((call for side in fact[1:] if (call := attribute_call(side))), None)
    return None


@functools.cache
def mentioned(rule: Rule) -> tuple[frozenset[str], frozenset[str]]:
    """Heads that a rule reads and heads that it makes."""
    return frozenset(h for f in rule.facts for h in heads(f)), frozenset(h for a in rule.actions for h in heads(a))


def structure_asked(rule: Rule) -> list[str]:
    """Structure that a rule asks for, as ``is:symmetric``."""
    facts = [fact for fact in rule.facts if isinstance(fact, Form) and fact and fact[0] == "is"]
    return [f"is:{str(fact[1]).strip(chr(34))}" for fact in facts]


def active(
    rules: Iterable[Rule],
    present: Iterable[str],
    constructors: Mapping[str, Constructor],
    absent: Collection[str] = (),
) -> list[Rule]:
    """Rules that can ever fire, given the constructors in the graph; those that speak of absent facts cannot."""
    never = set(absent)
    rules = [r for r in rules if never.isdisjoint((*mentioned(r)[0], *mentioned(r)[1], *structure_asked(r)))]
    have, left, chosen = set(present), list(rules), set[str]()
    order = [rule.name for rule in left]
    while True:
        found = [r for r in left if all(h in have for h in mentioned(r)[0] if h in constructors)]
        if not found:
            return sorted((r for r in rules if r.name in chosen), key=lambda r: order.index(r.name))
        for rule in found:
            chosen.add(rule.name)
            left.remove(rule)
            have |= {h for h in mentioned(rule)[1] if h in constructors}


def compile_rules(
    rules: Sequence[Rule],
    constructors: Mapping[str, Constructor],
    provenance: bool = True,
    count_unions: bool = False,
) -> Program:
    """Text for egglog of rules over the given constructors.

    Args:
        rules: what to compile.
        constructors: of the e-graph.
        provenance: whether e-nodes are stamped.
        count_unions: whether rules note what they would merge, which rules of ``unite.<stage>`` then do: their matches
            are the merged pairs.

    Raises:
        RuleError: an attribute function gets the wrong number of arguments, or one that nothing binds.
    """
    questions: dict[str, None] = {}
    chained: set[str] = set()
    functions: dict[str, AttributeFunction] = {}
    body: list[str] = []
    for rule in rules:
        plain = [fact for fact in rule.facts if call_in(fact) is None]
        bound = {name for fact in plain for name in variables(fact)}
        earlier: list[Expr] = []
        for fact in rule.facts:
            call = call_in(fact)
            if call is None:
                continue
            function, _, arguments = call
            _check(rule, function, arguments, bound)
            functions[function.name] = function
            needed = _needed(earlier, arguments, plain)
            if needed:
                chained.add(rule.ruleset)
            questions[_question(rule.ruleset, function, arguments, [*plain, *needed])] = None
            earlier.append(fact)
            bound |= variables(fact)
        body.append(_rule(rule, constructors, provenance, f"pending.{len(body)}" if count_unions else ""))
    stages = tuple(dict.fromkeys(rule.ruleset for rule in rules))
    declarations = [f"(ruleset do.{stage}) (ruleset ask.{stage})" for stage in stages]
    declarations += [f"(function {JOINED} (T) String :merge old)"] if provenance else []
    if count_unions:
        declarations += [f"(ruleset unite.{stage})" for stage in stages]
    for function in functions.values():
        sorts = " ".join(function.arguments)
        declarations.append(f"(relation ask.{function.name} ({sorts}))")
        for table, has_result in function.tables():
            declarations.append(
                f"(function {table} ({sorts}) String :merge old)" if has_result else f"(relation {table} ({sorts}))"
            )
    return Program("\n".join([*declarations, *questions, *body]), tuple(functions.values()), stages, frozenset(chained))


def _check(rule: Rule, function: AttributeFunction, arguments: tuple[Expr, ...], bound: set[str]) -> None:
    where = f"{rule.path}:{rule.line}: rule {rule.name!r}"
    if len(arguments) != len(function.arguments):
        raise RuleError(f"{where}: {function.name} takes {len(function.arguments)} arguments, got {len(arguments)}")
    for argument in arguments:
        free = variables(argument) - bound
        if free:
            raise RuleError(f"{where}: {sorted(free)[0]} in ({function.name} ...) is bound by nothing before it")


def _needed(earlier: Sequence[Expr], arguments: Sequence[Expr], plain: Sequence[Expr]) -> list[Expr]:
    """Earlier attribute facts that bind what the arguments need."""
    have = {name for fact in plain for name in variables(fact)}
    want = {name for argument in arguments for name in variables(argument)} - have
    chosen: list[Expr] = []
    for fact in reversed(earlier):
        if variables(fact) & want:
            chosen.append(fact)
            want |= variables(fact) - have
    return chosen[::-1]


def _question(stage: str, function: AttributeFunction, arguments: tuple[Expr, ...], facts: Sequence[Expr]) -> str:
    table: dict[str, str] = {}
    body = " ".join(str(rename(fact, table)) for fact in facts)
    ask = " ".join(str(rename(argument, table)) for argument in arguments)
    return f"(rule ({body}) ((ask.{function.name} {ask})) :ruleset ask.{stage})"


def _rule(rule: Rule, constructors: Mapping[str, Constructor], provenance: bool, pending: str) -> str:
    actions = list(map(str, rule.actions))
    if pending:
        actions = [f"({pending}{a.removeprefix('(union')}" if a.startswith("(union ") else a for a in actions]
    if provenance:
        made: dict[str, None] = {}
        matched = {str(term) for fact in rule.facts for term in _terms(fact, constructors)} | variables(
            Form(rule.facts)
        )
        for action in rule.actions:
            if isinstance(action, Form) and action[0] in ("union", "set"):
                for term in _terms(action, constructors):
                    made[f'(set (why.{term[0]} {" ".join(map(str, term[1:]))}) "{rule.name}")'] = None
            if action[0] == "union" and str(action[2]) in matched:
                made[f'(set ({JOINED} {action[2]}) "{rule.name}")'] = None
        deletes = [a for a in actions if a.startswith(("(delete", "(subsume"))]
        actions = [a for a in actions if a not in deletes] + list(made) + deletes
    facts = " ".join(map(str, rule.facts))
    text = f'(rule ({facts}) ({" ".join(actions)}) :ruleset do.{rule.ruleset} :name "{rule.name}")'
    if not pending:
        return text
    unite = f'(rule (({pending} a b) (!= a b)) ((union a b)) :ruleset unite.{rule.ruleset} :name "{UNITE}{rule.name}")'
    return f"(relation {pending} (T T))\n{text}\n{unite}"


def _terms(expr: Expr, constructors: Mapping[str, Constructor]) -> list[Form]:
    if not isinstance(expr, Form):
        return []
    found = [term for item in expr[1:] for term in _terms(item, constructors)]
    if isinstance(expr[0], str) and expr[0] in constructors:
        found.append(expr)
    return found
