# SPDX-License-Identifier: Apache-2.0
"""Random networks of convolutions in double precision: every pass over them leaves their values as they are.

One, two and three dimensions of space; strides, dilations, groups, uneven pads, transposed convolutions, pools whose
last window hangs over, concatenations, channel shuffles by reshape, squeeze-and-excite, crops, flips and heads.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture
from egraph_opt.cost import cost_model, frozen_nodes
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.lower.orders import ordered
from egraph_opt.nets.passes import PASSES
from egraph_opt.normalise import normalise

Weight = Callable[..., Any]
Layer = Callable[[Any, random.Random, Weight], Any]


def conv(x: Any, draw: random.Random, weight: Weight, groups: int = 1, widened: bool = False) -> Any:
    """A convolution [b,c,space]; ``x`` again where its window would not fit."""
    channels, *space = x.shape[1:]
    window = [draw.randint(1, 3) for _ in space]
    strides, holes = ([draw.choice((1, 1, 2, 3)) for _ in space] for _ in range(2))
    spread = [draw.choice((1, 2, 3)) if widened else 1 for _ in space]
    pads = [(draw.randint(0, 2), draw.randint(0, 2)) for _ in space]
    have = [(n - 1) * k + 1 + sum(p) for n, k, p in zip(space, spread, pads, strict=True)]
    if any(n < (w - 1) * h + 1 for n, w, h in zip(have, window, holes, strict=True)):
        return x
    kernel = weight(groups * draw.choice((1, 2, 3)), channels // groups, *window)
    letters = "XYZ"[: len(space)]
    numbers = ("NC" + letters, "OI" + letters, "NC" + letters)
    return lax.conv_general_dilated(
        x, kernel, strides, pads, spread, holes, dimension_numbers=numbers, feature_group_count=groups
    )


def transposed(x: Any, draw: random.Random, weight: Weight) -> Any:
    return conv(x, draw, weight, widened=True)


def grouped(x: Any, draw: random.Random, weight: Weight) -> Any:
    return conv(x, draw, weight, groups=draw.choice([g for g in (2, 3, x.shape[1]) if x.shape[1] % g == 0]))


def pool(x: Any, draw: random.Random, weight: Weight) -> Any:
    del weight
    space = x.ndim - 2
    window, strides = ((1, 1, *(draw.randint(1, 2) for _ in range(space))) for _ in range(2))
    pads = ((0, 0), (0, 0), *((0, draw.randint(0, 1)) for _ in range(space)))
    start, function = draw.choice(((-jnp.inf, lax.max), (0.0, lax.add)))
    y = lax.reduce_window(x, start, function, window, strides, pads)
    return jnp.maximum(y, -9.0)


def affine(x: Any, draw: random.Random, weight: Weight) -> Any:
    scale, bias = (weight(x.shape[1]).reshape(-1, *[1] * (x.ndim - 2)) for _ in range(2))
    return draw.choice((jnp.tanh, jax.nn.relu, jax.nn.silu))(x * scale + bias)


def joined(x: Any, draw: random.Random, weight: Weight) -> Any:
    del weight
    return jnp.concatenate([x, jnp.tanh(x)], 1) if draw.random() < 0.5 else jnp.concatenate([x[:, :, :1], x], 2)


def shuffled(x: Any, draw: random.Random, weight: Weight) -> Any:
    del weight
    batch, channels, *space = x.shape
    groups = draw.choice([g for g in (2, 3, channels) if channels % g == 0])
    return x.reshape(batch, groups, channels // groups, *space).swapaxes(1, 2).reshape(x.shape)


def excited(x: Any, draw: random.Random, weight: Weight) -> Any:
    del draw
    channels = x.shape[1]
    mean = x.mean(tuple(range(2, x.ndim)))
    gate = jax.nn.sigmoid(jax.nn.relu(mean @ weight(channels, 2)) @ weight(2, channels))
    return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))


def cut(x: Any, draw: random.Random, weight: Weight) -> Any:
    del weight
    y = jnp.pad(x, ((0, 0), (0, 0), *((draw.randint(0, 2), draw.randint(0, 1)) for _ in range(x.ndim - 2))))
    y = y[:, :, draw.randint(0, 1) :]
    return jnp.concatenate([y[:, 1:], y[:, :1]], 1)[:, :, ::-1] if draw.random() < 0.5 else y


def added(x: Any, draw: random.Random, weight: Weight) -> Any:
    del draw
    letters = "XYZ"[: x.ndim - 2]
    kernel = weight(x.shape[1], x.shape[1], *[3] * (x.ndim - 2))
    numbers = ("NC" + letters, "OI" + letters, "NC" + letters)
    return x + lax.conv_general_dilated(x, kernel, [1] * len(letters), "SAME", dimension_numbers=numbers)


LAYERS: tuple[Layer, ...] = (conv, conv, transposed, grouped, pool, affine, joined, shuffled, excited, cut, added)


def network(seed: int) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """A function of an image and its weights, and values of both."""
    values = np.random.default_rng(seed)
    weights: list[np.ndarray] = []

    def body(x: Any, weight: Weight) -> list[Any]:
        draw = random.Random(seed)
        for _ in range(draw.randint(4, 7)):
            x = draw.choice(LAYERS)(x, draw, weight)
        match draw.choice(("whole", "mean", "flat", "two")):
            case "mean":
                return [x.mean(tuple(range(2, x.ndim)))]
            case "flat":
                return [x.reshape(x.shape[0], -1) @ weight(x[0].size, 3)]
            case "two":
                return [x, jnp.tanh(x).sum(1)]
        return [x]

    def fresh(*shape: int) -> np.ndarray:
        weights.append(values.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5)
        return weights[-1]

    def function(x: Any, *given: Any) -> list[Any]:
        rest = iter(given)
        return body(x, lambda *shape: next(rest))

    draw = random.Random(-seed)
    shape = (draw.choice((1, 2)), draw.choice((2, 3, 4, 6)), *(draw.randint(4, 7) for _ in range(1 + seed % 3)))
    x = values.standard_normal(shape)
    jax.eval_shape(lambda x: body(x, fresh), x)
    return function, [x, *weights]


def check(seed: int) -> bool:
    """Compare all forms of one network; whether the order of its dimensions was changed."""
    function, args = network(seed)
    graph = normalise(capture(function, args).graph)
    free = frozen_nodes(graph, range(1, len(args)))
    forms = {"captured": graph}
    for name, run in PASSES.items():
        new = run(graph, Numerics.REASSOCIATE, free, cost_model("roofline", "cpu"))
        if new is not None:
            forms[name] = normalise(new)
    # Lowering a graph orders it.
    results = jax.jit(lambda args: (function(*args), [lower_graph(form)(args) for form in forms.values()]))(args)
    for name, got in zip(forms, results[1], strict=True):
        for have, want in zip(got, results[0], strict=True):
            scale = float(jnp.max(jnp.abs(want), initial=1e-30))
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-11 * scale, err_msg=f"seed {seed}: {name}")
    return ordered(graph) is not graph


def test_random_networks() -> None:
    with jax.enable_x64(True):
        assert sum(map(check, range(4))) >= 2


@pytest.mark.slow
def test_many_random_networks() -> None:
    with jax.enable_x64(True):
        assert sum(map(check, range(4, 150))) >= 50
