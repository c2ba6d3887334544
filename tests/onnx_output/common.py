# SPDX-License-Identifier: Apache-2.0
"""Runs a Graph by onnxruntime, from the ONNX model that is written of it, and by our own lowering."""

import ml_dtypes  # noqa: F401
import numpy as np
import pytest

from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph

onnx = pytest.importorskip("onnx", reason="the package onnx writes the models")
onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime runs them")
onnxruntime.set_default_logger_severity(3)

TOLERANCE = {"float64": 1e-12, "float32": 3e-6, "float16": 2e-3, "bfloat16": 2e-2}


def written(graph: Graph, constants=None):
    """The model, which is valid: shapes as the standard infers them are those declared."""
    from egraph_opt.lower.onnx import graph_to_onnx

    constants = constants or {}
    inputs = [f"x{i}" for i in range(len(graph.inputs)) if i not in constants]
    model = graph_to_onnx(graph, constants, inputs, [f"y{i}" for i in range(len(graph.outputs))])
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model, arrays):
    """Results of onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, map(np.asarray, arrays), strict=True)))


def close(got, want, tolerance=1.0):
    """Equal: bit for bit where nothing is rounded, else within the element type's tolerance."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if str(want.dtype) in TOLERANCE:
        eps = TOLERANCE[str(want.dtype)] * tolerance
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=eps, atol=eps)
    else:
        np.testing.assert_array_equal(got, want)


def same(graph: Graph, arrays, tolerance=1.0, constants=None):
    """Check a graph on arrays; its model."""
    constants = constants or {}
    model = written(graph, constants)
    free = iter(arrays)
    everything = [constants[i] if i in constants else next(free) for i in range(len(graph.inputs))]
    for got, want in zip(run(model, arrays), lower_graph(graph)(everything), strict=True):
        close(got, want, tolerance)
    return model


def ops_of(model):
    """Operators of the main graph, in order."""
    return [node.op_type for node in model.graph.node]
