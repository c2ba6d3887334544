# SPDX-License-Identifier: Apache-2.0
"""The form of a rule: how one StableHLO op is evaluated with JAX.

Each family of ops is one file with one `OpTable`; `rules` joins them. A rule gets the frame it runs in, the operation
and the operands' values, and returns the result, or a sequence of results where the op has several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egraph_opt.frontends.stablehlo.evaluate import Frame
    from egraph_opt.frontends.stablehlo.module import Operation

Array = Any
"""A JAX array, a tracer, or a numpy constant."""

Rule = Callable[["Frame", "Operation", Sequence[Array]], Any]


class OpTable(dict[str, Rule]):
    """Op name to rule; a name can be given once."""

    def op(self, *names: str) -> Callable[[Rule], Rule]:
        """Decorator: the function is the rule of these ops."""

        def register(rule: Rule) -> Rule:
            for name in names:
                self.add(name, rule)
            return rule

        return register

    def add(self, name: str, rule: Rule) -> None:
        """Give one op its rule."""
        assert name not in self, f"op {name} has two rules"
        self[name] = rule

    def direct(self, prefix: str, **functions: Any) -> None:
        """Ops without attributes that are one JAX function of their operands."""
        for name, function in functions.items():
            self.add(f"{prefix}.{name}", _direct(function))


def _direct(function: Callable[..., Any]) -> Rule:
    def rule(_frame: Frame, _op: Operation, args: Sequence[Array]) -> Array:
        return function(*args)

    return rule
