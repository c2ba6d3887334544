# SPDX-License-Identifier: Apache-2.0
"""The exported models of ``examples/models/onnx``, with inputs and outputs that onnxruntime recorded.

Each file is small and valid, and its outputs say something: no layer of it is dead. Each loads and gives the recorded
outputs, before and after optimisation.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

import egraph_opt
from egraph_opt.recorded import TOLERANCE, read_recorded

onnx = pytest.importorskip("onnx", reason="the models are ONNX files")

FOLDER = Path(__file__).parents[1] / "examples" / "models" / "onnx"
MODELS = sorted(path.stem for path in FOLDER.glob("*.onnx"))
ARCHITECTURES = {
    "bert", "gpt2", "llama", "vit", "t5", "whisper_encoder", "swin", "convnext", "mobilenet", "unet", "lstm", "resnet",
    "densenet", "experts",
}  # fmt: skip

QUANTISED = 1e-2
"""Of ``bert_int8``: what lies half way between two integers goes to either with the last bit of what it is made of."""


def tolerance(name: str) -> float:
    return QUANTISED if name.endswith("int8") else TOLERANCE


def recorded(name):
    """Inputs and outputs by the names that the model gives them."""
    graph = onnx.load(FOLDER / f"{name}.onnx").graph
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    held = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: arrays.pop(value.name) for value in graph.input if value.name not in held}
    outputs = {value.name: arrays.pop(value.name) for value in graph.output}
    assert not arrays
    return inputs, outputs


def test_every_architecture_is_there():
    assert set(MODELS) >= ARCHITECTURES


@pytest.mark.parametrize("name", MODELS)
def test_file(name):
    path = FOLDER / f"{name}.onnx"
    assert path.stat().st_size < 300_000
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert b"site-packages" not in path.read_bytes()
    _, outputs = recorded(name)
    for value in outputs.values():
        scale = np.abs(value).max()
        assert 0.05 < scale < 100
        assert np.abs(value[0] - value[-1]).max() > 0.1 * scale
        assert np.mean(value.std(axis=0) > 1e-3 * scale) >= 0.9


@pytest.mark.alike
@pytest.mark.parametrize("name", MODELS)
def test_outputs_before_and_after(name):
    path = FOLDER / f"{name}.onnx"
    model = egraph_opt.load(path)
    records = read_recorded(path.with_suffix(".npz"), model)
    assert len(records.outputs) == len(model.output_names)
    plain = max(records.differences(model).values())
    assert plain < tolerance(name)
    result = egraph_opt.optimize(model, measure=False, verify=False, budget=1.0).plan(*records.args)
    assert result.report.predicted_after <= result.report.predicted_before
    assert max(records.differences(result).values()) < tolerance(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_verified_with_records_and_drawn_arguments(name):
    model = egraph_opt.load(FOLDER / f"{name}.onnx")
    records = read_recorded(FOLDER / f"{name}.npz", model)
    result = egraph_opt.optimize(model, measure=False).plan(*records.args)
    assert result.report.verified
    assert max(records.differences(result).values()) < tolerance(name)
    drawn = model.example_args(seed=3)
    result = egraph_opt.optimize(model, measure=False).plan(*drawn)
    for got, want in zip(jax.tree.leaves(result(*drawn)), jax.tree.leaves(model(*drawn)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=tolerance(name) * float(np.abs(want).max()))


def test_records_under_other_names(tmp_path):
    inputs, outputs = recorded("bert")
    model = egraph_opt.load(FOLDER / "bert.onnx")
    np.savez(tmp_path / "a.npz", words=inputs["input_ids"], mask=inputs["attention_mask"], out=outputs["output"])
    records = read_recorded(tmp_path / "a.npz", model)
    assert [x.tolist() for x in records.args] == [x.tolist() for x in inputs.values()]
    assert records.outputs[0].tolist() == outputs["output"].tolist()


def test_optimised_and_saved(tmp_path):
    model = egraph_opt.load(FOLDER / "lstm.onnx")  # takes 64-bit integers
    records = read_recorded(FOLDER / "lstm.npz", model)
    result = egraph_opt.optimize(model, measure=False, verify=False, budget=0.5).plan(*records.args)
    result.save(tmp_path / "faster.jaxexport")
    saved = egraph_opt.load(tmp_path / "faster.jaxexport")
    assert max(records.differences(saved).values()) < TOLERANCE
