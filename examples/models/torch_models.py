# SPDX-License-Identifier: Apache-2.0
"""Networks in plain PyTorch that ``make_onnx_models.py`` exports, each in any size, written as people write them.

What the library transformers has is taken from there; here stand the convolutional ones, the recurrent ones and a
mixture of experts. ``randomise`` gives any module weights under which no layer dies or saturates.
"""

from collections.abc import Sequence

import torch
from torch import nn


def norm_conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps the borders, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Bottleneck(nn.Module):
    """Three convolutions around a shortcut, as in ResNet-50 (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *[*norm_conv(inputs, width, 1), nn.ReLU()],
            *[*norm_conv(width, width, 3, stride), nn.ReLU()],
            *norm_conv(width, 4 * width, 1),
        )
        plain = stride == 1 and inputs == 4 * width
        self.shortcut = nn.Identity() if plain else nn.Sequential(*norm_conv(inputs, 4 * width, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block of x[b,c,h,w]."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet(blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64, classes: int = 1000) -> nn.Module:
    """ResNet with bottlenecks; the default is ResNet-50."""
    layers = [*norm_conv(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            layers.append(Bottleneck(inputs, width << stage, 2 if stage and not block else 1))
            inputs = 4 * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class DenseLayer(nn.Module):
    """Adds ``growth`` channels to those that it reads (Huang et al. 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *[nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 4 * growth, 1, bias=False)],
            *[nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)],
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input with the new channels behind it."""
        return torch.cat([x, self.body(x)], 1)


def densenet(blocks: Sequence[int] = (6, 12, 24, 16), growth: int = 32, classes: int = 1000) -> nn.Module:
    """DenseNet; the default is DenseNet-121."""
    channels = 2 * growth
    layers = [*norm_conv(3, channels, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for number, count in enumerate(blocks):
        for _ in range(count):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        if number + 1 < len(blocks):
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
            layers.append(nn.AvgPool2d(2))
            channels //= 2
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Widens, filters each channel by itself, narrows (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int) -> None:
        super().__init__()
        width = inputs * factor
        widen = [*norm_conv(inputs, width, 1), nn.ReLU6()] if factor > 1 else []
        filtered = [*norm_conv(width, width, 3, stride, groups=width), nn.ReLU6()]
        self.body = nn.Sequential(*widen, *filtered, *norm_conv(width, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block of x[b,c,h,w]."""
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet(stages: Sequence[tuple[int, int, int, int]], first: int, last: int, classes: int) -> nn.Module:
    """MobileNetV2 of stages ``(factor, channels, blocks, stride)``."""
    layers: list[nn.Module] = [*norm_conv(3, first, 3, 2), nn.ReLU6()]
    inputs = first
    for factor, channels, count, stride in stages:
        for block in range(count):
            layers.append(InvertedResidual(inputs, channels, 1 if block else stride, factor))
            inputs = channels
    layers += [*norm_conv(inputs, last, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(last, classes))


class UNet(nn.Module):
    """Down and up again with shortcuts, group norm, transposed convolution (Ronneberger et al. 2015)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            self._block(3 if not level else widths[level - 1], widths[level]) for level in range(depth)
        )
        self.middle = self._block(widths[-2], widths[-1])
        self.widen = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1]))
        self.up = nn.ModuleList(self._block(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, 1, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        return nn.Sequential(conv, nn.GroupNorm(4, outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A mask in [0, 1] of x[b,3,h,w]."""
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.middle(x)
        for widen, block in zip(self.widen, self.up, strict=True):
            x = block(torch.cat([kept.pop(), widen(x)], 1))
        return torch.sigmoid(self.head(x))


class Tagger(nn.Module):
    """An LSTM over embedded words, both ways, and a class for each word."""

    def __init__(self, words: int = 200, width: int = 24, layers: int = 2, classes: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Scores[b,t,classes] of words[b,t]."""
        return self.head(self.lstm(self.embedding(words))[0])


class Experts(nn.Module):
    """A pre-norm transformer block whose MLP is one of the two best of several experts, for each token."""

    def __init__(self, width: int = 32, experts: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.experts = heads, experts
        self.norms = nn.ModuleList([nn.RMSNorm(width), nn.RMSNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.router = nn.Linear(width, experts, bias=False)
        self.wide = nn.Parameter(torch.empty(experts, width, 4 * width))
        self.narrow = nn.Parameter(torch.empty(experts, 2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block of x[b,t,width]."""
        batch, time, width = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, time, width))
        y = self.norms[1](x)
        scores, chosen = torch.topk(self.router(y), 2, -1)
        weights = torch.zeros(batch, time, self.experts).scatter(-1, chosen, torch.softmax(scores, -1))
        gate, up = torch.einsum("btw,ewh->bteh", y, self.wide).chunk(2, -1)
        return x + torch.einsum("bteh,ehw,bte->btw", nn.functional.silu(gate) * up, self.narrow, weights)


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Gives a module weights under which activations stay near one and outputs follow inputs.

    Products get their fan-in's scale, embeddings and tables unit scale, scales of norms and biases a spread about one
    and about zero: a lowering that drops a bias or exchanges two scales is then seen.
    """
    generator = torch.Generator().manual_seed(seed)
    transposed = {"Conv1D", "Experts"}  # their weights are [..., in, out]; those of the others [out, in, ...]
    for module in model.modules():
        kind = type(module).__name__
        for name, parameter in module.named_parameters(recurse=False):
            normal = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:
                scale = name == "weight" or "gamma" in name or "layer_scale" in name
                value = (1 if scale else 0) + 0.2 * normal
            elif "Embedding" in kind or "token" in name or "position" in name or "bias" in name:
                value = normal
            elif kind == "ConvTranspose2d":
                value = normal / parameter.shape[0] ** 0.5
            else:
                fan_in = parameter.shape[-2] if kind in transposed else parameter[0].numel()
                value = normal / fan_in**0.5
            parameter.data.copy_(value)
    return model.eval()


def settle(model: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """Gives batch norms the statistics that they meet on these inputs, as training would."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model(*inputs)
    return model.eval()
