# SPDX-License-Identifier: Apache-2.0
"""Casts in a row: which go, and that those which go did nothing, by value for every row of the table."""

import itertools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.engine.attributes import FUNCTIONS

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "bfloat16", "float16", "float32", "float64", "complex64",
)  # fmt: skip


def text(dtype):
    return f"new_dtype=dtype('{dtype}')"


def values(dtype):
    """The numbers of a type at which casts differ: its limits, zeros, halves, infinities, NaN, and random ones."""
    rng = np.random.default_rng(0)
    if dtype == "bool":
        return np.array([False, True])
    if "int" in dtype:
        info = np.iinfo(dtype)
        random = rng.integers(info.min, info.max, 60, dtype=dtype, endpoint=True)
        return np.concatenate([np.array([info.min, info.min + 1, 0, 1, info.max - 1, info.max], dtype), random])
    if dtype == "complex64":
        return (rng.standard_normal(60) + 1j * rng.standard_normal(60)).astype(dtype)
    info = ml_dtypes.finfo(dtype)
    special = np.array([0.0, -0.0, 0.5, -1.5, 2.5, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny])
    random = rng.standard_normal(60) * np.exp(rng.uniform(-9, 9, 60))
    return np.concatenate([special, random]).astype(dtype)


def cast(x, dtype):
    return lax.convert_element_type(jnp.asarray(x), dtype)


def assert_same_bits(have, want):
    assert have.dtype == want.dtype
    have, want = (np.asarray(x).astype(np.complex128) for x in (have, want))
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(np.signbit(have.real), np.signbit(want.real))


@pytest.mark.parametrize("dtype", [d if d == "bfloat16" else pytest.param(d, marks=pytest.mark.slow) for d in DTYPES])
def test_one_cast_does_what_two_do(dtype):
    x, rows = values(dtype), 0
    for first, second in itertools.product(DTYPES, repeat=2):
        arguments = (dtype, text(first), text(second))
        back, direct = FUNCTIONS["cast-back"].call(*arguments), FUNCTIONS["cast-directly"].call(*arguments)
        if not back and direct is None:
            continue
        rows += 1
        with jax.enable_x64(True):
            assert_same_bits(cast(cast(x, first), second), x if back else cast(x, second))
    assert rows or dtype == "complex64"


def casts_after(function, x):
    plan = egraph_opt.optimize(function, measure=False).plan(x)
    assert_same_bits(plan(x), function(x))
    return [str(node.attr("new_dtype")) for node in plan.after.nodes if node.op == "convert_element_type"]


@pytest.mark.parametrize(
    ("dtype", "path", "left"),
    [
        ("bfloat16", ["float32", "bfloat16"], []),
        ("int8", ["int32", "int8"], []),
        ("int8", ["int32", "float32"], ["float32"]),
        ("float32", ["bfloat16", "float32"], ["bfloat16", "float32"]),
        ("int32", ["float32", "int32"], ["float32", "int32"]),
        ("float32", ["float64", "int8"], ["float64", "int8"]),
    ],
)
def test_casts_that_lose_nothing_go(dtype, path, left):
    def program(x):
        for name in path:
            x = x.astype(name)
        return x[::-1]

    with jax.enable_x64(True):
        assert casts_after(program, jnp.asarray(values(dtype)[:8])) == left


def test_pairs_meet_through_copies_reshapes_slices_and_joins():
    def program(x):
        wide = jnp.concatenate([x.astype(jnp.float32).T, x[:, ::-1].astype(jnp.float32).T])
        return wide.reshape(4, 6)[1:3].astype(jnp.bfloat16)

    assert casts_after(program, jnp.arange(12.0, dtype=jnp.bfloat16).reshape(3, 4)) == []
