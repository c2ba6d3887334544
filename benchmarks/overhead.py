# SPDX-License-Identifier: Apache-2.0
"""What a call costs besides the program: microseconds of ``optimize(f)`` against ``jax.jit(f)``.

    python benchmarks/overhead.py

The bar is 10 microseconds more a call. The functions are tiny, so that dispatch is nearly all of the time; both are
timed interleaved, and the median of many rounds counts.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import egraph_opt

ROUNDS = 60
CALLS = 500
MOST = 10.0
"""Allowed extra time of a call [us]."""


def two_arrays(x: jax.Array, y: jax.Array) -> jax.Array:
    """Two leaves."""
    return x + y


def tree(params: dict[str, jax.Array], x: jax.Array) -> dict[str, jax.Array]:
    """Twenty leaves in a tree."""
    return {name: value + x for name, value in params.items()}


def microseconds(function: Callable[..., Any], args: tuple[Any, ...]) -> float:
    """Mean time of one call in a burst of calls [us]."""
    start = time.perf_counter()
    for _ in range(CALLS):
        out = function(*args)
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / CALLS * 1e6


def main() -> None:
    """Print one line for each case."""
    one = jnp.ones(4)
    cases: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (two_arrays, (one, one)),
        (tree, ({f"w{i}": one for i in range(20)}, one)),
    ]
    print(f"{'case':12} {'jit':>9} {'optimize':>9} {'result':>9}   [us a call]")
    for function, args in cases:
        jitted, fast = jax.jit(function), egraph_opt.optimize(function, measure=False)
        result = fast.plan(*args)
        forms = [jitted, fast, result]
        for form in forms:
            form(*args)
        samples = [[microseconds(form, args) for form in forms] for _ in range(ROUNDS)]
        plain, optimized, planned = (statistics.median(column) for column in zip(*samples, strict=True))
        verdict = "fine" if optimized - plain <= MOST else f"more than {MOST:.0f} us above jit"
        print(f"{function.__name__:12} {plain:9.1f} {optimized:9.1f} {planned:9.1f}   {verdict}")


if __name__ == "__main__":
    main()
