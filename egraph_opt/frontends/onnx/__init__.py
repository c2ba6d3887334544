# SPDX-License-Identifier: Apache-2.0
"""The ONNX frontend.

Protocol buffers become records (`read`), and the records are run in JAX, node by node (`evaluate`, `operator` and the
files of operator families). Only this folder needs the package onnx.
"""

from pathlib import Path

from egraph_opt.frontends.files import read_bytes
from egraph_opt.frontends.onnx.model import OnnxModel as OnnxModel
from egraph_opt.frontends.onnx.read import read_model
from egraph_opt.frontends.onnx.signature import Shape as Shape


def load_onnx(path: Path, shapes: dict[str, Shape | int] | None = None) -> OnnxModel:
    """Read an ONNX model.

    Args:
        path: the file; external data lie beside it.
        shapes: input -> its shape, or name of a dimension -> its size, where the model leaves them open.

    Raises:
        ModelError: the file is no whole ONNX model.
        UnsupportedOpError: it holds operators that are not known.
        ArgumentError: a shape that does not fit the model.
    """
    return OnnxModel(read_model(read_bytes(path), path), path, shapes)
