# SPDX-License-Identifier: Apache-2.0
"""JAX primitives by name, and lowerings that bind one with its parameters as they were captured."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jax import lax
from jax.extend.core import Primitive, primitives

from egraph_opt.ir.attrs import thaw


@functools.cache
def all_primitives() -> dict[str, Primitive]:
    """Every public primitive by its name in jaxprs."""
    return {name: primitive for name, (primitive, _) in _places().items()}


def home_of(primitive: Primitive) -> str:
    """Public name of a primitive in source text, ``lax.exp_p``."""
    return _places()[primitive.name][1]


@functools.cache
def _places() -> dict[str, tuple[Primitive, str]]:
    found: dict[str, tuple[Primitive, str]] = {}
    for home, module in (("lax", lax), ("lax.linalg", lax.linalg), ("primitives", primitives)):
        for attribute in dir(module):
            value = getattr(module, attribute)
            if attribute.endswith("_p") and isinstance(value, Primitive):
                found.setdefault(value.name, (value, f"{home}.{attribute}"))
    return found


def thawed(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as the parameters of a primitive."""
    return {name: thaw(value) for name, value in attrs.items()}


def binding(name: str, **fixed: Any) -> Callable[..., Any]:
    """A lowering that binds the primitive of this name; attributes are its parameters.

    Args:
        name: the primitive's name in jaxprs.
        fixed: parameters that are no attributes.
    """
    primitive = all_primitives()[name]

    def lower(*operands: Any, **attrs: Any) -> Any:
        return primitive.bind(*operands, **(fixed | thawed(attrs)))

    return lower
