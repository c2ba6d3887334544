# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft beside onnxruntime."""

import numpy as np
import pytest

from egraph_opt.errors import UnsupportedOpError
from tests.onnx_frontend.nodes import Case, integers, normal

MS = "com.microsoft"
X, SKIP, SCALE, BIAS = normal(2, 5, 12), normal(2, 5, 12), normal(12), normal(12)
BYTES, OTHER = integers(0, 256, 2, 3, 4, dtype=np.uint8), integers(0, 256, 2, 3, 4, dtype=np.uint8)
WEIGHT = integers(0, 256, 4, 5, dtype=np.uint8)


def one(value, dtype=np.float32):
    return np.asarray(value).astype(dtype)


S1, S2, S3, Z1, Z2, Z3 = one(0.03), one(0.05), one(0.09), one(99, np.uint8), one(130, np.uint8), one(120, np.uint8)
CASES = [
    Case("FusedMatMul", [normal(2, 4, 3), normal(2, 5, 4)], {"transA": 1, "transB": 1, "alpha": 0.7}, domain=MS),
    Case("Gelu", [X], domain=MS),
    Case("BiasGelu", [X, BIAS], domain=MS),
    Case("FastGelu", [X, BIAS], domain=MS, tolerance=1e-4),
    Case("QuickGelu", [X], {"alpha": 1.5}, domain=MS),
    Case("SimplifiedLayerNormalization", [X, SCALE], {"epsilon": 1e-3}, opset=17),
    Case("SkipLayerNormalization", [X, SKIP, SCALE, BIAS, normal(12)], domain=MS, tolerance=1e-4),
    Case("SkipSimplifiedLayerNormalization", [X, SKIP, SCALE], {"epsilon": 1e-5}, domain=MS, tolerance=1e-4),
    Case(
        "RotaryEmbedding",
        [normal(2, 5, 24), integers(0, 9, 2, 5), *(f(normal(9, 4)) for f in (np.cos, np.sin))],
        {"interleaved": 1},
        domain=MS,
    ),
    Case("RotaryEmbedding", [normal(2, 3, 5, 8), np.array([3]), normal(9, 4), normal(9, 4)], domain=MS),
    Case(
        "MultiHeadAttention",
        [X, normal(2, 7, 12), normal(2, 7, 6), normal(30), None, normal(1, 3, 5, 7)],
        {"num_heads": 3, "scale": 0.4},
        domain=MS,
    ),
    Case(
        "Attention",
        [X, normal(12, 18), normal(18), integers(0, 2, 2, 5, dtype=np.int32) | np.eye(2, 5, dtype=np.int32)],
        {"num_heads": 3},
        domain=MS,
        tolerance=1e-4,
    ),
    Case("Attention", [X, normal(12, 18), BIAS[:6].repeat(3)], {"num_heads": 2, "unidirectional": 1}, 1, 21, MS, 1e-4),
    Case(
        "FusedConv",
        [normal(1, 3, 6, 6), normal(4, 3, 3, 3), normal(4)],
        {"activation": "LeakyRelu", "activation_params": [0.2], "pads": [1, 0, 1, 0]},
        domain=MS,
    ),
    Case(
        "FusedGemm", [normal(4, 3), normal(5, 4), normal(5)],
        {"transA": 1, "transB": 1, "alpha": 0.5, "activation": "Tanh"}, domain=MS,
    ),
    Case("QLinearAdd", [BYTES, S1, Z1, OTHER, S2, Z2, S3, Z3], domain=MS, tolerance=1),
    Case("QLinearMul", [BYTES, S1, Z1, OTHER, S2, Z2, S3, Z3], domain=MS, tolerance=1),
    Case("QLinearSigmoid", [BYTES, S1, Z1, one(1 / 256), one(0, np.uint8)], domain=MS, tolerance=1),
    Case("QLinearLeakyRelu", [BYTES, S1, Z1, S2, Z2], {"alpha": 0.2}, domain=MS, tolerance=1),
    Case("QLinearGlobalAveragePool", [BYTES, S1, Z1, S2, Z2], domain=MS, tolerance=1),
    Case("QLinearConcat", [S3, Z3, BYTES, S1, Z1, OTHER, S2, Z2], {"axis": 1}, domain=MS, tolerance=1),
    Case("MatMulIntegerToFloat", [BYTES, WEIGHT, S1, normal(5), Z1, Z2, normal(5)], domain=MS, tolerance=1e-4),
    Case("DynamicQuantizeMatMul", [normal(2, 3, 4), WEIGHT, normal(5), None, normal(5)], domain=MS, tolerance=1e-4),
    Case(
        "MatMulNBits",
        [normal(3, 40), integers(0, 256, 6, 3, 8, dtype=np.uint8), np.abs(normal(18)),
         integers(0, 256, 12, dtype=np.uint8)],
        {"K": 40, "N": 6, "bits": 4, "block_size": 16},
        domain=MS,
        tolerance=1e-3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_onnxruntime(case):
    case.check()


@pytest.mark.parametrize(
    "case",
    [
        Case("MultiHeadAttention", [normal(2, 5, 3, 3, 4)], {"num_heads": 3}, domain=MS),
        Case("FusedGemm", [normal(4, 3), normal(3, 4)], {"activation": "Cube"}, domain=MS),
        Case("MatMulNBits", [normal(3, 4), normal(6, 1, 8), normal(6)], {"K": 4, "N": 6, "bits": 3}, domain=MS),
    ],
    ids=str,
)
def test_refused_forms(case):
    with pytest.raises(UnsupportedOpError, match=r"see docs/onnx\.md"):
        case.results()
