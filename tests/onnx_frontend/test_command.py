# SPDX-License-Identifier: Apache-2.0
"""ONNX models on the command line: shapes, recorded outputs, files that do not fit."""

import json

import numpy as np
import pytest
from onnx import helper

import egraph_opt
from egraph_opt.cli import main

from .models import make_model, saved

RANDOM = np.random.default_rng(2)
W, V = (RANDOM.standard_normal(shape).astype(np.float32) / 8 for shape in ((64, 96), (96, 32)))
X = RANDOM.standard_normal((16, 64)).astype(np.float32)
Y = np.tanh(X @ (W @ V))


@pytest.fixture
def path(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["w", "v"], ["p"]),
        helper.make_node("MatMul", ["x", "p"], ["h"]),
        helper.make_node("Tanh", ["h"], ["y"]),
    ]
    return saved(make_model(nodes, {"x": ("batch", 64)}, {"w": W, "v": V}), tmp_path)


def run(capfd, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.mark.parametrize("names", [("x", "y"), ("arr_0", "out"), ("in_0", "out_0")])
def test_optimize_and_check(names, path, tmp_path, capfd):
    np.savez(tmp_path / "data.npz", **dict(zip(names, (X, Y), strict=True)))
    out = tmp_path / "out.jaxexport"
    status, text, _ = run(capfd, "optimize", path, "-o", out, "--check", tmp_path / "data.npz", "--no-measure")
    assert status == 0
    assert "recorded outputs (1)" in text
    np.testing.assert_allclose(egraph_opt.load(out)(X), Y, rtol=1e-4, atol=1e-5)


def test_shapes(path, tmp_path, capfd):
    status, text, _ = run(capfd, "inspect", path, "--shape", "batch=24")
    assert status == 0
    assert "x: f32[24,64]" in text
    assert "w: f32[64,96]" in text
    assert run(capfd, "inspect", path, "--shape", "x=5,64")[1].count("x: f32[5,64]") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--shape", "x"), 2, "want NAME=SIZES"),
        (("--shape", "x=0,64"), 2, "sizes are positive"),
        (("--shape", "z=3"), 2, "no such input"),
        (("--shape", "x=3,65"), 2, "the model wants"),
        (("--check", "nowhere.npz"), 2, "there is no such file"),
        (("--check", "model.onnx"), 2, "cannot be read as .npz"),
        (("--check", "none.npz"), 2, "no recorded output"),
        (("--check", "short.npz"), 2, "no array for input 0"),
        (("--check", "wrong.npz"), 1, "the model as loaded differs"),
    ],
)
def test_refusals(arguments, status, message, path, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("none.npz", x=X)
    np.savez("short.npz", y=Y)
    np.savez("wrong.npz", x=X, y=Y + 0.1)
    found, _, err = run(capfd, "optimize", path, "-o", "out.jaxexport", "--no-measure", *arguments)
    assert found == status
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.jaxexport").exists()


def test_bench_of_a_folder(path, tmp_path, capfd):
    np.savez(path.with_suffix(".npz"), x=X, y=Y)
    (tmp_path / "broken.onnx").write_bytes(b"\xff\xfe\x01garbage")
    status, text, _ = run(capfd, "bench", tmp_path, "--flops", "--json", tmp_path / "rows.jsonl")
    assert status == 1
    assert "| model | " in text
    assert "| improved |" in text
    assert "1 of 2 models improved, failed: broken" in text
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["broken", "model"]
    assert rows[1]["flop"][1] < rows[1]["flop"][0]
    assert max(rows[1]["records"]) < 1e-4
    assert run(capfd, "bench", path, "laab")[0] == 2
