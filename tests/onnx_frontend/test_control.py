# SPDX-License-Identifier: Apache-2.0
"""If, Loop and Scan: what is decided while a model is traced, what becomes a primitive, what Python runs."""

from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from egraph_opt.errors import ModelError, UnsupportedOpError
from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.read import program_of
from tests.onnx_frontend.nodes import normal

X = normal(3)
IF = """
    agraph (float[3] x, bool c) => (y) {
        y = If (c) <
            then_branch = yes () => (float[3] a) { a = Exp (x) },
            else_branch = no () => (float[SIZE] b) { THEN_ELSE }
        >
    }
"""
LOOP = """
    agraph (float[3] x, int64 m, bool c) => (y OUT) {
        y OUT = Loop (LIMIT, START, x) <
            body = step (int64 i, bool on, float[3] v) => (bool going, float[3] w OUTPUTS) { BODY }
        >
    }
"""
ALWAYS = "going = Identity (on) w = Mul (v, x)"
UNTIL = "w = Add (v, x) s = ReduceMax <keepdims = 0> (w) ten = Constant <value_float = 10.0> () going = Less (s, ten)"
SCAN = """
    agraph (float[3] s, float[4, 3] x) => (f, y) {
        f, y = Scan <num_scan_inputs = 1, scan_input_directions = [1], ATTRIBUTES
            body = step (float[3] v, float[3] e) => (float[3] w, float[3] o) { w = Add (v, e) o = Mul (w, e) }
        > (s, x)
    }
"""


def proto(text, opset=13, **replaced):
    for name, value in replaced.items():
        text = text.replace(name, value)
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>' + text)


def load(model):
    return OnnxModel(program_of(model, Path("control.onnx")), Path("control.onnx"))


def as_onnxruntime(model, **feeds):
    ours = load(model)(**feeds)
    ours = ours if isinstance(ours, tuple) else (ours,)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for have, want in zip(ours, session.run(None, feeds), strict=True):
        assert have.dtype == want.dtype
        np.testing.assert_allclose(have, want, rtol=1e-5)


def primitives(model, *args):
    return [eqn.primitive.name for eqn in jax.make_jaxpr(load(model))(*args).eqns]


def loop(limit, start, body, collected=""):
    names = {"LIMIT": limit, "START": start, "BODY": body}
    if collected:
        names["BODY"] = f"{body} o = Neg (w)"
    return proto(LOOP, **names, OUTPUTS=", float[3] o" if collected else "", OUT=", z" if collected else "")


@pytest.mark.parametrize("value", [True, False])
def test_if(value):
    model = proto(IF, SIZE="3", THEN_ELSE="b = Neg (x)")
    as_onnxruntime(model, x=X, c=np.asarray(value))
    assert "cond" in primitives(model, X, np.asarray(value))


def test_if_with_branches_of_other_shapes():
    model = proto(IF, SIZE="1", THEN_ELSE="b = ReduceSum <keepdims = 1> (x)")
    for value in (True, False):
        as_onnxruntime(model, x=X, c=np.asarray(value))
    with pytest.raises(UnsupportedOpError, match="its branches have results of different"):
        jax.jit(load(model))(X, np.asarray(True))


@pytest.mark.parametrize("steps", [0, 1, 70])
@pytest.mark.parametrize("collected", ["", "z"])
def test_loop_of_known_length(steps, collected):
    model = loop("k", "on", ALWAYS, collected)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(steps), "k"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(True), "on"))
    feeds = {"x": np.float32(0.9) * np.sign(X), "m": np.asarray(1), "c": np.asarray(True)}
    as_onnxruntime(model, **feeds)
    if steps:
        assert "scan" in primitives(model, *feeds.values())
        gradient = jax.grad(lambda x: load(model)(x=x, m=1, c=True)[0].sum())(feeds["x"]) if collected else np.ones(1)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("limit", "start"), [("m", "c"), ("m", ""), ("", "c"), ("", "")])
def test_loop_until_a_condition_fails(limit, start):
    model = loop(limit, start, UNTIL)
    feeds = {"x": np.abs(X) + 1, "m": np.asarray(7), "c": np.asarray(True)}
    as_onnxruntime(model, **feeds)
    assert "while" in primitives(model, *feeds.values())


def test_loop_that_collects_until_a_condition_fails():
    model = loop("m", "c", UNTIL, "z")
    feeds = {"x": np.abs(X) + 1, "m": np.asarray(50), "c": np.asarray(True)}
    as_onnxruntime(model, **feeds)  # by Python: only the values tell how much is collected
    with pytest.raises(UnsupportedOpError, match="must be known while the model is traced"):
        jax.jit(load(model))(*feeds.values())


def test_loop_whose_values_grow():
    text = """
        agraph (float[N] x) => (y) {
            k = Constant <value_int = 4> ()
            y = Loop (k, , x) <
                body = step (int64 i, bool on, float[M] v) => (bool going, float[L] w) {
                    going = Identity (on)
                    w = Concat <axis = 0> (v, x)
                }
            >
        }
    """
    model = proto(text)
    assert load(model)(X).shape == (15,)
    assert jax.jit(load(model))(X).shape == (15,)


def test_loop_with_a_sequence():
    text = """
        agraph (float[3] x) => (y) {
            k = Constant <value_int = 3> ()
            empty = SequenceEmpty ()
            s = Loop (k, , empty) <
                body = step (int64 i, bool on, seq(float) v) => (bool going, seq(float) w) {
                    going = Identity (on)
                    n = Cast <to = 1> (i)
                    e = Mul (x, n)
                    w = SequenceInsert (v, e)
                }
            >
            y = ConcatFromSequence <axis = 0, new_axis = 1> (s)
        }
    """
    want = np.arange(3, dtype=np.float32)[:, None] * X
    np.testing.assert_allclose(jax.jit(load(proto(text)))(X), want)


@pytest.mark.parametrize(
    "attributes", ["", "scan_output_axes = [1],", "scan_output_directions = [1], scan_output_axes = [-1],"]
)
def test_scan(attributes):
    model = proto(SCAN, ATTRIBUTES=attributes)
    as_onnxruntime(model, s=X, x=normal(4, 3))
    assert "scan" in primitives(model, X, normal(4, 3))


def test_scan_of_version_8():
    text = SCAN.replace("scan_input_directions", "directions").replace("(s, x)", "(, s, x)")
    text = text.replace("float[3] s, float[4, 3] x", "float[2, 3] s, float[2, 4, 3] x")
    s, x = normal(2, 3), normal(2, 4, 3)
    final, y = load(proto(text, opset=8, ATTRIBUTES=""))(s, x)
    np.testing.assert_allclose(final, s + x.sum(1), rtol=1e-5, atol=1e-5)
    sums = s[:, None] + np.cumsum(x[:, ::-1], 1)
    np.testing.assert_allclose(y, sums * x[:, ::-1], rtol=1e-5, atol=1e-5)


def test_bad_nodes():
    short = loop("m", "c", ALWAYS)
    del short.graph.node[0].input[2]
    with pytest.raises(ModelError, match="its body has 3 inputs"):
        load(short)(X, 1, True)
    uneven = proto(SCAN.replace("num_scan_inputs = 1", "num_scan_inputs = 5"), ATTRIBUTES="")
    with pytest.raises(ModelError, match="num_scan_inputs is 5"):
        load(uneven)(X, normal(4, 3))
