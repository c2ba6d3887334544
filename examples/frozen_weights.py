# SPDX-License-Identifier: Apache-2.0
"""Weights that stay the same between calls: what reads only them is computed once."""

import jax.numpy as jnp
import numpy as np

import egraph_opt


def smooth(params, x):
    """A linear layer, a fixed smoothing, another linear layer; x is a large batch."""
    return x @ params["encode"] @ params["smooth"] @ params["decode"]


def main():
    """Plan with frozen weights, prepare, call with the rest."""
    random = np.random.default_rng(0)
    shapes = {"encode": (64, 256), "smooth": (256, 256), "decode": (256, 64)}
    params = {name: jnp.asarray(random.standard_normal(s) / s[0] ** 0.5, jnp.float32) for name, s in shapes.items()}
    x = jnp.asarray(random.standard_normal((2000, 64)), jnp.float32)

    result = egraph_opt.optimize(smooth, frozen=("params",)).plan(params, x)
    print(result.report)
    run = result.prepare(params)  # one 64 by 64 matrix remains of the three
    np.testing.assert_allclose(run(x), smooth(params, x), rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    main()
