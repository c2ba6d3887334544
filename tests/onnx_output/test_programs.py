# SPDX-License-Identifier: Apache-2.0
"""Whole programs written as ONNX: optimised, run by onnxruntime, read again, called as their original was."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt import errors
from egraph_opt.capture import capture
from egraph_opt.cli import main
from egraph_opt.onnx_output import with_idioms

from .common import close, onnx, ops_of, run, same, written

MODELS = Path(__file__).parents[2] / "examples" / "models" / "onnx"
RANDOM = np.random.default_rng(3)


def f32(*shape):
    return (RANDOM.standard_normal(shape) / 2).astype(np.float32)


def saved(function, args, tmp_path, **options):
    """The model of the optimised function, compared with the function."""
    result = egraph_opt.optimize(function, budget=5.0, measure=False, **options).plan(*args)
    result.save(tmp_path / "out.onnx")
    model = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    leaves = [leaf for leaf in jax.tree.leaves(args) if leaf is not None]
    for got, want in zip(run(model, leaves), jax.tree.leaves(function(*args)), strict=True):
        close(got, want, 10)
    return model


def mlp(params, x):
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = params[-1]
    return jax.nn.log_softmax(x @ weight + bias)


def attention(x, wq, wk, wv, wo):
    q, k, v = ((x @ w).reshape(*x.shape[:2], 4, -1) for w in (wq, wk, wv))
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / 4
    scores = jnp.where(jnp.tril(jnp.ones((x.shape[1],) * 2, bool)), scores, -1e9)
    mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v).reshape(x.shape)
    y = x + mixed @ wo
    return (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(y.var(-1, keepdims=True) + 1e-5)


def convnet(x, kernel, bias, depthwise, head):
    order = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=order)
    x = jax.nn.gelu((x + bias) * 1.5, approximate=False)
    x = jax.lax.conv_general_dilated(x, depthwise, (1, 1), "SAME", rhs_dilation=(2, 2), dimension_numbers=order,
                                     feature_group_count=x.shape[-1])  # fmt: skip
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "SAME") / 4
    return x.mean(axis=(1, 2)) @ head


def lstm(x, wx, wh, b):
    def step(carry, row):
        h, c = carry
        i, f, g, o = jnp.split(row @ wx + h @ wh + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = (jnp.zeros((x.shape[1], wh.shape[0])),) * 2
    (h, _), outputs = jax.lax.scan(step, start, x, reverse=True)
    return h, outputs


PROGRAMS = {
    "mlp": (mlp, ([(f32(8, 16), f32(16)), (f32(16, 5), f32(5))], f32(3, 8))),
    "attention": (attention, (f32(2, 6, 16), *(f32(16, 16) for _ in range(4)))),
    "convnet": (convnet, (f32(2, 12, 12, 3), f32(3, 3, 3, 8), f32(8), f32(3, 3, 1, 8), f32(8, 4))),
    "lstm": (lstm, (f32(5, 2, 4), f32(4, 12), f32(3, 12), f32(12))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, tmp_path):
    function, args = PROGRAMS[name]
    model = saved(function, args, tmp_path)
    assert all(node.name and node.doc_string for node in model.graph.node if node.op_type in ("MatMul", "Conv", "Scan"))
    if name == "mlp":
        assert [value.name for value in model.graph.input][-1] == "x"
        assert "Relu" in ops_of(model)
        assert "Gemm" in ops_of(model) or "MatMul" in ops_of(model)
    if name == "attention":
        assert ops_of(model).count("LayerNormalization") == 1
        assert ops_of(model).count("Softmax") + ops_of(model).count("Exp") >= 1  # a kernel's pattern is written out
    if name == "convnet":
        assert ops_of(model).count("Conv") == 2
        assert {"MaxPool", "AveragePool"} <= set(ops_of(model))


def normed(x, gain, offset):
    y = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    groups = (x * 3).reshape(2, 5, 2, 4)
    groups = (groups - groups.mean((2, 3), keepdims=True)) / jnp.sqrt(groups.var((2, 3), keepdims=True) + 1e-3)
    affine = y * gain + offset
    return jax.nn.gelu(affine, approximate=False), y, jax.nn.softmax(x, axis=1), jax.nn.log_softmax(x), groups


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_idioms_are_the_operators_that_runtimes_have(dtype):
    def program(*args):
        return [part.astype(jnp.float32) for part in normed(*(x.astype(dtype) for x in args))]

    args = [f32(2, 5, 8), f32(8), f32(8)]
    graph = with_idioms(capture(program, args).graph)
    model = same(graph, args, {"float32": 10, "float16": 4000, "bfloat16": 30000}[dtype])
    wanted = {"LayerNormalization", "InstanceNormalization", "Softmax", "LogSoftmax", "Erf"}
    assert wanted <= set(ops_of(model)) or dtype != "float32"


def test_what_overflows_where_the_operator_does_not_stays():
    x = f32(3, 8) * 60
    graph = capture(lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True), [x]).graph
    assert with_idioms(graph) is graph
    assert "Softmax" not in ops_of(same(graph, [x], 10))


def test_weights_that_are_closed_over_are_initializers(tmp_path):
    weight, bias = f32(8, 4), f32(4)
    model = saved(lambda x: {"y": jnp.tanh(x @ weight + bias)}, (f32(3, 8),), tmp_path)
    assert {tuple(tensor.dims) for tensor in model.graph.initializer} >= {(8, 4), (4,)}
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["output.y"]


def test_control_flow():
    def program(x, n, flag):
        y = jax.lax.while_loop(lambda c: (c[0] < n) & (c[1].sum() < 50), lambda c: (c[0] + 1, c[1] * 2 + x), (0, x))[1]
        z = jax.lax.switch(n, [lambda v: v + x, jnp.tanh, lambda v: v * v], y)
        z = jax.lax.cond(flag, lambda v: v.sum(), lambda v: v[0], z)
        total, rows = jax.lax.scan(lambda c, _: (c * 0.5 + z, c), z, None, length=4)
        return y, z, total, rows

    x = f32(3)
    graph = capture(program, [x, np.int32(2), np.array(True)]).graph
    for n in (-1, 0, 1, 2, 7):
        for flag in (True, False):
            same(graph, [x, np.int32(n), np.array(flag)], 10)


def test_scans_both_ways():
    rows = f32(4, 3)
    for reverse in (False, True):
        graph = capture(
            lambda c, r, b=reverse: jax.lax.scan(lambda c, s: (c + s, (c, c * s)), c, r, reverse=b), [rows[0], rows]
        ).graph
        same(graph, [rows[0], rows])


@pytest.mark.parametrize("name", ["resnet_opset11"])
def test_model_is_called_as_before(name, tmp_path):
    """Load, optimise, write; equal to the recorded outputs, under the same names."""
    original = onnx.load(MODELS / f"{name}.onnx")
    with np.load(MODELS / f"{name}.npz") as file:
        recorded = dict(file)
    model = egraph_opt.load(MODELS / f"{name}.onnx")
    args = [recorded[n] for n in model.input_names]
    result = egraph_opt.optimize(model, budget=0.5, measure=False).plan(*args)
    result.save(tmp_path / "out.onnx")
    proto = onnx.load(tmp_path / "out.onnx")
    held = {tensor.name for tensor in original.graph.initializer}
    for mine, theirs in ((proto.graph.input, original.graph.input), (proto.graph.output, original.graph.output)):
        theirs = [value for value in theirs if value.name not in held]
        assert [(v.name, v.type.tensor_type.elem_type) for v in mine] == [
            (v.name, v.type.tensor_type.elem_type) for v in theirs
        ]
    assert held & {tensor.name for tensor in proto.graph.initializer}
    for got, label in zip(run(proto, args), model.output_names, strict=True):
        close(got, recorded[label], 100)


def test_prepared_weights_have_telling_names(tmp_path):
    inputs = [onnx.helper.make_tensor_value_info("x", 1, [4, 8])]
    outputs = [onnx.helper.make_tensor_value_info("y", 1, [4, 8])]
    weights = [onnx.numpy_helper.from_array(f32(8, 8), n) for n in ("first", "second")]
    nodes = [onnx.helper.make_node("MatMul", ["x", n], [n + "_out"]) for n in ("first", "second")]
    nodes.append(onnx.helper.make_node("Add", ["first_out", "second_out"], ["y"]))
    graph = onnx.helper.make_graph(nodes, "two", inputs, outputs, weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    assert main(["optimize", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "o.onnx"), "--no-measure"]) == 0
    proto = onnx.load(tmp_path / "o.onnx")
    assert [tensor.name for tensor in proto.graph.initializer] in (
        ["prepared(first+second)"],
        ["prepared(second+first)"],
    )
    x = f32(4, 8)
    want = egraph_opt.load(tmp_path / "m.onnx")(x)
    again = egraph_opt.load(tmp_path / "o.onnx")
    assert (again.input_names, again.output_names) == (("x",), ("y",))
    for got in (run(proto, [x])[0], again(x)):
        close(got, want, 10)


def test_refusals_name_the_line(tmp_path):
    def program(x):
        return jnp.linalg.solve(x, x[0])

    result = egraph_opt.optimize(program, budget=0.2, measure=False).plan(f32(3, 3))
    with pytest.raises(errors.UnsupportedOpError, match=r"at test_programs\.py:\d+: .*save the program as \.jaxexport"):
        result.save(tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(errors.UnsupportedOpError, match="complex64"):
        written(capture(lambda x: jnp.fft.fft(x).real, [f32(4)]).graph)


def test_large_weights_lie_beside_the_file(tmp_path):
    from egraph_opt.frontends.onnx.write import write_model

    weight = f32(64, 64)
    model = written(capture(lambda x, w: x @ w + w[0, 0], [f32(2, 64), weight]).graph, {1: weight})
    for scale in (1, 1, 2):  # written again: the same file of weights, then one that takes its place
        again = onnx.ModelProto.FromString(model.SerializeToString())
        again.graph.initializer[0].raw_data = (weight * scale).tobytes()
        write_model(again, tmp_path / "m.onnx", most_inside=100)
        assert len(list(tmp_path.iterdir())) == 2
        x = f32(2, 64)
        loaded = onnx.load(tmp_path / "m.onnx")
        onnx.checker.check_model(str(tmp_path / "m.onnx"))
        close(run(loaded, [x])[0], x @ (weight * scale) + weight[0, 0] * scale, 10)
    assert (tmp_path / "m.onnx").stat().st_size < 3000
    with pytest.raises(errors.OutputError, match="does not exist"):
        write_model(model, tmp_path / "none" / "m.onnx")


def test_without_the_package_one_line_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import egraph_opt, numpy as np\n"
        "r = egraph_opt.optimize(lambda x: x + 1, budget=0.1, measure=False).plan(np.ones(2, np.float32))\n"
        f"r.save({str(tmp_path / 'o.onnx')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "writing .onnx needs the package onnx; pip install egraph_opt[onnx]" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())
