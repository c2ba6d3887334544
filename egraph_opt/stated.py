# SPDX-License-Identifier: Apache-2.0
"""What users state of arrays: ``assume`` is believed, ``guarded`` is tested whenever the program runs."""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.errors import ArgumentError
from egraph_opt.ir.structure import BANDS, DECLARED, ELEMENTWISE, impossible
from egraph_opt.ops.declared import assume_p


def assume(x: Any, *facts: str, bandwidth: int | tuple[int, int] | None = None) -> Any:
    """State facts about an array, such as ``"positive_definite"``; the value is returned unchanged.

    Rules may use what is stated, and nothing checks it: where it is not so, results are wrong. Facts about matrices are
    about the last two dimensions. It composes with JAX's transformations and costs nothing when it runs.

    Args:
        x: an array.
        facts: any of "banded", "circulant", "constant", "diagonal", "identity", "lower_triangular", "nonnegative",
            "one_hot" (in each row), "orthogonal", "orthonormal_columns", "orthonormal_rows", "permutation", "positive",
            "positive_definite", "positive_semidefinite", "symmetric", "toeplitz", "tridiagonal", "unit_diagonal",
            "upper_triangular", "zero". "positive" and "nonnegative" are
            about each element, of a "diagonal" matrix about those on the diagonal.
        bandwidth: of a "banded" matrix: how many diagonals below and above the main one are not zero.

    Raises:
        ArgumentError: an unknown fact, or one about matrices for an array of less than two dimensions.
    """
    stated = dict.fromkeys(facts)
    for fact in facts:
        if fact not in DECLARED:
            near = difflib.get_close_matches(fact, DECLARED, 1)
            hint = f"did you mean {near[0]!r}? There" if near else "there"
            raise ArgumentError(f"assume: fact {fact!r} is not known; {hint} are {', '.join(sorted(DECLARED))}")
    if bandwidth is not None:
        low, high = (bandwidth, bandwidth) if isinstance(bandwidth, int) else bandwidth
        if "banded" not in stated or low < 0 or high < 0:
            raise ArgumentError(f"assume: bandwidth={bandwidth!r} goes with the fact 'banded' and is not negative")
        stated = {**dict.fromkeys(fact for fact in facts if fact != "banded"), f"banded:{low},{high}": None}
    _check(facts, np.shape(x), "assume")
    return assume_p.bind(x, facts=tuple(stated)) if stated else x


def _check(facts: Sequence[str], shape: tuple[int, ...], caller: str) -> None:
    matrices = [fact for fact in facts if fact not in ELEMENTWISE]
    if matrices and len(shape) < 2:
        raise ArgumentError(f"{caller}: {matrices[0]!r} is about matrices; got an array of shape {shape}")
    odd = [fact for fact in matrices if fact in impossible(shape)]
    if odd:
        raise ArgumentError(f"{caller}: no array of shape {shape} can be {odd[0]!r}")


