# SPDX-License-Identifier: Apache-2.0
"""The Laplacian of a network, as physics-informed training needs it: the trace of a Hessian, one point at a time."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import egraph_opt


def network(params, x):
    """A tanh network with one output, for one point."""
    *hidden, (last, offset) = params
    for weight, bias in hidden:
        x = jnp.tanh(x @ weight + bias)
    return (x @ last + offset)[0]


def laplacian(params, points):
    """The way people write it; the cheap way is not to form the Hessian at all."""
    hessian = jax.jacfwd(jax.jacfwd(network, 1), 1)
    return jax.vmap(lambda x: jnp.trace(hessian(params, x)))(points)


def main():
    """Optimise the Laplacian and compare."""
    random, sizes = np.random.default_rng(0), [8, 64, 64, 1]
    weights = [jnp.float32(random.standard_normal(s) / s[0] ** 0.5) for s in itertools.pairwise(sizes)]
    params = [(w, jnp.zeros(w.shape[1])) for w in weights]
    points = jnp.float32(random.uniform(size=(256, sizes[0])))
    result = egraph_opt.optimize(laplacian).plan(params, points)
    print(result.report)
    np.testing.assert_allclose(result(params, points), laplacian(params, points), rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    main()
