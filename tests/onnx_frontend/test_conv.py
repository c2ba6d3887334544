# SPDX-License-Identifier: Apache-2.0
"""Convolutions and pools beside onnxruntime, in forms that the standard's own cases lack."""

import jax
import numpy as np
import pytest

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, integers, normal

X1, X2, X3 = normal(2, 4, 11), normal(2, 4, 9, 10), normal(1, 4, 6, 5, 7)
CONVOLUTIONS = [
    Case("Conv", [X1, normal(6, 2, 3), normal(6)], {"group": 2, "strides": [2], "pads": [0, 2], "dilations": [2]}),
    Case("Conv", [X2, normal(4, 1, 3, 2)], {"group": 4, "strides": [2, 3], "pads": [1, 0, 2, 1]}),
    Case("Conv", [X2, normal(8, 4, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, opset=11),
    Case("Conv", [X2, normal(8, 4, 2, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    Case("Conv", [X2, normal(8, 4, 2, 3)], {"auto_pad": "VALID", "kernel_shape": [2, 3]}),
    Case("Conv", [X3, normal(2, 2, 2, 3, 2), normal(2)], {"group": 2, "pads": [1, 0, 1, 0, 1, 1]}),
    Case("ConvTranspose", [X1, normal(4, 3, 3), normal(6)], {"group": 2, "strides": [2], "pads": [1, 0]}),
    Case("ConvTranspose", [X2, normal(4, 3, 3, 2)], {"strides": [3, 2], "output_padding": [2, 1], "pads": [1, 1] * 2}),
    Case("ConvTranspose", [X2, normal(4, 3, 3, 3)], {"strides": [2, 2], "output_shape": [18, 19]}),
    Case("ConvTranspose", [X2, normal(4, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    Case("ConvTranspose", [X2, normal(4, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    Case("ConvTranspose", [X2, normal(4, 1, 3, 3)], {"group": 4, "dilations": [2, 1], "pads": [2, 2, 3, 1]}),
    Case("ConvTranspose", [X3, normal(4, 2, 2, 2, 3)], {"strides": [2, 1, 2], "pads": [0, 1, 0, 1, 0, 1]}),
    Case(
        "ConvInteger",
        [integers(0, 255, 1, 2, 5, 6, dtype=np.uint8), integers(0, 255, 4, 1, 3, 2, dtype=np.uint8),
         np.uint8(130)[None].reshape(()), np.uint8(7)[None].reshape(())],
        {"group": 2, "pads": [1, 1, 0, 1], "strides": [2, 1]},
    ),
    Case(
        "DeformConv",
        [normal(2, 4, 7, 8), normal(6, 2, 3, 2), normal(2, 24, 5, 7), normal(6), normal(2, 12, 5, 7)],
        {"group": 2, "offset_group": 2, "pads": [0, 0, 0, 1], "dilations": [1, 2]},
        opset=19,
    ),
    Case(
        "Col2Im",
        [normal(2, 12, 9), np.array([5, 6]), np.array([2, 3])],
        {"pads": [0, 1, 1, 0], "strides": [2, 1], "dilations": [1, 2]},
        opset=18,
    ),
]  # fmt: skip
POOLS = [
    Case("MaxPool", [X1], {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}, 2),
    Case("MaxPool", [X2], {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1], "ceil_mode": 1}, 2),
    Case("MaxPool", [X2], {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 2, 1], "storage_order": 1}, 2),
    Case("MaxPool", [np.round(X2)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 2),
    Case("MaxPool", [X3], {"kernel_shape": [2, 3, 2], "auto_pad": "SAME_LOWER", "strides": [2, 2, 1]}, 2),
    Case("MaxPool", [integers(-128, 127, 1, 2, 5, 5, dtype=np.int8)], {"kernel_shape": [2, 2]}, opset=12),
    Case("AveragePool", [X1], {"kernel_shape": [3], "strides": [2], "pads": [1, 0], "ceil_mode": 1}),
    Case("AveragePool", [X2], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    Case(
        "AveragePool",
        [X2],
        {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [1, 2, 0, 1], "ceil_mode": 1, "count_include_pad": 1},
    ),
    Case("AveragePool", [X3], {"kernel_shape": [2, 2, 3], "auto_pad": "SAME_UPPER", "strides": [2, 1, 2]}),
    Case("AveragePool", [X2], {"kernel_shape": [2, 3], "dilations": [3, 2], "pads": [1, 1, 1, 1]}),
    Case("LpPool", [X2], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 1, 0], "p": 1}, opset=18),
    Case("LpPool", [X2], {"kernel_shape": [2, 3], "p": 3}, opset=18),
    Case("GlobalLpPool", [X3], {"p": 3}),
    Case("GlobalMaxPool", [X3]),
    Case("GlobalAveragePool", [X1]),
    Case(
        "MaxRoiPool",
        [normal(2, 3, 9, 12), np.array([[0, 0, 0, 7, 8], [1, 3, 2, 11, 6], [1, 9, 7, 9, 7]], np.float32)],
        {"pooled_shape": [3, 2], "spatial_scale": 0.8},
    ),
]


@pytest.mark.alike
@pytest.mark.parametrize("case", [*CONVOLUTIONS, *POOLS], ids=str)
def test_as_onnxruntime(case):
    case.check()


APART = 0.1 * np.random.default_rng(0).permutation(2 * 4 * 11).reshape(2, 4, 11).astype(np.float32)
"""Values of which no step turns the order: a maximum has no derivative where two are equal."""


@pytest.mark.parametrize(
    "case",
    [CONVOLUTIONS[1], CONVOLUTIONS[7], CONVOLUTIONS[14], Case("MaxPool", [APART], POOLS[0].attributes), POOLS[7]],
    ids=str,
)
def test_gradient(case):
    model = Case(case.op, case.inputs, case.attributes, 1, case.opset).model()
    rest = {name: case.feeds[name] for name in model.input_names if name != "x0"}
    x = case.inputs[0]
    step = 1e-2 * np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)  # the same in any order of tests
    gradient = jax.grad(lambda x: model(x0=x, **rest).sum())(x)
    ends = [float(np.asarray(model(x0=x + sign * step, **rest), np.float64).sum()) for sign in (1, -1)]
    want = (ends[0] - ends[1]) / 2
    assert abs(float((gradient * step).sum()) - want) < 2e-3 * (abs(want) + 1)


def test_the_mean_of_an_image_is_finite_where_its_sum_is_not():
    x = np.full((1, 2, 3, 4), 2e38, np.float32)
    np.testing.assert_allclose(Case("GlobalAveragePool", [x]).model()(x0=x), np.full((1, 2, 1, 1), 2e38), rtol=1e-6)


def test_average_divides_by_constants():
    model = POOLS[7].model()
    jaxpr = str(jax.make_jaxpr(model)(X2))
    assert jaxpr.count("reduce_window") == 1  # the numbers of elements are not computed by the program


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("Conv", [X2, normal(6, 3, 3, 3)]), "want W"),
        (Case("Conv", [X2, normal(6, 4, 3, 3)], {"kernel_shape": [2, 2]}), "but the weight has"),
        (Case("Conv", [X2, normal(6, 4, 3, 3)], {"strides": [2]}), "one for each spatial axis"),
        (Case("Conv", [X2, normal(6, 4, 13, 3)]), "a window spans 13"),
        (Case("MaxPool", [X2], {"kernel_shape": [2, 2], "pads": [1, 1]}), "two for each spatial axis"),
        (Case("MaxPool", [X2], {"kernel_shape": [2, 2], "strides": [0, 1]}), "positive"),
        (Case("AveragePool", [X2], {"kernel_shape": [2, 2], "auto_pad": "SOME"}), "auto_pad"),
    ],
)
def test_bad_nodes(case, message):
    with pytest.raises(ModelError, match=rf"node 'it' \({case.op}\).*{message}") as caught:
        case.results()
    assert "\n" not in str(caught.value)
