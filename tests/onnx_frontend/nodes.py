# SPDX-License-Identifier: Apache-2.0
"""Models of one node, run by this package and by onnxruntime."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.read import program_of

RANDOM = np.random.default_rng(0)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(dtype)


def integers(low: int, high: int, *shape: int, dtype: Any = np.int64) -> np.ndarray:
    return RANDOM.integers(low, high, shape).astype(dtype)


@dataclass(frozen=True)
class Case:
    """One node: its operator, the values of its inputs (None: left out), attributes, and how many outputs are asked."""

    op: str
    inputs: Sequence[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 21
    domain: str = ""
    tolerance: float = 1e-5

    def __str__(self) -> str:
        shapes = "x".join("-" if x is None else ",".join(map(str, x.shape)) for x in self.inputs)
        return f"{self.op}-{self.opset}-{shapes}-{'-'.join(f'{k}={v}' for k, v in self.attributes.items())}"[:120]

    @property
    def names(self) -> list[str]:
        return ["" if x is None else f"x{i}" for i, x in enumerate(self.inputs)]

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{i}": x for i, x in enumerate(self.inputs) if x is not None}

    def proto(self) -> onnx.ModelProto:
        node = helper.make_node(
            self.op,
            self.names,
            [f"y{i}" for i in range(self.outputs)],
            domain=self.domain,
            name="it",
            **self.attributes,
        )
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in self.feeds.items()
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output]
        opsets = [helper.make_opsetid("", self.opset)] + ([helper.make_opsetid(self.domain, 1)] if self.domain else [])
        graph = helper.make_graph([node], "one", given, results)
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def model(self) -> OnnxModel:
        """The node as a function; inputs that shape the result are constants, as exporters make them."""
        proto = self.proto()
        kinds = "if" if self.op in ("Resize", "Upsample", "MelWeightMatrix") else "i"
        constant = [(n, x) for n, x in self.feeds.items() if x.dtype.kind in kinds and x.size <= 16 and x.ndim <= 1]
        for name, x in constant:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(x, name))
        return OnnxModel(program_of(proto, Path("one.onnx")), Path("one.onnx"))

    def results(self) -> list[np.ndarray]:
        """Outputs of this package."""
        model = self.model()
        outputs = model(**{name: self.feeds[name] for name in model.input_names})
        return [np.asarray(y) for y in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def wanted(self) -> list[np.ndarray]:
        """Outputs of onnxruntime."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            self.proto().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, self.feeds)

    def check(self) -> None:
        """Types, shapes and values are those of onnxruntime."""
        for have, want in zip(self.results(), self.wanted(), strict=True):
            assert have.dtype == want.dtype
            assert have.shape == want.shape
            relative = 0.0 if want.dtype.kind in "iub" else self.tolerance  # integers differ by steps, not by parts
            np.testing.assert_allclose(
                have.astype(np.float64), want.astype(np.float64), rtol=relative, atol=self.tolerance
            )
