# SPDX-License-Identifier: Apache-2.0
"""Writes the tiny ONNX models in ``onnx/`` beside this file, with inputs and outputs recorded by onnxruntime.

Run ``python examples/models/make_onnx_models.py [NAME ...]`` where torch, transformers, onnxscript and onnxruntime are
installed. Weights are random and nothing is downloaded. ``--large FOLDER`` writes networks in real sizes instead.
"""

import argparse
import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from torch import nn
from torch_models import Experts, Tagger, UNet, densenet, mobilenet, randomise, resnet, settle

FOLDER = Path(__file__).resolve().parent / "onnx"
TRACE = "pkg.torch.onnx.stack_trace"
FRAME = re.compile(r'File "[^"]*?((?:transformers|torch_models|make_onnx_models)[^"]*)", line (\d+), in (\S+)')
EXACT = 1e-4
"""Allowed difference between torch and onnxruntime, relative to the largest output; exact up to rounding."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One file.

    Attributes:
        build: makes the module.
        inputs: makes its inputs by name; called again for inputs to record, so it draws from torch's generator.
        outputs: names of the results.
        other: makes the inputs to record where sizes shall differ from those at export.
        dynamic: names of dynamic dimensions, by input and axis.
        opset: written by the old exporter (TorchScript) for this opset; the new one otherwise.
        quantised: "static" (QuantizeLinear and DequantizeLinear around products) or "dynamic" (integer products).
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, torch.Tensor]]
    outputs: Sequence[str] = ("output",)
    other: Callable[[], dict[str, torch.Tensor]] | None = None
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    opset: int = 0
    quantised: str = ""


class Positional(nn.Module):
    """A module of transformers, called with the named inputs by position; returns chosen fields of its result."""

    def __init__(self, module: nn.Module, inputs: Sequence[str], *outputs: str) -> None:
        super().__init__()
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def forward(self, *values: torch.Tensor) -> Any:
        """The chosen fields."""
        result = self.module(**dict(zip(self.inputs, values, strict=True)), use_cache=False)
        return tuple(result[name] for name in self.outputs)


class Head(Positional):
    """The same for modules that know no cache."""

    def forward(self, *values: torch.Tensor) -> Any:
        """The chosen fields."""
        result = self.module(**dict(zip(self.inputs, values, strict=True)))
        return tuple(result[name] for name in self.outputs)


def image(*shape: int) -> Callable[[], dict[str, torch.Tensor]]:
    """Draws one batch of images [b,c,h,w] whose means and contrasts differ."""

    def draw() -> dict[str, torch.Tensor]:
        contrast, mean = 0.5 + torch.rand(shape[0], shape[1], 1, 1), torch.randn(shape[0], shape[1], 1, 1)
        return {"image": contrast * torch.randn(shape) + mean}

    return draw


def words(batch: int, time: int, count: int, mask: bool = False) -> Callable[[], dict[str, torch.Tensor]]:
    """Draws one batch of words; with a mask that leaves out the end of every text but the first."""

    def draw() -> dict[str, torch.Tensor]:
        drawn = {"input_ids": torch.randint(0, count, (batch, time))}
        if mask:
            lengths = time - torch.arange(batch) % (time - 1)
            drawn["attention_mask"] = (torch.arange(time) < lengths[:, None]).long()
        return drawn

    return draw


def bert(**sizes: int) -> nn.Module:
    """BERT without a pooler."""
    module = transformers.BertModel(transformers.BertConfig(**sizes), add_pooling_layer=False)
    return Head(module, ["input_ids", "attention_mask"], "last_hidden_state")


def gpt2(**sizes: int) -> nn.Module:
    """GPT-2 with its head, which is the embedding once more."""
    return Positional(transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)), ["input_ids"], "logits")


def llama() -> nn.Module:
    """Llama whose four heads share two of keys and values."""
    config = transformers.LlamaConfig(
        vocab_size=120, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return Positional(transformers.LlamaForCausalLM(config), ["input_ids"], "logits")


def vit(**sizes: int) -> nn.Module:
    """Vision transformer with its classifier."""
    return Head(transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)), ["pixel_values"], "logits")


def t5() -> nn.Module:
    """T5, encoder and decoder."""
    config = transformers.T5Config(
        vocab_size=120, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_decoder_layers=1, num_heads=4,
        relative_attention_num_buckets=8, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    config._attn_implementation = "eager"
    module = transformers.T5ForConditionalGeneration(config)
    return Positional(module, ["input_ids", "decoder_input_ids"], "logits")


def whisper() -> nn.Module:
    """The encoder of Whisper: convolutions over time, then a transformer."""
    config = transformers.WhisperConfig(
        vocab_size=60, num_mel_bins=16, encoder_layers=2, encoder_attention_heads=4, d_model=32, encoder_ffn_dim=64,
        decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=32, max_source_positions=20, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    module = transformers.WhisperModel(config).encoder
    return Head(module, ["input_features"], "last_hidden_state")


def swin() -> nn.Module:
    """Swin: attention in windows that shift."""
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, mlp_ratio=2.0,
        num_labels=10,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return Head(transformers.SwinForImageClassification(config), ["pixel_values"], "logits")


def convnext() -> nn.Module:
    """ConvNeXt: wide depthwise convolutions and layer norms over channels."""
    config = transformers.ConvNextConfig(
        image_size=32, patch_size=2, hidden_sizes=[8, 16, 32], depths=[1, 2, 1], num_stages=3, num_labels=10
    )
    return Head(transformers.ConvNextForImageClassification(config), ["pixel_values"], "logits")


def small_mobilenet() -> nn.Module:
    """MobileNetV2 in small."""
    return mobilenet([(1, 8, 1, 1), (4, 12, 2, 2), (4, 16, 2, 2)], first=8, last=48, classes=10)


SMALL_BERT = {
    "vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 32,
}  # fmt: skip
SMALL_GPT2 = {"vocab_size": 120, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
SMALL_VIT = {
    "image_size": 16, "patch_size": 4, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "num_labels": 10,
}  # fmt: skip
TEXT = {0: "batch", 1: "sequence"}
SMALL: dict[str, Model] = {
    "bert": Model(
        build=lambda: bert(**SMALL_BERT),
        inputs=words(2, 12, 120, mask=True),
        other=words(3, 9, 120, mask=True),
        dynamic={"input_ids": TEXT, "attention_mask": TEXT},
    ),
    "bert_int8": Model(build=lambda: bert(**SMALL_BERT), inputs=words(2, 10, 120, mask=True), quantised="dynamic"),
    "gpt2": Model(
        build=lambda: gpt2(**SMALL_GPT2), inputs=words(2, 12, 120), other=words(2, 7, 120), dynamic={"input_ids": TEXT}
    ),
    "llama": Model(build=llama, inputs=words(2, 12, 120)),
    "experts": Model(build=Experts, inputs=lambda: {"x": torch.randn(2, 10, 32)}),
    "vit": Model(
        build=lambda: vit(**SMALL_VIT),
        inputs=image(2, 3, 16, 16),
        other=image(3, 3, 16, 16),
        dynamic={"image": {0: "batch"}},
    ),
    "t5": Model(
        build=t5,
        inputs=lambda: words(2, 10, 120)() | {"decoder_input_ids": torch.randint(0, 120, (2, 7))},
    ),
    "whisper_encoder": Model(build=whisper, inputs=lambda: {"features": torch.randn(2, 16, 40)}),
    "swin": Model(build=swin, inputs=image(2, 3, 32, 32)),
    "convnext": Model(build=convnext, inputs=image(2, 3, 32, 32)),
    "mobilenet": Model(
        build=small_mobilenet, inputs=image(2, 3, 32, 32), other=image(3, 3, 32, 32), dynamic={"image": {0: "batch"}}
    ),
    "resnet": Model(build=lambda: resnet((1, 1, 1), 8, 10), inputs=image(2, 3, 32, 32)),
    "resnet_opset11": Model(
        build=lambda: resnet((1, 1), 8, 10),
        inputs=image(2, 3, 32, 32),
        other=image(3, 3, 32, 32),
        dynamic={"image": {0: "batch"}},
        opset=11,
    ),
    "resnet_int8": Model(build=lambda: resnet((1, 1), 8, 10), inputs=image(2, 3, 32, 32), quantised="static"),
    "densenet": Model(build=lambda: densenet((2, 3), 8, 10), inputs=image(2, 3, 32, 32)),
    "unet": Model(build=lambda: UNet(8, 2), inputs=image(2, 3, 16, 16)),
    "lstm": Model(build=Tagger, inputs=words(2, 10, 200)),
    "lstm_opset13": Model(
        build=Tagger,
        inputs=words(2, 10, 200),
        other=words(3, 6, 200),
        dynamic={"input_ids": TEXT},
        opset=13,
    ),
}
LARGE: dict[str, Model] = {
    "bert_base": Model(build=bert, inputs=words(1, 128, 30522, mask=True)),
    "gpt2_small": Model(build=gpt2, inputs=words(1, 128, 50257)),
    "vit_base": Model(build=lambda: vit(num_labels=1000), inputs=image(1, 3, 224, 224)),
    "resnet50": Model(build=resnet, inputs=image(1, 3, 224, 224)),
    "densenet121": Model(build=densenet, inputs=image(1, 3, 224, 224)),
}


def export(model: nn.Module, inputs: Mapping[str, torch.Tensor], what: Model, path: Path, large: bool) -> None:
    """Write the file; weights beside it where it is large."""
    args = tuple(inputs.values())
    names = {"input_names": list(inputs), "output_names": list(what.outputs)}
    if what.opset:
        axes = {name: dict(axes) for name, axes in what.dynamic.items()}
        torch.onnx.export(
            model, args, str(path), dynamo=False, opset_version=what.opset, dynamic_axes=axes or None, **names
        )
        return
    # Dynamic axes of one name are one symbol; the inputs of a function of *values stand in one tuple.
    symbols = {name: torch.export.Dim(name) for axes in what.dynamic.values() for name in axes.values()}
    shapes = tuple({axis: symbols[n] for axis, n in what.dynamic.get(name, {}).items()} for name in inputs)
    nested = (shapes,) if isinstance(model, Positional) else shapes
    program = torch.onnx.export(model, args, dynamo=True, dynamic_shapes=nested if symbols else None, **names)
    program.save(str(path), external_data=large)


def strip(path: Path) -> None:
    """Remove what exporters note beside the program, but for the source line of each node, told without the folder."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        node.ClearField("metadata_props")
        if frames := FRAME.findall(notes.get(TRACE, "")):
            file, line, function = frames[-1]
            node.metadata_props.add(key=TRACE, value=f'File "{file}", line {line}, in {function}')
    for holder in (model, model.graph, *model.graph.value_info, *model.graph.initializer):
        holder.ClearField("metadata_props")
    for holder in (*model.graph.input, *model.graph.output):
        holder.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("doc_string")
    path.write_bytes(model.SerializeToString(deterministic=True))


