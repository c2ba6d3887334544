# SPDX-License-Identifier: Apache-2.0
"""Rotary embedding: pairs of elements turned by an angle of their own, and its forms.

``half`` pairs the first half of a dimension with the second, ``pairs`` each even element with the next one. Tables
hold one number for each pair, or for each element. Elements after the ``turned`` ones stay. It is found by
``rotary_find``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.kernels.record import Kernel
from egraph_opt.ops.kernel import Lowering

FORMS = ("half", "pairs")


def pattern(x: Any, cos: Any, sin: Any, *, form: str, turned: int) -> Any:
    """``x cos + quarter(x) sin``, where ``quarter`` takes a pair (a, b) to (-b, a)."""
    n = turned or x.shape[-1]
    head = x[..., :n]
    if form == "half":
        quarter = jnp.concatenate([-head[..., n // 2 :], head[..., : n // 2]], axis=-1)
    else:
        quarter = jnp.stack([-head[..., 1::2], head[..., ::2]], axis=-1).reshape(head.shape)
    made = head * _of_elements(cos, n, form) + quarter * _of_elements(sin, n, form)
    return jnp.concatenate([made, x[..., n:]], axis=-1) if n < x.shape[-1] else made


def _of_elements(table: Any, n: int, form: str) -> Any:
    """A table with one number for each element."""
    if table.shape[-1] == n:
        return table
    return jnp.concatenate([table, table], axis=-1) if form == "half" else jnp.repeat(table, 2, axis=-1)


LEAST_ELEMENTS = 1 << 16
"""Elements below which a start counts for more than what the lowering saves."""


def by_complex(x: Any, cos: Any, sin: Any, *, form: str, turned: int) -> Any:
    """Pairs as complex numbers: XLA:CPU then reads and writes both at once instead of every second element."""
    del form, turned
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    made = lax.complex(pairs[..., 0], pairs[..., 1]) * lax.complex(cos, sin)
    return jnp.stack([made.real, made.imag], axis=-1).reshape(x.shape)


def _fits(types: Sequence[TensorType], static: Mapping[str, Any]) -> bool:
    x, cos, _ = types
    paired = static["form"] == "pairs" and not static["turned"] and 2 * cos.shape[-1] == x.shape[-1]
    return paired and x.dtype in ("float32", "float64") and x.size >= LEAST_ELEMENTS


ROTARY = Kernel(
    name="rotary",
    pattern=pattern,
    shapes=("... n", "... n", "... n"),
    result="... n",
    lowerings=(Lowering(name="complex", function=by_complex, devices=("cpu",), when=_fits, differentiable=True),),
    samples=tuple({"form": form, "turned": 0} for form in FORMS),
    describe=lambda static: static["form"] + (f", first {static['turned']}" if static["turned"] else ""),
    doc="pairs of elements turned: a cos - b sin, b cos + a sin",
    families=frozenset(),
)
