# SPDX-License-Identifier: Apache-2.0
"""Weights of a loaded model: what reads them alone is prepared once, and they can be replaced."""

import jax
import numpy as np
import pytest
from onnx import helper

import egraph_opt
from egraph_opt.errors import ArgumentError

from .models import make_model, saved

RANDOM = np.random.default_rng(1)
W, V = (RANDOM.standard_normal(shape).astype(np.float32) / 8 for shape in ((64, 96), (96, 32)))
X = RANDOM.standard_normal((128, 64)).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    """``tanh(x W) (W V)``-like: a product of two weights stands in the program."""
    nodes = [
        helper.make_node("MatMul", ["w", "v"], ["p"]),
        helper.make_node("MatMul", ["x", "p"], ["h"]),
        helper.make_node("Tanh", ["h"], ["y"]),
    ]
    return egraph_opt.load(saved(make_model(nodes, {"x": (128, 64)}, {"w": W, "v": V}), tmp_path))


def want(x, w=W, v=V):
    return np.tanh(x @ (w @ v))


def test_work_on_weights_is_prepared(model):
    result = egraph_opt.optimize(model, measure=False).plan(*model.example_args())
    assert result.report.improved
    assert [leaf.shape for leaf in result.held] == [(64, 32)]
    product = 2 * 128 * 64 * 32
    assert result.report.flops_after <= product
    assert result.report.flops_before > product + 2 * 64 * 96 * 32 * 0.9
    assert any("weights is done once" in note for note in result.report.notes)
    np.testing.assert_allclose(result(X), want(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(result)(X), want(X), rtol=1e-5, atol=1e-5)


def test_weights_can_be_replaced(model):
    result = egraph_opt.optimize(model, measure=False).plan(*model.example_args())
    np.testing.assert_allclose(result.prepare()(X), want(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.prepare({"w": 2 * W})(X), want(X, 2 * W), rtol=1e-5, atol=1e-5)
    with pytest.raises(ArgumentError, match="'z' is none of the model's weights"):
        result.prepare({"z": W})
    with pytest.raises(ArgumentError, match="weight 'w': want float32"):
        result.prepare({"w": W.T})


def test_derivatives_of_a_prepared_program(model):
    fast = egraph_opt.optimize(model, measure=False)
    gradient = jax.grad(lambda x: fast(x).sum())(X)
    np.testing.assert_allclose(gradient, (1 - want(X) ** 2) @ (W @ V).T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".jaxexport", ".stablehlo"])
def test_saved_file_holds_what_was_prepared(model, suffix, tmp_path):
    result = egraph_opt.optimize(model, measure=False).plan(*model.example_args())
    result.save(tmp_path / f"out{suffix}")
    again = egraph_opt.load(tmp_path / f"out{suffix}")
    np.testing.assert_allclose(np.asarray(again(X)), want(X), rtol=1e-5, atol=1e-5)
    assert len(again.in_avals) == 1
