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


def with_derivative_of(program: Flat, original: Callable[..., list[Any]], custom: Sequence[str]) -> Flat:
    """``program`` with the derivative of ``original``.

    Args:
        program: function of a flat list.
        original: the same function of positional arguments.
        custom: names of inlined functions with their own derivative; with a custom VJP among them forward-mode
            differentiation is refused, as JAX refuses it for the original.

    Returns:
        A function like ``program``.
    """
    reverse_only = any("vjp" in name for name in custom)
    if reverse_only:
        wrapped = jax.custom_vjp(lambda *leaves: program(leaves))

        def forward(*leaves: Any) -> tuple[list[Any], Any]:
            return jax.vjp(original, *leaves)

        def backward(pull: Any, cotangents: Any) -> Any:
            return pull(list(cotangents))

        wrapped.defvjp(forward, backward)
        return lambda leaves: list(wrapped(*leaves))
    jvp = jax.custom_jvp(lambda *leaves: program(leaves))

    @jvp.defjvp
    def tangent(primals: Any, tangents: Any) -> Any:
        return jax.jvp(original, primals, tangents)

    return lambda leaves: list(jvp(*leaves))
