# SPDX-License-Identifier: Apache-2.0
"""Convolutions as products, windows as shifted copies: any layout, stride, dilation, groups; and what is left alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.explain import checker
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.lower.python import to_python
from egraph_opt.nets.conv_operands import conv_operands, transposition
from egraph_opt.nets.convs import conv_products
from egraph_opt.nets.kernel_sums import conv_sums
from egraph_opt.nets.shifts import shifted_windows
from egraph_opt.normalise import normalise

ROOFLINE = cost_model("roofline", "cpu")
LAYOUTS = (("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"), ("CNHW", "IHWO", "HNCW"), ("NWHC", "WOHI", "NWHC"))


class Prefers:
    """A cost model to which other operations than a convolution or a window cost nothing."""

    name = "others"

    def node_cost(self, node: Any, operand_types: Any) -> float:
        del operand_types
        return float(node.op.startswith(("conv", "reduce_window")))

    def graph_seconds(self, graph: Graph, free: Collection[int] = frozenset()) -> float:
        del free
        return sum(self.node_cost(node, ()) for node in graph.nodes)


def agree(graph: Graph, new: Graph, args: Sequence[Any]) -> None:
    leaves = jax.tree.leaves(args)
    both = jax.jit(lambda leaves: (lower_graph(graph)(leaves), lower_graph(new)(leaves)))
    for want, got in zip(*both(leaves), strict=True):
        assert want.dtype == got.dtype
        assert want.shape == got.shape
        scale = float(np.max(np.abs(np.asarray(want)), initial=1e-30))
        bound = {"float32": 2e-5, "int32": 0.0}.get(str(want.dtype), 1e-12)
        assert float(np.max(np.abs(np.asarray(want) - np.asarray(got)), initial=0.0)) <= bound * scale


def graph_of(function: Callable[..., Any], args: Sequence[Any]) -> Graph:
    return normalise(capture(function, args, {}).graph)


def drawn(
    rng: np.random.Generator, window: Sequence[int], groups: int, dtype: str = "float64", whole: bool = False
) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """A convolution of random sizes: function, arguments, parameters."""
    layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
    sizes = dict(zip("HW", window if whole else rng.integers(5, 9, 2), strict=True))
    counts = {
        "N": int(rng.integers(1, 3)),
        "C": groups * int(rng.integers(1, 3)),
        "O": groups * int(rng.integers(1, 3)),
    }
    counts["I"] = counts["C"] // groups
    taps = dict(zip("HW", window, strict=True))
    shapes = [[(counts | sizes)[c] for c in layout[0]], [(counts | taps)[c] for c in layout[1]]]
    values = [rng.integers(-5, 6, s) if dtype == "int32" else rng.normal(size=s) for s in shapes]
    args = [v.astype(dtype) for v in values]
    options = {"dimension_numbers": layout, "feature_group_count": groups}
    return lax.conv_general_dilated, args, options


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_convolutions_that_are_products(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    window = [(1, 1), (4, 6), (1, 6), (4, 1)][seed % 4]
    conv, args, options = drawn(rng, window, int(rng.integers(1, 4)), dtype, whole=seed % 4 > 0)
    strides = tuple(int(n) for n in rng.integers(1, 4, 2))

    def program(x: Any, w: Any) -> Any:
        return conv(x, w, strides, [(0, 0), (0, 0)], **options)

    graph = graph_of(program, args)
    new = normalise(conv_products(graph, Numerics.REASSOCIATE, Prefers()))
    assert "conv_general_dilated" not in new.op_counts()
    agree(graph, new, args)


@pytest.mark.parametrize("seed", range(4))
def test_convolutions_by_shifted_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conv, args, options = drawn(rng, rng.integers(1, 4, 2).tolist(), [1, 2, 3, 4][seed % 4])
    strides, holes = ([int(n) for n in rng.integers(1, 3, 2)] for _ in range(2))
    padding = [(int(a), int(b)) for a, b in rng.integers(-1, 3, (2, 2))]

    def program(x: Any, w: Any) -> Any:
        return jnp.tanh(conv(x, w, strides, padding, rhs_dilation=holes, **options))

    graph = graph_of(program, args)
    new = shifted_windows(graph, Numerics.REASSOCIATE, frozenset(), Prefers())
    numbers = lax.conv_dimension_numbers(args[0].shape, args[1].shape, options["dimension_numbers"])
    assert (new is not None) == (numbers.lhs_spec == numbers.out_spec)
    if new is not None:
        assert "shifted_conv" in new.op_counts()
        agree(graph, normalise(new), args)


@pytest.mark.parametrize("seed", range(3))
def test_windows_by_shifted_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, join = [(0.0, lax.add), (-np.inf, lax.max), (np.inf, lax.min)][seed % 3]
    sizes, strides, holes = (tuple(int(n) for n in rng.integers(1, 4, 3)) for _ in range(3))
    padding = [(int(a), int(b)) for a, b in rng.integers(0, 3, (3, 2))]
    x = rng.normal(size=(9, 10, 8))
    if seed == 1:
        x[2, 3, 4] = np.nan

    def program(x: Any) -> Any:
        return jnp.tanh(lax.reduce_window(x, start, join, sizes, strides, padding, window_dilation=holes))

    graph = graph_of(program, [x])
    new = shifted_windows(graph, Numerics.REASSOCIATE, frozenset(), Prefers())
    assert new is not None
    assert "shifted_window" in new.op_counts()
    want, got = (np.asarray(jax.jit(lower_graph(g))([x])[0]) for g in (graph, new))
    np.testing.assert_allclose(want, got, rtol=1e-5, atol=1e-6)


def conv(x: Any, w: Any, stride: int = 1, **options: Any) -> Any:
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=LAYOUTS[0], **options)


def array(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    return jnp.asarray(np.random.default_rng(seed + sum(shape)).normal(size=shape) * 0.3, dtype)


@pytest.mark.parametrize(
    "program",
    [
        lambda x, w: lax.conv_general_dilated(
            x, w, (1, 1), [(0, 0)] * 2, lhs_dilation=(2, 2), dimension_numbers=LAYOUTS[0]
        ),
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), [(1, 0), (0, 0)], dimension_numbers=LAYOUTS[0]),
        lambda x, w: lax.conv_general_dilated(
            x, w[:2], (1, 1), "VALID", dimension_numbers=LAYOUTS[0], batch_group_count=2
        ),
    ],
)
def test_other_convolutions_are_no_products(program: Callable[..., Any]) -> None:
    graph = graph_of(program, (array(2, 4, 6, 6), array(8, 4, 1, 1)))
    assert conv_products(graph, Numerics.REASSOCIATE, Prefers()) == graph


@pytest.mark.parametrize(
    ("program", "args"),
    [
        (lambda x, w: conv(x, w), (array(1, 64, 14, 14), array(64, 64, 3, 3))),  # dear by its arithmetic
        (lambda x, w: conv(x, w, feature_group_count=64), (array(1, 64, 14, 14, dtype="bfloat16"),
                                                           array(64, 1, 3, 3, dtype="bfloat16"))),
        (lambda x, w: conv(x, w, feature_group_count=8), (array(1, 8, 40, 40), array(8, 1, 15, 15))),  # too many terms
    ],
)  # fmt: skip
def test_windows_that_stay(program: Callable[..., Any], args: Sequence[Any]) -> None:
    assert shifted_windows(graph_of(program, args), Numerics.REASSOCIATE, frozenset(), ROOFLINE) is None


def test_below_reassociation_nothing_changes() -> None:
    args = (array(1, 4, 6, 6), array(4, 1, 1, 1))
    graph = normalise(capture(lambda x, w: conv(x, w, feature_group_count=4), args, {}).graph, Numerics.EXACT)
    assert conv_products(graph, Numerics.EXACT, Prefers()) is graph
    assert shifted_windows(graph, Numerics.EXACT, frozenset(), Prefers()) is None


def separable(x: Any, depthwise: Any, pointwise: Any) -> Any:
    y = conv(x, depthwise, feature_group_count=x.shape[1])
    return jax.nn.relu(conv(y, pointwise)) + lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 1, 1), "SAME")


@pytest.mark.slow
def test_a_separable_convolution_has_no_routine_left() -> None:
    args = (array(1, 32, 28, 28), array(32, 1, 5, 5), array(32, 32, 1, 1))
    result = egraph_opt.optimize(separable, measure=False).plan(*args)
    counts = result.after.op_counts()
    assert counts["shifted_conv"] == counts["shifted_window"] == 1
    assert counts["conv_general_dilated"] == counts["reduce_window_max"] == 0
    assert set(result.report.rules_fired) >= {"conv-product", "shift-windows"}
    np.testing.assert_allclose(result(*args), separable(*args), rtol=1e-4, atol=1e-5)
    gradients = [jax.grad(lambda *a, f=f: jnp.sum(f(*a) ** 2), argnums=(0, 1, 2))(*args) for f in (separable, result)]
    for want, got in zip(*gradients, strict=True):
        np.testing.assert_allclose(want, got, rtol=1e-3, atol=1e-3)
    space: dict[str, Any] = {}
    exec(to_python(result.after, "program"), space)
    np.testing.assert_allclose(space["program"](*args), separable(*args), rtol=1e-4, atol=1e-5)
    certificate = result.explain().certificate
    assert certificate is not None
    assert checker.check(certificate) == len(certificate["steps"]) > 0


def test_chains_of_pointwise_convolutions_are_one_product() -> None:
    """With frozen kernels and nothing in between, by the rules about products."""
    args = (array(1, 16, 9, 9), array(64, 16, 1, 1), array(8, 64, 1, 1))
    optimised = egraph_opt.optimize(lambda x, a, b: conv(conv(x, a), b), frozen=("a", "b"), measure=False)
    assert optimised.plan(*args).report.flops_after == 2 * 16 * 8 * 81


def test_convolutions_of_one_input_are_one_product() -> None:
    def inception(x: Any, kernels: Any) -> Any:
        return [jax.nn.relu(conv(x, w)) for w in kernels]

    args = (array(1, 48, 7, 7), [array(n, 48, 1, 1) for n in (16, 24, 8)])
    result = egraph_opt.optimize(inception, frozen=("kernels",), measure=False).plan(*args)
    specs = [n for n in result.after.nodes if n.op == "einsum" and len(n.operands) == 2]
    assert len(specs) == 1


@pytest.mark.parametrize("seed", range(4))
def test_sums_of_convolutions_are_one(seed: int) -> None:
    """Kernels of several sizes over one input, where their windows stand on the same places; one kernel on several."""
    rng = np.random.default_rng(seed)
    numbers = LAYOUTS[seed % 2]
    stride, hole = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    x = [np.moveaxis(rng.integers(-4, 5, (2, 4, 9, 8)), 1, -1 if seed % 2 else 1).astype("int32") for _ in range(2)]
    sizes = [(1, 1), (3, 3), (3, 1), (1, 5)]
    shapes = [(*k, 4, 6) if seed % 2 else (6, 4, *k) for k in (sizes[int(rng.integers(4))] for _ in range(3))]
    kernels = [rng.integers(-4, 5, shape).astype("int32") for shape in shapes]

    def one(x: Any, w: Any) -> Any:
        taps = w.shape[:2] if seed % 2 else w.shape[2:]
        padding = [((k - 1) * hole // 2, (k - 1) * hole - (k - 1) * hole // 2) for k in taps]
        return lax.conv_general_dilated(
            x, w, (stride, stride), padding, rhs_dilation=(hole, hole), dimension_numbers=numbers
        )

    def program(x: Any, y: Any, a: Any, b: Any, c: Any) -> Any:
        return one(x, a) + one(x, b) + 3 + one(x, c), one(x, a) * one(y, b) - one(y, b), one(x, c + 1) + one(y, c + 1)

    args = (*x, *kernels)
    graph = graph_of(program, args)
    new = normalise(conv_sums(graph, Numerics.REASSOCIATE, ROOFLINE))
    before, after = (g.op_counts()["conv_general_dilated"] for g in (graph, new))
    assert after < before
    agree(graph, new, args)


def test_sums_of_convolutions_whose_windows_differ_stay() -> None:
    """Windows with holes, a place apart: no kernel with the same holes holds the taps of both."""

    def program(x: Any, a: Any, b: Any) -> Any:
        paddings = ([(2, 2), (2, 2)], [(1, 3), (2, 2)])
        first, second = (
            lax.conv_general_dilated(x, w, (1, 1), padding, rhs_dilation=(2, 2), dimension_numbers=LAYOUTS[0])
            for w, padding in zip((a, b), paddings, strict=True)
        )
        return first + second

    args = (array(1, 8, 12, 12), array(8, 8, 3, 3), array(8, 8, 3, 3, seed=1))
    graph = graph_of(program, args)
    assert conv_sums(graph, Numerics.REASSOCIATE, ROOFLINE) is graph


def test_a_branch_of_one_element_goes_into_its_neighbour() -> None:
    """RepVGG's blocks: three by three, one by one, and the search sees one convolution."""
    args = (array(1, 16, 20, 20), array(16, 16, 3, 3), array(16, 16, 1, 1))
    result = egraph_opt.optimize(lambda x, a, b: jax.nn.relu(conv(x, a) + conv(x, b)), measure=False).plan(*args)
    assert result.report.rules_fired["conv-sum"] == 1
    assert result.report.flops_after < result.report.flops_before
    assert result.after.op_counts()["conv_general_dilated"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_pads_and_transposes_go_into_convolutions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(1, 3))
    x = rng.integers(-4, 5, (7, 6, batch, 4)).astype("int32")
    w = rng.integers(-4, 5, (4, 3, 2, 5)).astype("int32")
    pads = [(0, 0), (0, 0), *[(int(a), int(b)) for a, b in rng.integers(0, 3, (2, 2))]]
    order = [int(n) for n in rng.permutation(4)]

    def program(x: Any, w: Any) -> Any:
        if seed % 2:
            y = jnp.pad(x.transpose(2, 3, 0, 1), pads)
        else:
            y = jnp.pad(x, [*pads[2:], *pads[:2]]).transpose(2, 3, 0, 1)
        y = lax.conv_general_dilated(y, w.transpose(3, 0, 1, 2), (2, 1), "VALID", dimension_numbers=LAYOUTS[0])
        return y.transpose(order) * 3

    graph = graph_of(program, (x, w))
    new = normalise(conv_operands(graph, Numerics.REASSOCIATE))
    agree(graph, new, (x, w))
    kinds = [n.op for n in new.nodes]
    assert "pad" not in kinds
    turned = [n for n in new.nodes if (axes := transposition(n)) is not None and list(axes) != sorted(axes)]
    assert turned == []


def test_pads_of_other_values_and_of_channels_stay() -> None:
    def program(x: Any, w: Any) -> Any:
        first = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=2.0)
        second = jnp.pad(x[:, :3], ((0, 0), (0, 1), (1, 1), (1, 1)))
        return lax.conv_general_dilated(first, w, (1, 1), "SAME") + lax.conv_general_dilated(second, w, (1, 1), "SAME")

    args = (array(2, 4, 6, 6), array(5, 4, 3, 3))
    graph = graph_of(program, args)
    assert conv_operands(graph, Numerics.REASSOCIATE) is graph