def guarded(function: Callable[..., Any], **facts: str | Sequence[str]) -> Callable[..., Any]:
    """A function that uses facts about its arguments where they hold, and is as it was where they do not.

    The facts are tested exactly, element by element, whenever it runs; ``optimize`` then finds one program for each
    case. JAX's transformations apply; under ``vmap`` both programs run, as with every ``jax.lax.cond``.

    Args:
        function: JAX-traceable.
        facts: by parameter, as in ``guarded(f, a="symmetric", b=("lower_triangular", "unit_diagonal"))``: the facts of
            ``assume`` that one pass over an array can test, and "banded:2,1" with the diagonals below and above the
            main one that are not zero.

    Raises:
        ArgumentError: the function has no such parameter; a fact is unknown or cannot be tested so, as "orthogonal".
    """
    signature = inspect.signature(function)
    stated = {name: (given,) if isinstance(given, str) else tuple(given) for name, given in facts.items()}
    for name, wanted in stated.items():
        if name not in signature.parameters:
            known = ", ".join(signature.parameters)
            raise ArgumentError(f"guarded: the function has no parameter {name!r}; it has {known or 'none'}")
        for fact in wanted:
            if not (fact in _TESTS or _band(fact)):
                raise ArgumentError(f"guarded: {fact!r} cannot be tested in one pass; {_there_are(fact)}")

    @functools.wraps(function)
    def choose(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        for name, wanted in stated.items():
            _check(wanted, np.shape(given.arguments[name]), "guarded")
        tests = [holds(given.arguments[name], *wanted) for name, wanted in stated.items()]

        def better() -> Any:  # what is stated holds in here only
            known = {name: assume_p.bind(given.arguments[name], facts=wanted) for name, wanted in stated.items()}
            bound = inspect.BoundArguments(signature, OrderedDict(given.arguments | known))
            return function(*bound.args, **bound.kwargs)

        return lax.cond(
            functools.reduce(operator.and_, tests, jnp.asarray(True)), better, lambda: function(*args, **kwargs)
        )

    return choose


def holds(x: Any, *facts: str) -> jax.Array:
    """Whether an array has all of some facts: a boolean scalar. Of a "diagonal" matrix signs are about the diagonal."""
    x = jnp.asarray(x)
    tests = [_within(x, *band) for fact in facts if (band := _band(fact))]
    for fact in facts:
        if fact in _TESTS:
            about = jnp.diagonal(x, axis1=-2, axis2=-1) if fact in _SIGNS and "diagonal" in facts else x
            tests.append(_TESTS[fact](about))
    return functools.reduce(operator.and_, tests, jnp.asarray(True))


def _band(fact: str) -> tuple[float, float] | tuple[()]:
    """Bandwidths below and above the diagonal that a fact states, if it does."""
    name, _, numbers = fact.partition(":")
    if name == "banded":
        parts = numbers.split(",")
        return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(map(str.isdigit, parts)) else ()
    return BANDS.get(fact, ())


def _within(x: jax.Array, low: float, high: float) -> jax.Array:
    below = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])
    inside = (below <= min(low, x.shape[-2])) & (-below <= min(high, x.shape[-1]))
    return jnp.all(jnp.where(inside, 0, x) == 0)


def _there_are(fact: str) -> str:
    names = sorted({*_TESTS, *BANDS, "banded:LOW,HIGH"})
    near = difflib.get_close_matches(fact, names, 1)
    other = "state it by assume, if it is so; " if fact in DECLARED else ""
    return f"{other}{f'did you mean {near[0]!r}? There' if near else 'there'} are {', '.join(names)}"


def _one_hot(x: jax.Array, axis: int = -1) -> jax.Array:
    return jnp.all((x == 0) | (x == 1)) & jnp.all(jnp.sum(x == 1, axis) == 1)


_SIGNS = ("nonnegative", "positive")

_TESTS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "circulant": lambda x: jnp.all(x == jnp.roll(x, (1, 1), (-2, -1))),
    "constant": lambda x: jnp.all(x == x.ravel()[:1]),
    "identity": lambda x: jnp.all(x == jnp.eye(x.shape[-2], x.shape[-1], dtype=x.dtype)),
    "nonnegative": lambda x: jnp.all(x >= 0),
    "one_hot": _one_hot,
    "permutation": lambda x: _one_hot(x) & _one_hot(x, -2),
    "positive": lambda x: jnp.all(x > 0),
    "symmetric": lambda x: jnp.all(x == jnp.swapaxes(x, -2, -1)),
    "toeplitz": lambda x: jnp.all(x[..., 1:, 1:] == x[..., :-1, :-1]),
    "unit_diagonal": lambda x: jnp.all(jnp.diagonal(x, axis1=-2, axis2=-1) == 1),
    "zero": lambda x: jnp.all(x == 0),
}
"""Tests of facts, beside those about bandwidths."""
