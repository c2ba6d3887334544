# SPDX-License-Identifier: Apache-2.0
"""Why a rule left no trace in a chosen program."""

from __future__ import annotations

import difflib

from egraph_opt.explain.summary import rules_of
from egraph_opt.result import Result


def why_not(result: Result, name: str) -> str:
    """Why a rule left no node in the chosen program: absent, not admitted, guard false, dearer, or out of budget."""
    report = result.report
    every = {rule.name: rule for rule in rules_of(result)}
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
