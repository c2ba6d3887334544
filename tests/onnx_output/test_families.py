# SPDX-License-Identifier: Apache-2.0
"""Families whose parameters are many: einsums, gathers and scatters, convolutions, windows, sorting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture
from egraph_opt.ir import Builder, Spec, TensorType

from .common import ops_of, same

RANDOM = np.random.default_rng(5)


def f32(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


SPECS = [
    "ab,cb->ac;3,4,5", "ab,ac->bc;3,4,5", "ab,ca->cb;3,4,5", "abc,abd->acd;2,3,4,5", "abc,dbc->ad;2,3,4,5",
    "abcd,abed->abce;2,3,4,5,6", "abcd,aebd->acbe;2,3,4,5,6", "ab,bcd->acd;2,3,4,5", "abc,cd->bad;2,3,4,5",
    "ab,b->a;3,4",
    "abc,ab->ac;2,3,4", "ab,ab->;3,4", "abc,abc->bc;2,3,4", "ab,c->cab;2,3,4", "a,b->ba;3,4", "abc,cb->acb;2,3,4",
    "ab,bc->;2,3,4", "aab,bc->ca;3,4,5|0.5", "ab,bc->acc;2,3,4", "ab,cd->ac;2,3,4,5", "abab->ab;2,3", "ab->bcaa;2,3,4",
    "abc->ca;2,3,4|-1", "a->bac;2,3,4", "ab,bc->ac;2,0,3", "abc,adb->cda;2,3,4,5|3",
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_einsum(spec):
    parsed = Spec.parse(spec)
    build = Builder()
    inputs = [build.input(TensorType(shape, "float32")) for shape in parsed.shapes]
    node = build.add("einsum", inputs, (("spec", spec),), TensorType(parsed.shape, "float32"))
    model = same(build.build([node]), [f32(*shape) for shape in parsed.shapes], 10)
    if spec.startswith(("ab,cb->ac", "ab,ac->bc", "ab,ca->cb")):
        assert ops_of(model) == (["MatMul"] if "ca->" in spec else ["Gemm"])


def test_products_of_small_integers_have_their_own_operator():
    x, y = (RANDOM.integers(-128, 127, shape).astype(np.int8) for shape in ((3, 40), (40, 5)))
    program = capture(lambda x, y: jnp.matmul(x.astype(jnp.int32), y.astype(jnp.int32)), [x, y]).graph
    assert ops_of(same(program, [x, y])) == ["MatMulInteger"]


ROWS = np.array([[0, 2], [4, 1], [-1, 9]], np.int32)
INDEXING = {
    "rows": lambda x, i: x[i],
    "columns": lambda x, i: x[:, i[0]],
    "pairs": lambda x, i: x[i[:, 0], i[:, 1]],
    "between": lambda x, i: x[i[:, 0], :, i[:, 1]],
    "fill": lambda x, i: x.at[i].get(mode="fill", fill_value=-7),
    "fill pairs": lambda x, i: x.at[i[:, 0], i[:, 1]].get(mode="fill"),
    "clip": lambda x, i: x.at[i].get(mode="clip"),
    "along": lambda x, i: jnp.take_along_axis(x[:3], i[:, :, None] % 3, axis=1),
    "slice": lambda x, i: lax.dynamic_slice(x, (i[1, 0], i[2, 0], 0), (2, 3, 4)),
    "slices": lambda x, i: jax.vmap(lambda j: lax.dynamic_slice(x, (j[0], j[1], 0), (2, 2, 3)))(i),
    "batched slices": lambda x, i: jax.vmap(lambda r, j: lax.dynamic_slice(r, (j[0], j[1]), (2, 3)))(x[:3], i),
    "update": lambda x, i: lax.dynamic_update_slice(x, x[:2, :3] * 2, (i[0, 1], i[2, 1], 0)),
    "set": lambda x, i: x.at[i[:2]].set(0.5),
    "set pairs": lambda x, i: x.at[i[:, 0], i[:, 1]].set(x[:3, 0] * 3),
    "add": lambda x, i: x.at[i % 3].add(x[0] + 1),
    "add columns": lambda x, i: x.at[:, i[:, 1] % 3].add(1.5),
    "subtract": lambda x, i: x.at[i[:, 0] % 2].subtract(x[:3]),
    "multiply": lambda x, i: x.at[i[:, 0] % 2].multiply(2.0),
    "max": lambda x, i: x.at[i[:, 0]].max(0.0),
    "min clip": lambda x, i: x.at[i[:, 1]].min(0.0, mode="clip"),
    "blocks": lambda x, i: x.at[:3].set(
        jax.vmap(lambda r, j: lax.dynamic_update_slice(r, r[:2, :2] + 1, (j[0], j[1])))(x[:3], i)
    ),
    "segments": lambda x, i: jax.ops.segment_sum(x, i.reshape(-1)[:5], 3),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("name", INDEXING)
def test_indexing(name):
    x = f32(5, 6, 4)
    same(capture(INDEXING[name], [x, ROWS]).graph, [x, ROWS], 10)


CONVOLUTIONS = [
    {"window_strides": (2, 1), "padding": ((1, 2), (0, 1)), "rhs_dilation": (1, 2)},
    {"window_strides": (1, 1), "padding": ((-1, 2), (3, 3)), "feature_group_count": 2},
    {"window_strides": (1, 1), "padding": ((2, 2), (1, 0)), "lhs_dilation": (2, 3)},
    {"window_strides": (1, 1), "padding": ((1, 0), (0, 0)), "lhs_dilation": (2, 2), "feature_group_count": 2},
    {"window_strides": (2, 2), "padding": ((1, 4), (1, 1)), "lhs_dilation": (2, 2), "rhs_dilation": (2, 1)},
    {"window_strides": (1, 1), "padding": ((0, 5), (0, 0)), "lhs_dilation": (1, 2)},
    {"window_strides": (1, 2), "padding": ((0, 0), (0, 0)), "batch_group_count": 2},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=lambda o: ",".join(sorted(o)[:-1]))
@pytest.mark.parametrize("order", [("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "HWNC")])
def test_convolution(options, order):
    def placed(named, letters):
        return f32(*(named[c] for c in letters))

    groups = options.get("feature_group_count", 1)
    x = placed({"N": 4, "C": 4, "H": 7, "W": 6}, order[0])
    kernel = placed({"O": 6, "I": 4 // groups, "H": 3, "W": 2}, order[1])
    graph = capture(lambda x, k: lax.conv_general_dilated(x, k, dimension_numbers=order, **options), [x, kernel]).graph
    model = same(graph, [x, kernel], 30)
    transposed = "lhs_dilation" in options and options["padding"][0][1] < 4
    assert ("ConvTranspose" in ops_of(model)) == transposed


@pytest.mark.parametrize("spatial", [0, 1, 3])
def test_convolution_of_other_ranks(spatial):
    x, kernel = f32(2, 3, *(5, 6, 4)[:spatial]), f32(4, 3, *(2, 3, 2)[:spatial])
    graph = capture(lambda x, k: lax.conv_general_dilated(x, k, (1,) * spatial, [(1, 0)] * spatial), [x, kernel]).graph
    same(graph, [x, kernel], 30)


WINDOWS = [
    ((1, 1, 2, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 0), (1, 1)), None, None),
    ((1, 2, 2, 1), (1, 2, 1, 1), ((0, 0), (0, 0), (0, 0), (0, 0)), None, None),
    ((1, 1, 2, 2), (1, 1, 1, 1), ((0, 0), (0, 0), (3, 2), (0, 5)), None, None),
    ((1, 1, 2, 2), (1, 1, 1, 2), ((0, 0), (0, 0), (-1, 0), (0, 0)), (1, 1, 2, 1), (1, 1, 1, 2)),
    ((2, 3, 2, 2), (1, 1, 1, 1), ((0, 0), (1, 1), (0, 0), (0, 0)), None, None),
    ((1, 1, 6, 6), (1, 1, 1, 1), ((0, 0), (0, 0), (0, 0), (0, 0)), None, None),
]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: "x".join(map(str, w[0])))
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_window(window, dtype):
    size, strides, padding, base, dilation = window
    x = (f32(2, 3, 6, 6) * 10).astype(dtype)
    least, most = (-np.inf, np.inf) if dtype == "float32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)

    def program(x):
        return [
            lax.reduce_window(x, np.asarray(start, dtype), f, size, strides, padding, base, dilation)
            for start, f in ((0, lax.add), (least, lax.max), (most, lax.min))
        ]

    same(capture(program, [x]).graph, [x], 30)


def test_layout_and_sorting():
    x, k = f32(4, 5), RANDOM.integers(0, 3, (4, 5)).astype(np.int32)

    def program(x, k):
        by_two = lax.sort((k, -k * 0 + k[::-1], x), dimension=0, num_keys=2)
        found = [*by_two, jnp.sort(x, axis=1), jnp.argsort(k, axis=1), *lax.top_k(x, 3), *lax.sort((k, x), dimension=1)]
        found += [lax.pad(x, 1.5, ((1, -2, 2), (-1, 1, 0))), jnp.tile(x, (2, 3)), x[::-1, ::2], jnp.roll(x, 2, 1)]
        found += [
            jnp.split(x, [2, 3], axis=1),
            jnp.stack([x, x * 2], 1),
            lax.cumprod(x, 1),
            lax.cummax(k, 0, reverse=True),
        ]
        return [*found, lax.cumlogsumexp(x, 1), jnp.diag(x[0]), jnp.eye(4) @ x, x[None] * 2 + jnp.ones((3, 1, 1))]

    same(capture(program, [x, k]).graph, [x, k], 10)


def test_empty_arrays():
    x = f32(0, 3)

    def program(x):
        return x.sum(axis=0), x.prod(axis=0), x.T @ x, jnp.concatenate([x, x + 1]), jnp.pad(x, 1), lax.max(x, 0.0)

    same(capture(program, [x]).graph, [x])


def test_not_a_number_passes_through():
    x = np.array([np.nan, -np.inf, np.inf, -1, 0, 2], np.float32)

    def program(x):
        return jax.nn.relu(x), jnp.clip(x, -1, 1), jnp.where(jnp.isnan(x), 0, x), lax.clamp(0.0, x, 1.0), jax.nn.silu(x)

    same(capture(program, [x]).graph, [x])
