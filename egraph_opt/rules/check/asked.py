# SPDX-License-Identifier: Apache-2.0
"""Calls of attribute functions in a rule's conditions, made ready to be asked many times.

Most draws of an instance fail at some condition, so this is where a check spends its time: what is known of a call
beforehand is found once a rule, and equal questions are answered from memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from egraph_opt.engine.attributes import Argument
from egraph_opt.engine.compile import attribute_call
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.errors import EgraphOptError, RuleError
from egraph_opt.rules.check.profile import MisfitError

REMEMBERED = 10_000
"""Answers that are kept of one call; with more, all are forgotten."""


class Asked:
    """One equation of a rule about an attribute function.

    Args:
        wanted: what the result must be, or the variable that it fixes; None for a guard.
        call: the call as the rule writes it.

    Raises:
        RuleError: the function takes another number of arguments.
    """

    __slots__ = ("_answers", "_function", "_output", "_text", "arguments", "wanted")

    def __init__(self, wanted: Expr | None, call: Form) -> None:
        found = attribute_call(call)
        assert found is not None
        function, self._output, arguments = found
        if len(arguments) != len(function.arguments):
            raise RuleError(f"{function.name} takes {len(function.arguments)} arguments, got {len(arguments)}")
        self._function, self._text, self.wanted = function.call, str(call), wanted
        self.arguments = tuple((expr, _written(expr)) for expr in arguments)
        self._answers: dict[tuple[Argument, ...], str | MisfitError] = {}

    def answer(self, arguments: Sequence[Argument]) -> str:
        """What the function gives; "" for a condition that holds.

        Raises:
            MisfitError: it is undefined, refuses the arguments, or the condition does not hold.
        """
        key = tuple(arguments)
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            found = self._answers[key] = self._compute(key)
        if isinstance(found, MisfitError):
            raise MisfitError(*found.args)
        return found

    def asks_alone(self, name: Expr) -> bool:
        """Whether it asks of one variable alone."""
        found = [expr == name for expr, written in self.arguments if written is None]
        return bool(found) and all(found)

    def holds(self, name: Expr, value: Argument) -> bool:
        """Whether a condition that asks of one variable alone holds of a value."""
        try:
            self.answer([value if written is None else written for _, written in self.arguments])
        except MisfitError:
            return False
        return True

    def __str__(self) -> str:
        return self._text

    def _compute(self, arguments: tuple[Argument, ...]) -> str | MisfitError:
        try:
            result = self._function(*arguments)
        except (EgraphOptError, ValueError, AssertionError, KeyError, IndexError) as error:
            return MisfitError(f"{self._text} refuses its arguments: {error}")
        if isinstance(result, Mapping):
            result = result.get(self._output)
        if result is None or result is False:
            return MisfitError(f"{self._text} does not hold")
        return result if isinstance(result, str) else ""


def is_literal(expr: Expr) -> bool:
    """Whether an expression is quoted text."""
    return isinstance(expr, str) and expr.startswith('"')


def unquote(text: str) -> str:
    """Content of quoted text."""
    return text[1:-1].replace('\\"', '"')


def _written(expr: Expr) -> Argument | None:
    """An argument that the rule itself writes; None for one that an instance fixes."""
    if isinstance(expr, Form):
        return None
    if is_literal(expr):
        return unquote(expr)
    return int(expr) if expr.lstrip("-").isdigit() else None
