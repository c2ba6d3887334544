# SPDX-License-Identifier: Apache-2.0
"""Convolutions in several orders of dimensions, and several of one input as one: times in turns.

``python benchmarks/convolutions.py``, float32, batch 1, "SAME", each with a ReLU.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROUNDS = 20
CALLS = 3

SHAPES = (
    (64, 64, 56, 3, 1),
    (128, 128, 28, 3, 1),
    (256, 256, 14, 3, 1),
    (512, 512, 7, 3, 1),
    (96, 192, 27, 5, 1),
    (3, 64, 224, 7, 2),
)
"""Input and output channels, pixels a side, window, stride."""

SIBLINGS = ((64, 32, 56, 3, 2), (64, 16, 28, 3, 4), (128, 64, 14, 3, 3), (32, 8, 56, 5, 4), (192, 96, 28, 3, 2))
"""Input channels, output channels of each, pixels a side, window, how many."""


def _conv(x: Any, kernel: Any, layout: str, order: str, stride: int = 1) -> Any:
    out = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=(layout, order, layout))
    return jax.nn.relu(out)


def _medians(functions: Sequence[Callable[..., Any]], args: Sequence[Sequence[Any]]) -> list[float]:
    """Medians of interleaved samples [ms]."""
    compiled = [jax.jit(f) for f in functions]
    for f, given in zip(compiled, args, strict=True):
        jax.block_until_ready(f(*given))
    times: list[list[float]] = [[] for _ in compiled]
    for _ in range(ROUNDS):
        for f, given, samples in zip(compiled, args, times, strict=True):
            start = time.perf_counter()
            for _ in range(CALLS):
                result = f(*given)
            jax.block_until_ready(result)
            samples.append((time.perf_counter() - start) / CALLS)
    return [1e3 * statistics.median(samples) for samples in times]


def main() -> None:
    """Print the two tables."""
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.standard_normal(shape), jnp.float32)  # noqa: E731
    forms = [(layout, order) for layout in ("NCHW", "NHWC") for order in ("OIHW", "HWIO")]
    print("channels, pixels, window, stride |", " | ".join(f"{a} {b}" for a, b in forms))
    for c, o, side, window, stride in SHAPES:
        x, kernel = draw(1, c, side, side), draw(o, c, window, window)
        inputs = {"NCHW": x, "NHWC": jnp.transpose(x, (0, 2, 3, 1))}
        kernels = {"OIHW": kernel, "HWIO": jnp.transpose(kernel, (2, 3, 1, 0))}
        functions = [lambda x, k, a=a, b=b, s=stride: _conv(x, k, a, b, s) for a, b in forms]
        times = _medians(functions, [(inputs[a], kernels[b]) for a, b in forms])
        print(f"{c} to {o}, {side}, {window}, {stride} |", " | ".join(f"{t:.2f}" for t in times))
    print("channels, pixels, window, how many | apart | as one (NHWC, HWIO)")
    for c, o, side, window, count in SIBLINGS:
        x, kernels = draw(1, side, side, c), [draw(window, window, c, o) for _ in range(count)]
        apart = lambda x, *kernels: [_conv(x, k, "NHWC", "HWIO") for k in kernels]  # noqa: E731
        joined = lambda x, k, n=count: jnp.split(_conv(x, k, "NHWC", "HWIO"), n, 3)  # noqa: E731
        times = _medians([apart, joined], [(x, *kernels), (x, jnp.concatenate(kernels, 3))])
        print(f"{c} to {o}, {side}, {window}, {count} |", " | ".join(f"{t:.2f}" for t in times))


if __name__ == "__main__":
    main()
