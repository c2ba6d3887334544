# SPDX-License-Identifier: Apache-2.0
"""From a trained function to a file, to a faster file: jax.export in, jax.export out, the same call."""

import sys
import tempfile
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import egraph_opt


def low_rank(params, x):
    """A layer with a low-rank correction, applied after adding it up: ``(W + U V) x``."""
    weight = params["w"] + params["u"] @ params["v"]
    return jax.nn.relu(x @ weight.T) @ weight


def main(folder):
    """Write, optimise, read back, compare."""
    shapes = {"w": (512, 512), "u": (512, 8), "v": (8, 512)}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    x = jax.ShapeDtypeStruct((4, 512), jnp.float32)
    (folder / "model.jaxexport").write_bytes(jax.export.export(jax.jit(low_rank))(params, x).serialize())

    model = egraph_opt.load(folder / "model.jaxexport")
    args = model.example_args()
    result = egraph_opt.optimize(model).plan(*args)
    result.save(folder / "faster.jaxexport")
    print(result.report)
    faster = egraph_opt.load(folder / "faster.jaxexport")
    np.testing.assert_allclose(faster(*args), model(*args), rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
