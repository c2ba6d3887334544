# SPDX-License-Identifier: Apache-2.0
"""Group norm and gated units in many spellings, and the other idioms as libraries and exporters spell them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.special import erf, erfc

from egraph_opt.capture import capture
from egraph_opt.ir import Graph
from egraph_opt.kernels import Found, recognise, replaced
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.ops.kernel import Lowering
from egraph_opt.verify.promote import promote_graph

RANDOM = np.random.default_rng(0)
EPS = 1e-5
C0, C1 = np.float32(np.sqrt(2 / np.pi)), np.float32(0.044715)
HALF_ROOT = np.float32(np.sqrt(0.5))


def drawn(*shape: int) -> Any:
    return jnp.asarray(RANDOM.standard_normal(shape), jnp.float32)


X, G, B = drawn(4, 6, 32), drawn(32), drawn(32)
IMAGE = drawn(2, 8, 5, 6)
LEFT, RIGHT = drawn(32, 16), drawn(32, 16)
BOTH = jnp.concatenate([LEFT, RIGHT], 1)


def found_in(function: Callable[..., Any], *args: Any) -> tuple[Graph, list[Found]]:
    graph = normalise(capture(function, args, {}, fold_constants=True).graph)
    return graph, recognise(graph)


def names(function: Callable[..., Any], *args: Any) -> list[str]:
    return [one.kernel.name for one in found_in(function, *args)[1]]


def mean(x: Any) -> Any:
    return x.mean(-1, keepdims=True)


def normed(x: Any, axes: tuple[int, ...] = (-1,)) -> Any:
    return (x - x.mean(axes, keepdims=True)) * lax.rsqrt(x.var(axes, keepdims=True) + EPS)


def by_one_pass(x: Any) -> Any:
    z = jnp.moveaxis(x, 1, -1).reshape(2, 5, 6, 4, 2)
    m = z.mean((1, 2, 4), keepdims=True)
    v = jnp.maximum(0.0, lax.square(z).mean((1, 2, 4), keepdims=True) - lax.square(m))
    return ((z - m) * lax.rsqrt(v + EPS)).reshape(2, 5, 6, 8)


def of_rows(x: Any) -> Any:
    y = x.reshape(8, 60)
    y = y - y.sum(1)[:, None] / 60
    return (y / jnp.sqrt(jnp.square(y).sum(1)[:, None] / 60 + EPS)).reshape(x.shape)


def one_by_one(x: Any) -> Any:
    return jax.vmap(lambda z: normed(z.reshape(4, -1)).reshape(z.shape))(x)


def with_weights(x: Any) -> Any:
    y = x.reshape(2, 4, -1)
    y = (y - mean(y)) * (1 / jnp.sqrt(y.var(-1, keepdims=True) + EPS))
    return (y.reshape(2, 8, 30) * jnp.arange(1.0, 9)[:, None] + 2).reshape(x.shape)


GROUP_NORM: list[Callable[..., Any]] = [
    lambda x: normed(x.reshape(2, 4, 2, 5, 6), (2, 3, 4)).reshape(x.shape),
    lambda x: normed(x.reshape(2, 4, -1)).reshape(x.shape),
    lambda x: normed(x.reshape(2, 4, 2, 30), (2, 3)).reshape(x.shape),
    lambda x: normed(x, (2, 3)),
    by_one_pass,
    of_rows,
    one_by_one,
    with_weights,
]
NO_GROUP_NORM: list[Callable[..., Any]] = [
    lambda x: (x - x.mean((2, 3), keepdims=True)) / jnp.sqrt(x.var((1, 2, 3), keepdims=True) + EPS),
    lambda x: (x - x.mean((2, 3), keepdims=True)) / (jnp.sqrt(x.var((2, 3), keepdims=True)) + EPS),
    lambda x: x / jnp.sqrt(x.var((2, 3), keepdims=True) + EPS),
    lambda x: (x - x.mean((2, 3), keepdims=True)) / jnp.sqrt(x.var((2, 3), keepdims=True, ddof=1) + EPS),
    lambda x: (x - x.mean((2, 3), keepdims=True)) * jnp.sqrt(x.var((2, 3), keepdims=True) + EPS),
    lambda x: (x - x.max((2, 3), keepdims=True)) * lax.rsqrt(x.var((2, 3), keepdims=True) + EPS),
    lambda x: normed(jnp.moveaxis(x, 1, -1)),
]


@pytest.mark.parametrize("number", range(len(GROUP_NORM)))
def test_group_norm_and_its_values_in_double_precision(number: int) -> None:
    graph, (found,) = found_in(GROUP_NORM[number], IMAGE)
    assert found.kernel.name in ("group_norm", "group_norm_2d")
    assert f"{dict(found.static)['eps']:.3g}" == "1e-05"
    way = Lowering(name="as written", function=found.kernel.pattern, differentiable=True)
    with jax.enable_x64(True):
        args = [np.asarray(IMAGE, np.float64), *(np.zeros(t.shape) for t in graph.input_types[1:])]
        want, got = (lower_graph(promote_graph(g))(args)[0] for g in (graph, replaced(graph, [(found, way)])))
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("number", range(len(NO_GROUP_NORM)))
def test_no_group_norm(number: int) -> None:
    assert not [name for name in names(NO_GROUP_NORM[number], IMAGE) if name.startswith("group_norm")]


def projected(unit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, w: unit(*jnp.split(x @ w, 2, -1))


def apart(unit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v, w: unit(x @ v, x @ w)


def halved(unit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: unit(x[..., :16], x[..., 16:])


def interleaved(unit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: unit(x[..., ::2], x[..., 1::2])


def stacked(unit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: unit(x.reshape(4, 6, 2, 16)[:, :, 0], x.reshape(4, 6, 2, 16)[:, :, 1])


PLACES: list[tuple[Any, tuple[Any, ...]]] = [
    (projected, (X, BOTH)),
    (apart, (X, LEFT, RIGHT)),
    (halved, (X,)),
    (interleaved, (X,)),
    (stacked, (X,)),
    (lambda unit: unit, (X, X + 1)),
]
GATES: dict[str, list[Callable[..., Any]]] = {
    "glu": [
        lambda a, b: a * jax.nn.sigmoid(b),
        lambda a, b: a / (1 + jnp.exp(-b)),
        lambda a, b: 0.5 * a * (jnp.tanh(b / 2) + 1),
        lambda a, b: a - a * jax.nn.sigmoid(-b),
        lambda a, b: a * jnp.exp(jax.nn.log_sigmoid(b)),
    ],
    "swiglu": [
        lambda a, b: jax.nn.silu(a) * b,
        lambda a, b: a * b * lax.logistic(a),
        lambda a, b: a / (1 + jnp.exp(-a)) * b,
        lambda a, b: b * (a * 0.5 * (1 + jnp.tanh(a * 0.5))),
        lambda a, b: (jax.nn.silu(a.astype(jnp.bfloat16).astype(jnp.float32)) * b).astype(jnp.bfloat16),
    ],
    "geglu": [
        lambda a, b: jax.nn.gelu(a, approximate=False) * b,
        lambda a, b: b * 0.5 * a * (1 + erf(a * HALF_ROOT)),
        lambda a, b: 0.5 * a * b * erfc(-a * HALF_ROOT),
        lambda a, b: (a * b) * jax.scipy.stats.norm.cdf(a),
        lambda a, b: a * (b - 0.5 * b * erfc(a * HALF_ROOT)),
    ],
    "geglu_tanh": [
        lambda a, b: jax.nn.gelu(a) * b,
        lambda a, b: b * 0.5 * a * (1 + jnp.tanh(C0 * (a + C1 * a**3))),
        lambda a, b: a * b * jax.nn.sigmoid(2 * C0 * (a + C1 * a * a * a)),
        lambda a, b: b * (a - a / (jnp.exp(2 * C0 * (a + C1 * a**3)) + 1)),
        lambda a, b: 0.5 * a * b + 0.5 * a * b * jnp.tanh(C0 * a * (1 + C1 * lax.square(a))),
    ],
}


@pytest.mark.parametrize("name", GATES)
def test_gated_units_wherever_their_two_tensors_come_from(name: str) -> None:
    first, *rest = GATES[name]
    assert [names(place(first), *args) for place, args in PLACES] == [[name]] * len(PLACES)
    assert [names(unit, X, X + 1) for unit in rest] == [[name]] * len(rest)


@pytest.mark.parametrize(
    "unit",
    [
        lambda a, b: jax.nn.silu(a) + b,
        lambda a, b: jnp.tanh(a) * b,
        lambda a, b: jax.nn.relu(a) * b,
        lambda a, b: jax.nn.softplus(a) * b,
        lambda a, b: a / (2 + jnp.exp(-b)),
        lambda a, b: a * (jax.nn.sigmoid(b) + 0.01),
        lambda a, b: 0.5 * a * (1 + erf(a)) * b,
    ],
)
def test_no_gated_unit(unit: Any) -> None:
    units = {"glu", "swiglu", "geglu", "geglu_tanh"}
    assert [units.intersection(names(place(unit), *args)) for place, args in PLACES[2:]] == [set()] * 4


def in_one_pass(x: Any, g: Any, b: Any) -> Any:
    m, squares = x.mean(-1), lax.square(x).mean(-1)
    gain = lax.rsqrt(jnp.maximum(0.0, squares - lax.square(m))[..., None] + EPS) * g
    return (x - m[..., None]) * gain + b


def of_vectors(x: Any, g: Any, b: Any) -> Any:
    def one(v: Any) -> Any:
        return (v - v.mean(keepdims=True)) * lax.rsqrt(jnp.maximum(0.0, v.var(keepdims=True)) + EPS) * g + b

    return jax.vmap(jax.vmap(one))(x)


def by_products(x: Any, g: Any, b: Any) -> Any:
    shares = jnp.full((32,), 1 / 32, x.dtype)
    d = x - (x @ shares)[..., None]
    return d * lax.rsqrt((d * d) @ shares + EPS)[..., None] * g + b


def by_sums(x: Any, g: Any, b: Any) -> Any:
    total, squares = x.sum(-1, keepdims=True), (x * x).sum(-1, keepdims=True)
    return (32 * x - total) / jnp.sqrt(32 * squares - total * total + 32 * 32 * EPS) * g + b


def in_double_width(x: Any, g: Any, b: Any) -> Any:
    y = x.astype(jnp.bfloat16).astype(jnp.float32)
    return (normed(y) * g + b).astype(jnp.bfloat16)


def offset_first(x: Any, g: Any, b: Any) -> Any:
    gain = g / jnp.sqrt(x.var(-1) + EPS)[..., None]
    return x * gain + (b - mean(x) * gain)


LAYER_NORM: list[Callable[..., Any]] = [
    in_one_pass,
    of_vectors,
    by_products,
    by_sums,
    in_double_width,
    offset_first,
    lambda x, g, b: (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True, ddof=1) * 31 / 32 + EPS) * g + b,
    lambda x, g, b: g * ((x - mean(x)) * jnp.power(mean((x - mean(x)) ** 2) + EPS, -0.5)) + b,
    lambda x, g, b: (
        (x - mean(x)) / jnp.sqrt(jnp.linalg.norm(x - mean(x), axis=-1, keepdims=True) ** 2 / 32 + EPS) * g + b
    ),
]
ONE: dict[str, list[Callable[..., Any]]] = {
    "rms_norm": [
        lambda x: x * np.float32(np.sqrt(32)) / jnp.sqrt((x * x).sum(-1, keepdims=True) + 32 * EPS),
        lambda x: x * lax.rsqrt(x.var(-1, keepdims=True) + jnp.square(mean(x)) + EPS),
        lambda x: x * lax.rsqrt(jnp.vecdot(x, x)[..., None] / 32 + EPS),
    ],
    "gelu_tanh": [
        lambda x: x - x / (jnp.exp(2 * C0 * (x + C1 * x**3)) + 1),
        lambda x: x * jax.nn.sigmoid(x * (1.5957691216 + 0.07135481283 * x * x)),
        lambda x: 0.5 * x + 0.5 * x * jnp.tanh(C0 * (x + C1 * lax.integer_pow(x, 3))),
    ],
    "gelu": [
        lambda x: x * (1 - 0.5 * erfc(x * HALF_ROOT)),
        lambda x: x * jnp.exp(jax.scipy.special.log_ndtr(x)),
        lambda x: jnp.where(x >= 0, x - 0.5 * x * erfc(abs(x) * HALF_ROOT), 0.5 * x * erfc(abs(x) * HALF_ROOT)),
    ],
    "softmax": [
        lambda x: 1 / jnp.exp(x[..., None, :] - x[..., :, None]).sum(-1),
        lambda x: (
            jnp.exp2(x * np.float32(1 / np.log(2)) - 3) / jnp.exp2(x * np.float32(1 / np.log(2)) - 3).sum(-1)[..., None]
        ),
        lambda x: jax.nn.softmax(x, -1, where=jnp.ones_like(x, bool)),
    ],
    "logsumexp": [
        lambda x: jnp.log(jnp.exp(x - 5.0).sum(-1)) + 5.0,
        lambda x: x[..., 0] - jax.nn.log_softmax(x, -1)[..., 0],
        lambda x: jnp.log1p(jnp.exp(x).sum(-1) - 1),
    ],
}


@pytest.mark.parametrize("number", range(len(LAYER_NORM)))
def test_layer_norms_of_libraries(number: int) -> None:
    assert names(LAYER_NORM[number], X, G, B) == ["layer_norm_affine"]


@pytest.mark.parametrize("name", ONE)
def test_other_idioms(name: str) -> None:
    assert [names(function, X) for function in ONE[name]] == [[name]] * len(ONE[name])
