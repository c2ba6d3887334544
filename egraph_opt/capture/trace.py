# SPDX-License-Identifier: Apache-2.0
"""Trace a function to a jaxpr, and say clearly when it cannot be called with the arguments given.

Exceptions from inside the user's function pass unchanged; only a call that does not fit the function's parameters, or
operands that JAX refuses, become errors of this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex

from egraph_opt.capture.arguments import Arguments
from egraph_opt.errors import ArgumentError


@dataclass(frozen=True)
class Trace:
    """A traced function: its jaxpr over the argument leaves, and the tree of its results."""

    jaxpr: Any
    out_tree: Any
    donated: tuple[bool, ...]


def trace(fn: Callable[..., Any], arguments: Arguments) -> Trace:
    """Trace ``fn`` over the array leaves of its arguments.

    Raises:
        ArgumentError: the arguments do not fit the parameters of ``fn``.
    """
    args, kwargs = arguments.unflatten(arguments.leaves)
    check_call(fn, args, kwargs)
    trees: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        args, kwargs = arguments.unflatten(leaves)
        outputs, tree = jax.tree.flatten(fn(*args, **kwargs))
        trees[:] = [tree]
        return outputs

    jaxpr = jax.make_jaxpr(flat)(*arguments.leaves)
    return Trace(jaxpr, trees[0], donated_inputs(jaxpr))


def check_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check that the function's parameters take the arguments.

    Raises:
        ArgumentError: they do not.
    """
    if not callable(fn):
        raise ArgumentError(f"capture: want a function, got {type(fn).__name__}")
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fn, "__name__", type(fn).__name__)
        named = f" and {', '.join(kwargs)}" if kwargs else ""
        raise ArgumentError(f"{name}{signature}: {error}; the call has {len(args)} arguments{named}") from None


def donated_inputs(jaxpr: Any) -> tuple[bool, ...]:
    """Which inputs a jaxpr that is one jitted call donates."""
    flags = [False] * len(jaxpr.jaxpr.invars)
    if len(jaxpr.jaxpr.eqns) == 1 and "donated_invars" in jaxpr.jaxpr.eqns[0].params:
        eqn = jaxpr.jaxpr.eqns[0]
        place = {var: i for i, var in enumerate(jaxpr.jaxpr.invars)}
        for atom, donated in zip(eqn.invars, eqn.params["donated_invars"], strict=True):
            if donated and not isinstance(atom, jex.Literal) and atom in place:
                flags[place[atom]] = True
    return tuple(flags)
