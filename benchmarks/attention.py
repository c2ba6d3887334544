# SPDX-License-Identifier: Apache-2.0
"""Attention as written, in blocks, under its causal mask and in a window: times in turns, and XLA's temporary memory.

``python benchmarks/attention.py POSITIONS [WINDOW]``, 4 heads of size 64, float32.
"""

import functools
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.kernels.attention_pattern import SAMPLE, pattern
from egraph_opt.kernels.attention_ways import banded, chunked, triangle

ROUNDS = 6


def main(positions: int, window: int) -> None:
    """Compile all forms, run them in turns, print medians without the first round."""
    random = np.random.default_rng(0)
    shapes = (4, 1, positions, 64), (4, positions, 64), (4, positions, 64)
    args = [jnp.asarray(random.standard_normal(s), jnp.float32) for s in shapes]
    full = {**SAMPLE, "scale": 0.125}
    causal = {**full, "ahead": 0}
    near = {**causal, "behind": window - 1}
    forms = {
        "naive": functools.partial(pattern, **full),
        "chunked": functools.partial(chunked, **full),
        "naive causal": functools.partial(pattern, **causal),
        "chunked causal": functools.partial(chunked, **causal),
        "triangle": functools.partial(triangle, **causal),
        "naive window": functools.partial(pattern, **near),
        "chunked window": functools.partial(chunked, **near),
        "triangle window": functools.partial(triangle, **near),
        "banded": functools.partial(banded, **near),
    }
    compiled = {name: jax.jit(form).lower(*args).compile() for name, form in forms.items()}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(ROUNDS):
        for name, run in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*args))
            times[name].append(time.perf_counter() - start)
    for name, run in compiled.items():
        held = run.memory_analysis().temp_size_in_bytes / 1e6
        print(f"{positions} {name:15} {1e3 * statistics.median(times[name][1:]):8.1f} ms {held:8.1f} MB temporary")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 256)
