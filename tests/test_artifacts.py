# SPDX-License-Identifier: Apache-2.0
"""Exported programs go through the whole way of a user: load, optimise, save, load again, run.

The saved file is called as the first one was, and gives equal outputs.
"""

import jax
import jax.export
import numpy as np
import pytest

import egraph_opt
from benchmarks.programs import algebra, neural, science, tensat

pytest.importorskip("flatbuffers", reason="jax.export files need it")

ARTIFACTS = {
    "Hv, 2 layers": ".jaxexport",
    "trace(ABC)": ".stablehlo",
    "hessian of x'Ax": ".mlir",
    "mlp_forward": ".jaxexport",
    "block_forward": ".stablehlo",
    "gpt2_scan_forward": ".jaxexport",
    "llama_forward": ".jaxexport",
    "network_laplacian": ".jaxexport",
    "kalman_step": ".stablehlo",
    "hidden_markov": ".stablehlo",
    "newton_root": ".jaxexport",
    "nasrnn": ".stablehlo",
}
SMALL = {**neural.PROGRAMS, **science.PROGRAMS, **tensat.PROGRAMS}
ROUNDING = {"float32": 5e-5, "bfloat16": 2e-2}
"""Allowed difference, relative to the largest value of the output."""


def built(name):
    function, args = algebra.build(name) if name in algebra.PROGRAMS else SMALL[name].build(small=True)

    def program(*args):
        return function(*args)

    program.__name__ = "program"
    return program, tuple(args)


def export(function, args, path):
    """Write the file with JAX alone: a serialized export, a portable artifact, or StableHLO text."""
    exported = jax.export.export(jax.jit(function, keep_unused=True))(*args)
    if path.suffix == ".jaxexport":
        path.write_bytes(exported.serialize())
    elif path.suffix == ".stablehlo":
        path.write_bytes(exported.mlir_module_serialized)
    else:
        path.write_text(exported.mlir_module())


def assert_close(got, want):
    assert jax.typeof(got) == jax.typeof(want)
    bound = ROUNDING[want.dtype.name] if jax.numpy.issubdtype(want.dtype, np.inexact) else 0
    got, want = got.astype("float32"), want.astype("float32")
    np.testing.assert_allclose(got, want, rtol=10 * bound, atol=bound * float(np.max(np.abs(want))))


@pytest.mark.alike
@pytest.mark.parametrize(("name", "suffix"), ARTIFACTS.items(), ids=ARTIFACTS)
def test_from_file_to_file(name, suffix, tmp_path):
    function, args = built(name)
    before, after = tmp_path / f"model{suffix}", tmp_path / f"optimized{suffix}"
    export(function, args, before)

    model = egraph_opt.load(before)
    given = args if suffix == ".jaxexport" else tuple(jax.tree.leaves(args))
    result = egraph_opt.optimize(model, measure=False, budget=1.0).plan(*given)
    result.save(after)
    saved = egraph_opt.load(after)

    assert saved.in_tree == model.in_tree
    assert saved.out_tree == model.out_tree
    assert saved.calling_convention == model.calling_convention
    for side in ("in_avals", "out_avals"):
        types = [[(a.shape, a.dtype) for a in getattr(m, side)] for m in (model, saved)]
        assert types[0] == types[1]
    wanted = jax.tree.leaves(jax.jit(function)(*args))
    for got, want in zip(jax.tree.leaves(saved(*given)), wanted, strict=True):
        assert_close(got, want)
