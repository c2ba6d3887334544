# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft that onnxruntime's CPU lacks, beside the standard's operators that they are made of."""

from dataclasses import replace

import numpy as np
import pytest

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, integers, normal

MS = "com.microsoft"
X, BIAS = normal(2, 5, 12), normal(12)
IMAGE, SCALE, OFFSET = normal(2, 3, 4, 6), normal(6), normal(6)


def agree(case, wanted):
    (have,) = replace(case, domain=MS).results()
    np.testing.assert_allclose(have, wanted, rtol=2e-5, atol=2e-5)


def test_joined_biases():
    agree(Case("BiasAdd", [X, BIAS, X * 2]), 3 * X + BIAS)
    left, right = np.split(X + BIAS, 2, axis=2)
    (gelu,) = Case("Gelu", [right], opset=20).wanted()
    agree(Case("BiasSplitGelu", [X, BIAS]), left * gelu)
    w, b = normal(12, 4), normal(4)
    agree(Case("GemmFastGelu", [X, w, b]), Case("FastGelu", [X @ w, b], domain=MS).wanted()[0])


@pytest.mark.parametrize(
    ("bias", "inner", "spread"),
    [((2, 1, 1, 6), 1, (2, 1, 1, 6)), ((2, 6), 1, (2, 1, 1, 6)), ((3, 4, 6), 0, (1, 3, 4, 6))],
)
def test_bias_softmax(bias, inner, spread):
    b = normal(*bias)
    wanted = Case("Softmax", [IMAGE + b.reshape(spread)], {"axis": 3}).wanted()[0]
    agree(Case("BiasSoftmax", [IMAGE, b], {"axis": 3, "is_inner_broadcast": inner}), wanted)


def normed(image, activation):
    first = np.moveaxis(image, -1, 1).copy()
    (y,) = Case("GroupNormalization", [first, SCALE, OFFSET], {"num_groups": 3, "epsilon": 1e-3}).wanted()
    y = y / (1 + np.exp(-y)) if activation else y
    return np.moveaxis(y, 1, -1)


@pytest.mark.parametrize("activation", [0, 1])
def test_group_norm(activation):
    attributes = {"groups": 3, "epsilon": 1e-3, "activation": activation}
    agree(Case("GroupNorm", [IMAGE, SCALE, OFFSET], attributes), normed(IMAGE, activation))
    first = Case("GroupNorm", [np.moveaxis(IMAGE, -1, 1).copy(), SCALE, OFFSET], {**attributes, "channels_last": 0})
    agree(first, np.moveaxis(normed(IMAGE, activation), -1, 1))
    skip, bias = normal(2, 6), normal(6)
    total = IMAGE + skip[:, None, None] + bias
    y, added = Case("SkipGroupNorm", [IMAGE, SCALE, OFFSET, skip, bias], attributes, 2, domain=MS).results()
    np.testing.assert_allclose(y, normed(total, activation), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(added, total, rtol=1e-6, atol=1e-6)


def test_group_norm_wants_a_divisor():
    with pytest.raises(ModelError, match="groups is 4 of 6 channels"):
        Case("GroupNorm", [IMAGE, SCALE, OFFSET], {"groups": 4}, domain=MS).results()


def test_convolution_with_channels_last():
    w, b = normal(5, 3, 2, 6), normal(5)
    plain = Case("Conv", [np.moveaxis(IMAGE, -1, 1).copy(), np.moveaxis(w, -1, 1).copy(), b], {"pads": [1, 0, 1, 1]})
    agree(Case("NhwcConv", [IMAGE, w, b], {"pads": [1, 0, 1, 1]}), np.moveaxis(plain.wanted()[0], 1, -1))


def test_mean_of_quantised_numbers():
    x = integers(0, 256, 2, 3, 4, dtype=np.uint8)
    scale, zero, new, shift = np.float32(0.03), np.uint8(99), np.float32(0.05), np.uint8(130)
    mean = ((x.astype(np.float32) - 99) * scale).mean((1, 2))
    wanted = np.clip(np.rint(mean / new) + 130, 0, 255)
    inputs = [x, *(np.asarray(v) for v in (scale, zero, new, shift))]
    case = Case("QLinearReduceMean", inputs, {"axes": [1, -1], "keepdims": 0}, domain=MS)
    np.testing.assert_array_equal(case.results()[0], wanted)
