# SPDX-License-Identifier: Apache-2.0
"""The answer of ``result.why_not(...)``: one verdict of a fixed set, and its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from egraph_opt.report import duration, quantity

VERDICTS: Mapping[str, str] = {
    "no-such-rule": "no rule has this name; `nearest` are close",
    "not-admitted": "the rule's numerics class is above that of the call",
    "switched-off": "the rule is marked `off:`",
    "used": "the rule made nodes of the chosen program",
    "winner": "the program is the chosen one, or costs the same by being it",
    "absent": "the pattern is not in the e-graph: `value` says what it lacks, or what stands in its place",
    "condition": "the pattern is there and `condition` does not hold, with `value`",
    "dearer": "equal and dearer, most of all by `term`",
    "rejected": "equal, no dearer by the model, and not chosen: `value` is the decision, a tie among others",
    "spelling": "the rule only spells products one way, which counts for the rules that made them",
    "facts": "the rule states facts for other rules and makes no e-nodes",
    "other-rule": "what the rule makes was there already: `other` made it",
    "budget": "the search ended before the rule could do its part: `value` says which limit was met",
    "not-found": "an equal program, no dearer, that the rules did not reach: `missing` lists what the e-graph lacks",
    "not-equal": "another function: `value` is the largest difference",
}
"""What ``WhyNot.verdict`` may be."""


@dataclass(frozen=True, slots=True)
class Term:
    """A node that makes a program dearer than another one.

    Args:
        text: the operation with its operand types.
        flops: what it adds [flop].
        bytes: what it adds [byte].
        seconds: what it adds by the device model; None when the model counts flop alone [s].
        lines: user lines.
    """

    text: str
    flops: float
    bytes: float
    seconds: float | None
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{quantity(self.flops, 'flop')}", f"{quantity(self.bytes, 'B')}"]
        if self.seconds is not None:
            parts.append(duration(self.seconds))
        place = f" ({', '.join(self.lines)})" if self.lines else ""
        return f"{self.text}{place}: {', '.join(parts)} more"


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a rule or a program is not in the chosen program.

    Args:
        question: name of the rule or of the program.
        verdict: a key of ``VERDICTS``.
        reason: the evidence in one sentence.
        rule: name of the rule, "" for a program.
        nearest: names like the one that was asked for.
        condition: the part of the rule that does not hold, as its author wrote it.
        bindings: texts of the rule's variables in the match that came furthest.
        value: what the condition gave, what stands in the place of the pattern, the limit, the difference.
        lines: user lines of the place that came furthest.
        term: what is dearer.
        costs: of the program asked for and of the chosen one, in the model's unit.
        other: rules that made the same, or "the program" where it was written so.
        present: nodes of the program that the e-graph has.
        missing: nodes that it lacks.
    """

    question: str
    verdict: str
    reason: str
    rule: str = ""
    nearest: tuple[str, ...] = ()
    condition: str = ""
    bindings: Mapping[str, str] = field(default_factory=dict)
    value: str = ""
    lines: tuple[str, ...] = ()
    term: Term | None = None
    costs: tuple[float, float] | None = None
    other: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.verdict in VERDICTS, f"{self.verdict} is no verdict"

    def __str__(self) -> str:
        lines = [f"{self.question}: {self.verdict}, {self.reason}"]
        if self.bindings:
            lines.append("  with " + ", ".join(f"{name} = {value!r}" for name, value in self.bindings.items()))
        if self.lines:
            lines.append(f"  at {', '.join(self.lines)}")
        lines += [f"  has: {text}" for text in self.present] + [f"  lacks: {text}" for text in self.missing]
        return "\n".join(lines)
