# SPDX-License-Identifier: Apache-2.0
"""Products of 8-bit integers in int32, in float32, and as ``narrow`` runs them: times in turns.

``python benchmarks/integer_products.py``: unsigned integers less a zero point, times signed ones.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.kernels.integer_products import narrow

ROUNDS = 9
ZERO = 3


def main() -> None:
    """Compile all forms, run them in turns, print medians without the first round."""
    random = np.random.default_rng(0)
    for m, k, n in ((16, 768, 768), (64, 768, 768), (512, 768, 768)):
        a = jnp.asarray(random.integers(0, 256, (m, k)), jnp.uint8)
        b = jnp.asarray(random.integers(-128, 128, (k, n)), jnp.int8)
        spec = f"ab,bc->ac;{m},{k},{n}"
        forms: dict[str, Any] = {
            "int32": lambda a, b: (a.astype(jnp.int32) - ZERO) @ b.astype(jnp.int32),
            "float32": lambda a, b: (a.astype(jnp.float32) - ZERO) @ b.astype(jnp.float32),
            "narrow": lambda a, b, spec=spec: narrow(a, b, jnp.int32(-ZERO), spec=spec, shifted="a"),
        }
        compiled = {name: jax.jit(form).lower(a, b).compile() for name, form in forms.items()}
        times: dict[str, list[float]] = {name: [] for name in compiled}
        for _ in range(ROUNDS):
            for name, run in compiled.items():
                start = time.perf_counter()
                jax.block_until_ready(run(a, b))
                times[name].append(time.perf_counter() - start)
        for name in compiled:
            print(f"{m}x{k}x{n} {name:8} {1e3 * statistics.median(times[name][1:]):7.2f} ms")


if __name__ == "__main__":
    main()
