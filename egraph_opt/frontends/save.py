# SPDX-License-Identifier: Apache-2.0
"""Writes a JAX function to a file, in the calling convention of the model it came from.

The last step of a run; the file is whole or not there at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export

from egraph_opt.errors import OutputError
from egraph_opt.frontends.files import write_atomically
from egraph_opt.frontends.model import LoadedModel, vjp_order


def save(
    function: Callable[..., Any],
    example_args: Sequence[Any],
    path: str | Path,
    like: LoadedModel | jax.export.Exported | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Save a function as a file that `load` reads back.

    Args:
        function: a function that JAX can trace.
        example_args: arrays or `jax.ShapeDtypeStruct`, one pytree for each positional argument.
        path: the suffix chooses the format: ``.jaxexport``, ``.stablehlo`` or ``.mlir``.
        like: a model whose platforms, disabled checks and stored gradients the file shall have too.
        kwargs: keyword arguments, like ``example_args``; the file takes them by the same names.

    Raises:
        OutputError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".jaxexport":
        write_atomically(path, _exported_bytes(function, example_args, kwargs or {}, path, like))
    elif suffix in {".stablehlo", ".mlir"}:
        lowered = jax.jit(function, keep_unused=True).lower(*example_args, **(kwargs or {}))
        write_atomically(path, lowered.as_text(dialect="stablehlo").encode())
    else:
        raise OutputError(f"{path}: got the suffix '{suffix}'; want .jaxexport, .stablehlo or .mlir")


def _exported_bytes(
    function: Callable[..., Any],
    example_args: Sequence[Any],
    kwargs: Mapping[str, Any],
    path: Path,
    like: LoadedModel | jax.export.Exported | None,
) -> bytes:
    model = like.exported if isinstance(like, LoadedModel) else like
    options: dict[str, Any] = {}
    order = 0
    if model is not None:
        options = {"platforms": model.platforms, "disabled_checks": model.disabled_safety_checks}
        order = vjp_order(model)
    try:
        exported = jax.export.export(jax.jit(function), **options)(*example_args, **kwargs)
    except NotImplementedError as error:
        raise OutputError(f"{path}: the function cannot be exported: {_first_line(error)}") from error
    try:
        if order:
            with contextlib.suppress(ValueError, TypeError, NotImplementedError):  # it need not be differentiable
                return bytes(exported.serialize(vjp_order=order))
        return bytes(exported.serialize())
    except ImportError as error:
        raise OutputError(
            f"{path}: writing .jaxexport needs the package flatbuffers; pip install egraph_opt[export]"
        ) from error
    except ValueError as error:
        raise OutputError(f"{path}: the function cannot be serialized: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
