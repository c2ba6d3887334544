# SPDX-License-Identifier: Apache-2.0
"""Options of ``optimize``, checked once when they are given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from egraph_opt.cost import CostModel
from egraph_opt.engine import RuleSet
from egraph_opt.engine.rule import Source
from egraph_opt.errors import ArgumentError, RuleError
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.admission import refuse_faulty, refuse_unchecked
from egraph_opt.rules.packs import source_of

Measure = Literal["auto"] | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to optimise.

    Args:
        numerics: class of allowed rewrites.
        budget: seconds of work for the search, saturation and extraction together; at most three times as long on a
            busy machine [s].
        rules: all rules that are used; None for the shipped ones.
        objective: "time", or "memory" for the least temporary memory, with time to break ties.
        measure: whether to time programs: "auto" does so unless one run is predicted to take very long.
        cost: cost model, or its name, or None for the roofline of the device.
        frozen: names of parameters that stay the same between calls.
        static_argnums: positions of static arguments.
        static_argnames: names of static arguments.
        fold_constants: whether closed-over arrays become constants whose values may be used.
        strict: refuse primitives without an op instead of keeping them opaque.
        verify: whether to compare with the original.
        seed: of sampled inputs and of extraction.
        unchecked: take rules that ``egraph-opt rules check`` has not passed.
        source: where the rules were read, to be read again when files change.
    """

    numerics: Numerics = Numerics.REASSOCIATE
    budget: float = 2.0
    rules: RuleSet | None = None
    objective: str = "time"
    measure: Measure = "auto"
    cost: str | CostModel | None = None
    frozen: tuple[str, ...] = ()
    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    fold_constants: bool = False
    strict: bool = False
    verify: bool = True
    seed: int = 0
    unchecked: bool = False
    source: Source | None = field(default=None, compare=False, repr=False)

    def active_rules(self) -> RuleSet:
        """Rules that the numerics class admits."""
        return (RuleSet.shipped() if self.rules is None else self.rules).admitted(self.numerics)

    def refreshed(self) -> Options:
        """These options with the rules as their files are now; the same object where nothing has changed.

        Rules that were edited and not checked are not taken: a warning says so, until they are checked.
        """
        if self.source is None:
            return self
        self.source.refresh()
        if self.source.rules is self.rules or self.source.rules == self.rules:
            return self
        try:
            return replace(self, rules=_admitted(self.source.rules, self.unchecked))
        except RuleError as error:
            warnings.warn(f"{error}; the rules as they were before are kept", stacklevel=4)
            return self


def make_options(**given: Any) -> Options:
    """Options from the keywords of ``optimize``.

    Raises:
        ArgumentError: an unknown keyword or a value that does not fit.
        RuleError: rules that cannot be read, or were never checked.
    """
    known = set(Options.__dataclass_fields__) - {"source"}
    for name in given:
        if name not in known:
            raise ArgumentError(f"optimize: option {name!r} is not known; there are {', '.join(sorted(known))}")
    given["numerics"] = Numerics.parse(given.get("numerics", Numerics.REASSOCIATE))
    if given.get("rules") is not None and not isinstance(given["rules"], RuleSet):
        given["source"] = source_of(given["rules"])
        given["rules"] = given["source"].rules
    given["rules"] = _admitted(given.get("rules"), given.get("unchecked", False))
    for name in ("frozen", "static_argnames"):
        value = given.get(name, ())
        given[name] = (value,) if isinstance(value, str) else tuple(value)
    value = given.get("static_argnums", ())
    given["static_argnums"] = (value,) if isinstance(value, int) else tuple(value)
    options = Options(**given)
    _check(options)
    return options


def _admitted(rules: RuleSet | None, unchecked: bool) -> RuleSet | None:
    if rules is not None:
        refuse_faulty(rules)
        if not unchecked:
            refuse_unchecked(rules)
    return rules


def _check(options: Options) -> None:
    if isinstance(options.budget, bool) or not isinstance(options.budget, int | float) or not options.budget >= 0:
        raise ArgumentError(f"budget={options.budget!r}; want seconds, a number >= 0")
    if options.measure not in ("auto", True, False):
        raise ArgumentError(f"measure={options.measure!r}; want 'auto', True or False")
    if options.objective not in ("time", "memory"):
        raise ArgumentError(f"objective={options.objective!r}; want 'time' or 'memory'")
    _names("frozen", options.frozen)
    _names("static_argnames", options.static_argnames)


def _names(option: str, names: Sequence[object]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"{option}={names!r}; want names of parameters")
