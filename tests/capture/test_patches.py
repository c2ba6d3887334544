# SPDX-License-Identifier: Apache-2.0
"""Convolutions with identity kernels are reads: patches of images, and Toeplitz matrices as JAX makes them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import conv_general_dilated_patches as patches

from egraph_opt.capture import capture
from egraph_opt.cost import count_graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph

toeplitz = jax.scipy.linalg.toeplitz


def normal(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "Toeplitz": (toeplitz, (normal(7), normal(5))),
    "symmetric": (lambda c: toeplitz(c) @ c, (normal(9),)),
    "valid": (lambda x: patches(x, (3, 2), (1, 1), "VALID"), (normal(2, 3, 6, 5),)),
    "strides": (lambda x: patches(x, (2, 3), (2, 1), "VALID", rhs_dilation=(1, 2)), (normal(2, 2, 9, 7),)),
    "padded": (lambda x: patches(x, (3, 3), (1, 2), [(0, 2), (1, 0)]), (normal(1, 2, 5, 6),)),
    "channels last": (
        lambda x: patches(x, (3, 3), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")), (normal(2, 5, 1, 3),),
    ),
    "one axis": (lambda x: patches(x, (5,), (3,), "VALID"), (normal(1, 1, 20),)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_windows_are_read_without_a_product(name: str) -> None:
    function, args = PROGRAMS[name]
    captured = capture(function, args)
    assert "conv_general_dilated" not in captured.graph.op_counts()
    assert captured.saved_products > 0
    assert count_graph(captured.graph).flops <= 2 * 9 * 9
    (got,) = lower_graph(captured.graph)(list(args))
    np.testing.assert_allclose(got, function(*args), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [2.0, 0.0])
def test_other_kernels_are_convolutions(scale: float) -> None:
    kernel = jnp.eye(9).reshape(9, 1, 3, 3).at[4, 0, 1, 1].set(scale)
    function = lambda x: jax.lax.conv(x, kernel, (1, 1), "VALID")  # noqa: E731
    x = normal(1, 1, 6, 6)
    assert "conv_general_dilated" in capture(function, (x,)).graph.op_counts()
    exact = capture(lambda x: patches(x, (3, 3), (1, 1), "VALID"), (x,), numerics=Numerics.EXACT)
    assert "conv_general_dilated" in exact.graph.op_counts(), "a product with zero is NaN where the image is infinite"
