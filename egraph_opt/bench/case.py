# SPDX-License-Identifier: Apache-2.0
"""One case of a benchmark: a program, the best form of it that a person would write, and arguments in two sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
Args = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A case in one size.

    Args:
        function: the program as users write it.
        hand: the same by hand, with less work; None where nobody wrote one.
        args: of both.
    """

    function: Function
    hand: Function | None
    args: Args


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Args:
        name: unique within its suite.
        family: of the identities that it needs; "" for whole programs.
        builder: gives the case in its nominal size, or in one that tests can afford if its argument is true.
        wanted: arithmetic of the hand form where only the figure is known [flop].
        numerics: class of the numerics contract that it is planned under: that under which the hand form is equal.
    """

    name: str
    family: str
    builder: Callable[[bool], Built]
    wanted: float | None = None
    numerics: str = "reassociate"

    def build(self, small: bool = False) -> Built:
        """Functions and arguments."""
        return self.builder(small)


def case(
    name: str,
    family: str,
    function: Function,
    hand: Function,
    make: Callable[[int], Args],
    size: int = 300,
    small: int = 6,
    numerics: str = "reassociate",
) -> Case:
    """A case whose functions take arguments of any size.

    Args:
        name: of the case.
        family: of the identities that it needs.
        function: as users write it.
        hand: by hand.
        make: arguments of a size.
        size: nominal.
        small: for tests.
        numerics: class under which both are equal.
    """
    builder = lambda tiny: Built(function, hand, make(small if tiny else size))  # noqa: E731
    return Case(name, family, builder, numerics=numerics)


def unscored(programs: Mapping[str, Any], family: str = "") -> tuple[Case, ...]:
    """Whole programs without a hand form, given as a table of ``build(small) -> (function, args)``."""

    def built(program: Any, tiny: bool) -> Built:
        function, args = program.build(tiny)
        return Built(function, None, tuple(args))

    return tuple(
        Case(name, family, lambda tiny, program=program: built(program, tiny))  # type: ignore[misc]
        for name, program in programs.items()
    )
