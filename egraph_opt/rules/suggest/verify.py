# SPDX-License-Identifier: Apache-2.0
"""A law as a rule that passes ``rules check``: as text where that is possible, else made of two JAX functions.

The checker draws ranks, sizes, element types and attributes that the enumeration never saw, so it has the last word: a
law is stated in the strictest numerics class in which it passes, and is given up where it passes in none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.engine.rule import Rule, parse_rules
from egraph_opt.errors import EgraphOptError
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.check.run import QUICK_TRIALS, check_rule
from egraph_opt.rules.define.function_rule import define
from egraph_opt.rules.suggest.enumerate import Pair
from egraph_opt.rules.suggest.rules import functions_text, rule_text, shapes_of

FEW_TRIALS = 4
"""Instances of a rule made of functions: it must meet specs and constants, which takes many draws."""


@dataclass(frozen=True, slots=True)
class Verified:
    """How a law stands as a rule.

    Args:
        text: rule text or a definition; empty when the law was refused.
        numerics: class in which it passed.
        instances: how many instances the checker tried; 0 where the law cannot be made a rule.
        problem: what the checker said of the last form that it refused.
    """

    text: str
    numerics: Numerics
    instances: int
    problem: str = ""


def verify(pair: Pair, name: str, numerics: Numerics) -> Verified:
    """The law as a rule.

    Args:
        pair: the law in the direction of the rule.
        name: of the rule.
        numerics: the strictest class that is possible.
    """
    problem = ""
    for admitted in (n for n in Numerics if n >= numerics):
        label = admitted.name.lower()
        for text, rule in _forms(pair, name, label):
            verdict = check_rule(rule, QUICK_TRIALS if text.startswith(";;") else FEW_TRIALS)
            if verdict.counterexample is None:
                return Verified(text, admitted, verdict.matches)
            problem = verdict.problem
    if problem:
        return Verified("", numerics, 0, problem)
    return unverified(pair, name, numerics)


def unverified(pair: Pair, name: str, numerics: Numerics) -> Verified:
    """The law as a rule that nobody has checked."""
    label = numerics.name.lower()
    return Verified(rule_text(pair, name, label) or functions_text(pair, name, label), numerics, 0)


def _forms(pair: Pair, name: str, numerics: str) -> Iterator[tuple[str, Rule]]:
    """Text, where it says all of the law, and functions, which also say at which element types it holds."""
    text = rule_text(pair, name, numerics)
    if text is not None:
        yield text, parse_rules(text, "suggested.egg")[0]
    shapes = shapes_of(pair)
    if shapes is None:
        return
    try:
        made = define(*functions(pair), name=name, numerics=numerics, shapes=shapes)
    except EgraphOptError:
        return  # a form that is not there; the law may have another one
    # The spellings of one rule differ in the order of operands: one of them, of a middle rank, stands for all.
    yield functions_text(pair, name, numerics), made.rules[len(made.rules) // 2]


def functions(pair: Pair) -> tuple[Any, Any]:
    """Both sides as JAX functions of the left side's variables."""
    given = ", ".join(pair.left.variables())
    names = {"jnp": jnp, "lax": lax, "jax": jax}
    left, right = (eval(compile(f"lambda {given}: {side}", "suggested", "eval"), names) for side in _sides(pair))
    return left, right


def _sides(pair: Pair) -> tuple[str, str]:
    return repr(pair.left), repr(pair.right)
