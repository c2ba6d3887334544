# SPDX-License-Identifier: Apache-2.0
"""What was done to a program in few words: rules with their laws, user lines, gains."""

from __future__ import annotations

from collections import Counter

from egraph_opt import adjoint, kernels, loops, memory, nets, reads
from egraph_opt.cost import count_node
from egraph_opt.engine import RuleSet
from egraph_opt.ir import Graph
from egraph_opt.report import quantity, ratio
from egraph_opt.result import Result

MAX_LINES = 12

LAWS = {**adjoint.LAWS, **adjoint.SCALING_LAWS, **kernels.LAWS, **loops.LAWS, **memory.LAWS, **nets.LAWS, **reads.LAWS}
"""What the passes around the search do."""


def summary(result: Result) -> str:
    """Rules of the chosen program with their laws, and the user lines whose cost changed most."""
    report = result.report
    lines = [f"{report.name}: {report.decision}"]
    if not report.improved:
        return "\n".join(lines)
    lines.append(
        f"{quantity(report.flops_before, 'flop')} became {quantity(report.flops_after, 'flop')}"
        f" ({ratio(report.flops_before, report.flops_after)} less)"
    )
    laws = {rule.name: rule for rule in rules_of(result)}
    for name, count in sorted(report.rules_fired.items(), key=lambda item: (-item[1], item[0])):
        law = laws[name].law if name in laws else LAWS.get(name, "sums collected and factored")
        lines.append(f"  {name} x{count}: {law}")
    before, after = _flops_by_line(result.before), _flops_by_line(result.after)
    changes = {place: (before[place], after[place]) for place in before | after if before[place] != after[place]}
    if changes:
        lines.append("user lines whose arithmetic changed")
    largest = sorted(changes.items(), key=lambda item: -abs(item[1][0] - item[1][1]))[:MAX_LINES]
    lines += [f"  {place}: {quantity(a, 'flop')} -> {quantity(b, 'flop')}" for place, (a, b) in largest]
    return "\n".join(lines)


def rules_of(result: Result) -> RuleSet:
    """The rules a result was searched with."""
    return result.options.rules or RuleSet.shipped()


def _flops_by_line(graph: Graph) -> Counter[str]:
    total: Counter[str] = Counter()
    for node in graph.nodes:
        place = str(node.sources[0]) if node.sources else "(made by rules)"
        total[place] += int(count_node(node, [graph.nodes[q].types[0] for q in node.operands]).flops)
    return total
