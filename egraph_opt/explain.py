# SPDX-License-Identifier: Apache-2.0
"""What was done to a program and why, in words: rules with their laws, user lines, gains."""

from __future__ import annotations

import difflib
from collections import Counter

from egraph_opt.cost import count_node
from egraph_opt.engine import RuleSet
from egraph_opt.ir import Graph
from egraph_opt.report import quantity, ratio
from egraph_opt.result import Result

MAX_LINES = 12


def explain(result: Result) -> str:
    """Rules of the chosen program with their laws, and the user lines whose cost changed most."""
    report = result.report
    lines = [f"{report.name}: {report.decision}"]
    if not report.improved:
        return "\n".join(lines)
    lines.append(
        f"{quantity(report.flops_before, 'flop')} became {quantity(report.flops_after, 'flop')}"
        f" ({ratio(report.flops_before, report.flops_after)} less)"
    )
    laws = {rule.name: rule for rule in _rules(result)}
    for name, count in sorted(report.rules_fired.items(), key=lambda item: (-item[1], item[0])):
        rule = laws.get(name)
        lines.append(f"  {name} x{count}: {rule.law if rule else 'sums collected and factored'}")
    before, after = _flops_by_line(result.before), _flops_by_line(result.after)
    changes = {place: (before[place], after[place]) for place in before | after if before[place] != after[place]}
    if changes:
        lines.append("user lines whose arithmetic changed")
    largest = sorted(changes.items(), key=lambda item: -abs(item[1][0] - item[1][1]))[:MAX_LINES]
    lines += [f"  {place}: {quantity(a, 'flop')} -> {quantity(b, 'flop')}" for place, (a, b) in largest]
    return "\n".join(lines)


def why_not(result: Result, name: str) -> str:
    """Why a rule left no node in the chosen program: absent, not admitted, guard false, dearer, or out of budget."""
    report = result.report
    every = {rule.name: rule for rule in _rules(result)}
    if name not in every:
        close = difflib.get_close_matches(name, every, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        return f"{name}: absent, no rule has this name{hint}"
    if name in report.rules_fired:
        return f"{name}: it is there, it made {report.rules_fired[name]} nodes of the chosen program"
    rule = every[name]
    if rule.numerics > result.options.numerics:
        return f"{name}: of class {rule.numerics.name.lower()}, which numerics={report.numerics!r} does not admit"
    statistics = result.search.saturation.rules.get(name)
    short = report.stop_reason in ("time", "nodes", "iterations")
    if statistics is None or not statistics.matches:
        later = f"; the budget ran out ({report.stop_reason}), more might match later" if short else ""
        return f"{name}: its pattern is absent or a guard false everywhere in {report.enodes} e-nodes{later}"
    if not report.improved:
        return f"{name}: it matched {statistics.matches} times, but {report.decision}"
    later = f"; the budget ran out ({report.stop_reason})" if short else ""
    return (
        f"{name}: it matched {statistics.matches} times, but what it made is equal and dearer by the"
        f" {report.cost_model} model, or another rule made it first{later}"
    )


def _rules(result: Result) -> RuleSet:
    return result.options.rules or RuleSet.shipped()


def _flops_by_line(graph: Graph) -> Counter[str]:
    total: Counter[str] = Counter()
    for node in graph.nodes:
        place = str(node.sources[0]) if node.sources else "(made by rules)"
        total[place] += int(count_node(node, [graph.nodes[q].types[0] for q in node.operands]).flops)
    return total
