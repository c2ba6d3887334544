# SPDX-License-Identifier: Apache-2.0
"""An equal program beside the chosen one: the same, dearer, or no dearer and still not chosen."""

from __future__ import annotations

from egraph_opt.explain.dearer import largest_excess
from egraph_opt.explain.replay import Replay
from egraph_opt.explain.verdict import WhyNot
from egraph_opt.ir import Graph
from egraph_opt.report import duration, quantity

SAME = 1e-9
"""Prices that differ by less are equal, relative."""


def compare(replay: Replay, question: str, rule: str, program: Graph, chosen: Graph, start: str = "") -> WhyNot:
    """Verdict on a program that is known to be equal.

    Args:
        replay: gives prices.
        question: what was asked for.
        rule: its rule, "" where a program was asked for.
        program: equal to the original.
        chosen: what the search chose.
        start: evidence that comes first.
    """
    report = replay.result.report
    price, best = replay.price(program), replay.price(chosen)
    unit = (lambda v: quantity(v, "flop")) if replay.cost.name == "flops" else duration
    if program == chosen:
        other = tuple(report.rules_fired) or ("the program",)
        if not rule:
            return WhyNot(question, "winner", "it is the chosen program", costs=(price, best))
        reason = f"{start}with it comes the chosen program, which has it from {' and '.join(other)}"
        return WhyNot(question, "other-rule", reason, rule, other=other, costs=(price, best))
    term = largest_excess(program, chosen, replay.cost)
    if price > best * (1 + SAME):
        reason = f"{start}equal, and dearer by the {replay.cost.name} model, {unit(price)} against {unit(best)}"
        reason += f" ({unit(price - best)} more)"
        reason += f"; most of all {term}" if term is not None else ""
        return WhyNot(question, "dearer", reason, rule, term=term, costs=(price, best))
    reason = f"{start}equal and no dearer by the model, {unit(price)} against {unit(best)}; {report.decision}"
    refused = f"; refused: {'; '.join(report.rejected)}" if report.rejected else ""
    return WhyNot(question, "rejected", reason + refused, rule, term=term, costs=(price, best), value=report.decision)
