# SPDX-License-Identifier: Apache-2.0
"""What bounds a saturation, and what it reports."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from egraph_opt import clock


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one saturation; the first that is met ends it.

    Args:
        seconds: of work (``clock.now``); a step that has begun is finished.
        nodes: e-nodes.
        iterations: rounds of all rulesets.
        stall_nodes: from this size on the price of the best program is watched.
        stall_looks: after so many looks without gain the search ends.
        stall_gain: what counts as a gain, relative.
        matches: a rule with more matches in one step is not applied and rests for a few iterations.
    """

    seconds: float = 2.0
    nodes: int = 12_000
    iterations: int = 30
    matches: int = 4_000
    stall_nodes: int = 800
    stall_looks: int = 2
    stall_gain: float = 0.03


@dataclass(slots=True)
class RuleStatistics:
    """Counts of one rule over a saturation.

    Args:
        matches: how often its left side was found.
        seconds: search and application [s].
        nodes: e-nodes that it made first, known once the provenance was read.
        unions: pairs of e-classes that it merged; counted on request.
    """

    matches: int = 0
    seconds: float = 0.0
    nodes: int = 0
    unions: int = 0


@dataclass(slots=True)
class SaturationReport:
    """What happened.

    Args:
        stop_reason: "saturated", "stalled", "time", "nodes", "iterations", or an error's text.
        growth: e-nodes after each iteration.
        rules: per rule.
        seconds: of work [s], and by part: "rules", "attributes", "snapshot", "sums", "load".
    """

    stop_reason: str = "saturated"
    growth: list[int] = field(default_factory=list)
    rules: dict[str, RuleStatistics] = field(default_factory=dict)
    seconds: float = 0.0
    parts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def nodes(self) -> int:
        """E-nodes at the end."""
        return self.growth[-1] if self.growth else 0

    def culprit(self) -> str | None:
        """Rule that made the most e-nodes, or matched most: the first suspect when a limit was met."""
        return max(self.rules, key=lambda n: (self.rules[n].nodes, self.rules[n].matches)) if self.rules else None


class Clock:
    """A deadline."""

    def __init__(self, seconds: float) -> None:
        self.start = clock.now()
        self.seconds = seconds

    def spent(self) -> float:
        """Seconds since the start [s]."""
        return clock.now() - self.start

    def over(self) -> bool:
        """Whether the time is up."""
        return self.spent() >= self.seconds
