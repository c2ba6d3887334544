# SPDX-License-Identifier: Apache-2.0
"""Type rules that several families share, and the errors they raise.

An error reads ``max: want equal shapes or rank 0, got [2,3] and [4]``: the operation, what it wants, what it got.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from egraph_opt.errors import DTypeError, ShapeError
from egraph_opt.ir import TensorType
from egraph_opt.ir.types import is_complex, is_floating

KINDS = {"f": "floating-point", "c": "complex", "i": "signed integer", "u": "unsigned integer", "b": "bool"}


def dims(type: TensorType) -> str:
    """Shape as error messages print it."""
    return f"[{','.join(map(str, type.shape))}]"


def shape_error(op: str, want: str, types: Sequence[TensorType]) -> ShapeError:
    """The error for operand shapes that do not fit."""
    return ShapeError(f"{op}: want {want}, got {' and '.join(map(dims, types))}")


def dtype_error(op: str, want: str, types: Sequence[TensorType]) -> DTypeError:
    """The error for element types that do not fit."""
    return DTypeError(f"{op}: want {want}, got {' and '.join(t.dtype for t in types)}")


def check_count(op: str, types: Sequence[TensorType], count: int) -> None:
    """Refuse another number of operands."""
    if len(types) != count:
        raise ShapeError(f"{op}: want {count} operand{'s' * (count != 1)}, got {len(types)}")


def kind(dtype: str) -> str:
    """``f``, ``c``, ``i``, ``u`` or ``b`` (see ``KINDS``); ``?`` for an extended type such as a random key."""
    if is_floating(dtype):
        return "f"
    if is_complex(dtype):
        return "c"
    return {"int": "i", "uin": "u", "boo": "b"}.get(dtype[:3], "?")


def check_kind(op: str, types: Sequence[TensorType], kinds: str) -> None:
    """Refuse element types of other kinds."""
    if any(kind(t.dtype) not in kinds for t in types):
        raise dtype_error(op, " or ".join(KINDS[k] for k in kinds), types)


def check_same_dtype(op: str, types: Sequence[TensorType]) -> None:
    """Refuse operands of different element types."""
    if len({t.dtype for t in types}) > 1:
        raise dtype_error(op, "equal element types", types)


def check_axes(op: str, type: TensorType, axes: Sequence[int]) -> None:
    """Refuse axes that do not exist or occur twice."""
    if len(set(axes)) != len(axes) or not all(0 <= axis < type.rank for axis in axes):
        raise ShapeError(f"{op}: want distinct axes below {type.rank}, got {tuple(axes)}")


def elementwise_shape(op: str, types: Sequence[TensorType]) -> tuple[int, ...]:
    """Common shape of operands that are equal or of rank 0."""
    shapes = {t.shape for t in types if t.shape}
    if len(shapes) > 1:
        raise shape_error(op, "equal shapes or rank 0", types)
    return shapes.pop() if shapes else ()


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The element type of this name; the narrow ones are registered with numpy by JAX."""
    return np.dtype(name)


def struct(type: TensorType) -> jax.ShapeDtypeStruct:
    """The type as JAX describes it."""
    return jax.ShapeDtypeStruct(type.shape, numpy_dtype(type.dtype))


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What JAX said of types that it does not take: it takes its time to say so, and is asked once."""

    error: type[DTypeError] | type[ShapeError]
    message: str


def infer_by_tracing(op: str, lower: Callable[..., Any]) -> Callable[..., tuple[TensorType, ...]]:
    """A type rule that asks JAX, for operations whose shapes have many parameters.

    JAX reports what it refuses as ``TypeError`` or ``ValueError``; they become ours, with its message.
    """

    @functools.lru_cache(maxsize=4096)
    def traced(
        types: tuple[TensorType, ...], attrs: tuple[tuple[str, Any], ...], x64: bool
    ) -> tuple[TensorType, ...] | _Refusal:
        del x64
        refused: list[Exception] = []

        def attempt(*xs: Any) -> Any:
            # Caught here, for JAX takes a tenth of a second to shorten the traceback of what leaves ``eval_shape``.
            try:
                return lower(*xs, **dict(attrs))
            except (TypeError, ValueError, NotImplementedError, IndexError) as error:
                refused.append(error)
                return ()

        try:
            results = jax.eval_shape(attempt, *map(struct, types))
        except (TypeError, ValueError, NotImplementedError, IndexError) as error:
            refused.append(error)
        if refused:
            mixed = isinstance(refused[0], TypeError) and len({t.dtype for t in types}) > 1
            return _Refusal(DTypeError if mixed else ShapeError, f"{op}: {refused[0]}")
        leaves = results if isinstance(results, tuple | list) else (results,)
        return tuple(TensorType(tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves)

    def infer(types: Sequence[TensorType], **attrs: Any) -> tuple[TensorType, ...]:
        found = traced(tuple(t.strong() for t in types), tuple(attrs.items()), bool(jax.config.read("jax_enable_x64")))
        if isinstance(found, _Refusal):
            raise found.error(found.message)
        return found

    return infer
