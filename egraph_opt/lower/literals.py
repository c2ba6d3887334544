# SPDX-License-Identifier: Apache-2.0
"""Source text of static values (attributes, constants) and of expressions with Python's precedence."""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Primitive

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir.attrs import Array, DType, Ref, freeze
from egraph_opt.ops.params import ENUMS, RECORDS, fields
from egraph_opt.ops.primitives import all_primitives, home_of

COMPARE, OR, XOR, AND, SHIFT, ADD, MUL, UNARY, POWER, ATOM = range(10)


class Expr(NamedTuple):
    """Source text and how tightly it binds."""

    text: str
    level: int = ATOM

    def at(self, level: int) -> str:
        """The text, in parentheses where it binds less tightly."""
        return self.text if self.level >= level else f"({self.text})"


def call(function: str, *args: str, **kwargs: str) -> Expr:
    """A function call."""
    return Expr(f"{function}({', '.join([*args, *(f'{k}={v}' for k, v in kwargs.items())])})")


def dtype_text(dtype: str) -> str:
    """``jnp.float32``; types that ``jnp`` does not name are given by their numpy name."""
    name = "bool_" if dtype == "bool" else dtype
    return f"jnp.{name}" if name.isidentifier() else f"jnp.dtype({dtype!r})"


def scalar_text(value: Any, dtype: str) -> str:
    """A Python scalar; its type is that of what it meets."""
    if isinstance(value, complex):
        return f"complex({scalar_text(value.real, dtype)}, {scalar_text(value.imag, dtype)})"
    if isinstance(value, float) and not math.isfinite(value):
        return "jnp.nan" if math.isnan(value) else ("jnp.inf" if value > 0 else "-jnp.inf")
    if isinstance(value, float) and dtype == "float32":
        return repr(float(str(np.float32(value))))  # the shortest text that rounds to it
    return repr(value)


def typed_text(value: Any, dtype: str) -> str:
    """A scalar array of the element type."""
    return f"{dtype_text(dtype)}({scalar_text(value, dtype)})"


def array_text(value: np.ndarray[Any, Any], dtype: str) -> str:
    """A constant tensor."""

    def nested(part: Any) -> str:
        if isinstance(part, list):
            return f"[{', '.join(map(nested, part))}]"
        return scalar_text(part, dtype)

    return f"jnp.array({nested(value.tolist())}, dtype={dtype_text(dtype)})"


def value_text(value: Any, where: str) -> str:
    """Source text of an attribute value.

    Raises:
        UnsupportedOpError: the value has no text, such as a callback; the message starts with ``where``.
    """
    value = freeze(value)
    if isinstance(value, Ref):
        if isinstance(value.value, Primitive) and all_primitives().get(value.value.name) is value.value:
            return f"{home_of(value.value)}"
        raise UnsupportedOpError(f"{where}: a {type(value.value).__name__} cannot be written as source text")
    if isinstance(value, DType):
        return dtype_text(str(value))
    if isinstance(value, Array):
        return array_text(value.value, str(value.value.dtype))
    if isinstance(value, enum.Enum):
        if not isinstance(value, ENUMS):
            raise UnsupportedOpError(f"{where}: a {type(value).__name__} cannot be written as source text")
        return f"lax.{type(value).__name__}.{value.name}"
    if isinstance(value, RECORDS):
        inner = ", ".join(f"{k}={value_text(v, where)}" for k, v in fields(value).items())
        return f"lax.{type(value).__name__}({inner})"
    if type(value) is tuple:
        parts = [value_text(item, where) for item in value]
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    if isinstance(value, float | complex):
        return scalar_text(value, "float64")
    return repr(value)
