# SPDX-License-Identifier: Apache-2.0
"""The eight graphs of the TENSAT paper in JAX, with their quirks.

Source: Yang et al., "Equality saturation for tensor graph superoptimization", MLSys 2021, and the model files of its
repository. Layout NCHW, batch 1, no biases, padding as TensorFlow's SAME unless said. Every graph has a full size;
``Size`` gives fewer channels, layers and pixels, so that tests can afford all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.bench.case import unscored

from .arrays import Built, Program, Random

NCHW = ("NCHW", "OIHW", "NCHW")
relu = jax.nn.relu


@dataclass(frozen=True)
class Size:
    """How much smaller than in the paper.

    Args:
        thinner: what numbers of channels and units are divided by.
        repeats: most layers, cells or blocks of one kind in a row.
        pixels: height and width of the image, or None for those of the paper.
    """

    thinner: int = 1
    repeats: int = 100
    pixels: int | None = None


FULL = Size()


class Net:
    """Layers that take their weights in order; without weights the shapes are noted instead."""

    def __init__(self, size: Size, weights: list[jax.Array] | None = None) -> None:
        self.size, self.weights = size, weights
        self.shapes: list[tuple[int, ...]] = []

    def weight(self, *shape: int) -> jax.Array:
        """The next weight."""
        self.shapes.append(shape)
        return jnp.zeros(shape) if self.weights is None else self.weights[len(self.shapes) - 1]

    def units(self, count: int) -> int:
        """A number of channels or units at this size."""
        return max(1, count // self.size.thinner)

    def repeats(self, count: int) -> int:
        """A number of repeated layers at this size."""
        return min(count, self.size.repeats)

    def conv(
        self,
        x: jax.Array,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        padding: str = "SAME",
        act: bool = True,
        groups: int = 1,
    ) -> jax.Array:
        """Convolution to ``channels`` channels (already scaled), with ReLU unless said."""
        kernels = self.weight(channels, x.shape[1] // groups, *kernel)
        y = lax.conv_general_dilated(
            x, kernels, (stride, stride), padding, dimension_numbers=NCHW, feature_group_count=groups
        )
        return relu(y) if act else y


def pool_max(x: jax.Array, kernel: int, stride: int, padding: str = "SAME") -> jax.Array:
    """Largest value of each window."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, kernel, kernel), (1, 1, stride, stride), padding)


def pool_mean(x: jax.Array, kernel: int, stride: int, padding: str = "SAME") -> jax.Array:
    """Mean of each window over the places inside the image.

    The counts are numbers of the program: written as a second ``reduce_window`` of ones, XLA folds them for minutes.
    """
    rows, columns = (_inside(n, kernel, stride, padding) for n in x.shape[2:])
    counts = np.outer(rows, columns).astype(np.float32)
    window = (1, 1, kernel, kernel), (1, 1, stride, stride), padding
    return lax.reduce_window(x, 0.0, lax.add, *window) * (1 / counts)


