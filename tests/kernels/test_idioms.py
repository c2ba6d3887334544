# SPDX-License-Identifier: Apache-2.0
"""Norms, activations, softmax and its relatives: spellings that are recognised, and programs that look like them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.special import erf, erfc

from egraph_opt.capture import capture
from egraph_opt.kernels import recognise
from egraph_opt.normalise import normalise

X = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6, 32)), jnp.float32)
G = jnp.linspace(0.5, 1.5, 32, dtype=jnp.float32)
EPS = 1e-5


def mean(x: Any) -> Any:
    return x.mean(-1, keepdims=True)


def squares(x: Any) -> Any:
    return (x * x).mean(-1, keepdims=True)


def names(function: Callable[..., Any], *args: Any) -> list[str]:
    graph = normalise(capture(function, args or (X,), {}).graph)
    return [one.kernel.name for one in recognise(graph)]


LAYER_NORM: list[Callable[..., Any]] = [
    lambda x: (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True) + EPS),
    lambda x: (x - mean(x)) * lax.rsqrt(squares(x) - mean(x) ** 2 + EPS),
    lambda x: (x - mean(x)) * (squares(x - mean(x)) + EPS) ** -0.5,
    lambda x: (x - x.sum(-1, keepdims=True) / 32) / jnp.power(x.var(-1, keepdims=True) + EPS, 0.5),
    lambda x: x * lax.rsqrt(x.var(-1, keepdims=True) + EPS) - mean(x) * lax.rsqrt(x.var(-1, keepdims=True) + EPS),
    lambda x: jax.nn.standardize(x, axis=-1, epsilon=EPS),
    lambda x: jax.vmap(jax.vmap(lambda r: (r - r.mean()) / jnp.sqrt(r.var() + EPS)))(x),
    lambda x: (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + EPS),
]
RMS_NORM: list[Callable[..., Any]] = [
    lambda x: x * lax.rsqrt(squares(x) + EPS),
    lambda x: x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + EPS),
    lambda x: x * (jnp.power(x, 2).sum(-1, keepdims=True) / 32 + EPS) ** -0.5,
    lambda x: x / jnp.sqrt(jnp.einsum("abn,abn->ab", x, x)[..., None] / 32 + EPS),
    lambda x: x * (1 / jnp.sqrt(squares(x) + EPS)),
]
GROUP_NORM: list[Callable[..., Any]] = [
    lambda x: (x - x.mean((1, 2), keepdims=True)) / jnp.sqrt(x.var((1, 2), keepdims=True) + EPS),
    lambda x: (x - x.mean((1, 2), keepdims=True)) * lax.rsqrt(x.var((1, 2), keepdims=True) + EPS),
]
GELU: list[Callable[..., Any]] = [
    lambda x: jax.nn.gelu(x, approximate=False),
    lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    lambda x: 0.5 * x * erfc(-x / np.sqrt(2).astype(np.float32)),
    lambda x: x * jax.scipy.stats.norm.cdf(x),
    lambda x: x * (erf(x * 0.7071067811865476) + 1.0) / 2.0,
]
GELU_TANH: list[Callable[..., Any]] = [
    lambda x: jax.nn.gelu(x, approximate=True),
    lambda x: 0.5 * x * (1 + jnp.tanh(np.sqrt(2 / np.pi).astype(np.float32) * (x + 0.044715 * x**3))),
    lambda x: x * jax.nn.sigmoid(2 * 0.7978845608 * (x + 0.044715 * jnp.power(x, 3.0))),
    lambda x: 0.5 * x * (1 + jnp.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
    lambda x: x / (1 + jnp.exp(-2 * 0.7978845608 * (x + 0.044715 * x * x * x))),
]
SILU: list[Callable[..., Any]] = [
    jax.nn.silu,
    lambda x: x * jax.nn.sigmoid(x),
    lambda x: x / (1 + jnp.exp(-x)),
    lambda x: 0.5 * x * (1 + jnp.tanh(x / 2)),
    lambda x: x * lax.logistic(x),
]
SOFTMAX: list[Callable[..., Any]] = [
    lambda x: jax.nn.softmax(x, -1),
    lambda x: jax.nn.softmax(x, 1),
    lambda x: jnp.exp(x - x.max(-1, keepdims=True)) / jnp.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True),
    lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
    lambda x: jnp.exp(x - jax.nn.logsumexp(x, -1, keepdims=True)),
    lambda x: jnp.exp(jax.nn.log_softmax(x, -1)),
    lambda x: jnp.exp(x) * (1 / jnp.exp(x).sum(-1, keepdims=True)),
]
LOGSUMEXP: list[Callable[..., Any]] = [
    lambda x: jax.nn.logsumexp(x, -1),
    lambda x: jnp.log(jnp.exp(x).sum(-1)),
    lambda x: jnp.log(jnp.exp(x - x.max(-1, keepdims=True)).sum(-1)) + x.max(-1),
    lambda x: jax.scipy.special.logsumexp(x, axis=1),
    lambda x: x.max(-1) + jnp.log(jnp.sum(jnp.exp(x - x.max(-1)[..., None]), axis=-1)),
]
LOG_SOFTMAX: list[Callable[..., Any]] = [
    lambda x: jax.nn.log_softmax(x, -1),
    lambda x: x - jax.nn.logsumexp(x, -1, keepdims=True),
    lambda x: jnp.log(jax.nn.softmax(x, -1)),
    lambda x: x - jnp.log(jnp.exp(x).sum(-1, keepdims=True)),
    lambda x: jnp.log(jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True)),
]
TABLE = {
    "layer_norm": LAYER_NORM,
    "rms_norm": RMS_NORM,
    "group_norm": GROUP_NORM,
    "gelu": GELU,
    "gelu_tanh": GELU_TANH,
    "silu": SILU,
    "softmax": SOFTMAX,
    "logsumexp": LOGSUMEXP,
    "log_softmax": LOG_SOFTMAX,
}


@pytest.mark.parametrize("name", TABLE)
def test_spellings_are_recognised(name: str) -> None:
    found = {i: names(function) for i, function in enumerate(TABLE[name])}
    assert [i for i, have in found.items() if have != [name]] == []


WITH_WEIGHTS: list[tuple[str, Callable[..., Any], int]] = [
    ("layer_norm_gain", lambda x, g: (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True) + EPS) * g, 1),
    ("layer_norm_affine", lambda x, g, b: (x - mean(x)) * (g * lax.rsqrt(x.var(-1, keepdims=True) + EPS)) + b, 2),
    ("rms_norm_gain", lambda x, g: g * (x * lax.rsqrt(squares(x) + EPS)), 1),
    ("rms_norm_gain", lambda x, g: (x * g) / jnp.sqrt(squares(x) + EPS), 1),
]


@pytest.mark.parametrize(("name", "function", "weights"), WITH_WEIGHTS)
def test_gain_and_offset_belong_to_a_norm(name: str, function: Any, weights: int) -> None:
    assert names(function, X, G, 2 * G[::-1])[:1] == [name] if weights == 2 else names(function, X, G) == [name]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("swiglu", lambda x, u: jax.nn.silu(x) * u),
        ("geglu", lambda x, u: jax.nn.gelu(x, approximate=False) * u),
        ("geglu_tanh", lambda x, u: u * jax.nn.gelu(x)),
        ("glu", lambda x, u: u * jax.nn.sigmoid(x)),
    ],
)
def test_gated_units(name: str, function: Any) -> None:
    assert names(function, X, X + 1) == [name]


DECOYS: dict[str, list[Callable[..., Any]]] = {
    "layer_norm": [
        lambda x: (x - 2 * mean(x)) / jnp.sqrt(x.var(-1, keepdims=True) + EPS),
        lambda x: (x - mean(x)) / (jnp.sqrt(x.var(-1, keepdims=True)) + EPS),
        lambda x: (x - mean(x)) / jnp.sqrt(x.var(1, keepdims=True) + EPS),
        lambda x: (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True, ddof=1) + EPS),
        lambda x: (x - x.max(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + EPS),
        lambda x: x / jnp.sqrt(x.var(-1, keepdims=True) + EPS),
    ],
    "rms_norm": [
        lambda x: x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + EPS),
        lambda x: x / (squares(x) + EPS),
        lambda x: x * jnp.sqrt(squares(x) + EPS),
        lambda x: x / jnp.maximum(jnp.sqrt(squares(x)), 1e-6),
        lambda x: x / jnp.sqrt(jnp.abs(x).mean(-1, keepdims=True) + EPS),
    ],
    "gelu": [
        lambda x: 0.5 * x * (1 + erf(x)),
        lambda x: 0.5 * x * (1 + erf(x / 1.4)),
        lambda x: x * (1 + erf(x / np.sqrt(2))),
        lambda x: 0.5 * (1 + erf(x / np.sqrt(2))),
        lambda x: 0.5 * x * (1 - erf(x / np.sqrt(2))),
    ],
    "gelu_tanh": [
        lambda x: 0.5 * x * (1 + jnp.tanh(0.7978845608 * (x + 0.0447 * x**3))),
        lambda x: 0.5 * x * (1 + jnp.tanh(0.8 * (x + 0.044715 * x**3))),
        lambda x: 0.5 * x * (1 + jnp.tanh(0.7978845608 * (x + 0.044715 * x**2))),
        lambda x: x * (1 + jnp.tanh(0.7978845608 * (x + 0.044715 * x**3))),
        lambda x: 0.5 * x * (2 + jnp.tanh(0.7978845608 * (x + 0.044715 * x**3))),
    ],
    "silu": [
        lambda x: x * jax.nn.sigmoid(1.5 * x),
        lambda x: x * jax.nn.sigmoid(x + 1),
        lambda x: x / (1 + jnp.exp(x)),
        lambda x: x / (2 + jnp.exp(-x)),
        lambda x: jnp.where(x > 1000, 0.0, x * jnp.tanh(x)),
    ],
    "softmax": [
        lambda x: jnp.exp(x - x.max(-1, keepdims=True)) / jnp.exp(x).sum(-1, keepdims=True),
        lambda x: jnp.exp(x) / (1 + jnp.exp(x).sum(-1, keepdims=True)),
        lambda x: jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True).max(-1, keepdims=True),
        lambda x: jnp.exp(x) / jnp.exp(2 * x).sum(-1, keepdims=True),
        lambda x: jnp.exp(x) / jnp.exp(x).mean(-1, keepdims=True),
    ],
    "logsumexp": [
        lambda x: jnp.log(jnp.exp(x).mean(-1)),
        lambda x: jnp.log(jnp.exp(x).sum(-1) + 1),
        lambda x: jnp.log((jnp.exp(x) * x * x).sum(-1)),
        lambda x: jnp.log(jnp.exp(x).max(-1)) + jnp.log(jnp.exp(x).sum(1).max(-1))[..., None],
        lambda x: jnp.log1p(jnp.exp(x).sum(-1)),
    ],
}


@pytest.mark.parametrize("name", DECOYS)
def test_decoys_are_not(name: str) -> None:
    found = {i: name in names(function) for i, function in enumerate(DECOYS[name])}
    assert [i for i, have in found.items() if have] == []


def test_inside_of_larger_idioms_nothing_is_listed_again() -> None:
    def block(x: Any) -> Any:
        y = (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True) + EPS)
        return jax.nn.gelu(jax.nn.softmax(y, -1))

    assert names(block) == ["layer_norm", "softmax", "gelu_tanh"]


def test_a_case_told_apart_by_a_number_that_is_never_met_is_no_idiom() -> None:
    assert names(lambda x: jax.nn.softmax(jnp.where(x == 123.456, 0.0, x), -1)) == ["softmax"]
    assert names(lambda x: jnp.where(x == 123.456, 0.0, jax.nn.silu(x))) == ["silu"]
    assert names(lambda x: jnp.where(x.sum() > 1e6, 0.0, x) * jax.nn.sigmoid(x)) == ["glu"]
