# SPDX-License-Identifier: Apache-2.0
"""The record that declares an ONNX operator, and the table of all of them.

Each family of operators is one file; its functions are registered by `operator` with the first version of the operator
set for which they hold. A rule gets the `Node` it stands for and the values of its inputs (None where an optional one
is left out), and returns its output, or a tuple of several. A list is one value, a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

Rule = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of one domain.

    Args:
        name: as the standard spells it.
        domain: "" is ai.onnx.
        rules: first version of the operator set -> how it is evaluated from then on.
        host: whether its rule also works on numpy arrays, through `Node.xp`: shape arithmetic then costs nothing.
    """

    name: str
    domain: str
    rules: dict[int, Rule] = field(default_factory=dict)
    host: bool = False

    def rule(self, version: int) -> Rule | None:
        """The rule that holds in a version of the operator set; None where the operator is older than all rules."""
        since = max((first for first in self.rules if first <= version), default=None)
        return None if since is None else self.rules[since]


class OperatorTable:
    """Operators by domain and name."""

    def __init__(self) -> None:
        self._operators: dict[tuple[str, str], Operator] = {}

    def find(self, domain: str, name: str) -> Operator | None:
        """The operator, or None."""
        return self._operators.get((domain, name))

    def __iter__(self) -> Iterator[Operator]:
        return iter(self._operators.values())

    def add(self, name: str, rule: Rule, since: int, domain: str, host: bool) -> None:
        """Register a rule."""
        known = self._operators.get((domain, name))
        if known is None:
            known = self._operators[domain, name] = Operator(name, domain, host=host)
        assert since not in known.rules, f"operator {domain}::{name} has two rules from version {since} on"
        assert known.host == host, f"operator {domain}::{name}: all its rules work on numpy arrays, or none"
        known.rules[since] = rule


OPERATORS = OperatorTable()


def operator(*names: str, since: int = 1, domain: str = "", host: bool = False) -> Callable[[Rule], Rule]:
    """Decorator: the function evaluates these operators from version ``since`` of the operator set on."""

    def register(rule: Rule) -> Rule:
        for name in names:
            OPERATORS.add(name, rule, since, domain, host)
        return rule

    return register
