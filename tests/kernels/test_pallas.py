# SPDX-License-Identifier: Apache-2.0
"""Pallas programs: norms and softmax beside their patterns, the documentation's example, lowering to Triton."""

import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.ir import TensorType
from egraph_opt.kernels import all_kernels
from egraph_opt.kernels.pallas_rows import block_of
from egraph_opt.kernels.record import Kernel
from egraph_opt.kernels.register import check
from egraph_opt.ops.kernel import KERNEL, Lowering
from tests.kernels.test_idioms import names

DOCUMENT = Path(__file__).parents[2] / "docs" / "kernels.md"
ROWS = [k for k in all_kernels().values() if any(low.name == "pallas" for low in k.lowerings)]


def interpreted(kernel: Kernel) -> Lowering:
    (way,) = kernel.lowerings
    return replace(way, devices=(), function=partial(way.function, interpret=True))


def test_norms_and_softmax_have_one() -> None:
    norms = {"layer_norm", "layer_norm_gain", "layer_norm_affine", "rms_norm", "rms_norm_gain"}
    assert {k.name for k in ROWS} == norms | {"group_norm", "group_norm_2d", "softmax", "log_softmax"}
    assert all(k.runs_on("gpu") and not k.runs_on("cpu") for k in ROWS)


@pytest.mark.parametrize(
    "kernel", [k for k in ROWS if k.name in ("layer_norm_affine", "log_softmax")], ids=lambda k: k.name
)
def test_values_and_derivatives_are_those_of_the_pattern(kernel: Kernel) -> None:
    assert check(kernel, interpreted(kernel)) >= 4


@pytest.mark.parametrize("kernel", ROWS, ids=lambda k: k.name)
def test_values_in_double_precision_where_rows_are_hard(kernel: Kernel) -> None:
    random = np.random.default_rng(0)
    static = kernel.samples[0]
    with jax.enable_x64(True):
        x = 3 + random.standard_normal((3, 4, 64))
        x[0] *= 1e3
        x[1] = np.round(x[1])
        x[2, 0] = 1.0
        if "softmax" in kernel.name:
            x[0, :, :60] = -np.inf
            x[2, 1] = -np.inf  # a row that sees nothing
        vectors = [random.standard_normal(64) for _ in kernel.shapes[1:]]
        found = interpreted(kernel).function(x, *vectors, **static)
        np.testing.assert_allclose(found, kernel.pattern(x, *vectors, **static), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kernel", ROWS, ids=lambda k: k.name)
def test_they_lower_for_gpus(kernel: Kernel) -> None:
    run = partial(kernel.lowerings[0].function, **kernel.samples[0])
    shape = (6, 256) if kernel.shapes[0] == "... n" else (6, 4, 8, 8)
    args = [jax.ShapeDtypeStruct(shape if i == 0 else (256,), jnp.bfloat16) for i in range(len(kernel.shapes))]
    assert "triton" in jax.jit(run).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize(
    ("shape", "dtype", "admitted"),
    [
        ((8, 256), "float32", True),
        ((256,), "bfloat16", True),
        ((8, 96), "float32", False),
        ((8, 32), "float32", False),
        ((8, 32_768), "float32", False),
        ((0, 256), "float32", False),
        ((8, 256), "float8_e4m3fn", False),
    ],
)
def test_which_operands_it_takes(shape: tuple[int, ...], dtype: str, admitted: bool) -> None:
    (way,) = all_kernels()["softmax"].lowerings
    assert way.fits("gpu", [TensorType(shape, dtype)], {}) is admitted
    assert not way.fits("cpu", [TensorType(shape, dtype)], {})


@pytest.mark.parametrize(
    ("count", "n", "block"), [(12, 64, 4), (16, 4_096, 2), (7, 64, 1), (64, 16_384, 1), (64, 512, 8)]
)
def test_blocks_divide_the_rows(count: int, n: int, block: int) -> None:
    assert block_of(count, n) == block


@pytest.mark.slow
def test_the_example_of_the_documentation() -> None:
    text = DOCUMENT.read_text()
    lines = text[text.index("    import jax\n    import jax.numpy as jnp\n    from jax import lax\n") :]
    scope: dict[str, Any] = {}
    exec(textwrap.dedent(lines[: lines.index("\nWhat happens:")]), scope)

    def spelled(x: Any, w: Any, gain: Any) -> Any:
        y = x @ w
        y = gain * y / jnp.sqrt(jnp.square(y).sum(-1, keepdims=True) / y.shape[-1] + 1e-6)
        return y / (1 + jnp.exp(-y))

    random = np.random.default_rng(0)
    args = [jnp.asarray(random.standard_normal(s), jnp.float32) for s in ((6, 24), (24, 32), (32,))]
    try:
        result = egraph_opt.optimize(spelled, measure=False, verify=False).plan(*args)
        assert [n.attr("name") for n in result.after.nodes if n.op == KERNEL] == ["norm_silu"]
        np.testing.assert_allclose(result(*args), spelled(*args), rtol=2e-5, atol=1e-6)
        gradients = [jax.grad(lambda g, f=f: f(*args[:2], g).sum())(args[2]) for f in (result, spelled)]
        np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)
    finally:
        egraph_opt.unregister_kernel("norm_silu")


def test_what_runs_elsewhere_is_not_listed_inside_of_what_holds_it() -> None:
    x = jnp.ones((4, 64))
    assert names(lambda x, g: jax.nn.standardize(x, epsilon=1e-5) * g, x, x[0]) == ["layer_norm_gain"]
    report = egraph_opt.optimize(jax.nn.softmax, measure=False, verify=False).plan(x).report
    assert "softmax: as written; the compiler fuses it; pallas is for gpu" in str(report)
