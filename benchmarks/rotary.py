# SPDX-License-Identifier: Apache-2.0
"""Rotary embedding in its usual spellings and as complex numbers: times in turns.

``python benchmarks/rotary.py``, float32, 12 heads of size 64, batch 1.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.kernels.rotary import by_complex, pattern

ROUNDS = 16
HEADS, SIZE = 12, 64


def _strided(x: Any, c: Any, s: Any) -> Any:
    a, b = x[..., ::2], x[..., 1::2]
    return jnp.stack([a * c - b * s, b * c + a * s], -1).reshape(x.shape)


def _reshaped(x: Any, c: Any, s: Any) -> Any:
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    return jnp.stack([a * c - b * s, b * c + a * s], -1).reshape(x.shape)


def _halves(x: Any, c: Any, s: Any) -> Any:
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * c - b * s, b * c + a * s], -1)


def _halves_reshaped(x: Any, c: Any, s: Any) -> Any:
    parts = x.reshape(*x.shape[:-1], 2, -1)
    a, b = parts[..., 0, :], parts[..., 1, :]
    return jnp.stack([a * c - b * s, b * c + a * s], -2).reshape(x.shape)


FORMS: dict[str, Callable[..., Any]] = {
    "pairs, strided slices": _strided,
    "pairs, reshape": _reshaped,
    "pairs, whole tables": functools.partial(pattern, form="pairs", turned=0),
    "pairs, complex": functools.partial(by_complex, form="pairs", turned=0),
    "half, whole tables": functools.partial(pattern, form="half", turned=0),
    "half, two products": _halves,
    "half, reshape": _halves_reshaped,
}


def main() -> None:
    """Compile all forms, run them in turns, print medians without the first round."""
    random = np.random.default_rng(0)
    for count in (512, 2048):
        x = jnp.asarray(random.standard_normal((1, count, HEADS, SIZE)), jnp.float32)
        angles = random.standard_normal((count, 1, SIZE // 2))
        c, s = (jnp.asarray(f(angles), jnp.float32) for f in (np.cos, np.sin))
        compiled = {name: jax.jit(form).lower(x, c, s).compile() for name, form in FORMS.items()}
        times: dict[str, list[float]] = {name: [] for name in compiled}
        for _ in range(ROUNDS):
            for name, run in compiled.items():
                start = time.perf_counter()
                jax.block_until_ready(run(x, c, s))
                times[name].append(time.perf_counter() - start)
        for name in compiled:
            print(f"{count} {name:22} {1e3 * statistics.median(times[name][1:]):7.3f} ms")


if __name__ == "__main__":
    main()
