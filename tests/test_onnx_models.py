# SPDX-License-Identifier: Apache-2.0
"""The exported models of ``examples/models/onnx``, with inputs and outputs that onnxruntime recorded.

Each file is small and valid, and its outputs say something: no layer of it is dead.
"""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the models are ONNX files")

FOLDER = Path(__file__).parents[1] / "examples" / "models" / "onnx"
MODELS = sorted(path.stem for path in FOLDER.glob("*.onnx"))
ARCHITECTURES = {
    "bert", "gpt2", "llama", "vit", "t5", "whisper_encoder", "swin", "convnext", "mobilenet", "unet", "lstm", "resnet",
    "densenet", "experts",
}  # fmt: skip


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
