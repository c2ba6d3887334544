# SPDX-License-Identifier: Apache-2.0
"""Derivatives of a chosen program whose original defines its own.

Functions with a custom derivative and checkpointed parts are opened for the optimiser. Differentiating the chosen
program would then ignore what the user asked for, so its derivative is taken from the original.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

Flat = Callable[[Sequence[Any]], list[Any]]


def with_derivative_of(program: Flat, original: Callable[..., list[Any]]) -> Flat:
    """``program`` with the derivative of ``original``.

    Args:
        program: function of a flat list.
        original: the same function of positional arguments.

    Returns:
        A function like ``program``.
    """
    jvp = jax.custom_jvp(lambda *leaves: program(leaves))

    @jvp.defjvp
    def tangent(primals: Any, tangents: Any) -> Any:
        return jax.jvp(original, primals, tangents)

    return lambda leaves: list(jvp(*leaves))
