# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy with labels as it is usually written and as ``picked`` runs it: times in turns, and temporary memory.

``python benchmarks/cross_entropy.py``, float32; the mean of all rows and its gradient.
"""

import functools
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.kernels.cross_entropy import SAMPLE, picked

ROUNDS = 6


def _taken(x: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], -1)[:, 0]


def _hot(x: Any, labels: Any) -> Any:
    return -(jax.nn.one_hot(labels, x.shape[-1]) * jax.nn.log_softmax(x)).sum(-1)


FORMS = {"taken": _taken, "one_hot": _hot, "picked": functools.partial(picked, **SAMPLE)}


def main() -> None:
    """Compile all forms, run them in turns, print medians without the first round."""
    random = np.random.default_rng(0)
    for rows, classes in ((1024, 8000), (256, 50257)):
        x = jnp.asarray(random.standard_normal((rows, classes)), jnp.float32)
        labels = jnp.asarray(random.integers(0, classes, rows), jnp.int32)
        compiled = {}
        for name, form in FORMS.items():
            mean = lambda x, y, form=form: form(x, y).mean()  # noqa: E731
            compiled[name] = jax.jit(mean).lower(x, labels).compile()
            compiled[f"{name} gradient"] = jax.jit(jax.grad(mean)).lower(x, labels).compile()
        times: dict[str, list[float]] = {name: [] for name in compiled}
        for _ in range(ROUNDS):
            for name, run in compiled.items():
                start = time.perf_counter()
                jax.block_until_ready(run(x, labels))
                times[name].append(time.perf_counter() - start)
        for name, run in compiled.items():
            held = run.memory_analysis().temp_size_in_bytes / 1e6
            middle = 1e3 * statistics.median(times[name][1:])
            print(f"{rows} {classes} {name:17} {middle:7.1f} ms {held:7.2f} MB temporary")


if __name__ == "__main__":
    main()
