# SPDX-License-Identifier: Apache-2.0
"""PyTorch modules as models: the same outputs as in torch, before and after optimisation; clear refusals."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.errors import ArgumentError, ModelError, UnsupportedOpError

MISSING = [name for name in ("torch", "onnx", "onnxscript") if importlib.util.find_spec(name) is None]
if not MISSING:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
    Module = torch.nn.Module
else:
    Module = object


class Residual(Module):
    """Two convolutions with batch norms around a shortcut, a pool and a head."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.body(x))
        return self.head(x.mean((2, 3)))


class Block(Module):
    """A causal pre-norm transformer block."""

    def __init__(self, width=32, heads=4):
        super().__init__()
        nn = torch.nn
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.5), nn.Linear(4 * width, width))

    def forward(self, x):
        parts = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class Recurrent(Module):
    """An embedding, an LSTM, a head; two results."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 8)
        self.lstm = torch.nn.LSTM(8, 12, num_layers=2, batch_first=True)
        self.head = torch.nn.Linear(12, 3)

    def forward(self, words):
        hidden, (last, _) = self.lstm(self.embedding(words))
        return {"scores": self.head(hidden), "last": last}


def mlp():
    return torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4), torch.nn.Softmax(-1))


def cnn():
    nn = torch.nn
    body = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()]
    return nn.Sequential(*body, nn.Conv2d(8, 8, 3, groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


CASES = {
    "mlp": (mlp, (5, 6)),
    "cnn": (cnn, (2, 3, 20, 20)),
    "lstm": (Recurrent, None),
    "transformer": (Block, (2, 7, 32)),
    "resnet": (Residual, (2, 3, 12, 12)),
    "encoder layer": (lambda: torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (2, 5, 16)),
}


def built(name):
    """A module whose batch norms have met data, and arguments for it."""
    torch.manual_seed(0)
    build, shape = CASES[name]
    module = build()
    args = torch.randint(0, 20, (2, 9)) if shape is None else torch.randn(shape)
    with torch.no_grad():
        for _ in range(2):
            module(args)
    return module, args


def assert_same(got, module, *args):
    with torch.no_grad():
        wanted = module.eval()(*args)
    wanted = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
    got = jax.tree.leaves(got)
    assert len(got) == len(wanted)
    for have, want in zip(got, wanted, strict=True):
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-3, atol=1e-4 * float(want.abs().max()))


@pytest.mark.extras
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
class TestTorch:
    @pytest.mark.parametrize("name", CASES)
    def test_same_outputs_before_and_after(self, name):
        module, args = built(name)
        module.train()
        model = egraph_opt.from_torch(module, args)
        assert module.training
        given = jnp.asarray(args.numpy())
        assert_same(model(given), module, args)
        result = egraph_opt.optimize(model, measure=False, budget=1.0).plan(given)
        assert_same(result(given), module, args)

    def test_exported_program(self):
        module, args = built("mlp")
        program = torch.export.export(module.eval(), (args,))
        assert_same(egraph_opt.from_torch(program)(args.numpy()), module, args)
        with pytest.raises(ArgumentError, match="has its own example arguments"):
            egraph_opt.from_torch(program, args)

    def test_trees_keywords_and_numbers(self):
        class Mixed(Module):
            def forward(self, parts, scale, *, shift=None, twice=False):
                y = parts["a"] @ parts["b"][0] * scale
                y = y if shift is None else y + shift
                return 2 * y if twice else y

        a, b, shift = (np.random.default_rng(i).standard_normal((3, 3)).astype("float32") for i in range(3))
        model = egraph_opt.from_torch(
            Mixed(), ({"a": a, "b": [jnp.asarray(b)]}, 0.5), {"shift": torch.from_numpy(shift), "twice": True}
        )
        np.testing.assert_allclose(model(a, b, shift), 2 * (a @ b * 0.5 + shift), rtol=1e-5)

    def test_open_sizes(self):
        module, args = built("transformer")
        model = egraph_opt.from_torch(module, args, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        other = torch.randn(5, 7, 32)
        assert_same(model(other.numpy()), module, other)

    def test_weights_have_their_names_and_can_be_exchanged(self):
        module, args = built("mlp")
        model = egraph_opt.from_torch(module, args)
        assert set(model.weights) == set(module.state_dict())
        other = mlp()
        exchanged = model.with_weights({name: value.numpy() for name, value in other.state_dict().items()})
        assert_same(exchanged(args.numpy()), other, args)

    def test_differentiable(self):
        module, args = built("transformer")
        model = egraph_opt.from_torch(module, args)
        x = args.clone().requires_grad_()
        module.eval()(x).sum().backward()
        gradient = jax.grad(lambda x: model(x).sum())(jnp.asarray(args.numpy()))
        np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-3, atol=1e-4)

    def test_source_lines_are_those_of_the_module(self):
        module, args = built("resnet")
        model = egraph_opt.from_torch(module, args)
        result = egraph_opt.optimize(model, measure=False, verify=False, budget=0.5).plan(args.numpy())
        text = Path(__file__).read_text("utf-8").splitlines()
        found = {text[s.line - 1].strip() for node in result.before for s in node.sources if s.file == __file__}
        assert "return self.head(x.mean((2, 3)))" in found

    def test_refusals_are_one_line(self):
        class Branches(Module):
            def forward(self, x):
                return x if x.sum() > 0 else -x

        class Eigen(Module):
            def forward(self, x):
                return torch.linalg.eigh(x)[0]

        cases = [
            (
                Branches(),
                torch.ones(3),
                ModelError,
                r"Branches: torch.export refuses it at .*test_torch.py:\d+: Could",
            ),
            (Eigen(), torch.ones(3, 3), UnsupportedOpError, "Eigen: No ONNX function found for .*eigh"),
            (mlp(), torch.ones(2, 7), ModelError, "Sequential: torch.export refuses it: .*reduction dim"),
            (mlp(), None, ArgumentError, "want example arguments"),
            (mlp, torch.ones(2), ArgumentError, "got function; wrap"),
            (Eigen, torch.ones(2), ArgumentError, "got Eigen"),
        ]
        for module, args, error, text in cases:
            with pytest.raises(error, match=text) as caught:
                egraph_opt.from_torch(module, args)
            assert "\n" not in str(caught.value)
        with pytest.raises(ArgumentError, match="option dynamo"):
            egraph_opt.from_torch(mlp(), torch.ones(2, 6), dynamo=False)
        with pytest.raises(ArgumentError, match="nonsense"):
            egraph_opt.from_torch(mlp(), torch.ones(2, 6), nonsense=1)


def test_missing_package_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    with pytest.raises(ModelError, match=r"needs the package .*torch.*pip install egraph_opt\[torch\]"):
        egraph_opt.from_torch(object())
