# SPDX-License-Identifier: Apache-2.0
"""Why a rule left no trace in the chosen program, with evidence; the search is run once more to find it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from egraph_opt.engine import Rule
from egraph_opt.engine.saturate import NORMALIZE
from egraph_opt.engine.sexpr import Form
from egraph_opt.errors import ArgumentError
from egraph_opt.explain.comparison import compare
from egraph_opt.explain.partial_match import Facts, Match, constructors_of, instantiate, root_of, shown
from egraph_opt.explain.replay import Replay
from egraph_opt.explain.summary import rules_of
from egraph_opt.explain.verdict import WhyNot
from egraph_opt.explain.why_not_kernel import why_not_kernel
from egraph_opt.explain.why_not_program import why_not_program
from egraph_opt.ir import Graph
from egraph_opt.result import Result

SHORT = ("time", "nodes", "iterations", "stalled")
"""Reasons to stop before everything was found."""


def why_not(result: Result, question: str | Graph | Callable[..., Any]) -> WhyNot:
    """Why a rule, or a program, is not what was chosen.

    Args:
        result: of planning.
        question: name of a rule or of a kernel; a Graph; or a JAX function of the same arguments.

    Raises:
        ArgumentError: no question of these kinds, or the program does not take the same arguments or does not return
            the same types.
    """
    given: Any = question
    if not isinstance(given, str | Graph) and not callable(given):
        raise ArgumentError(f"why_not: want the name of a rule, a Graph or a function, got {type(given).__name__}")
    if not isinstance(question, str):
        return why_not_program(result, question)
    return why_not_kernel(result, question) or _why_not_rule(result, question)


def _why_not_rule(result: Result, name: str) -> WhyNot:
    report = result.report
    every = {rule.name: rule for rule in rules_of(result)}
    if name not in every:
        close = tuple(difflib.get_close_matches(name, every, 3))
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        return WhyNot(name, "no-such-rule", f"no rule has this name{hint}", nearest=close)
    rule = every[name]
    if rule.numerics > result.options.numerics:
        own = rule.numerics.name.lower()
        reason = f"it is of class {own}, which numerics={report.numerics!r} does not admit"
        return WhyNot(name, "not-admitted", reason, name, value=own)
    if "off" in rule.notes:
        return WhyNot(name, "switched-off", f"off: {rule.notes['off']}", name, value=rule.notes["off"])
    if name in report.rules_fired:
        count = report.rules_fired[name]
        return WhyNot(name, "used", f"it made {count} nodes of the chosen program", name, value=str(count))
    replay = Replay(result)
    try:
        return _matched(replay, rule) if replay.matches(name) else _unmatched(replay, rule)
    finally:
        replay.close()


def _unmatched(replay: Replay, rule: Rule) -> WhyNot:
    """The rule never matched within the limits of the search."""
    stopped = replay.result.report.stop_reason
    if stopped in SHORT:
        later = Replay(replay.result, longer=True)
        try:
            if later.matches(rule.name):
                size, count = later.probe.report.nodes, len(later.probe.report.growth)
                reason = (
                    f"the search ended before it could match ({stopped}); taken further, to {size} e-nodes and"
                    f" {count} iterations, it matches {later.matches(rule.name)} times"
                )
                return WhyNot(rule.name, "budget", reason, rule.name, value=stopped)
        finally:
            later.close()
    lacking = sorted(constructors_of(rule) - replay.matcher.heads - replay.first_matcher.heads)
    if lacking:
        reason = f"the e-graph of {replay.snapshot.size} e-nodes has no {' and no '.join(lacking)}"
        return WhyNot(rule.name, "absent", reason, rule.name, value=", ".join(lacking))
    tries = [(replay.matcher.best(rule), replay.end), (replay.first_matcher.best(rule), replay.start)]
    match, facts = max(tries, key=lambda item: item[0].done)
    if match.step is None:
        reason = f"it matches the last e-graph, where the search ended ({stopped})"
        return WhyNot(rule.name, "budget", reason, rule.name, value=stopped)
    return _stopped(replay, rule, match, facts)


def _stopped(replay: Replay, rule: Rule, match: Match, facts: Facts) -> WhyNot:
    """A partial match and what stops it."""
    step = match.step
    assert step is not None, "a whole match is no partial one"
    texts = {k: v for k, v in match.bindings.items() if isinstance(v, str) and not k.startswith("?_")}
    lines = replay.lines_at(facts, root_of(rule, match.bindings))
    written = str(step.written)
    if step.kind == "node":
        reason = f"the pattern {written} is nowhere: in the place that comes furthest {match.value}"
        return WhyNot(
            rule.name, "absent", reason, rule.name, condition=written, bindings=texts, value=match.value, lines=lines
        )
    reason = f"the condition {shown(step.expr, match.bindings)} fails: {match.value}"
    return WhyNot(
        rule.name, "condition", reason, rule.name, condition=written, bindings=texts, value=match.value, lines=lines
    )


def _matched(replay: Replay, rule: Rule) -> WhyNot:
    """The rule did its part, and the chosen program does without."""
    name, count = rule.name, replay.matches(rule.name)
    if rule.ruleset == NORMALIZE:
        reason = f"it matched {count} times; it spells products one way, and nodes count for the rules that made them"
        return WhyNot(name, "spelling", reason, name, value=str(count))
    if not any(isinstance(action, Form) and action[0] == "union" for action in rule.actions):
        reason = f"it matched {count} times; it states facts for other rules and makes no e-nodes"
        return WhyNot(name, "facts", reason, name, value=str(count))
    programs = list(replay.programs_with(name))
    if not programs:
        return _made_by_others(replay, rule)
    program = min(programs, key=replay.price)
    result = replay.result
    chosen = result.after if result.report.improved else replay.graph
    return compare(replay, name, name, program, chosen, f"it matched {count} times; ")


def _made_by_others(replay: Replay, rule: Rule) -> WhyNot:
    """The rule matched and made nothing new: who was first?"""
    makers: dict[str, None] = {}
    for bindings in replay.matcher.matches(rule):
        for action in rule.actions:
            if isinstance(action, Form) and action[0] == "union":
                for side in action[1:]:
                    made = instantiate(side, bindings, replay.snapshot) if isinstance(side, Form) else []
                    if made and made[-1][1] is not None:
                        makers[replay.stamps.get(made[-1][0], "the program")] = None
    other = tuple(maker for maker in makers if maker != rule.name) or ("the program",)
    reason = f"it matched {replay.matches(rule.name)} times, and what it makes was there: {' and '.join(other)} made it"
    return WhyNot(rule.name, "other-rule", reason, rule.name, other=other)
