# SPDX-License-Identifier: Apache-2.0
"""Reads a model file: the suffix names the format, the content is checked against it.

The first step of every run that starts from a file. Whatever a decoder trips over becomes one line that says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.export

from egraph_opt.errors import ArgumentError, ModelError
from egraph_opt.frontends.files import read_bytes
from egraph_opt.frontends.model import LoadedModel
from egraph_opt.frontends.stablehlo import StableHLOModel
from egraph_opt.frontends.stablehlo.mlir import ARTIFACT_MAGIC

SUFFIXES = (".jaxexport", ".stablehlo", ".mlir", ".onnx")
WORD = 4
"""Bytes that every artifact of jax.export is a multiple of; what was cut off its end may be read over silently."""


def load(path: str | Path, shapes: Mapping[str, Sequence[int | str] | int] | None = None) -> LoadedModel:
    """Load a model file as a JAX function.

    Args:
        path: a ``.jaxexport`` file (`jax.export`), a ``.stablehlo`` or ``.mlir`` file with StableHLO text or a
            StableHLO portable artifact, or an ``.onnx`` file.
        shapes: name of a dimension -> its size, where the file leaves it open; for ONNX models also input -> its shape.

    Returns:
        The model, ready to be called or traced.

    Raises:
        ModelError: the file cannot be read, or is not what its suffix says.
        UnsupportedOpError: the model holds an operation that is not known.
        ArgumentError: shapes that do not fit the model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _load_onnx(path, shapes)
    if suffix not in SUFFIXES:
        raise ModelError(f"{path}: got the suffix '{suffix}'; want one of {', '.join(SUFFIXES)}")
    content = read_bytes(path)
    model = _load_exported(content, path) if suffix == ".jaxexport" else StableHLOModel(content, path)
    model.dims = _sizes(model, shapes or {})
    return model


def _sizes(model: LoadedModel, shapes: Mapping[str, Sequence[int | str] | int]) -> dict[str, int]:
    sizes = {}
    for name, size in shapes.items():
        if name not in model.open_dims or not isinstance(size, int):
            names = ", ".join(model.open_dims)
            wanted = f"want sizes of the dimensions {names}" if names else "every shape of this file is fixed"
            raise ArgumentError(f"{model.path}: got the shape {name}={size}; {wanted}")
        sizes[name] = size
    return sizes


def _load_onnx(path: Path, shapes: Mapping[str, Sequence[int | str] | int] | None) -> LoadedModel:
    try:
        from egraph_opt.frontends.onnx import load_onnx
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in {"onnx", "google"}:
            raise
        raise ModelError(f"{path}: reading .onnx needs the package onnx; pip install egraph_opt[onnx]") from error
    return load_onnx(path, dict(shapes or {}))


def _load_exported(content: bytes, path: Path) -> StableHLOModel:
    if content.startswith(ARTIFACT_MAGIC):
        raise ModelError(f"{path}: got a StableHLO portable artifact; rename it to {path.stem}.stablehlo")
    damaged = ModelError(
        f"{path}: got data that is no serialized jax.export artifact, or a damaged one; "
        "write it with egraph_opt.save or jax.export's Exported.serialize"
    )
    if len(content) % WORD:
        raise damaged
    try:
        exported = jax.export.deserialize(bytearray(content))
        source = bytes(exported.mlir_module_serialized)
    except ImportError as error:
        raise ModelError(
            f"{path}: reading .jaxexport needs the package flatbuffers; pip install egraph_opt[export]"
        ) from error
    except Exception as error:
        # The decoder of the format has no error of its own: damage shows as whatever it trips over.
        reason = (str(error).splitlines() or [""])[0]
        if "PyTree" in reason or "pytree" in reason:
            raise ModelError(
                f"{path}: {reason}; register the type with jax.export.register_pytree_node_serialization first"
            ) from error
        raise damaged from error
    return StableHLOModel(source, path, exported=exported)
