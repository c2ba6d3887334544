# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers come out as the operators that they came in as, or that they compute; what is none stays a loop."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax, nn

import egraph_opt
from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.read import program_of
from egraph_opt.onnx_output import result_to_onnx
from tests.onnx_output.common import close, onnx, ops_of, run

T, B, D, H = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / np.float32(2)


def layer(op, directions=1, bias=True, states=False, lengths=False, **attributes):
    """An ONNX model of one layer with all its outputs."""
    helper, gates = onnx.helper, GATES[op]
    held = {"W": normal(directions, gates * H, D), "R": normal(directions, gates * H, H, seed=1)}
    held |= {"B": normal(directions, 2 * gates * H, seed=2)} if bias else {}
    held |= {"n": np.array([5, 3, 2], np.int32)} if lengths else {}
    names = ["h", "c"] if op == "LSTM" else ["h"]
    first = [f"{name}0" for name in names] if states else []
    node = helper.make_node(
        op, ["x", "W", "R", "B" if bias else "", "n" if lengths else "", *first], ["y", *names],
        hidden_size=H, direction="bidirectional" if directions == 2 else "forward", **attributes,
    )  # fmt: skip
    state = [directions, B, H]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", 1, [T, B, D])]
        + [helper.make_tensor_value_info(name, 1, state) for name in first],
        [helper.make_tensor_value_info("y", 1, [T, directions, B, H])]
        + [helper.make_tensor_value_info(name, 1, state) for name in names],
        [onnx.numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxModel(program_of(proto, Path("layer.onnx")), Path("layer.onnx"))


def operators(function, *args):
    """Operators of the written model, whose results are those of JAX."""
    model = result_to_onnx(egraph_opt.optimize(function, budget=0.1, measure=False).plan(*args))
    onnx.checker.check_model(model, full_check=True)
    for have, want in zip(run(model, args), jax.tree.leaves(function(*args)), strict=True):
        close(have, want, tolerance=10)
    return [op for op in ops_of(model) if op in (*GATES, "Scan", "Loop")]


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("LSTM", {"directions": 2}),
        pytest.param("LSTM", {"states": True, "bias": False}, marks=pytest.mark.slow),
        ("GRU", {"states": True}),
        ("GRU", {"linear_before_reset": 1}),
    ],
    ids=str,
)
def test_layers_come_out_as_they_came_in(op, options):
    model = layer(op, **options)
    assert operators(model, *model.example_args()) == [op] * options.get("directions", 1)


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("LSTM", {"clip": 0.5}),
        pytest.param("LSTM", {"lengths": True}, marks=pytest.mark.slow),
        pytest.param("LSTM", {"input_forget": 1}, marks=pytest.mark.slow),
        ("RNN", {}),
        pytest.param("RNN", {"activations": ["Relu"]}, marks=pytest.mark.slow),
        pytest.param("GRU", {"activations": ["HardSigmoid", "Tanh"]}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_other_layers_stay_loops(op, options):
    model = layer(op, **options)
    assert operators(model, *model.example_args()) == ["Scan"]


def written_by_hand(order, cell_first, turned, changed=lambda x: x):
    """An LSTM as users write it, its gates in any order."""

    def program(x, w, r, b):
        def step(state, z):
            c, h = state if cell_first else state[::-1]
            parts = jnp.split(z + (h @ r if turned else h @ r.T), 4, axis=1)
            i, o, f, g = (parts[k] for k in order)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = changed(nn.sigmoid(o) * jnp.tanh(c))
            return ((c, h) if cell_first else (h, c)), h

        zero = jnp.zeros((B, H))
        return lax.scan(step, (zero, zero), x @ w + b, reverse=turned)

    r = normal(4 * H, H, seed=3)
    return program, (normal(T, B, D), normal(D, 4 * H, seed=4), r.T.copy() if turned else r, normal(4 * H, seed=5))


def test_wide_layer_of_one_sequence():
    """A product of one matrix, joined for both directions, is found behind cuts and reshapes."""
    length, wide = 4, 130
    gates = 4 * wide
    x, w, r = normal(length, 1, D), normal(2, gates, D, seed=1), normal(2, gates, wide, seed=2) / np.float32(8)

    def program(x, w, r):
        def one(w, r, reverse):
            def step(state, z):
                h, c = state
                i, o, f, g = jnp.split(z + h @ r.T, 4, axis=1)
                c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
                return (nn.sigmoid(o) * jnp.tanh(c), c), nn.sigmoid(o) * jnp.tanh(c)

            zero = jnp.zeros((1, wide))
            return lax.scan(
                step, (zero, zero), (x.reshape(length, D) @ w.T).reshape(length, 1, gates), reverse=reverse
            )[1]

        return one(w[0], r[0], False), one(w[1], r[1], True)

    assert operators(program, x, w, r) == ["LSTM", "LSTM"]


@pytest.mark.parametrize("variant", [((0, 3, 1, 2), True, True), ((2, 0, 1, 3), False, False)], ids=str)
def test_gates_in_any_order(variant):
    program, args = written_by_hand(*variant)
    assert operators(program, *args) == ["LSTM"]


@pytest.mark.parametrize(
    "changed",
    [lambda h: 0.5 * h, *(pytest.param(f, marks=pytest.mark.slow) for f in (jnp.abs, lambda h: h * 1.001))],
)
def test_nearly_a_layer_stays_a_loop(changed):
    program, args = written_by_hand((0, 1, 2, 3), True, False, changed)
    assert operators(program, *args) == ["Scan"]
