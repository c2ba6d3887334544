# SPDX-License-Identifier: Apache-2.0
"""What onnxruntime says of a model before it is written: whether it agrees, and is slower than its source."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import egraph_opt
from egraph_opt import onnx_trial
from egraph_opt.cli import main
from egraph_opt.onnx_output import ready_as_onnx, result_to_onnx
from egraph_opt.onnx_trial import Trial, try_model
from tests.onnx_output.common import onnx

SOURCE = Path("in.onnx")


@pytest.fixture
def source(tmp_path):
    helper = onnx.helper
    weight = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["u"]), helper.make_node("Relu", ["u"], ["y"])],
        "two",
        [helper.make_tensor_value_info("x", 1, [3, 6])],
        [helper.make_tensor_value_info("y", 1, [3, 4])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "in.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def planned(source):
    model = egraph_opt.load(source)
    args = model.example_args()
    return egraph_opt.optimize(model, budget=0.2, measure=False).plan(*args), args


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(onnx_trial, "SECONDS", 0.05)


def test_agrees_and_is_timed_against_the_source(planned, source):
    result, args = planned
    trial = try_model(result_to_onnx(result), result, args, source)
    assert trial.gap is not None
    assert trial.gap < 1e-6
    assert min(trial.seconds, trial.seconds_source, trial.ratio) > 0
    assert "agrees with JAX" in trial.line(source)
    assert try_model(result_to_onnx(result), result, args, None).ratio is None


def test_another_function_is_told(planned, source):
    result, args = planned
    model = result_to_onnx(result)
    (weight,) = [x for x in model.graph.initializer if list(x.dims) == [6, 4]]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.01, weight.name))
    assert "DIFFERS from JAX by 1.0e-02" in try_model(model, result, args, source).line(source)


def test_what_does_not_run_is_told(planned, source, monkeypatch):
    result, args = planned
    model = result_to_onnx(result)
    model.graph.node[0].op_type = "NoOperator"
    assert "was not run: " in try_model(model, result, args, source).line(source)
    source.write_bytes(b"nothing")
    assert "in.onnx does not run there" in try_model(result_to_onnx(result), result, args, source).line(source)
    monkeypatch.setattr(onnx_trial, "MOST_BYTES", 10)
    assert "larger than" in try_model(model, result, args, source).line(source)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "onnxruntime is not installed" in try_model(model, result, args, source).line(source)


def test_slower_is_said_in_one_line():
    line = Trial(gap=0.0, seconds=3e-3, seconds_source=1e-3, ratio=3.1).line(SOURCE)
    assert "SLOWER there than in.onnx, 3.1x its time (3 ms for 1 ms)" in line
    assert "\n" not in line
    assert "2.0x as fast there as in.onnx" in Trial(gap=0.0, seconds=1e-3, seconds_source=2e-3, ratio=0.5).line(SOURCE)
    assert "it is as fast there as" in Trial(gap=0.0, seconds=1e-3, seconds_source=1e-3, ratio=1.02).line(SOURCE)


def test_nothing_is_written_before_the_trial(planned, tmp_path):
    result, args = planned
    write = ready_as_onnx(result, tmp_path / "out.onnx", None, args)
    assert not (tmp_path / "out.onnx").exists()
    write()
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"))


def test_command_notes_it_in_its_report(source, tmp_path, capsys):
    out, report = tmp_path / "out.onnx", tmp_path / "report.json"
    assert (
        main(["optimize", str(source), "-o", str(out), "--json", str(report), "--no-measure", "--budget", "0.2"]) == 0
    )
    (note,) = [note for note in json.loads(report.read_text())["notes"] if note.startswith("onnxruntime: ")]
    assert "agrees with JAX" in note
    assert note in capsys.readouterr().out
