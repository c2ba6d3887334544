# SPDX-License-Identifier: Apache-2.0
"""Resizing, sampled grids, regions and signals beside onnxruntime."""

import jax
import numpy as np
import pytest

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, normal

X = normal(2, 3, 6, 5)
NONE = np.zeros(0, np.float32)


def scales(*values):
    return np.array((1, 1, *values), np.float32)


def resize(*values, sizes=None, opset=13, x=X, roi=NONE, **attributes):
    given = [x, roi, None if sizes else scales(*values)] + ([np.array(sizes)] if sizes else [])
    return Case("Resize", given, attributes, opset=opset, tolerance=1e-4)


RESIZE = [
    resize(2, 3, mode="nearest"),
    resize(2.5, 1.7, mode="nearest", nearest_mode="ceil", coordinate_transformation_mode="asymmetric"),
    resize(0.7, 0.6, mode="nearest", nearest_mode="round_prefer_ceil"),
    resize(0.5, 1, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"),
    resize(sizes=(2, 3, 9, 4), mode="nearest", coordinate_transformation_mode="align_corners"),
    resize(1.7, 0.6, mode="linear"),
    resize(2, 0.4, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    resize(sizes=(2, 3, 11, 3), mode="linear", coordinate_transformation_mode="align_corners"),
    resize(1.9, 0.6, mode="cubic", coordinate_transformation_mode="asymmetric", cubic_coeff_a=-0.5),
    resize(0.6, 2, mode="cubic", exclude_outside=1),
    resize(sizes=(2, 3, 4, 3), mode="linear", antialias=1, opset=18),
    resize(sizes=(9, 7), axes=[3, 2], mode="linear", opset=18),
    resize(sizes=(9, 7), axes=[2, 3], mode="nearest", keep_aspect_ratio_policy="not_larger", opset=18),
    Case("Resize", [X, scales(2, 1.5)], {"mode": "linear"}, opset=10),
    Case("Resize", [X, scales(0.5, 1.5)], {"mode": "nearest"}, opset=10),
    Case("Upsample", [X, scales(2, 3)], {"mode": "linear"}, opset=9),
    Case("Upsample", [X], {"mode": "nearest", "scales": [1.0, 1.0, 1.5, 2.0]}, opset=7),
]
GRID = np.clip(normal(2, 4, 7, 2), -1.4, 1.4)
BOXES = np.array([[0, 0, 4, 5], [1, 2, 3, 3.5], [-2, -1, 9, 7]], np.float32)
GRIDS = [
    Case(
        "GridSample",
        [X, GRID],
        {"mode": mode, "padding_mode": padding, "align_corners": aligned},
        opset=20,
        tolerance=1e-4,
    )
    for mode, padding, aligned in (
        ("linear", "reflection", 1),
        ("linear", "border", 0),
        ("nearest", "reflection", 0),
        ("cubic", "zeros", 1),
        ("cubic", "reflection", 0),
    )
] + [
    Case("GridSample", [normal(1, 2, 4, 5, 3), np.clip(normal(1, 2, 3, 2, 3), -1.3, 1.3)], opset=20, tolerance=1e-4),
    Case("AffineGrid", [normal(2, 2, 3), np.array([2, 3, 5, 4])], {"align_corners": 1}, opset=20),
    Case("AffineGrid", [normal(2, 3, 4), np.array([2, 3, 2, 5, 4])], opset=20),
]
ROIS = [
    Case(
        "RoiAlign",
        [X, BOXES, np.array([0, 1, 1])],
        {"output_height": 2, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": 0.9, "mode": mode},
        opset=opset,
        tolerance=1e-4,
    )
    for ratio, mode, opset in ((2, "avg", 16), (0, "avg", 10), (3, "max", 16), (0, "max", 16))
]
SIGNALS = [
    Case("DFT", [normal(2, 9, 1), np.asarray(12), np.asarray(1)], opset=20, tolerance=1e-4),
    Case("DFT", [normal(2, 9, 2), None, np.asarray(-2)], {"inverse": 1}, opset=20, tolerance=1e-4),
    Case("DFT", [normal(2, 9, 1)], {"axis": 1, "onesided": 1}, opset=17, tolerance=1e-4),
    Case("STFT", [normal(2, 40, 1), np.asarray(7), np.abs(normal(16))], opset=17, tolerance=1e-4),
    Case("STFT", [normal(1, 40, 1), np.asarray(5), None, np.asarray(12)], {"onesided": 0}, opset=17, tolerance=1e-4),
    *(
        Case(f"{name}Window", [np.asarray(9)], {"periodic": p}, opset=17)
        for name in ("Hann", "Blackman")
        for p in (0, 1)
    ),
    Case("HammingWindow", [np.asarray(8)], opset=17),
    Case(
        "MelWeightMatrix",
        [np.asarray(8), np.asarray(64), np.asarray(8000), np.asarray(20, np.float32), np.asarray(3500, np.float32)],
        opset=17,
    ),
]


@pytest.mark.alike
@pytest.mark.parametrize("case", [*RESIZE, *GRIDS, *ROIS, *SIGNALS], ids=str)
def test_as_onnxruntime(case):
    case.check()


def test_whole_factors_repeat():
    jaxpr = jax.make_jaxpr(RESIZE[0].model())(X)
    assert {"broadcast_in_dim", "reshape"} >= {eqn.primitive.name for eqn in jaxpr.eqns}


@pytest.mark.parametrize("case", [RESIZE[5], RESIZE[8], GRIDS[0], ROIS[0], SIGNALS[3]], ids=str)
def test_gradient(case):
    model = case.model()
    rest = {name: case.feeds[name] for name in model.input_names if name != "x0"}
    gradient = jax.grad(lambda x: model(x0=x, **rest).sum())(case.inputs[0])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (resize(2, -1), "want positive"),
        (resize(sizes=(3, 4)), "got 2 sizes for 4 axes"),
        (resize(2, 2, mode="quintic"), "'quintic'"),
        (resize(2, 2, mode="linear", coordinate_transformation_mode="tf_crop_and_resize"), "roi has 0 numbers"),
        (Case("GridSample", [X, normal(2, 4, 7, 3)], opset=20), "want"),
        (Case("DFT", [normal(2, 9, 3)], opset=20), "real and imaginary"),
        (Case("STFT", [normal(1, 9, 1), np.asarray(2), None, np.asarray(12)], opset=17), "do not fit"),
    ],
)
def test_bad_nodes(case, message):
    with pytest.raises(ModelError, match=message):
        case.results()
