# SPDX-License-Identifier: Apache-2.0
"""Products of 8-bit integers: found with their zero points, equal to the last bit in int8, wrapping around alike."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import Found, all_kernels, recognise, replaced
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from tests.onnx_frontend.nodes import Case, integers

RANDOM = np.random.default_rng(0)
M, K, N = 96, 160, 80


def drawn(*shape: int, dtype: Any = np.int8) -> Any:
    info = np.iinfo(dtype)
    return jnp.asarray(RANDOM.integers(info.min, info.max + 1, shape), dtype)


def wide(x: Any) -> Any:
    return x.astype(jnp.int32)


A, B, U = drawn(M, K), drawn(K, N), drawn(M, K, dtype=np.uint8)
HUGE = jnp.int32(2**30 + 12_345)
SPELLINGS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda a, b: wide(a) @ wide(b), (A, B)),
    (lambda a, b: wide(a) @ wide(b), (U, B)),
    (lambda a, b: (wide(a) - 128) @ wide(b), (U, B)),
    (lambda a, b, z: (wide(a) - wide(z)) @ wide(b), (U, B, jnp.uint8(200))),
    (lambda a, b, s, t: (wide(a) + s) @ (wide(b) - wide(t)), (U, B, HUGE, jnp.int8(-7))),
    (lambda a, b: (wide(a) - 3) @ (wide(b) - 250).T, (U, drawn(N, K, dtype=np.uint8))),
    (lambda a, b: jnp.einsum("bmk,kn->bnm", wide(a) - 5, wide(b)), (U.reshape(4, 24, K), B)),
    (lambda a, b: jnp.einsum("bmk,bkn->bmn", wide(a), wide(b) + 9), (drawn(4, 48, K), drawn(4, K, N))),
    (lambda a, b: jnp.einsum("mkj,nkj->mn", wide(a) - 1, wide(b) - 2), (A.reshape(M, 8, 20), B.reshape(N, 8, 20))),
]


def found_in(function: Callable[..., Any], *args: Any) -> tuple[Graph, list[Found]]:
    graph = normalise(capture(function, args, {}).graph)
    return graph, [one for one in recognise(graph) if one.kernel.name == "integer_product"]


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_they_are_found_and_equal_to_the_last_bit(number: int) -> None:
    function, args = SPELLINGS[number]
    graph, (found,) = found_in(function, *args)
    (way,) = found.lowerings("cpu", Numerics.REASSOCIATE)
    assert found.lowerings("gpu", Numerics.REASSOCIATE) == []
    got = jax.jit(lower_graph(replaced(graph, [(found, way)])))(list(args))[0]
    np.testing.assert_array_equal(got, jax.jit(function)(*args))


def test_operators_of_models_are_found() -> None:
    case = Case("MatMulInteger", [integers(0, 256, M, K, dtype=np.uint8), np.asarray(B), np.uint8(7)], opset=10)
    model, names = case.model(), list(case.feeds)
    assert len(found_in(lambda *xs: model(**dict(zip(names, xs, strict=True))), *case.feeds.values())[1]) == 1


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (lambda a, b: wide(a) @ wide(b), (A.astype(jnp.int16), B)),
        (lambda a, b: a @ b, (A, B)),
        (lambda a, b: wide(a) @ b, (A, wide(B))),
        (lambda a, b, z: (wide(a) - z) @ wide(b), (A, B, jnp.arange(K, dtype=jnp.int32))),
        (lambda a, b: (wide(a) * 3) @ (wide(b) * wide(b)), (A, B)),
        (lambda a, b: a.astype(jnp.float32) @ b.astype(jnp.float32), (A, B)),
    ],
)
def test_others_are_not(function: Any, args: Any) -> None:
    assert found_in(function, *args)[1] == []


def test_small_ones_and_products_with_vectors_stay() -> None:
    for a, b in ((A[:16, :32], B[:32, :16]), (A[:1], drawn(K, 8_000)), (drawn(8_000, K), B[:, :2])):
        for one in found_in(lambda a, b: wide(a) @ wide(b), a, b)[1]:
            assert one.lowerings("cpu", Numerics.REASSOCIATE) == []


def test_a_layer_that_quantises_as_it_runs() -> None:
    def layer(x: Any, w: Any, scale: Any) -> Any:
        low, high = jnp.minimum(x.min(), 0.0), jnp.maximum(x.max(), 0.0)
        step = (high - low) / 255
        zero = jnp.round(-low / step).astype(jnp.uint8)
        q = jnp.clip(jnp.round(x / step) + zero.astype(jnp.float32), 0, 255).astype(jnp.uint8)
        return ((wide(q) - wide(zero)) @ wide(w)).astype(jnp.float32) * (step * scale)

    x, scale = jnp.asarray(RANDOM.standard_normal((M, K)), jnp.float32), jnp.float32(0.01)
    result = egraph_opt.optimize(layer, measure=False).plan(x, B, scale)
    assert "integer_product: run by narrow" in str(result.report)
    np.testing.assert_allclose(result(x, B, scale), layer(x, B, scale), rtol=1e-5, atol=1e-5)
    gradients = [jax.grad(lambda x, f=f: (f(x, B, scale) ** 2).sum())(x) for f in (result, layer)]
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-4)


def test_the_pattern_is_the_product() -> None:
    kernel = all_kernels()["integer_product"]
    static = {"spec": f"ab,bc->ac;{M},{K},{N}", "shifted": "b"}
    assert Spec.parse(static["spec"]).summed == "b"
    np.testing.assert_array_equal(kernel.pattern(A, B, jnp.int32(4), **static), wide(A) @ (wide(B) + 4))
