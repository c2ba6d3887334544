# SPDX-License-Identifier: Apache-2.0
"""Small versions of all benchmark programs are planned and run: none crashes, all outputs agree with the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from benchmarks.programs import neural, science, tensat
from egraph_opt.cost.model import TRANSCENDENTAL_FLOPS

PROGRAMS = {**neural.PROGRAMS, **science.PROGRAMS, **tensat.PROGRAMS}
ROUNDING = {"float32": 2e-5, "complex64": 2e-5, "bfloat16": 2e-2}
"""Allowed difference, relative to the largest value of the output."""


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """The programs run once, so that XLA's own optimisation would cost more than it saves."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert jax.typeof(g) == jax.typeof(w)
        if not np.size(w):
            continue
        name = w.dtype.name
        if w.dtype == jnp.bfloat16:
            g, w = g.astype("float32"), w.astype("float32")
        bound = ROUNDING.get(name, 0)
        np.testing.assert_allclose(g, w, rtol=10 * bound, atol=bound * float(np.max(np.abs(w))))


def arithmetic(report):
    """Arithmetic of the original and of the chosen program; a quotient is none of a report's FLOP, a product is."""
    plain = report.flops_before, report.flops_after
    others = report.transcendentals_before, report.transcendentals_after
    return [n + TRANSCENDENTAL_FLOPS * k for n, k in zip(plain, others, strict=True)]


LONG = (
    "gpt2_adamw_step",
    "linear_algebra_mix",
    "block_gradient",
    "llama_forward",
    "gpt2_forward",
    "inceptionv3",
    "squeezenet",
    "kalman_step",
    "resnext50",
    "gpt2_scan_forward",
)
"""Programs like others of the list, whose planning takes longest."""


@pytest.mark.alike
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in PROGRAMS])
def test_plan(name):
    function, args = PROGRAMS[name].build(small=True)
    result = egraph_opt.optimize(function, measure=False, budget=0.5).plan(*args)
    assert not [text for text in result.report.rejected if "error" in text.lower()], result.report
    assert arithmetic(result.report)[1] <= 1.001 * arithmetic(result.report)[0] or not result.report.improved
    assert_close(result(*args), jax.jit(function)(*args))
