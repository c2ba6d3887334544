# SPDX-License-Identifier: Apache-2.0
"""A choice of one node per class, and the record that an extractor returns.

Inside this package a choice is a list with ``UNDERIVED`` where a class has no node; outside it is a tuple with
``None``. Both forms are accepted by ``evaluate`` and ``selected``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from egraph_opt import clock
from egraph_opt.extract.table import Table

UNDERIVED = -1


@dataclass(frozen=True)
class Extraction:
    """What an extractor found.

    Attributes:
        choice: node number of each class, None where no finite derivation of the class is known. Acyclic as a whole.
        cost: total price of the nodes that the roots need, each paid once.
        bound: proven lower bound on the cost of any choice, 0.0 if nothing was proven.
        method: the stage that found this choice.
        seconds: of work [s].
        trace: ``(seconds, cost, stage)`` at each improvement, the first being the cheapest tree.
    """

    choice: tuple[int | None, ...]
    cost: float
    bound: float
    method: str
    seconds: float
    trace: tuple[tuple[float, float, str], ...] = ()

    @property
    def gap(self) -> float:
        """Relative distance from the bound: 0.0 is proven optimal, 1.0 is nothing known."""
        return max(0.0, (self.cost - self.bound) / self.cost) if self.cost > 0.0 else 0.0


def evaluate(table: Table, choice: Sequence[int | None]) -> float | None:
    """Cost of a choice over all roots together, or None when it is incomplete or cyclic."""
    on_path, done = 1, 2
    state: dict[int, int] = {}
    total = 0.0
    stack = [~root for root in table.roots]
    while stack:
        entry = stack.pop()
        if entry >= 0:  # all children of this class have been visited
            state[entry] = done
            continue
        c = ~entry
        seen = state.get(c)
        if seen == done:
            continue
        node = choice[c]
        if seen == on_path or node is None or node < 0:
            return None
        state[c] = on_path
        total += table.cost[node]
        stack.append(c)
        stack.extend(~kid for kid in table.kids[node])
    return total


def selected(table: Table, choice: Sequence[int | None]) -> list[int]:
    """Classes that the roots need under an acyclic choice, children first."""
    order: list[int] = []
    seen: set[int] = set()
    stack = [~root for root in table.roots]
    while stack:
        entry = stack.pop()
        if entry >= 0:
            order.append(entry)
            continue
        c = ~entry
        if c in seen:
            continue
        seen.add(c)
        node = choice[c]
        assert node is not None, "selected() wants a complete choice"
        stack.append(c)
        stack.extend(~kid for kid in table.kids[node] if kid not in seen)
    return order


def record(started: float, choice: Sequence[int], cost: float, stage: str, bound: float = 0.0) -> Extraction:
    """The result of an extractor with a single stage that began at ``started``."""
    seconds = clock.now() - started
    return Extraction(public(choice), cost, bound, stage, seconds, ((seconds, cost, stage),))


def public(choice: Sequence[int]) -> tuple[int | None, ...]:
    """The outside form of a choice."""
    return tuple(None if node == UNDERIVED else node for node in choice)