def _inside(length: int, kernel: int, stride: int, padding: str) -> np.ndarray:
    """How many places of each window along one dimension are inside the image."""
    if padding == "VALID":
        return np.full((length - kernel) // stride + 1, kernel)
    count = -(-length // stride)
    before = max((count - 1) * stride + kernel - length, 0) // 2
    start = np.arange(count) * stride - before
    return np.minimum(start + kernel, length) - np.maximum(start, 0)


def channels_joined(*parts: jax.Array) -> jax.Array:
    """Concatenation along the channels."""
    return jnp.concatenate(parts, 1)


def bert(net: Net, x: jax.Array) -> tuple[jax.Array, ...]:
    """Eight layers that share an input between four products; keys are not transposed, and there is no softmax.

    The outputs of all layers are outputs of the graph; the next layer reads the product of the input, not the mixture.
    """
    outputs = []
    x = relu(x)
    tokens, width = x.shape
    heads = width // tokens  # square heads, or the product without a transpose would not fit
    for _ in range(net.repeats(8)):
        q, k, v = (
            jnp.transpose((x @ net.weight(width, width)).reshape(tokens, heads, width // heads), (1, 0, 2))
            for _ in range(3)
        )
        mixed = jnp.matmul(jnp.matmul(q, k), v)
        outputs.append(jnp.transpose(mixed, (1, 0, 2)).reshape(tokens, width))
        x = x @ net.weight(width, width)
    return (*outputs, x)


def nasrnn(net: Net, *inputs: jax.Array) -> jax.Array:
    """Unrolled cells of a recurrent network found by architecture search, eight gates a cell."""
    width = inputs[0].shape[1]
    state = net.weight(1, width)
    sigmoid, tanh = jax.nn.sigmoid, jnp.tanh
    for x in inputs:
        gate = [x @ net.weight(width, width) + state @ net.weight(width, width) for _ in range(8)]
        first = relu(gate[0]) + sigmoid(gate[3])
        second = sigmoid(gate[1]) + tanh(gate[2])
        third = sigmoid(gate[4]) * tanh(gate[5])
        fourth = sigmoid(gate[6]) * relu(gate[7])
        state = tanh(tanh(sigmoid(second) + tanh(third)) * tanh(tanh(first) * tanh(fourth)))
    return state


def _bottleneck(net: Net, x: jax.Array, stride: int, width: int, expansion: int, groups: int) -> jax.Array:
    """Three convolutions and a shortcut; the shortcut's own convolution has a ReLU."""
    wide = width * expansion
    y = net.conv(x, width)
    y = net.conv(y, width, (3, 3), stride, groups=groups)
    y = net.conv(y, wide, act=False)
    if stride > 1 or x.shape[1] != wide:
        x = net.conv(x, wide, stride=stride)
    return relu(x + y)


def _stages(net: Net, x: jax.Array, width: int, expansion: int, groups: int = 1) -> jax.Array:
    for stage, count in enumerate((3, 4, 6, 3)):
        for layer in range(net.repeats(count)):
            stride = 2 if stage and not layer else 1
            x = _bottleneck(net, x, stride, net.units(width * 2**stage), expansion, groups)
    return x


def _stem(net: Net, x: jax.Array) -> jax.Array:
    return pool_max(net.conv(x, net.units(64), (7, 7), 2), 3, 2)


def resnext50(net: Net, x: jax.Array) -> jax.Array:
    """ResNeXt-50 with 32 groups, without the classifier."""
    return _stages(net, _stem(net, x), 128, 2, max(1, 32 // net.size.thinner))


def resnet50(net: Net, x: jax.Array) -> jax.Array:
    """ResNet-50 from behind its stem, without the classifier."""
    return _stages(net, x, 64, 4)


def _separable(net: Net, x: jax.Array, width: int, kernel: int, stride: int = 1) -> jax.Array:
    """Convolution in each channel alone, then across the channels."""
    y = net.conv(x, width, (kernel, kernel), stride, act=False, groups=width)
    return net.conv(y, width, act=False)


def _fitted(net: Net, x: jax.Array, like: jax.Array) -> jax.Array:
    """``x`` with the channels and the pixels of ``like``."""
    if x.shape[2] == like.shape[2]:
        return net.conv(x, like.shape[1])
    return net.conv(x, like.shape[1], (3, 3), 2)


def _normal_cell(net: Net, previous: jax.Array, x: jax.Array, width: int) -> jax.Array:
    x = net.conv(x, width)
    previous = _fitted(net, previous, x)
    first = _separable(net, x, width, 3) + x
    second = _separable(net, previous, width, 3) + _separable(net, x, width, 3)
    third = pool_mean(x, 3, 1) + previous
    fourth = pool_mean(previous, 3, 1) + pool_mean(previous, 3, 1)
    fifth = _separable(net, previous, width, 3) + _separable(net, previous, width, 3)
    return channels_joined(first, second, third, fourth, fifth)


def _reduction_cell(net: Net, previous: jax.Array, x: jax.Array, width: int) -> jax.Array:
    x = net.conv(x, width)
    previous = _fitted(net, previous, x)
    first = _separable(net, previous, width, 7, 2) + _separable(net, x, width, 5, 2)
    second = pool_max(x, 3, 2) + _separable(net, previous, width, 7, 2)
    third = pool_mean(x, 3, 2) + _separable(net, previous, width, 5, 2)
    fourth = pool_max(x, 3, 2) + _separable(net, first, width, 3)
    return channels_joined(first, second, third, fourth, pool_mean(first, 3, 1) + second)


def nasneta(net: Net, x: jax.Array) -> jax.Array:
    """NASNet-A: three times five normal cells and a reduction cell."""
    x, width = _stem(net, x), net.units(128)
    for _ in range(net.repeats(3)):
        previous = now = x
        for _ in range(net.repeats(5)):
            previous, now = now, _normal_cell(net, previous, now, width)
        width *= 2
        x = _reduction_cell(net, previous, now, width)
    return x


def squeezenet(net: Net, x: jax.Array) -> jax.Array:
    """SqueezeNet 1.1."""

    def fire(x: jax.Array, squeezed: int, expanded: int) -> jax.Array:
        x = net.conv(x, net.units(squeezed))
        return channels_joined(net.conv(x, net.units(expanded)), net.conv(x, net.units(expanded), (3, 3)))

    x = pool_max(net.conv(x, net.units(64), (3, 3), 2, "VALID"), 3, 2, "VALID")
    x = pool_max(fire(fire(x, 16, 64), 16, 64), 3, 2, "VALID")
    x = pool_max(fire(fire(x, 32, 128), 32, 128), 3, 2, "VALID")
    for squeezed in (48, 48, 64, 64):
        x = fire(x, squeezed, 4 * squeezed)
    x = net.conv(x, net.units(1000))
    return pool_mean(x, x.shape[2], x.shape[2], "VALID").reshape(1, -1)


def vgg19(net: Net, x: jax.Array) -> jax.Array:
    """VGG-19; the weights of its dense layers are stored as [out,in]."""
    for count, width in ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)):
        for _ in range(net.repeats(count)):
            x = net.conv(x, net.units(width), (3, 3))
        x = pool_max(x, 2, 2, "VALID")
    x = x.reshape(1, -1)
    x = relu(x @ net.weight(net.units(4096), x.shape[1]).T)
    x = relu(x @ net.weight(net.units(4096), x.shape[1]).T)
    return x @ net.weight(net.units(1000), x.shape[1]).T


def _inception_35(net: Net, x: jax.Array, pooled: int) -> jax.Array:
    conv, units = net.conv, net.units
    first = conv(x, units(64))
    second = conv(conv(x, units(48)), units(64), (5, 5))
    third = conv(conv(conv(x, units(64)), units(96), (3, 3)), units(96), (3, 3))
    fourth = conv(pool_mean(x, 3, 1), units(pooled))
    return channels_joined(channels_joined(first, second), channels_joined(third, fourth))


def _inception_17(net: Net, x: jax.Array, width: int) -> jax.Array:
    def chain(x: jax.Array, *kernels: tuple[int, int]) -> jax.Array:
        for kernel in kernels[:-1]:
            x = net.conv(x, net.units(width), kernel)
        return net.conv(x, net.units(192), kernels[-1])

    point, row, column = (1, 1), (1, 7), (7, 1)
    first = net.conv(x, net.units(192))
    second = chain(x, point, row, column)
    third = chain(x, point, column, row, column, row)
    fourth = net.conv(pool_mean(x, 3, 1), net.units(192))
    return channels_joined(channels_joined(first, second), channels_joined(third, fourth))


def _inception_8(net: Net, x: jax.Array) -> jax.Array:
    def fan(x: jax.Array) -> jax.Array:
        return channels_joined(net.conv(x, net.units(384), (1, 3)), net.conv(x, net.units(384), (3, 1)))

    first = net.conv(x, net.units(320))
    second = fan(net.conv(x, net.units(384)))
    third = fan(net.conv(net.conv(x, net.units(448)), net.units(384), (3, 3)))
    return channels_joined(first, second, third, net.conv(pool_max(x, 3, 1), net.units(192)))


def inceptionv3(net: Net, x: jax.Array) -> jax.Array:
    """Inception v3 without the classifier; concatenations are nested in twos."""
    conv, units = net.conv, net.units
    x = conv(conv(x, units(32), (3, 3), 2, "VALID"), units(32), (3, 3), 1, "VALID")
    x = pool_max(conv(x, units(64), (3, 3)), 3, 2, "VALID")
    x = conv(conv(x, units(80)), units(192), (3, 3), 1, "VALID")
    x = pool_max(x, 3, 2, "VALID")
    for pooled in (32, 64, 64)[: net.size.repeats]:
        x = _inception_35(net, x, pooled)
    first = conv(x, units(384), (3, 3), 2, "VALID")
    second = conv(conv(conv(x, units(64)), units(96), (3, 3)), units(96), (3, 3), 2, "VALID")
    x = channels_joined(pool_mean(x, 3, 2, "VALID"), channels_joined(first, second))
    for width in (128, 160, 160, 192)[: net.size.repeats]:
        x = _inception_17(net, x, width)
    first = conv(conv(x, units(192)), units(320), (3, 3), 2, "VALID")
    second = conv(conv(conv(x, units(192)), units(192), (1, 7)), units(192), (7, 1))
    second = conv(second, units(192), (3, 3), 2, "VALID")
    x = channels_joined(first, second, pool_max(x, 3, 2, "VALID"))
    for _ in range(net.repeats(2)):
        x = _inception_8(net, x)
    return pool_mean(x, x.shape[2], 1, "VALID")


def _image(channels: int, pixels: int, size: Size) -> tuple[tuple[int, ...], ...]:
    pixels = size.pixels or pixels
    return ((1, channels, pixels, pixels),)


GRAPHS: dict[str, tuple[Callable[..., Any], Callable[[Size], tuple[tuple[int, ...], ...]]]] = {
    "bert": (bert, lambda size: ((64 // size.thinner, 1024 // size.thinner),)),
    "nasrnn": (nasrnn, lambda size: ((1, 512 // size.thinner),) * min(5, size.repeats)),
    "resnext50": (resnext50, lambda size: _image(3, 224, size)),
    "nasneta": (nasneta, lambda size: _image(3, 224, size)),
    "squeezenet": (squeezenet, lambda size: _image(3, 224, size)),
    "vgg19": (vgg19, lambda size: _image(3, 224, size)),
    "inceptionv3": (inceptionv3, lambda size: _image(3, 299, size)),
    "resnet50": (resnet50, lambda size: _image(64 // size.thinner, 56, size)),
}


def build(name: str, size: Size = FULL) -> Built:
    """One of the graphs: a function of the weights and the inputs, and its arguments."""
    graph, input_shapes = GRAPHS[name]
    shapes = input_shapes(size)
    net = Net(size)
    jax.eval_shape(partial(graph, net), *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    random = Random()
    weights = [random.normal(*shape, scale=float(np.prod(shape[1:])) ** -0.5) for shape in net.shapes]

    def function(weights: list[jax.Array], *inputs: jax.Array) -> Any:
        return graph(Net(size, weights), *inputs)

    function.__name__ = name
    return function, (weights, *(random.normal(*shape) for shape in shapes))


TINY_PIXELS = {"inceptionv3": 75, "squeezenet": 47, "vgg19": 32, "resnet50": 8}

PROGRAMS = {
    name: Program(partial(build, name), {"size": Size(thinner=16, repeats=1, pixels=TINY_PIXELS.get(name, 33))})
    for name in GRAPHS
}

CASES = unscored(PROGRAMS)
