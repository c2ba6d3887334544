# SPDX-License-Identifier: Apache-2.0
"""Models whose batch, image or sequence has an open size: they are traced once for all of them."""

from pathlib import Path

import jax
import numpy as np
import onnx
import pytest

from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.read import program_of
from tests.onnx_frontend.nodes import Case, normal

IMAGE = normal(2, 4, 9, 10)
SCALES = np.array([1, 1, 2, 1.5], np.float32)
CASES = [
    (Case("Conv", [IMAGE, normal(6, 4, 3, 3), normal(6)], {"pads": [1, 1, 1, 1]}), "bchw", ["(b, 6, h, w)"]),
    (Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3)], {"strides": [2, 2]}), "b", ["(b, 3, 19, 21)"]),
    (Case("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), "b_hw", ["(b, 4, h, w)"]),
    (Case("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}), "b", ["(b, 4, 9, 10)"]),
    (Case("GroupNormalization", [IMAGE, normal(4), normal(4)], {"num_groups": 2}), "b_h", ["(b, 4, h, 10)"]),
    (Case("LayerNormalization", [normal(2, 4, 9), normal(9)], opset=17), "bt", ["(b, t, 9)"]),
    (
        Case("LSTM", [normal(5, 3, 4), normal(1, 24, 4), normal(1, 24, 6)], {"hidden_size": 6}, 3, 14),
        "tb",
        ["(t, 1, b, 6)", "(1, b, 6)", "(1, b, 6)"],
    ),
    (Case("Resize", [IMAGE, None, SCALES], {"mode": "linear"}, opset=13), "b", ["(b, 4, 18, 15)"]),
    (Case("QuantizeLinear", [IMAGE, normal(4)], {"axis": 1}, opset=13), "b_h", ["(b, 4, h, 10)"]),
]


@pytest.mark.parametrize(("case", "sizes", "wanted"), CASES, ids=[case.op for case, _, _ in CASES])
def test_shapes_of_results(case, sizes, wanted):
    proto = case.proto()
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    for dim, name in zip(dims, sizes, strict=False):
        if name in "bthw":
            dim.dim_param = name
    for name, x in list(case.feeds.items())[1:]:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(x, name))
    model = OnnxModel(program_of(proto, Path("open.onnx")), Path("open.onnx"))
    with jax.enable_x64(True):
        results = jax.tree.leaves(jax.eval_shape(model, *model.in_avals))
    assert [str(result.shape) for result in results] == wanted