class Drawn(CalibrationDataReader):
    """Inputs to calibrate with."""

    def __init__(self, draw: Callable[[], dict[str, torch.Tensor]], count: int) -> None:
        self.rest = [arrays(draw()) for _ in range(count)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one, or None."""
        return self.rest.pop() if self.rest else None


def quantise(what: Model, path: Path) -> None:
    """Replace the file by its 8-bit form."""
    plain = path.with_suffix(".plain.onnx")
    path.rename(plain)
    if what.quantised == "static":
        reader = Drawn(what.inputs, 32)
        quantize_static(str(plain), str(path), reader, quant_format=QuantFormat.QDQ, per_channel=True)
    else:
        quantize_dynamic(str(plain), str(path))
    plain.unlink()


def arrays(inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The same as NumPy arrays."""
    return {name: value.numpy() for name, value in inputs.items()}


def run(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name, from onnxruntime with its rewriting switched off: what the file says, step by step."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def check(name: str, model: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Mapping[str, np.ndarray]) -> float:
    """Difference from torch relative to the largest output; asserts that outputs say something."""
    with torch.no_grad():
        wanted = model(*inputs.values())
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    worst = 0.0
    for want, got in zip(wanted, outputs.values(), strict=True):
        scale = float(want.abs().max())
        spread = float((want[0] - want[-1]).abs().max()) if want.shape[0] > 1 else scale
        assert 0.05 < scale < 100, f"{name}: outputs reach {scale}; want near one: mend the weights"
        assert spread > 0.1 * scale, f"{name}: outputs of two inputs differ by {spread} of {scale}: mend the weights"
        worst = max(worst, float(np.abs(want.numpy() - got).max()) / scale)
    return worst


def make(name: str, what: Model, folder: Path, large: bool = False) -> str:
    """Write one model and its recorded inputs and outputs; returns one line about it."""
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    path = folder / f"{name}.onnx"
    drawn = [what.inputs() for _ in range(4)]
    met = [torch.cat([inputs[name] for inputs in drawn]) for name in drawn[0]]
    model = settle(randomise(what.build(), seed), *met)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(model, what.inputs(), what, path, large)
        strip(path)
        if what.quantised:
            quantise(what, path)
    inputs = (what.other or what.inputs)()
    outputs = run(path, arrays(inputs))
    difference = check(name, model, inputs, outputs)
    assert difference < (0.1 if what.quantised else EXACT), f"{name}: differs from torch by {difference}"
    np.savez_compressed(path.with_suffix(".npz"), **arrays(inputs), **outputs)
    nodes = len(onnx.load(path, load_external_data=False).graph.node)
    size = sum(file.stat().st_size for file in folder.glob(f"{name}.onnx*"))
    return f"{name}: {nodes} nodes, {size / 1000:.0f} kB, differs from torch by {difference:.1e} of the largest output"


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description="Write the example models in ONNX.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which models; all without a name")
    parser.add_argument("--large", type=Path, metavar="FOLDER", help="write real sizes into this folder instead")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    table, folder = (LARGE, options.large) if options.large else (SMALL, FOLDER)
    if unknown := set(options.names) - set(table):
        sys.exit(f"make_onnx_models: unknown: {', '.join(sorted(unknown))}; want some of {', '.join(table)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or table:
        print(make(name, table[name], folder, large=bool(options.large)), flush=True)


if __name__ == "__main__":
    main()
