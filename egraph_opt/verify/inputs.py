# SPDX-License-Identifier: Apache-2.0
"""Sampled inputs: arrays of given types, scaled so that typical programs neither overflow nor vanish.

Several kinds, because each hides something: normal values never meet ties, integers make polynomial programs exact,
mixed scales show cancellation, positive and definite ones stay in the domain of logarithms and factorisations.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.types import is_complex, is_floating, is_integer
from egraph_opt.verify.structured import with_stated

KINDS = ("normal", "positive", "integers", "mixed", "definite")
"""What ``sample_inputs`` draws."""

INDEX_BOUND = 4
"""Integers are drawn below this, so that most are valid indices."""

_KEYS = {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}


def sample_inputs(
    program: Graph | Sequence[TensorType],
    seed: int = 0,
    kind: str = "normal",
    given: Sequence[Any] | None = None,
    branches: bool = True,
) -> list[Any]:
    """Input leaves for a program.

    Args:
        program: a graph, or the types of its inputs.
        seed: the same seed gives the same values; a leaf's values depend on its position and type only.
        kind: one of ``KINDS``.
        given: concrete leaves to use as they are, None or a ``jax.ShapeDtypeStruct`` where a leaf is to be drawn.
        branches: whether drawn leaves have what a branch of the program states, too.

    Returns:
        numpy arrays (random keys: JAX arrays) in input order; drawn ones have what the program states of them.

    Raises:
        ArgumentError: unknown kind, or ``given`` has another length.
    """
    types = program.input_types if isinstance(program, Graph) else tuple(program)
    if kind not in KINDS:
        raise ArgumentError(f"kind={kind!r}; want one of {', '.join(KINDS)}")
    leaves = list(given) if given is not None else [None] * len(types)
    if len(leaves) != len(types):
        raise ArgumentError(f"given: got {len(leaves)} leaves; want {len(types)}, one for each input")
    drawn = {p for p, leaf in enumerate(leaves) if leaf is None or isinstance(leaf, jax.ShapeDtypeStruct)}
    values = [
        _draw(type, seed, position, kind) if position in drawn else leaf
        for position, (type, leaf) in enumerate(zip(types, leaves, strict=True))
    ]
    if not isinstance(program, Graph) or not drawn:
        return values
    return with_stated(program, values, drawn, np.random.default_rng(seed), branches)


def dtype_of(name: str) -> np.dtype[Any]:
    """The numpy type of an element type of the Graph; JAX registers bfloat16 and the like with numpy."""
    return np.dtype(jax.dtypes.float0 if name == "float0" else name)


def _draw(type: TensorType, seed: int, position: int, kind: str) -> Any:
    if type.dtype.startswith("key<"):
        implementation = _KEYS.get(type.dtype[4:-1], type.dtype[4:-1])
        return jax.random.split(jax.random.key(seed + position, impl=implementation), type.shape)
    random = np.random.default_rng([seed, position, zlib.crc32(kind.encode())])
    return np.asarray(_values(type, random, kind), dtype_of(type.dtype))


def _values(type: TensorType, random: np.random.Generator, kind: str) -> Any:
    if type.dtype == "bool":
        return random.random(type.shape) < 0.5
    if is_integer(type.dtype):
        return random.integers(0, INDEX_BOUND if type.itemsize >= 1 else 2, type.shape)
    if is_floating(type.dtype):
        return _reals(type, random, kind)
    if is_complex(type.dtype):
        return _reals(type, random, kind) + 1j * _reals(type, random, kind)
    return np.zeros(type.shape)


def _reals(type: TensorType, random: np.random.Generator, kind: str) -> Any:
    shape = type.shape
    if kind == "integers":
        return random.integers(-3, 4, shape).astype(float)
    values = np.asarray(random.standard_normal(shape))
    if kind == "positive":
        return 0.5 + np.abs(values)
    if kind == "mixed":
        # Narrow types overflow early: sums of squares must stay in range.
        spread = 2.0 if type.itemsize >= 4 else 1.0
        return values * 10.0 ** random.uniform(-spread, spread, shape)
    # Products of random matrices keep their size.
    scale = 1.0 / np.sqrt(max(shape[-2:])) if len(shape) >= 2 and min(shape) > 0 else 1.0
    if kind == "definite" and len(shape) >= 2 and shape[-1] == shape[-2]:
        return values @ np.swapaxes(values, -1, -2) * scale**2 + np.eye(shape[-1])
    return values * scale
