# SPDX-License-Identifier: Apache-2.0
"""The frontend as a backend in the sense of ``onnx.backend``, which the standard's own tests can run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep

from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.read import program_of


class Prepared(BackendRep):
    """A model that is ready to run."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    def run(self, inputs: Any, **_kwargs: Any) -> tuple[Any, ...]:
        """Outputs as numpy arrays; sequences as lists of them."""
        results = self.model(*inputs)
        return tuple(_host(value) for value in (results if isinstance(results, tuple) else (results,)))


class Backend(OnnxBackend):
    """Runs ONNX models with JAX on its default device."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_kwargs: Any) -> Prepared:
        """Make a model ready to run."""
        return Prepared(OnnxModel(program_of(model, Path("model.onnx")), Path("model.onnx")))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Sequence[Any], device: str = "CPU", **kwargs: Any) -> Any:
        """Run a model once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """JAX's default device serves as any."""
        return device == "CPU"


def _host(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_host(item) for item in value]
    return None if value is None else np.asarray(value)
