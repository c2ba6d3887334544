# SPDX-License-Identifier: Apache-2.0
"""Normalisations and losses beside onnxruntime and formulas; dropout."""

import jax
import numpy as np
import pytest

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, integers, normal

X = normal(3, 6, 5, 4)
CHANNELS = [normal(6), normal(6), normal(6), np.abs(normal(6)) + np.float32(0.5)]
CASES = [
    Case("BatchNormalization", [X, *CHANNELS], {"epsilon": 1e-3}, opset=15),
    Case("BatchNormalization", [X, *CHANNELS], {"epsilon": 1e-3}, opset=9),
    Case("BatchNormalization", [normal(3, 6), *CHANNELS], opset=15),
    Case("BatchNormalization", [X, *CHANNELS], {"training_mode": 1, "momentum": 0.7}, 3, opset=15, tolerance=1e-4),
    Case("LayerNormalization", [X, normal(5, 4), normal(5, 4)], {"axis": 2}, 3, opset=17),
    Case("LayerNormalization", [X, normal(4)], {"epsilon": 1e-2}, opset=17),
    Case("LayerNormalization", [X.astype(np.float16), normal(4, dtype=np.float16)], opset=17, tolerance=3e-3),
    Case("InstanceNormalization", [X, *CHANNELS[:2]], {"epsilon": 1e-2}),
    Case("InstanceNormalization", [normal(2, 6, 9), *CHANNELS[:2]]),
    Case("GroupNormalization", [X, *CHANNELS[:2]], {"num_groups": 3}, tolerance=1e-4),
    Case("LRN", [X], {"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 2.0}),
    Case("MeanVarianceNormalization", [X], {"axes": [1, -1]}, tolerance=1e-4),
    Case("LpNormalization", [X], {"axis": 1, "p": 1}),
    Case("LpNormalization", [X], {"axis": -2}),
]
SCORES, LABELS = normal(4, 5, 3), integers(0, 5, 4, 3)
WITH_IGNORED = np.where(integers(0, 2, 4, 3) == 1, -1, LABELS)
CASES += [
    Case(op, [SCORES, labels, *([weights] if weights is not None else [])], {"reduction": r, **extra}, opset=13)
    for op in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
    for r in ("none", "sum", "mean")
    for labels, extra in ((LABELS, {}), (WITH_IGNORED, {"ignore_index": -1}))
    for weights in (None, np.abs(normal(5)))
]


@pytest.mark.alike
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_onnxruntime(case):
    case.check()


def test_old_batch_normalization_trains():
    attributes = {"epsilon": 1e-3, "momentum": 0.8}
    y, mean, var, saved, saved_var = Case("BatchNormalization", [X, *CHANNELS], attributes, 5, opset=7).results()
    want_mean, want_var = X.mean((0, 2, 3)), X.var((0, 2, 3))
    np.testing.assert_allclose(saved, want_mean, atol=1e-5)
    np.testing.assert_allclose(saved_var, want_var, atol=1e-5)
    np.testing.assert_allclose(mean, 0.8 * CHANNELS[2] + 0.2 * want_mean, atol=1e-5)
    np.testing.assert_allclose(var, 0.8 * CHANNELS[3] + 0.2 * want_var, atol=1e-5)
    scale, b = (value[:, None, None] for value in CHANNELS[:2])
    want = (X - want_mean[:, None, None]) / np.sqrt(want_var + 1e-3)[:, None, None] * scale + b
    np.testing.assert_allclose(y, want, atol=1e-4)


def test_batch_normalization_of_each_place():
    place = [normal(6, 5, 4), normal(6, 5, 4), normal(6, 5, 4), np.abs(normal(6, 5, 4)) + np.float32(0.5)]
    (y,) = Case("BatchNormalization", [X, *place], {"spatial": 0}, opset=7).results()
    np.testing.assert_allclose(y, (X - place[2]) / np.sqrt(place[3] + 1e-5) * place[0] + place[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", [CASES[0], CASES[4], CASES[7], CASES[9], CASES[10], CASES[12], CASES[13]], ids=str)
def test_gradient(case):
    model = case.model()
    rest = {name: case.feeds[name] for name in model.input_names if name != "x0"}
    x = X.copy()
    x[0, 0] = 0  # a norm of zeros has no slope, but no NaN either

    def loss(x):
        results = model(x0=x, **rest)
        return (results[0] if isinstance(results, tuple) else results).sum()

    assert np.isfinite(jax.grad(loss)(x)).all()


def test_dropout():
    ratio, training = np.asarray(0.25, np.float32), np.asarray(True)
    y, kept = Case("Dropout", [X, ratio, training], {"seed": 3}, 2).results()
    assert kept.dtype == np.bool_
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(y, np.where(kept, X / np.float32(0.75), 0), rtol=1e-6)
    again, _ = Case("Dropout", [X, ratio, training], {"seed": 3}, 2).results()
    other, _ = Case("Dropout", [X, ratio, training], {"seed": 4}, 2).results()
    np.testing.assert_array_equal(y, again)
    assert (y != other).any()
    for inputs, opset in (([X, ratio], 13), ([X], 10), ([X, ratio, np.asarray(False)], 13)):
        y, kept = Case("Dropout", inputs, {}, 2, opset=opset).results()
        np.testing.assert_array_equal(y, X)
        assert kept.all()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("LayerNormalization", [X, normal(4)], {"axis": 4}, opset=17), "axis is 4"),
        (Case("GroupNormalization", [X, *CHANNELS[:2]], {"num_groups": 4}), "does not divide"),
        (Case("LpNormalization", [X], {"p": 3}), "want 1 or 2"),
        (Case("SoftmaxCrossEntropyLoss", [SCORES, integers(0, 5, 4)], opset=13), "want"),
        (Case("NegativeLogLikelihoodLoss", [SCORES, LABELS], {"reduction": "max"}, opset=13), "'max'"),
    ],
)
def test_bad_nodes(case, message):
    with pytest.raises(ModelError, match=message):
        case.results()
