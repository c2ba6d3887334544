# SPDX-License-Identifier: Apache-2.0
"""Prepared kernels of convolutions are turned beforehand; others are not, nor those that stand well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model, frozen_nodes
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.nets.kernel_order import ordered_kernels

EXACT = Numerics.EXACT
COST = cost_model("roofline")


def values(*shapes: tuple[int, ...]) -> list[jax.Array]:
    return [jnp.asarray(np.random.default_rng(i).standard_normal(s), "float32") for i, s in enumerate(shapes)]


CASES = {
    "two dimensions": (("NCHW", "OIHW", "NCHW"), (2, 4, 9, 8), (6, 4, 3, 2), {}),
    "one dimension": (("NWC", "OIW", "NWC"), (2, 9, 4), (6, 4, 3), {}),
    "three dimensions": (("NCDHW", "IODHW", "NCDHW"), (1, 4, 5, 6, 7), (4, 6, 2, 3, 2), {}),
    "groups": (("NCHW", "OIHW", "NHWC"), (2, 4, 9, 8), (6, 2, 3, 2), {"feature_group_count": 2}),
    "batch groups": (("NCHW", "OIHW", "NCHW"), (4, 3, 9, 8), (6, 3, 3, 2), {"batch_group_count": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_turned(case: str) -> None:
    numbers, x, kernel, more = CASES[case]
    args = values(x, kernel)
    strides = (2,) * (len(x) - 2)
    graph = capture(
        lambda x, k: jax.lax.conv_general_dilated(x, k, strides, "SAME", dimension_numbers=numbers, **more), args
    ).graph
    better = ordered_kernels(graph, EXACT, frozen_nodes(graph, [1]), COST)
    assert better is not None
    (conv,) = [node for node in better.nodes if node.op == "conv_general_dilated"]
    last = len(x) - 1
    assert conv.attr("dimension_numbers").rhs_spec == (last, last - 1, *range(last - 1))
    np.testing.assert_array_equal(lower_graph(better)(args)[0], lower_graph(graph)(args)[0])
    assert ordered_kernels(better, EXACT, frozen_nodes(better, [1]), COST) is None
    assert ordered_kernels(graph, EXACT, frozenset(), COST) is None


def test_a_frozen_kernel_is_prepared() -> None:
    """Found by the search, since the kernel is large beside the image."""
    args = values((1, 128, 7, 7), (128, 128, 3, 3))

    def function(x, kernel):
        return jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME"))

    result = egraph_opt.optimize(function, frozen=("kernel",), measure=False, verify=False).plan(*args)
    assert "order-kernels" in result.report.rules_fired
    prepared = result.prepare(args[1])
    np.testing.assert_allclose(prepared(args[0]), function(*args), rtol=1e-4, atol=1e-4)
