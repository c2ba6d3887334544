# SPDX-License-Identifier: Apache-2.0
"""Writes an ONNX model that is in memory: one file, or one with its large weights in a file beside it.

The file is whole or not there at all. Weights beside it lie in a file named after their content, so that an older model
of the same name stays whole until it is replaced.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper

from egraph_opt.errors import OutputError
from egraph_opt.frontends.files import write_atomically

MOST_INSIDE = 1 << 30
"""Bytes of weights that a model file holds itself; beyond 2 GB protocol buffers cannot [byte]."""

LEAST_OUTSIDE = 1024
"""Weights below stay in the model file: shapes, axes, scalars [byte]."""

ALIGNMENT = 4096
"""External weights start at multiples of it, so that they can be mapped [byte]."""


def write_model(model: ModelProto, path: Path, most_inside: int = MOST_INSIDE) -> None:
    """Check a model and write it.

    Args:
        model: with its weights; those that go beside the file are taken out of it.
        path: of the file.
        most_inside: bytes of weights up to which one file holds all.

    Raises:
        OutputError: the file cannot be written.
    """
    held = model.graph.initializer
    if sum(len(tensor.raw_data) for tensor in held) <= most_inside:
        _check(model)
        write_atomically(path, model.SerializeToString())
        return
    large = [tensor for tensor in held if len(tensor.raw_data) >= LEAST_OUTSIDE]
    data = path.with_name(f"{path.name}.{_digest(large)}.data")
    _write_weights(large, data)
    _check(_skeleton(model))
    write_atomically(path, model.SerializeToString())
    _remove_older(path, data)


def _check(model: ModelProto) -> None:
    """What does not pass here is an error of this package, not of the user."""
    try:
        onnx.checker.check_model(model, full_check=False)
    except onnx.checker.ValidationError as error:
        raise AssertionError(f"the model that was made is not valid: {error}") from error


def _skeleton(model: ModelProto) -> ModelProto:
    """The model with inputs in the place of weights that lie beside the file."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    outside = [tensor for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    inside = [tensor for tensor in graph.initializer if tensor.data_location != TensorProto.EXTERNAL]
    del graph.initializer[:]
    graph.initializer.extend(inside)
    graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in outside)
    return copy


def _digest(tensors: list[TensorProto]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for tensor in tensors:
        digest.update(tensor.raw_data)
    return digest.hexdigest()


def _write_weights(tensors: list[TensorProto], path: Path) -> None:
    """Move weights to a file, one after the other, and note in the model where they lie."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            for tensor in tensors:
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                place = {"location": path.name, "offset": file.tell(), "length": len(tensor.raw_data)}
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in place.items():
                    tensor.external_data.add(key=key, value=str(value))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"{path}: the file cannot be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _remove_older(path: Path, data: Path) -> None:
    """Weights of the model that was replaced."""
    for other in path.parent.glob(f"{path.name}.*.data"):
        if other != data and len(other.suffixes) >= 2 and len(other.name) == len(data.name):
            other.unlink(missing_ok=True)
