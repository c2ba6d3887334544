# SPDX-License-Identifier: Apache-2.0
"""A chain of matrix products in the order that is easy to write, not the one that is cheap."""

import jax
import jax.numpy as jnp
import numpy as np

import egraph_opt


@egraph_opt.optimize
def predict(a, b, x):
    """(a b) x is cubic in the size, a (b x) is quadratic."""
    return jnp.tanh(a @ b @ x)


def main():
    """Plan, look, run, differentiate."""
    random = np.random.default_rng(0)
    a, b, x = (jnp.asarray(random.standard_normal(s) / 20, jnp.float32) for s in ((400, 400), (400, 400), (400,)))

    result = predict.plan(a, b, x)
    print(result.report)
    print(result.explain())
    print(result.to_python())

    y = predict(a, b, x)  # a planned function costs what a jitted one costs
    gradient = jax.grad(lambda x: predict(a, b, x).sum())(x)
    np.testing.assert_allclose(y, jnp.tanh(a @ b @ x), rtol=1e-3, atol=1e-5)
    print("output", y.shape, "gradient", gradient.shape)


if __name__ == "__main__":
    main()
