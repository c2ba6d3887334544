# SPDX-License-Identifier: Apache-2.0
"""Attention and RotaryEmbedding beside the standard's reference, in forms that its own cases lack."""

import jax
import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, integers, normal

Q, K, V = normal(2, 6, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 3)
FLAT = [normal(2, 5, 48), normal(2, 7, 16), normal(2, 7, 6)]
HEADS = {"q_num_heads": 6, "kv_num_heads": 2}
MASK = np.where(integers(0, 3, 5, 7) == 0, -np.inf, normal(5, 7)).astype(np.float32)
PAST = [normal(2, 2, 4, 8), normal(2, 2, 4, 3)]
ALLOWED = integers(0, 2, 2, 1, 5, 7) == 1
LENGTHS = np.array([7, 4])
CASES = [
    Case("Attention", [Q, K, V], {"is_causal": 1, "scale": 0.3}, opset=23),
    Case("Attention", [Q, K, V, MASK], {"softcap": 1.5, "qk_matmul_output_mode": 2}, 4, opset=23),
    Case("Attention", [*FLAT, normal(5, 11), *PAST], {**HEADS, "is_causal": 1}, 3, opset=23),
    Case("Attention", [Q, K, V, ALLOWED], {"qk_matmul_output_mode": 3}, 4, opset=24),
    Case("Attention", [*FLAT, ALLOWED[..., :5], None, None, LENGTHS], {**HEADS, "is_causal": 1}, opset=24),
    Case("Attention", [Q, K, V, None, None, None, LENGTHS], {"left_window_size": 2, "right_window_size": 1}, opset=25),
    Case("Attention", [x.astype(np.float16) for x in (Q, K, V)], {"softmax_precision": 1}, opset=23, tolerance=5e-3),
]
ANGLES = [np.cos(normal(9, 4)), np.sin(normal(9, 4))]
PLACES = integers(0, 9, 2, 5)
ROTARY = [
    Case("RotaryEmbedding", [Q, *ANGLES, PLACES], opset=23),
    Case("RotaryEmbedding", [Q, *ANGLES, PLACES], {"interleaved": 1}, opset=23),
    Case("RotaryEmbedding", [normal(2, 5, 36), *ANGLES, PLACES], {"num_heads": 3, "rotary_embedding_dim": 8}, opset=23),
    Case(
        "RotaryEmbedding",
        [normal(2, 3, 5, 10), normal(2, 5, 3), normal(2, 5, 3)],
        {"interleaved": 1, "rotary_embedding_dim": 6},
        opset=23,
    ),
]


@pytest.mark.parametrize("case", [*CASES, *ROTARY], ids=str)
def test_as_reference(case):
    wanted = ReferenceEvaluator(case.proto()).run(None, case.feeds)
    for have, want in zip(case.results(), wanted, strict=True):
        assert have.dtype == want.dtype
        assert have.shape == want.shape
        np.testing.assert_allclose(
            have.astype(np.float64), want.astype(np.float64), rtol=case.tolerance, atol=case.tolerance
        )


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[3], ROTARY[1]], ids=str)
def test_gradient(case):
    model = Case(case.op, case.inputs, case.attributes, 1, case.opset).model()
    rest = {name: case.feeds[name] for name in model.input_names if name != "x0"}
    gradient = jax.grad(lambda x: model(x0=x, **rest).sum())(case.inputs[0])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_heads_in_groups_are_not_copied():
    shapes = [
        eqn.outvars[0].aval.shape
        for eqn in jax.make_jaxpr(CASES[0].model())(Q, K, V).eqns
        if eqn.primitive.name in ("broadcast_in_dim", "gather", "concatenate")
    ]
    assert all(np.prod(shape) <= K.size for shape in shapes)  # keys are not repeated for the three queries' heads


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("Attention", FLAT, {"q_num_heads": 5, "kv_num_heads": 2}, opset=23), "the number of heads is 5"),
        (Case("Attention", [Q, normal(2, 4, 7, 8), normal(2, 4, 7, 3)], opset=23), "do not fit"),
        (Case("Attention", [Q, K, V, None, PAST[0]], opset=23), "only one of past_key"),
        (Case("RotaryEmbedding", [normal(2, 5, 35), *ANGLES, PLACES], {"num_heads": 3}, opset=23), "num_heads is 3"),
        (Case("RotaryEmbedding", [normal(2, 3, 5, 6), *ANGLES, PLACES], opset=23), "have 4 angles; want 3"),
    ],
)
def test_bad_nodes(case, message):
    with pytest.raises(ModelError, match=message):
        case.results()
