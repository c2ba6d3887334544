# SPDX-License-Identifier: Apache-2.0
"""A table of small programs: what is captured and lowered again computes what the original computes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
S = RNG.standard_normal((4, 4)).astype(np.float32)
T = RNG.standard_normal((2, 3, 4)).astype(np.float32)
V = X[0]
INDEX = np.array([0, 2, 1], np.int32)

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul": (lambda a, b: a @ b, (X, S)),
    "matmul-batched": (lambda a, b: jnp.einsum("bij,jk->bki", a, b), (T, S)),
    "dot-batch": (lambda a: lax.dot_general(a, a, (((2,), (2,)), ((0,), (0,)))), (T,)),
    "outer-kron": (lambda a, b: (jnp.outer(a, b), jnp.kron(b, b)), (V, X)),
    "einsum-three": (lambda a: jnp.einsum("ij,kj,ik->i", a, a, a @ a.T), (X,)),
    "arithmetic": (lambda a, b: (a - b) * 2.5 - (-a) ** 3 / (b**4 + 1.0) + a**2, (X, X + 1)),
    "scalars": (lambda a, b: (a * b + jnp.sin(a), a / b, -a), (np.float32(2), np.float32(3))),
    "scalar-literals": (lambda a: jnp.maximum(jnp.where(a > 0.5, a, 2.0), 0.1) + 1.0, (X,)),
    "sizes-of-one": (
        lambda a: (a[:, None] + a[None], a.mean(0, keepdims=True) * a, a.reshape(1, 3, 1, 4).sum((0, 2))),
        (X,),
    ),
    "all-ones": (lambda a: (a[:1, :1] @ a[:1, :1], a[:1, :1] * 3, a[:1, :1].T), (X,)),
    "reductions": (
        lambda a: (a.max(0), a.min(), a.prod(1), (a > 0).all(0), (a > 0).any(), a.argmax(1), a.argmin(0)),
        (X,),
    ),
    "reductions-of-one": (lambda a: (a[:1].max(0), a[:1].argmax(0), jnp.cumsum(a[:1], 0), (a[:1] > 0).all(0)), (X,)),
    "cumulative": (lambda a: (jnp.cumsum(a, 1), jnp.cumprod(a, 0), lax.cummax(a, 1, reverse=True)), (X,)),
    "softmax": (lambda a: (jax.nn.softmax(a, -1), jax.nn.logsumexp(a, 0), jax.nn.log_softmax(a)), (X,)),
    "activations": (
        lambda a: (jax.nn.relu(a), jax.nn.gelu(a), jax.nn.silu(a), jax.nn.softplus(a), jax.nn.elu(a)),
        (X,),
    ),
    "layout": (lambda a: (a.T, a.reshape(2, 6), a[None, :, None], a[::2, 1:], a[::-1], jnp.roll(a, 1, 0)), (X,)),
    "joining": (
        lambda a: (jnp.concatenate([a, a[:1]], 0), jnp.concatenate([a[:1], a[1:2]], 0), jnp.stack([a, -a], 1)),
        (X,),
    ),
    "joining-equal": (
        lambda a: (jnp.stack([a, a]), jnp.tile(a, (2, 3)), jnp.repeat(a, 2, 0), jnp.tile(a[:1], (2, 1))),
        (X,),
    ),
    "parting": (lambda a: (*jnp.split(a, 2, 1), *jnp.unstack(a), *jnp.split(a, [1], 0)), (X,)),
    "padding": (
        lambda a: (
            jnp.pad(a, ((1, 0), (0, 2))),
            jnp.pad(a[:1], ((1, 2), (0, 0))),
            lax.pad(a, 1.0, ((-1, 0, 1), (0, 0, 0))),
        ),
        (X,),
    ),
    "gather": (lambda a, i: (a[i], a[:, i], jnp.take_along_axis(a, i[:, None], 1)), (X, INDEX)),
    "scatter": (lambda a, i: (a.at[i].add(1.0), a.at[i].set(0.0), a.at[:, i].mul(2.0)), (X, INDEX)),
    "dynamic": (
        lambda a, i: (lax.dynamic_slice(a, (i, 0), (1, 3)), lax.dynamic_update_slice(a, a[:1, :2], (i, 1))),
        (X, 1),
    ),
    "dynamic-clamped": (lambda a: (lax.dynamic_slice(a, (7, -3), (2, 2)), a[-1]), (X,)),
    "sorting": (lambda a: (lax.top_k(a, 2), jnp.sort(a, 0), jnp.argsort(a), jnp.median(a)), (X,)),
    "masks": (lambda a: (jnp.tril(a), jnp.triu(a, 1), jnp.where(jnp.tri(4, dtype=bool), a, -1e9)), (S,)),
    "one-hot": (lambda i: jax.nn.one_hot(i, 4), (INDEX,)),
    "fft": (jnp.fft.fft2, (X,)),
    "convolution": (
        lambda x, w: lax.conv(x, w, (1, 1), "SAME"),
        (np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 3, 3), np.float32)),
    ),
    "pooling": (lambda a: lax.reduce_window(a, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID"), (X,)),
    "general-reduction": (lambda a: lax.reduce(a, np.float32(1), lambda p, q: p * q + p, (0,)), (X,)),
    "select-many": (lambda i, a: lax.select_n(i, a, a * 2, a * 3), (np.array([[0, 1, 2, 1]] * 3, np.int32), X)),
    "select-scalar": (lambda p, a: lax.select(p, a, a * 2), (np.True_, X)),
    "associative-scan": (lambda a: lax.associative_scan(jnp.add, a), (X,)),
    "barrier": (lambda a: lax.optimization_barrier((a, a * 2)), (X,)),
    "stop-gradient": (lambda a: jax.grad(lambda a: (lax.stop_gradient(a) * a).sum())(a) + lax.stop_gradient(a), (X,)),
    "negative-zero": (lambda a: (a * 0.0 + (-0.0), jnp.copysign(1.0, a - 0.0), 1 / (jnp.zeros_like(a) * -1.0)), (X,)),
    "not-a-number": (lambda a: (jnp.where(a > 0, a, jnp.nan), a + jnp.inf, jnp.nan * a), (X,)),
    "grad": (jax.grad(lambda a: jnp.tanh(a @ a.T).sum()), (X,)),
    "jacobian": (jax.jacfwd(lambda a: jnp.tanh(a) @ S), (X,)),
    "hessian": (jax.hessian(lambda v: (v**3).sum()), (V,)),
    "vmap": (jax.vmap(lambda v, a: a @ v, (0, None)), (X, S)),
    "nested-jit": (jax.jit(lambda a: jax.jit(jnp.sin)(a) + jax.jit(jnp.sin)(a)), (X,)),
    "empty": (
        lambda a: (
            a[:0].sum(0),
            a[:0] * 2,
            jnp.concatenate([a[:0], a]),
            a[:, :0] @ a[:, :0].T,
            a[:0].max(0, initial=-1.0),
        ),
        (X,),
    ),
    "device-put": (lambda a: jax.device_put(a) + jax.device_put(a, jax.devices()[0]), (X,)),
    "no-operands": (lambda: (jnp.arange(3) * 2, jnp.eye(2), jnp.float32(-0.0)), ()),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_original(check: Any, name: str) -> None:
    fn, args = PROGRAMS[name]
    check(fn, *args)


LINALG: dict[str, Callable[..., Any]] = {
    "qr": lambda a: jnp.linalg.qr(a)[1],
    "svd": lambda a: jnp.linalg.svd(a)[1],
    "solve": lambda a: jnp.linalg.solve(a @ a.T + jnp.eye(3), a),
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.T + jnp.eye(3)),
    "slogdet": lambda a: jnp.linalg.slogdet(a @ a.T + jnp.eye(3)),
    "norm": jnp.linalg.norm,
}


@pytest.mark.parametrize("name", LINALG)
def test_linear_algebra(check: Any, name: str) -> None:
    check(LINALG[name], X, tolerance=1e-4)


DTYPES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], float]] = {
    "int-overflow": (
        lambda a: (a * a + a - 3 * a**3, a // 3, a % 3, a << 3, a >> 1, -a),
        (np.array([2**30, -(2**31), 7], np.int32),),
        0,
    ),
    "uint8": (lambda a: (a * a, a - 200, a + a, a - a * 3), (np.array([200, 3], np.uint8),), 0),
    "int8-dot": (
        lambda a: lax.dot_general(a, a, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32),
        (np.full((2, 3), 100, np.int8),),
        0,
    ),
    "bool": (
        lambda a, b: (a & b, a | b, ~a, a.sum(), a.T, a[None] & b[:, None], jnp.where(a, 1, 2)),
        (np.array([[True, False]]), np.array([[True, True]])),
        0,
    ),
    "complex": (
        lambda a: ((a * 1j).conj() @ (a.T + 2j), jnp.abs(a * 1j), jnp.real(a) - 1j, (a * a.conj()).imag),
        (X + 1j * X[::-1],),
        1e-6,
    ),
    "float16": (lambda a: (a @ a.T, jnp.tanh(a), a.sum()), (X.astype(np.float16),), 4e-3),
    "bfloat16": (lambda a: (a @ a.T, a * 2, jnp.tanh(a)), (X.astype(jnp.bfloat16),), 2e-2),
    "float8": (lambda a: (a.astype(jnp.float32) * 2, a.T), (jnp.ones((2, 3), jnp.float8_e4m3fn),), 0),
    "mixed-dot": (lambda a, b: lax.dot(a, b, preferred_element_type=jnp.float32), (X, X.T.astype(jnp.bfloat16)), 1e-6),
    "bits": (lambda a: (lax.bitcast_convert_type(a, jnp.int32), lax.bitcast_convert_type(a, jnp.uint8)), (X,), 0),
}


@pytest.mark.parametrize("name", DTYPES)
def test_element_types(check: Any, name: str) -> None:
    fn, args, tolerance = DTYPES[name]
    check(fn, *args, tolerance=tolerance)


def test_64_bits(check: Any) -> None:
    with jax.enable_x64(True):
        check(
            lambda a: (a @ a.T, a.astype(jnp.float32).sum(), jnp.arange(3) + a[0, 0]),
            X.astype(np.float64),
            tolerance=1e-12,
        )


def test_narrow_product_accumulates_wide(check: Any) -> None:
    """A bfloat16 product summed in float32 is a wide einsum of conversions, and as exact as one."""
    a = np.full((2, 512), 1.01, jnp.bfloat16)
    fn = lambda a: lax.dot_general(a, a, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)  # noqa: E731
    graph = check(fn, a, tolerance=1e-6).graph
    assert [n.type.dtype for n in graph if n.op == "einsum"] == ["float32"]


def test_precision_is_the_highest_asked_for() -> None:
    def f(a: Any) -> Any:
        return jnp.dot(a, a, precision="high") + jnp.dot(a, a) + jnp.dot(a, a.T, precision="highest")

    assert capture(f, (S,)).graph.precision == "highest"
    assert capture(lambda a: a @ a, (S,)).graph.precision is None


def test_named_algorithms_stay_opaque(check: Any) -> None:
    algorithm = lax.DotAlgorithmPreset.F32_F32_F32
    graph = check(lambda a: lax.dot(a, a, precision=algorithm), S).graph
    assert [n.attr("name") for n in graph if n.op == "opaque"] == ["dot_general"]


def test_weak_types(check: Any) -> None:
    graph = check(lambda a, b: (a + 1, b * 2, 3.0, jnp.asarray(2), a * b), 2, np.float32(3)).graph
    assert graph.weak_outputs == (True, False, True, True, False)
    assert [t.weak for t in graph.input_types] == [True, False]


def test_random_keys(check: Any) -> None:
    key, raw = jax.random.key(1), jax.random.PRNGKey(2)
    check(lambda k: jax.random.normal(k, (3,)), key, tolerance=0)
    check(lambda k: jax.random.normal(k, (3,)), raw, tolerance=0)
    check(lambda k: jax.random.split(k, (2, 3)).T, key)
    check(lambda k: jax.vmap(lambda q: jax.random.uniform(q, (2,)))(jax.random.split(k, 3)), key, tolerance=0)
    check(lambda k, i: jax.random.permutation(jax.random.fold_in(k, i), 5), key, 3)
    check(lambda: jax.random.normal(jax.random.key(0), (2,)), tolerance=0)


def test_random_numbers_are_not_folded() -> None:
    graph = capture(lambda: jax.random.bits(jax.random.key(0), (2,)), ()).graph
    assert "random_bits" in [n.attr("name") for n in graph if n.op == "opaque"]


def test_squeezed(check: Any) -> None:
    """No tensor between the edges has a dimension of size 1."""
    graph = check(lambda a: jnp.tanh(a.mean(1, keepdims=True) * a + a[:, :1])[None], X).graph
    inner = [n for n in graph if n.op not in ("input", "reshape", "slice")]
    assert all(1 not in n.type.shape for n in inner)


def test_equal_expressions_are_one_node() -> None:
    graph = capture(lambda a: (a + 1) * (a + 1) + jnp.sin(a.T).T + jnp.sin(a), (S,)).graph
    assert graph.op_counts()["sin"] == 1


def test_uniform_operands_become_scalars() -> None:
    graph = capture(lambda a: jnp.maximum(a, jnp.zeros((3, 4))) * jnp.full((3, 4), 2.0), (X,)).graph
    assert [n.op for n in graph] == ["input", "constant", "max", "einsum"]
    assert graph.nodes[-1].attr("spec").endswith("|2")
