# SPDX-License-Identifier: Apache-2.0
"""Quantised operators beside onnxruntime: granularities, narrow types, rounding."""

import ml_dtypes
import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, integers, normal

X = 5 * normal(3, 8, 4)
FULL = np.asarray(0.07, np.float32)
EACH = np.abs(normal(8)) + np.float32(0.05)
BLOCKS = np.abs(normal(3, 3, 4)) + np.float32(0.05)
HALVES = np.arange(-9, 9, dtype=np.float32).reshape(1, 18) / 2
BYTES, SMALL = integers(0, 256, 3, 8, 4, dtype=np.uint8), integers(-128, 128, 3, 8, 4, dtype=np.int8)


def zero(value, dtype=np.uint8):
    return np.asarray(value).astype(dtype)


QUANTIZE = [
    Case("QuantizeLinear", [X, FULL], opset=13),
    Case("QuantizeLinear", [X, FULL, zero(120)], opset=10),
    Case("QuantizeLinear", [X, EACH, integers(-9, 9, 8, dtype=np.int8)], {"axis": -2}, opset=13),
    Case("QuantizeLinear", [HALVES, np.ones((), np.float32), zero(3, np.int8)], opset=13),
    Case("QuantizeLinear", [X, BLOCKS, integers(0, 99, 3, 3, 4, dtype=np.uint16)], {"axis": 1, "block_size": 3}),
    Case("QuantizeLinear", [X, EACH], {"axis": 1, "output_dtype": 22}),
    Case("QuantizeLinear", [X.astype(np.float16), FULL.astype(np.float16), zero(9)], opset=19),
    Case("QuantizeLinear", [normal(90, 8, 4, dtype=np.float16), FULL.astype(np.float16), zero(99)], opset=19),
    Case("QuantizeLinear", [1e3 * X, FULL, np.zeros((), ml_dtypes.float8_e4m3fn)], opset=19),
    Case("QuantizeLinear", [1e3 * X, FULL, np.zeros((), ml_dtypes.float8_e5m2)], {"saturate": 0}, opset=19),
]
DEQUANTIZE = [
    Case("DequantizeLinear", [BYTES, FULL, zero(3)], opset=10),
    Case("DequantizeLinear", [SMALL, EACH, integers(-9, 9, 8, dtype=np.int8)], {"axis": 1}, opset=13),
    Case("DequantizeLinear", [integers(-1000, 1000, 3, 4, dtype=np.int32), FULL], opset=13),
    Case("DequantizeLinear", [BYTES, BLOCKS], {"axis": -2, "block_size": 3}),
    Case("DequantizeLinear", [SMALL.astype(np.float32).astype(ml_dtypes.float8_e5m2), FULL], opset=19),
    Case("DequantizeLinear", [integers(-8, 8, 3, 8, 4).astype(ml_dtypes.int4), EACH], {"axis": 1}),
]
PRODUCTS = [
    Case("MatMulInteger", [BYTES, integers(0, 256, 4, 5, dtype=np.uint8)], opset=10),
    Case("MatMulInteger", [BYTES, integers(-99, 99, 4, 5, dtype=np.int8), zero(12), zero(-3, np.int8)], opset=10),
    Case(
        "QLinearMatMul",
        [BYTES, FULL, zero(99), integers(0, 256, 4, 5, dtype=np.uint8), np.asarray(0.02, np.float32), zero(140),
         np.asarray(0.2, np.float32), zero(128)],
        opset=10,
    ),
    Case(
        "QLinearConv",
        [integers(0, 256, 2, 4, 6, 7, dtype=np.uint8), FULL, zero(99), integers(-99, 99, 6, 2, 3, 2, dtype=np.int8),
         np.abs(normal(6)) / 9, np.zeros(6, np.int8), np.asarray(0.9, np.float32), zero(77),
         integers(-300, 300, 6, dtype=np.int32)],
        {"group": 2, "pads": [1, 0, 0, 1], "strides": [2, 1]},
        opset=10,
    ),
    Case("DynamicQuantizeLinear", [X], {}, 3, opset=11),
    Case("DynamicQuantizeLinear", [np.abs(X) + 1], {}, 3, opset=11),
]  # fmt: skip


def is_narrow(case):
    """onnxruntime does not take or give these types, or divides float16 in another precision than the standard."""
    if case.inputs[0].dtype == np.float16:
        return True
    return case.attributes.get("output_dtype") or any(x.dtype.isbuiltin != 1 for x in case.inputs)


LINEAR = [*QUANTIZE, *DEQUANTIZE]


@pytest.mark.parametrize("case", [case for case in [*LINEAR, *PRODUCTS] if not is_narrow(case)], ids=str)
def test_as_onnxruntime(case):
    case.check()


@pytest.mark.parametrize("case", [case for case in LINEAR if is_narrow(case)], ids=str)
def test_narrow_types_as_the_reference(case):
    (have,), (want,) = case.results(), ReferenceEvaluator(case.proto()).run(None, case.feeds)
    assert have.dtype == want.dtype
    np.testing.assert_allclose(have.astype(np.float32), want.astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("QuantizeLinear", [X, EACH], {"axis": 2}, opset=13), r"got a scale \[8\]; want \[4\]"),
        (Case("DequantizeLinear", [BYTES, BLOCKS], {"axis": 1, "block_size": 2}), "for blocks of 2"),
        (Case("QuantizeLinear", [X, FULL, zero(1)], {"output_dtype": 3}), "zero point is uint8"),
        (Case("DequantizeLinear", [BYTES, EACH], {"axis": 3}), "axis is 3"),
    ],
)
def test_bad_nodes(case, message):
    with pytest.raises(ModelError, match=message):
        case.results()
