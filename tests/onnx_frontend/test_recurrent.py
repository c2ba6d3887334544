# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers beside onnxruntime: directions, lengths, peepholes, activations, clips."""

import jax
import numpy as np
import pytest

from egraph_opt.errors import ModelError
from tests.onnx_frontend.nodes import Case, normal

T, B, N, H = 5, 3, 4, 6
LENGTHS = np.array([5, 2, 3], np.int32)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def layer(op, directions=1, *, lengths=False, start=False, bias=True, peephole=False, batch_first=False, **attributes):
    gates = GATES[op]
    states = (directions, B, H)
    x = normal(T, B, N)
    h, c = (normal(*states) if start else None for _ in range(2))
    inputs = [
        x,
        0.5 * normal(directions, gates * H, N),
        0.5 * normal(directions, gates * H, H),
        normal(directions, 2 * gates * H) if bias else None,
        LENGTHS if lengths else None,
        h,
    ]
    if op == "LSTM":
        inputs += [c, 0.5 * normal(directions, 3 * H) if peephole else None]
    while inputs[-1] is None:
        inputs.pop()
    text = {"direction": "bidirectional"} if directions == 2 else {}
    return Case(op, inputs, {"hidden_size": H, **text, **attributes}, 3 if op == "LSTM" else 2, opset=14)


def affine(alpha, beta, *names):
    return {"activations": names or ["Affine"], "activation_alpha": [alpha], "activation_beta": [beta]}


CASES = [
    layer("RNN", start=True),
    layer("RNN", 2, lengths=True, activations=["Relu", "Sigmoid"]),
    layer(
        "RNN", direction="reverse", lengths=True, activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.1]
    ),
    layer("RNN", 2, bias=False, activations=["LeakyRelu", "Elu"], activation_alpha=[0.2, 0.7], clip=0.8),
    layer("GRU", lengths=True, start=True),
    layer("GRU", 2, lengths=True, start=True, linear_before_reset=1),
    layer(
        "GRU",
        direction="reverse",
        activations=["HardSigmoid", "Softsign"],
        activation_alpha=[0.3],
        activation_beta=[0.4],
    ),
    layer("GRU", 2, bias=False, linear_before_reset=1, clip=0.5),
    layer("LSTM", lengths=True, start=True),
    layer("LSTM", 2, lengths=True, start=True, peephole=True),
    layer("LSTM", direction="reverse", peephole=True, lengths=True),
    layer("LSTM", 2, start=True, activations=["Sigmoid", "Softsign", "Tanh", "HardSigmoid", "Tanh", "Softsign"]),
    layer("LSTM", clip=0.4, start=True),
    layer("LSTM", input_forget=1, start=True),
]


@pytest.mark.alike
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_onnxruntime(case):
    case.check()


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_batch_first(op):
    case = layer(op, 2, start=True)
    turned = [x if i not in (0, 5, 6) or x is None else np.swapaxes(x, 0, 1) for i, x in enumerate(case.inputs)]
    y, *finals = case.results()
    other, *others = Case(op, turned, {**case.attributes, "layout": 1}, case.outputs, opset=14).results()
    np.testing.assert_allclose(other, y.transpose(2, 0, 1, 3), rtol=1e-6, atol=1e-6)
    for have, want in zip(others, finals, strict=True):
        np.testing.assert_allclose(have, want.swapaxes(0, 1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", [CASES[1], CASES[5], CASES[9]], ids=str)
def test_gradient_and_loop(case):
    model = case.model()
    rest = {name: case.feeds[name] for name in model.input_names if name != "x0"}
    gradient = jax.grad(lambda x: sum(y.sum() for y in model(x0=x, **rest)))(case.inputs[0])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() > 0
    jaxpr = jax.make_jaxpr(lambda x: model(x0=x, **rest))(case.inputs[0])
    inside = [str(eqn) for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    assert len(inside) == 2  # one for each direction
    before = [eqn.primitive.name for eqn in jaxpr.eqns]
    assert before.count("dot_general") == 2  # products with the inputs stand ahead of the loops


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (layer("LSTM", direction="sideways"), "direction is 'sideways'"),
        (layer("GRU", activations=["Relu"]), "got 1 activations; want 2"),
        (layer("RNN", activations=["Cube"]), "'Cube'"),
        (
            Case("GRU", [normal(T, B, N), normal(1, 4 * H, N), normal(1, 4 * H, H)], {"hidden_size": H}, 2),
            r"3 \* hidden",
        ),
    ],
)
def test_bad_nodes(case, message):
    with pytest.raises(ModelError, match=message):
        case.results()
