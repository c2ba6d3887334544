# SPDX-License-Identifier: Apache-2.0
"""Values that the gate compares: of a program as it is, in double precision, and on slightly moved inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt._compat import x64_enabled
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph
from egraph_opt.verify.inputs import dtype_of
from egraph_opt.verify.promote import promote_graph, promoted_dtype
from egraph_opt.verify.verdict import epsilon, is_inexact

Function = Callable[[Sequence[Any]], Sequence[Any]]


def as_leaf(leaf: Any, dtype: str) -> Any:
    """An input as a numpy array of its type; random keys stay as they are."""
    return leaf if dtype.startswith("key<") else np.asarray(leaf, dtype_of(dtype))


def evaluate(function: Function, leaves: Sequence[Any]) -> list[Any]:
    """Results as numpy arrays; of random keys, their data."""
    values = (jax.random.key_data(v) if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else v for v in function(leaves))
    return [np.asarray(value) for value in values]


def references(graph: Graph, cases: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Results of the promoted program on promoted inputs, one list for each case."""
    types = graph.input_types
    with x64_enabled():
        run = jax.jit(lower_graph(promote_graph(graph)))
        wide = [[as_leaf(x, promoted_dtype(t.dtype)) for x, t in zip(case, types, strict=True)] for case in cases]
        return [evaluate(run, case) for case in wide]


def sensitivity(function: Function, leaves: Sequence[Any], results: Sequence[Any]) -> list[float | None]:
    """Errors of a program that is in double precision already, where no wider reference exists.

    Every input is changed in its last place: results that differ by so much cannot be told from an honest
    rearrangement.
    """
    random = np.random.default_rng(0)
    moved = []
    for leaf in leaves:
        if isinstance(leaf, np.ndarray) and is_inexact(leaf.dtype):
            step = epsilon(leaf.dtype) * random.choice([-1.0, 1.0], leaf.shape)
            moved.append((leaf * (1.0 + step)).astype(leaf.dtype))
        else:
            moved.append(leaf)
    errors: list[float | None] = []
    for value, other in zip(results, evaluate(function, moved), strict=True):
        if not is_inexact(value.dtype):
            errors.append(None)
            continue
        finite = np.isfinite(value) & np.isfinite(other)
        scale = float(np.max(np.abs(value[finite]), initial=0.0)) or 1.0
        errors.append(float(np.max(np.abs(value[finite] - other[finite]), initial=0.0)) / scale)
    return errors


def largest(leaves: Sequence[Any]) -> float:
    """Largest finite magnitude among the float inputs, 1 if there is none."""
    floats = [np.abs(x.astype(np.complex128)) for x in leaves if isinstance(x, np.ndarray) and is_inexact(x.dtype)]
    return max((float(np.max(x[np.isfinite(x)], initial=0.0)) for x in floats), default=1.0)
