# SPDX-License-Identifier: Apache-2.0
"""``check``: capture a program, lower the graph again, and compare with the original, both under ``jax.jit``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import Captured, capture
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph


def leaves_of(captured: Captured) -> list[Any]:
    leaves = [jnp.asarray(x) if not isinstance(x, jax.Array) else x for x in captured.arguments.leaves]
    return [*leaves, *captured.constants]


def compare(want: Any, got: Any, tolerance: float) -> None:
    want, got = (x if isinstance(x, jax.Array) else jnp.asarray(x) for x in (want, got))
    assert (want.shape, want.dtype) == (got.shape, got.dtype)
    if jnp.issubdtype(want.dtype, jax.dtypes.extended):
        want, got = jax.random.key_data(want), jax.random.key_data(got)
    else:
        assert want.weak_type == got.weak_type
    wide = np.complex128 if jnp.issubdtype(want.dtype, jnp.complexfloating) else np.float64
    a, b = np.asarray(want).astype(wide), np.asarray(got).astype(wide)
    if tolerance:
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * max(1.0, _scale(a)))
    else:
        np.testing.assert_array_equal(b, a)
        assert (np.signbit(b.real) == np.signbit(a.real))[~np.isnan(a)].all()


def _scale(a: np.ndarray[Any, Any]) -> float:
    finite = np.abs(a[np.isfinite(a)])
    return float(finite.max()) if finite.size else 0.0


@pytest.fixture(scope="session")
def check() -> Callable[..., Captured]:
    def check(fn: Callable[..., Any], *args: Any, tolerance: float = 1e-6, **options: Any) -> Captured:
        captured = capture(fn, args, **options)
        assert Graph.parse(str(captured.graph)) == captured.graph
        leaves = leaves_of(captured)
        want = jax.jit(captured.original)(*leaves)
        results = jax.jit(lower_graph(captured.graph, captured.tracebacks))(leaves)
        for w, r in zip(want, results, strict=True):
            compare(w, r, tolerance)
        return captured

    return check
