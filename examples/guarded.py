# SPDX-License-Identifier: Apache-2.0
"""A system whose matrix is often triangular: tested at run time, quick where it is, right where it is not."""

import jax.numpy as jnp
import numpy as np

import egraph_opt

SIZE = 512


def main() -> None:
    """Plan and run with a triangular and with a general matrix."""
    random = np.random.default_rng(0)
    general = random.standard_normal((SIZE, SIZE)).astype("float32") / SIZE**0.5 + 2 * np.eye(SIZE, dtype="float32")
    right = random.standard_normal((SIZE, 8)).astype("float32")
    solve = egraph_opt.optimize(egraph_opt.guarded(jnp.linalg.solve, a="lower_triangular"))

    for name, matrix in (("triangular", np.tril(general)), ("general", general)):
        result = solve.plan(matrix, right)
        difference = jnp.max(jnp.abs(result(matrix, right) - jnp.linalg.solve(matrix, right)))
        print(f"a {name} matrix: {result.report}\ndifference {difference:.1e}\n")


if __name__ == "__main__":
    main()
