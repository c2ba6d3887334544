# SPDX-License-Identifier: Apache-2.0
"""Every JAX name that differs between 0.10 and 0.11, or that is only half public.

The rest of the package takes these names from here, so a JAX release that moves one is met in one file.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.extend.mlir as _mlir
import jax.extend.mlir.dialects.stablehlo as _stablehlo
import jax.extend.mlir.ir as _ir
import jax.extend.mlir.passmanager as _passmanager

mlir_ir: Any = _ir
"""MLIR's core bindings (untyped)."""

mlir_stablehlo: Any = _stablehlo
"""The StableHLO dialect: typed attributes and portable artifacts (untyped)."""


def mlir_context() -> Any:
    """An MLIR context with the dialects that JAX uses registered.

    A bare ``ir.Context()`` cannot parse StableHLO, and the function that makes JAX's contexts is private: the context
    of any lowering serves.
    """
    module: Any = jax.jit(lambda x: x).lower(0.0).compiler_ir("stablehlo")
    return module.context


@functools.cache
def _register_stablehlo_passes() -> None:
    mlir_stablehlo.register_stablehlo_passes()


def mlir_pass_manager(pipeline: str) -> Any:
    """A pass manager in the current MLIR context, with StableHLO's passes registered."""
    _register_stablehlo_passes()
    return _passmanager.PassManager.parse(pipeline)


def refine_polymorphic_shapes(module: bytes) -> bytes:
    """XLA's propagation of the static types of ``main``'s arguments through a module with dynamic shapes."""
    refined: bytes = _mlir.refine_polymorphic_shapes(module)
    return refined


@contextlib.contextmanager
def x64_enabled() -> Iterator[None]:
    """64-bit element types are kept inside this context, whatever the process is set to."""
    with jax.enable_x64(True):
        yield


@functools.cache
def sound_compiler_options() -> dict[str, Any] | None:
    """Options for ``jax.jit`` under which XLA compiles rightly for a CPU; None where this jaxlib does not know them.

    With jaxlib 0.10.2 XLA leaves sums over axes, and the elementwise operations before them, to YNNPACK. In programs of
    hundreds of operations they come out wrong: ResNet-50's last pool gives another number each time it is compiled.
    Products and convolutions are right there.
    """
    kinds = ("INDIVIDUAL_DOT", "INDIVIDUAL_CONVOLUTION")
    options = {"xla_cpu_experimental_ynn_fusion_type": ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in kinds)}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except (jax.errors.JaxRuntimeError, ValueError):
        return None
    return options


def trace_settings() -> tuple[object, ...]:
    """What a trace depends on besides its arguments: settings that may change from one call to the next."""
    names = ("enable_x64", "default_matmul_precision", "default_prng_impl", "numpy_dtype_promotion")
    return tuple(getattr(jax.config, f"jax_{name}") for name in names)


def static_arguments(function: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Positions and names of the arguments that ``jax.jit`` was told are static; none of functions not jitted."""
    info = getattr(function, "_jit_info", None)
    return tuple(getattr(info, "static_argnums", ())), tuple(getattr(info, "static_argnames", ()))


@functools.lru_cache(maxsize=1 << 16)
def _code_line(code: Any, instruction: int) -> int:
    from jax._src.lib import xla_client  # type: ignore[attr-defined]  # noqa: TID251

    line: int = xla_client.Traceback.code_addr2line(code, instruction)
    return line


_PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120  (compared as text)
_PROGRAMS = os.path.join(_PACKAGE, "_benchmarks") + os.sep  # noqa: PTH118


def _is_own(file: str) -> bool:
    """Whether a file is of this package, and not one of the programs that come with it."""
    return file.startswith(_PACKAGE) and not file.startswith(_PROGRAMS)


def user_line(traceback: Any) -> tuple[str, int] | None:
    """File and line of the innermost frame outside JAX, the standard library and this package.

    Half public in JAX 0.10 and 0.11. ``source_info_util.user_frame`` also finds the columns, which takes most of its
    time.
    """
    from jax._src.source_info_util import is_user_filename  # noqa: TID251

    if traceback is None:
        return None
    codes, instructions = traceback.raw_frames()
    for code, instruction in zip(codes, instructions, strict=True):
        if is_user_filename(code.co_filename) and not _is_own(code.co_filename):
            return code.co_filename, _code_line(code, instruction)
    return None


@functools.lru_cache(maxsize=4096)
def _scopes(path: str) -> Any:
    from jax._src.source_info_util import NameStack, Scope  # noqa: TID251

    return NameStack(tuple(Scope(part) for part in path.split("/") if part))


def source_context(traceback: Any, scope: str) -> contextlib.AbstractContextManager[Any]:
    """Equations bound inside carry this traceback and lie under this ``named_scope`` path: private in 0.10 and 0.11."""
    from jax._src.source_info_util import current_name_stack, user_context  # noqa: TID251

    context: contextlib.AbstractContextManager[Any] = user_context(
        traceback, name_stack=current_name_stack() + _scopes(scope)
    )
    return context


def hide_frames(path: str) -> None:
    """Files whose names begin so are not shown as user code in tracebacks and metadata: private in 0.10 and 0.11."""
    from jax._src.source_info_util import register_exclusion  # noqa: TID251

    register_exclusion(path)


@functools.cache
def optimization_barrier() -> Any:
    """The primitive behind ``jax.lax.optimization_barrier``."""
    return jax.make_jaxpr(jax.lax.optimization_barrier)(0.0).jaxpr.eqns[0].primitive


def outside_of_traces() -> contextlib.AbstractContextManager[None]:
    """Inside this context operations on concrete arrays run at once, even while JAX traces around it."""
    return jax.ensure_compile_time_eval()
