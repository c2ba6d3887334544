# SPDX-License-Identifier: Apache-2.0
"""Reads and writes whole files, with one clear line when that fails.

Writing goes through a temporary file in the same folder that replaces the old file at the end, so a reader never meets
half a file and a failure leaves the old one untouched. Links are followed; devices and pipes are written to as they
are.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from egraph_opt.errors import ModelError, OutputError


def read_bytes(path: Path) -> bytes:
    """The content of a model file.

    Raises:
        ModelError: there is no such file, it is a folder, it is empty, or it cannot be read.
    """
    if path.is_dir():
        raise ModelError(f"{path}: got a folder; want a model file (.onnx, .jaxexport, .stablehlo, .mlir)")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such file; give the path of a model file") from error
    except OSError as error:
        raise ModelError(f"{path}: the file cannot be read ({error.strerror}); check its permissions") from error
    if not content.strip():
        raise ModelError(f"{path}: the file is empty; write the model again")
    return content


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: where to write; the folder must exist.
        content: the bytes of the file.

    Raises:
        OutputError: the folder is missing or cannot be written, or the path is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: got a folder; want the path of a file to write")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe: nothing may take its place
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except OSError as error:
        raise OutputError(f"{path}: the file cannot be written ({error.strerror})") from error


def _replace(path: Path, content: bytes) -> None:
    """Write beside a file, then put that in its place."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
