# SPDX-License-Identifier: Apache-2.0
"""Random parts of random convolutions and windows: as much work as the part has places, and the original's values."""

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
from egraph_opt.cost import count_graph
from egraph_opt.ir import Graph, slices
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.reads import narrowed

Made = tuple[Callable[..., Any], list[Any]]
SEEDS = range(16)
LAYOUTS = ("NCHW OIHW NCHW", "NHWC HWIO NHWC", "NCHW OIHW NHWC")


def array(draw: random.Random, *shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(draw.randrange(1000)).standard_normal(shape), jnp.float32)


def a_convolution(draw: random.Random) -> Made:
    """With groups, strides, holes, padding on both sides that may be uneven."""
    groups, each, out = draw.choice([1, 1, 2, 3]), draw.randint(1, 3), draw.randint(1, 3)
    image, kernel, result = draw.choice(LAYOUTS).split()
    sizes = {"N": draw.randint(1, 3), "C": groups * each, "H": draw.randint(7, 12), "W": draw.randint(7, 12)}
    taps = {"O": groups * out, "I": each, "H": draw.randint(1, 3), "W": draw.randint(1, 3)}
    options: dict[str, Any] = {
        "window_strides": (draw.randint(1, 3), draw.randint(1, 3)),
        "padding": [(draw.randint(0, 2), draw.randint(0, 2)) for _ in range(2)],
        "rhs_dilation": (draw.randint(1, 2), draw.randint(1, 2)),
        "dimension_numbers": (image, kernel, result),
        "feature_group_count": groups,
    }
    x, w = array(draw, *(sizes[c] for c in image)), array(draw, *(taps[c] for c in kernel))
    return lambda x, w: lax.conv_general_dilated(x, w, **options), [x, w]


def a_window(draw: random.Random) -> Made:
    start, join = draw.choice([(0.0, lax.add), (-jnp.inf, lax.max), (jnp.inf, lax.min)])
    sizes = [draw.randint(5, 9) for _ in range(3)]
    taps = [draw.randint(1, 3) for _ in sizes]
    steps = [draw.randint(1, 2) for _ in sizes]
    around = [(draw.randint(0, t - 1), draw.randint(0, t - 1)) for t in taps]
    holes = [draw.randint(1, 2) for _ in sizes]
    return lambda x: lax.reduce_window(x, start, join, taps, steps, around, window_dilation=holes), [
        array(draw, *sizes)
    ]


def a_part(draw: random.Random, shape: tuple[int, ...]) -> tuple[slice, ...]:
    part = []
    for size in shape:
        start = draw.randrange(size)
        part.append(slice(start, draw.randint(start + 1, size), draw.choice([1, 1, 2, 3])))
    return tuple(part)


def narrow(program: Callable[..., Any], args: list[Any]) -> tuple[Graph, Graph]:
    before = normalise(capture(program, args).graph)
    return before, normalise(narrowed(before, Numerics.EXACT))


@pytest.mark.parametrize("kind", [a_convolution, a_window])
@pytest.mark.parametrize("seed", SEEDS)
def test_parts_of_windows(kind: Callable[[random.Random], Made], seed: int) -> None:
    draw = random.Random(f"{kind.__name__} {seed}")
    function, args = kind(draw)
    part = a_part(draw, function(*args).shape)
    before, after = narrow(lambda *args: function(*args)[part], args)
    want = jax.jit(lower_graph(before))(args)[0]
    np.testing.assert_allclose(jax.jit(lower_graph(after))(args)[0], want, rtol=1e-5, atol=1e-5)
    assert count_graph(after).flops <= count_graph(before).flops


def test_every_second_place_of_a_convolution_is_a_stride() -> None:
    signal, taps = array(random.Random(0), 1000), array(random.Random(1), 9)
    before, after = narrow(lambda x, k: jnp.convolve(x, k, mode="valid")[::8], [signal, taps])
    assert count_graph(after).flops == 124 * count_graph(before).flops / 992


def test_channels_of_groups_are_those_of_fewer_groups() -> None:
    image, kernel = array(random.Random(0), 1, 16, 8, 8), array(random.Random(1), 16, 1, 3, 3)
    one = lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=16)  # noqa: E731
    before, after = narrow(lambda x, w: one(x, w)[:, 5:6], [image, kernel])
    assert count_graph(after).flops == count_graph(before).flops / 16


@pytest.mark.parametrize(
    ("text", "old", "new", "wanted"),
    [
        ((17, 18), (1, 1, 40), (40,), "0:1 0:1 17:18"),
        ((0, 1, 0, 1, 3, 9), (40,), (1, 1, 40), "3:9"),
        ((1, 5, 2, 3), (6, 1, 1, 40), (6, 40), "1:5 0:1 0:1 2:3"),
        ((1, 3, 0, 4), (12, 1), (3, 4), "4:12 0:1"),
        ((0, 0, 3, 9), (40,), (1, 40), ""),
    ],
)
def test_slices_of_reshapes_pass_sizes_of_one(
    text: tuple[int, ...], old: tuple[int, ...], new: tuple[int, ...], wanted: str
) -> None:
    cut = [slices.Range(a, b) for a, b in zip(text[::2], text[1::2], strict=True)]
    found = slices.slice_of_reshape(slices.slice_text(cut), old, new)
    said = "" if found is None else " ".join(f"{r.start}:{r.limit}" for r in slices.parse_slice(found[0]))
    assert said == wanted
