# SPDX-License-Identifier: Apache-2.0
"""Every JAX name that differs between 0.10 and 0.11, or that is only half public.

The rest of the package takes these names from here, so a JAX release that moves one is met in one file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.extend.mlir as _mlir
import jax.extend.mlir.dialects.stablehlo as _stablehlo
import jax.extend.mlir.ir as _ir

mlir_ir: Any = _ir
"""MLIR's core bindings (untyped)."""

mlir_stablehlo: Any = _stablehlo
"""The StableHLO dialect: typed attributes and portable artifacts (untyped)."""


def mlir_context() -> Any:
    """An MLIR context with the dialects that JAX uses registered.

    A bare ``ir.Context()`` cannot parse StableHLO, and the function that makes JAX's contexts is private: the context of
    any lowering serves.
    """
    return jax.jit(lambda x: x).lower(0.0).compiler_ir("stablehlo").context


def refine_polymorphic_shapes(module: bytes) -> bytes:
    """Propagate the static types of ``main``'s arguments through a module with dynamic shapes."""
    refined: bytes = _mlir.refine_polymorphic_shapes(module)
    return refined


@contextlib.contextmanager
def x64_enabled() -> Iterator[None]:
    """64-bit element types are kept inside this context, whatever the process is set to."""
    with jax.enable_x64(True):
        yield


def geqrf(a: Any) -> tuple[Any, Any]:
    """Householder QR in LAPACK's packed form: private in 0.10 and 0.11."""
    from jax._src.lax.linalg import geqrf as packed  # noqa: PLC0415, TID251

    factors, taus = packed(a)
    return factors, taus
