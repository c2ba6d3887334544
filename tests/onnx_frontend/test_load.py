# SPDX-License-Identifier: Apache-2.0
"""ONNX models as JAX functions: calls, weights, shapes, and what is refused."""

from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import egraph_opt
from egraph_opt.errors import ArgumentError, ModelError, UnsupportedOpError

RANDOM = np.random.default_rng(0)
W, V = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((8, 16), (16, 4)))


def layer(nodes=None, inputs=None, outputs=("y",), weights=None, opset=17) -> onnx.ModelProto:
    """Two layers with a ReLU between them, or other nodes over the same weights."""
    nodes = nodes or [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="act"),
        helper.make_node("MatMul", ["r", "v"], ["y"], name="second"),
    ]
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])]
    weights = {"w": W, "v": V} if weights is None else weights
    graph = helper.make_graph(
        nodes,
        "layer",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def test_call_and_weights(tmp_path):
    model = egraph_opt.load(saved(layer(), tmp_path))
    x = RANDOM.standard_normal((3, 8)).astype(np.float32)
    want = np.maximum(x @ W, 0) @ V
    np.testing.assert_allclose(model(x), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model(x=x), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(model)(x), want, rtol=1e-5, atol=1e-5)
    assert set(model.weights) == {"w", "v"}
    np.testing.assert_allclose(model(x, weights={"v": 2 * V}), 2 * want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.with_weights({"v": 3 * V})(x), 3 * want, rtol=1e-5, atol=1e-5)
    assert [aval.shape[1] for aval in model.in_avals] == [8]
    assert model.example_args(dims={"batch": 5})[0].shape == (5, 8)


def test_gradient_and_vmap(tmp_path):
    model = egraph_opt.load(saved(layer(), tmp_path), shapes={"x": (3, 8)})
    x = RANDOM.standard_normal((3, 8)).astype(np.float32)
    gradient = jax.grad(lambda x: model(x).sum())(x)
    np.testing.assert_allclose(gradient, ((x @ W > 0) * V.sum(1)) @ W.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(model)(np.stack([x, 2 * x]))[1], 2 * model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1,)}, "no such input"),
        ({"x": (1, 9)}, "the model wants"),
        ({"x": (1,)}, "the model wants"),
        ({"batch": 4}, ""),
        ({"x": (4, 8)}, ""),
    ],
)
def test_shapes(shapes, message, tmp_path):
    path = saved(layer(), tmp_path)
    if message:
        with pytest.raises(ArgumentError, match=message):
            egraph_opt.load(path, shapes=shapes)
    else:
        assert egraph_opt.load(path, shapes=shapes).in_avals[0].shape == (4, 8)


def cut_external(folder: Path) -> Path:
    model = layer()
    onnx.external_data_helper.convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    onnx.save(model, folder / "cut.onnx")
    data = (folder / "w.bin").read_bytes()
    (folder / "w.bin").write_bytes(data[: len(data) // 2])
    return folder / "cut.onnx"


def without_data(folder: Path) -> Path:
    path = cut_external(folder)
    (folder / "w.bin").unlink()
    return path


CYCLE = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
BAD = {
    "cycle": (
        lambda f: saved(layer(CYCLE, outputs=("b",)), f),
        ModelError,
        "the graph has a cycle",
    ),
    "missing": (lambda f: saved(layer([helper.make_node("Add", ["x", "nowhere"], ["y"])]), f), ModelError, "'nowhere'"),
    "no output": (lambda f: saved(layer(outputs=("z",)), f), ModelError, "'z' is made by no node"),
    "twice": (lambda f: saved(layer([helper.make_node("Relu", ["x"], ["y"])] * 2), f), ModelError, "both make"),
    "operator": (lambda f: saved(layer([helper.make_node("Frob", ["x"], ["y"])]), f), UnsupportedOpError, "::Frob"),
    "domain": (
        lambda f: saved(layer([helper.make_node("Relu", ["x"], ["y"], domain="my.own")]), f),
        UnsupportedOpError,
        "my.own::Relu",
    ),
    "future": (lambda f: saved(layer(opset=999), f), ModelError, "opset 999"),
    "external cut": (cut_external, ModelError, "copy the file again"),
    "external gone": (without_data, ModelError, "not beside the model"),
    "truncated": (lambda f: write(f, layer().SerializeToString()[:200]), ModelError, "no ONNX model|without an ONNX"),
    "garbage": (lambda f: write(f, b"\xff\xfe\x01garbage" * 9), ModelError, "no ONNX model"),
    "empty": (lambda f: write(f, b""), ModelError, "the file is empty"),
}  # fmt: skip


def write(folder: Path, content: bytes) -> Path:
    (folder / "bad.onnx").write_bytes(content)
    return folder / "bad.onnx"


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path):
    make, error, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(error, match=message) as caught:
        egraph_opt.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Add", ["x", "n"], ["y"], name="sum")], "node 'sum'.*int64.*float"),
        ([helper.make_node("MatMul", ["x", "v"], ["y"], name="product")], "node 'product'.*do not fit"),
        ([helper.make_node("Relu", ["x", "x"], ["y"], name="act")], "node 'act'.*2 inputs"),
    ],
)
def test_bad_nodes(nodes, message, tmp_path):
    model = egraph_opt.load(saved(layer(nodes, weights={"v": V, "n": np.arange(8)}), tmp_path))
    with pytest.raises(ModelError, match=message):
        model(np.ones((3, 8), np.float32))


def test_bad_arguments(tmp_path):
    model = egraph_opt.load(saved(layer(), tmp_path))
    x = np.ones((3, 8), np.float32)
    for args, named, message in (
        ((), {}, "no value for the inputs x"),
        ((x, x), {}, "got 2 arguments"),
        ((x,), {"x": x}, "given twice"),
        ((), {"q": x}, "no input"),
        ((x[:, :7],), {}, "want float32"),
        ((x.astype(complex),), {}, "want float32"),
    ):
        with pytest.raises(ArgumentError, match=message):
            model(*args, **named)
