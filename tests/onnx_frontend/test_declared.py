# SPDX-License-Identifier: Apache-2.0
"""What a file declares of itself: what cannot be is refused in one line that names the file, the place and the wish."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import egraph_opt
from egraph_opt.cli import main
from egraph_opt.errors import ArgumentError, ModelError

from .models import make_model, saved


def model(node: onnx.NodeProto | None = None) -> onnx.ModelProto:
    node = node or helper.make_node("MatMul", ["x", "w"], ["y"], name="it")
    return make_model([node], {"x": (2, 3)}, {"w": np.eye(3, dtype=np.float32)})


def softmax(**attributes: object) -> Callable[[onnx.ModelProto], None]:
    return lambda made: made.graph.node[0].CopyFrom(
        helper.make_node("Softmax", ["x"], ["y"], name="it", **attributes)  # type: ignore[arg-type]
    )


def external(**entries: str) -> Callable[[onnx.ModelProto], None]:
    def change(made: onnx.ModelProto) -> None:
        weight = made.graph.initializer[0]
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "model.onnx", **entries}.items():
            weight.external_data.add(key=key, value=value)

    return change


def in_branch(made: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"], name="inner", slope=1)],
        "body",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    made.graph.node[0].CopyFrom(helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body))


BAD = {
    "format": (lambda m: setattr(m, "ir_version", 999), "version 999 of the file format"),
    "no operator sets": (lambda m: m.ClearField("opset_import"), "names no operator set"),
    "opset 0": (lambda m: setattr(m.opset_import[0], "version", 0), "got opset 0 .* want 1 to"),
    "opset -1": (lambda m: setattr(m.opset_import[0], "version", -1), "got opset -1 .* want 1 to"),
    "nothing returned": (lambda m: m.graph.ClearField("output"), "has no output"),
    "input twice": (lambda m: m.graph.input.append(m.graph.input[0]), "input 'x' is there twice"),
    "weight twice": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "initializer 'w' is there twice"),
    "input made": (lambda m: m.graph.node[0].output.__setitem__(0, "x"), "'x' is an input .* node 'it'"),
    "size below zero": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -3), r"shape \[-3, 3\]"),
    "attribute that is none": (softmax(axes=1), "node 'it' .*'axes' is none of version 13"),
    "attribute of text": (softmax(axis="last"), "node 'it' .*axis is of kind STRING; want INT"),
    "attribute in a branch": (in_branch, "node 'inner' .*'slope' is none of"),
    "offset of letters": (external(offset="abc"), "offset 'abc'"),
    "offset below zero": (external(offset="-8"), "offset '-8'"),
    "length of letters": (external(length="36.0"), "length '36.0'"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name, tmp_path):
    change, message = BAD[name]
    made = model()
    change(made)
    path = saved(made, tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        egraph_opt.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_numbers_and_bodies_of_the_user_take_what_they_like(tmp_path):
    made = model(helper.make_node("LeakyRelu", ["x"], ["y"], alpha=2))
    got = egraph_opt.load(saved(made, tmp_path))(np.full((2, 3), -1, np.float32))
    assert np.asarray(got).tolist() == [[-2.0] * 3] * 2
    made = model(helper.make_node("Softmax", ["x"], ["y"], domain="mine", axes=1))
    body = helper.make_node("Relu", ["a"], ["b"])
    version = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("mine", "Softmax", ["a"], ["b"], [body], version, ["axes"]))
    made.opset_import.append(helper.make_opsetid("mine", 1))
    assert not np.any(egraph_opt.load(saved(made, tmp_path))(np.full((2, 3), -1, np.float32)))


def test_an_output_of_another_type_than_declared(tmp_path):
    made = model()
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelError, match="'y' is declared as int64, but is computed as float32"):
        egraph_opt.load(saved(made, tmp_path))(np.ones((2, 3), np.float32))


def test_sizes_beyond_any_memory(tmp_path):
    made = make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1 << 40, 1 << 20)}, {})
    with pytest.raises(ArgumentError, match="more than any memory holds"):
        egraph_opt.load(saved(made, tmp_path)).example_args()


def test_a_value_returned_twice_is_written_under_two_names(tmp_path):
    made = model()
    made.graph.output.append(made.graph.output[0])
    result = egraph_opt.optimize(egraph_opt.load(saved(made, tmp_path)), measure=False, budget=0.1)
    x = np.ones((2, 3), np.float32)
    result.plan(x).save(tmp_path / "out.onnx")
    written = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(written, full_check=True)
    assert [info.name for info in written.graph.output] == ["y", "y_2"]
    first, second = egraph_opt.load(tmp_path / "out.onnx")(x)
    assert first.tolist() == second.tolist() == x.tolist()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (["batch=2.5"], "sizes are whole numbers"),
        (["x=1e3,3"], "sizes are whole numbers"),
        (["batch=\u00b2"], "no such input"),
        (["batch=2", "batch=3"], "is given twice, as 2 and as 3"),
    ],
)
def test_shapes_of_a_command(shapes, message, tmp_path, capsys):
    made = make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": ("batch", 3)}, {})
    options = [word for shape in shapes for word in ("--shape", shape)]
    assert main(["inspect", str(saved(made, tmp_path)), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "out.onnx", "--check", "text.npz"], "text.npz: output 0 is recorded as <U1, got float32"),
        (["-o", "out.onnx", "--check", "one.npy"], "one.npy: cannot be read as .npz"),
        (["-o", "model.onnx"], "-o model.onnx: is the model itself"),
        (["-o", "out.onnx", "--json", "./model.onnx"], "--json model.onnx: is the model itself"),
        (["-o", "out.onnx", "--report", "text.npz", "--check", "text.npz"], "is the file of --check itself"),
    ],
)
def test_files_of_a_command(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = saved(model(), tmp_path).read_bytes()
    np.savez("text.npz", x=np.ones((2, 3), np.float32), y=np.array([["a"] * 3] * 2))
    np.save("one.npy", np.ones((2, 3)))
    before = sorted(tmp_path.iterdir())
    assert main(["optimize", "model.onnx", "--no-measure", *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "model.onnx").read_bytes() == content


def test_records_in_half_precision(tmp_path):
    x = np.linspace(0, 1, 6, dtype=np.float16).reshape(2, 3)
    made = model(helper.make_node("Exp", ["x"], ["y"]))
    for info in (*made.graph.input, *made.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    path, records = saved(made, tmp_path), tmp_path / "a.npz"
    command = ["optimize", str(path), "-o", str(tmp_path / "out.onnx"), "--no-measure", "--check", str(records)]
    for scale, status in ((1.002, 0), (1.1, 1)):
        np.savez(records, x=x, y=(np.exp(x.astype(float)) * scale).astype(np.float16))
        assert main(command) == status
