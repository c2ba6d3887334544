# SPDX-License-Identifier: Apache-2.0
"""Operators of com.microsoft beside onnxruntime."""

import numpy as np
import pytest

from egraph_opt.errors import UnsupportedOpError
from tests.onnx_frontend.nodes import Case, integers, normal

MS = "com.microsoft"
X, SKIP, SCALE, BIAS = normal(2, 5, 12), normal(2, 5, 12), normal(12), normal(12)
IDS, IMAGE = integers(0, 9, 2, 5, dtype=np.int32), integers(0, 256, 2, 3, 6, 5, dtype=np.uint8)
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
        "Attention",
        [X, normal(12, 18), normal(18), np.int32([[1] * 9, [1] * 7 + [0] * 2]), normal(2, 2, 3, 4, 2)],
        {"num_heads": 3, "unidirectional": 1},
        2,
        domain=MS,
        tolerance=1e-4,
    ),
    *(
        Case("Attention", [X, normal(12, 18), normal(18), mask], {"num_heads": 3}, domain=MS, tolerance=1e-4)
        for mask in (np.int32([5, 3]), np.int32([5, 4, 0, 1]), integers(0, 2, 2, 5, 5, dtype=np.int32))
    ),
    Case("MultiHeadAttention", [X, normal(2, 3, 7, 4), normal(2, 3, 7, 4)], {"num_heads": 3}, domain=MS),
    Case(
        "MultiHeadAttention",
        [X, X, SKIP, None, np.int32([[1] * 9, [1] * 7 + [0] * 2]), None, *(normal(2, 3, 4, 4) for _ in range(2))],
        {"num_heads": 3, "unidirectional": 1},
        3,
        domain=MS,
        tolerance=1e-4,
    ),
    Case(
        "QAttention",
        [integers(0, 256, 2, 5, 12, dtype=np.uint8), integers(-99, 99, 12, 18, dtype=np.int8), normal(18),
         one(0.01), one(0.02), np.int32([5, 3]), one(120, np.uint8), one(0, np.int8)],
        {"num_heads": 3},
        domain=MS,
        tolerance=1e-4,
    ),
    Case(
        "EmbedLayerNormalization",
        [IDS, IDS % 2, normal(9, 12), normal(7, 12), normal(2, 12), SCALE, BIAS, np.int32(IDS > 2)],
        outputs=3,
        domain=MS,
        tolerance=1e-4,
    ),
    Case(
        "EmbedLayerNormalization",
        [IDS, None, normal(9, 12), normal(7, 12), None, SCALE, BIAS, None, IDS[:1] % 7],
        {"epsilon": 1e-3},
        2,
        domain=MS,
        tolerance=1e-4,
    ),
    Case(
        "QEmbedLayerNormalization",
        [IDS, IDS % 2, *(integers(0, 256, *n, dtype=np.uint8) for n in ((9, 12), (7, 12), (2, 12), (12,), (12,))),
         None, *(one(0.01 * i) for i in range(1, 6)), *(one(100 + i, np.uint8) for i in range(5))],
        outputs=2,
        domain=MS,
        tolerance=1e-4,
    ),
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
    Case(
        "QLinearAveragePool",
        [IMAGE, S1, Z1, S2, Z2],
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]},
        domain=MS,
        tolerance=1,
    ),
    Case(
        "QLinearAveragePool",
        [IMAGE, S1, Z1, S2, Z2],
        {"kernel_shape": [2, 2], "channels_last": 1, "pads": [0, 0, 1, 1], "count_include_pad": 1},
        domain=MS,
        tolerance=1,
    ),
    *(
        Case("QLinearSoftmax", [BYTES, S1, Z1, one(1 / 256), one(0, np.uint8)], {"opset": v, "axis": 1}, 1, 21, MS, 1)
        for v in (11, 13)
    ),
    Case("QLinearWhere", [BYTES[:, :1] > 99, BYTES, S1, Z1, OTHER, S2, Z2, S3, Z3], domain=MS, tolerance=1),
    Case(
        "QGemm",
        [BYTES[0], S1, Z1, WEIGHT.T.copy(), np.abs(normal(5)), integers(0, 99, 5, dtype=np.uint8),
         integers(-999, 999, 5, dtype=np.int32)],
        {"transB": 1, "alpha": 0.5},
        domain=MS,
        tolerance=1e-4,
    ),
    Case("QGemm", [BYTES[0], S1, Z1, WEIGHT, S2, Z2, None, one(0.3), Z3], domain=MS, tolerance=1),
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
    Case(
        "MatMulNBits",
        [normal(3, 32), integers(0, 256, 6, 2, 4, dtype=np.uint8), np.abs(normal(12))],
        {"K": 32, "N": 6, "bits": 2, "block_size": 16},
        domain=MS,
        tolerance=1e-3,
    ),
    Case(
        "MatMulNBits",
        [normal(3, 32), integers(0, 256, 6, 2, 8, dtype=np.uint8), np.abs(normal(12)), None,
         integers(0, 2, 32, dtype=np.int32)],
        {"K": 32, "N": 6, "bits": 4, "block_size": 16},
        domain=MS,
        tolerance=1e-3,
    ),
    *(
        Case(
            "GatherBlockQuantized",
            [integers(0, 256, 9, 32 * bits // 8, dtype=np.uint8), np.array([[1, -9, 8]]), np.abs(normal(9, 2)), zeros],
            {"bits": bits, "block_size": 16, "quantize_axis": 1},
            domain=MS,
        )
        for bits, zeros in ((4, None), (4, integers(0, 256, 9, 1, dtype=np.uint8)), (8, None))
    ),
]  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_onnxruntime(case):
    case.check()


@pytest.mark.parametrize(
    "case",
    [
        Case("MultiHeadAttention", [normal(2, 5, 3, 4), normal(2, 5, 3, 4)], {"num_heads": 3}, domain=MS),
        Case("FusedGemm", [normal(4, 3), normal(3, 4)], {"activation": "Cube"}, domain=MS),
        Case("MatMulNBits", [normal(3, 4), normal(6, 1, 8), normal(6)], {"K": 4, "N": 6, "bits": 3}, domain=MS),
    ],
    ids=str,
)
def test_refused_forms(case):
    with pytest.raises(UnsupportedOpError, match=r"see docs/onnx\.md"):
        case.results()
