# SPDX-License-Identifier: Apache-2.0
"""Whole programs through files: exported and loaded they give equal outputs, and so they do saved and loaded again."""

import collections
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt import frontends

RANDOM = np.random.default_rng(0)


def array(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def mlp(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def mlp_params(*sizes):
    return [(array(m, n, scale=m**-0.5), array(n, scale=0.1)) for m, n in itertools.pairwise(sizes)]


def norm(x, gain):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain


def block(params, x, heads=2):
    batch, length, width = x.shape
    y = norm(x, params["g1"])
    q, k, v = jnp.split(y @ params["qkv"], 3, -1)
    q, k, v = (t.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3) for t in (q, k, v))
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(width // heads)
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9)
    mixed = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, -1), v).transpose(0, 2, 1, 3)
    x = x + mixed.reshape(x.shape) @ params["o"]
    return x + jax.nn.gelu(norm(x, params["g2"]) @ params["up"]) @ params["down"]


def block_params(width=8):
    shapes = {"g1": (width,), "qkv": (width, 3 * width), "o": (width, width)}
    shapes |= {"g2": (width,), "up": (width, 4 * width), "down": (4 * width, width)}
    return {name: array(*shape, scale=0.3) for name, shape in shapes.items()}


def transformer():
    return block, (block_params(), array(2, 5, 8))


def transformer_gradient():
    return jax.grad(lambda p, x: block(p, x).sum(), (0, 1)), (block_params(), array(2, 5, 8))


def transformer_step():
    def step(params, x, y):
        loss, gradient = jax.value_and_grad(lambda p: ((block(p, x) - y) ** 2).mean())(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), loss

    return step, (block_params(), array(2, 5, 8), array(2, 5, 8))


def recurrent():
    def function(params, xs):
        return lax.scan(lambda h, x: (jnp.tanh(params["w"] @ h + params["u"] @ x), h[0]), jnp.zeros(6), xs)

    return function, ({"w": array(6, 6, scale=0.4), "u": array(6, 3)}, array(10, 3))


def kalman():
    def step(mean, covariance, seen, f, q, h, r):
        mean, covariance = f @ mean, f @ covariance @ f.T + q
        s = h @ covariance @ h.T + r
        gain = jnp.linalg.solve(s, h @ covariance).T
        error = seen - h @ mean
        likelihood = -0.5 * (error @ jnp.linalg.solve(s, error) + jnp.linalg.slogdet(s)[1])
        return mean + gain @ error, (jnp.eye(len(mean)) - gain @ h) @ covariance, likelihood

    eye = np.eye(4, dtype=np.float32)
    return step, (array(4), eye, array(2), eye, eye * np.float32(0.1), array(2, 4), np.eye(2, dtype=np.float32))


def gaussian_process():
    def loss(theta, x, y):
        scale, signal, noise = jnp.exp(theta)
        distance = ((x[:, None] - x[None]) ** 2).sum(-1)
        kernel = signal**2 * jnp.exp(-0.5 * distance / scale**2) + (noise**2 + 1e-4) * jnp.eye(len(x))
        factor = jnp.linalg.cholesky(kernel)
        solved = jax.scipy.linalg.cho_solve((factor, True), y)
        return 0.5 * y @ solved + jnp.log(jnp.diag(factor)).sum()

    return jax.value_and_grad(loss), (np.zeros(3, np.float32), array(12, 2), array(12))


def convolutional(params, x):
    for kernel, gain in params["layers"]:
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = (x - x.mean((0, 1, 2))) * lax.rsqrt(x.var((0, 1, 2)) + 1e-5) * gain
        x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.mean((1, 2)) @ params["head"]


def convolutional_params():
    layers = [(array(3, 3, 3, 4, scale=0.3), array(4)), (array(3, 3, 4, 6, scale=0.3), array(6))]
    return {"layers": layers, "head": array(6, 2)}


def convolution_net():
    return convolutional, (convolutional_params(), array(2, 8, 8, 3))


def convolution_gradient():
    return jax.grad(lambda p, x: (convolutional(p, x) ** 2).sum()), (convolutional_params(), array(2, 8, 8, 3))


def spectral_step():
    size = 8
    k = jnp.fft.fftfreq(size, 1 / size)
    kx, ky = jnp.meshgrid(k, k, indexing="ij")
    inverse = np.asarray(jnp.where(kx**2 + ky**2 == 0, 0, 1 / jnp.where(kx**2 + ky**2 == 0, 1, kx**2 + ky**2)))

    def step(w):
        wh = jnp.fft.fft2(w)
        u = jnp.fft.ifft2(1j * ky * wh * inverse).real
        return jnp.fft.ifft2(wh + 1e-2 * jnp.fft.fft2(u * w)).real

    return step, (array(size, size),)


def mixture_of_experts():
    def function(params, x):
        weight, chosen = lax.top_k(jax.nn.softmax(x @ params["router"], -1), 2)
        dispatch = (jax.nn.one_hot(chosen, 4) * (weight / weight.sum(-1, keepdims=True))[..., None]).sum(-2)
        hidden = jax.nn.silu(jnp.einsum("td,edf->tef", x, params["up"]))
        return jnp.einsum("tef,efd,te->td", hidden, params["down"], dispatch)

    return function, ({"router": array(6, 4), "up": array(4, 6, 8), "down": array(4, 8, 6)}, array(10, 6))


def hidden_markov_gradient():
    def likelihood(start, transition, seen):
        def step(alpha, o):
            return jax.nn.logsumexp(alpha[:, None] + transition, 0) + o, None

        return jax.nn.logsumexp(lax.scan(step, start + seen[0], seen[1:])[0])

    return jax.value_and_grad(likelihood, (0, 1)), (array(4), array(4, 4), array(9, 4))


def newton():
    def f(x):
        return x**3 - 2 * x - 5

    def solve(x):
        return lax.while_loop(lambda s: jnp.abs(f(s)) > 1e-5, lambda s: s - f(s) / jax.grad(f)(s), x)

    return solve, (np.float32(2),)


def graph_network():
    senders, receivers = (RANDOM.integers(0, 10, 30).astype(np.int32) for _ in range(2))

    def loss(params, nodes, senders, receivers):
        for _ in range(2):
            messages = mlp(params["m"], jnp.concatenate([nodes[senders], nodes[receivers]], -1))
            nodes = nodes + mlp(params["u"], jax.ops.segment_sum(messages, receivers, len(nodes)))
        return (nodes**2).mean()

    params = {"m": mlp_params(8, 8, 4), "u": mlp_params(4, 8, 4)}
    return jax.value_and_grad(loss), (params, array(10, 4), senders, receivers)


def language_model():
    def rope(x):
        angle = jnp.arange(x.shape[1])[:, None] / 100 ** (jnp.arange(0, x.shape[-1], 2) / x.shape[-1])
        cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)

    def function(params, tokens):
        x = params["embedding"][tokens]
        for layer in params["layers"]:
            y = x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)
            q, k, v = (rope((y @ layer[n]).reshape(*x.shape[:2], 2, 4)) for n in "qkv")
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * 0.5
            mask = jnp.arange(x.shape[1])[:, None] >= jnp.arange(x.shape[1])
            scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
            x = x + jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), v).reshape(x.shape)
            x = x + (jax.nn.silu(x @ layer["gate"]) * (x @ layer["up"])) @ layer["down"]
        return x @ params["embedding"].T

    names = {"q": (8, 8), "k": (8, 8), "v": (8, 8), "gate": (8, 16), "up": (8, 16), "down": (16, 8)}
    params = {
        "embedding": array(20, 8),
        "layers": [{name: array(*shape, scale=0.3) for name, shape in names.items()} for _ in range(2)],
    }
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), params)
    return function, (half, RANDOM.integers(0, 20, (1, 6)).astype(np.int32))


def perceptron():
    return mlp, (mlp_params(6, 8, 8, 3), array(4, 6))


def sampler():
    return (lambda key, x: x + jax.random.normal(key, x.shape)), (jax.random.key(3), array(4, 6))


PROGRAMS: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    builder.__name__: builder
    for builder in (
        perceptron,
        transformer,
        transformer_gradient,
        transformer_step,
        recurrent,
        kalman,
        gaussian_process,
        convolution_net,
        convolution_gradient,
        spectral_step,
        mixture_of_experts,
        hidden_markov_gradient,
        newton,
        graph_network,
        language_model,
        sampler,
    )
}


def assert_equal(have, want):
    assert jax.tree.structure(have) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a).astype(np.float32), np.asarray(b).astype(np.float32)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * max(1.0, float(np.abs(b).max(initial=0))))


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, tmp_path):
    function, args = PROGRAMS[name]()
    path = tmp_path / f"{name}.jaxexport"
    frontends.save(function, args, path)
    model = frontends.load(path)
    want = jax.jit(function)(*args)
    assert_equal(model(*args), want)

    example = model.example_args(seed=1)
    assert jax.tree.structure(example) == jax.tree.structure(args)
    assert all(np.isfinite(np.asarray(x).astype(np.float32)).all() for x in jax.tree.leaves(model(*example)))

    again = tmp_path / "again.jaxexport"
    frontends.save(model, args, again, like=model)
    loaded_again = frontends.load(again)
    assert loaded_again.calling_convention == model.calling_convention
    assert loaded_again.name == model.name
    assert (loaded_again.in_tree, loaded_again.out_tree) == (model.in_tree, model.out_tree)
    traced = str(jax.make_jaxpr(loaded_again)(*args))
    if traced != str(jax.make_jaxpr(model)(*args)):
        assert_equal(loaded_again(*args), want)
    if name == "sampler":
        return
    text = tmp_path / "text.stablehlo"
    frontends.save(model, args, text)
    flat = frontends.load(text)
    if traced != str(jax.make_jaxpr(flat)(*jax.tree.leaves(args))):
        assert_equal(jax.tree.leaves(flat(*jax.tree.leaves(args))), jax.tree.leaves(want))


def test_trace_shows_ordinary_primitives(tmp_path):
    function, args = transformer()
    frontends.save(function, args, tmp_path / "m.jaxexport")
    model = frontends.load(tmp_path / "m.jaxexport")
    found = collections.Counter(eqn.primitive.name for eqn in jax.make_jaxpr(model)(*args).eqns)
    assert found["dot_general"] == 6
    assert not {"call_exported", "custom_vjp_call", "jit", "pjit"} & set(found)


def test_model_composes_with_transformations(tmp_path):
    function, args = transformer()
    frontends.save(function, args, tmp_path / "m.jaxexport")
    model = frontends.load(tmp_path / "m.jaxexport")
    assert_equal(jax.jit(model)(*args), jax.jit(function)(*args))
    have = jax.jit(jax.grad(lambda p: model(p, args[1]).sum()))(args[0])
    want = jax.jit(jax.grad(lambda p: function(p, args[1]).sum()))(args[0])
    for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    many = np.stack([args[1], args[1] * 2])
    batched = jax.jit(jax.vmap(functools.partial(model, args[0])))(many)
    np.testing.assert_allclose(batched[1], model(args[0], many[1]), rtol=1e-5, atol=1e-5)


def test_weights_in_arguments_are_frozen_by_their_structure(tmp_path):
    for builder, frozen in ((perceptron, (0,)), (graph_network, (0,)), (kalman, ()), (newton, ()), (spectral_step, ())):
        function, args = builder()
        frontends.save(function, args, tmp_path / "m.jaxexport")
        assert frontends.load(tmp_path / "m.jaxexport").frozen_argnums == frozen


def test_weights_in_the_module_become_constants(tmp_path):
    weights = array(64, 32)
    for name in ("m.jaxexport", "m.stablehlo"):
        frontends.save(lambda x: jnp.tanh(x @ weights) + 1.5, (array(2, 64),), tmp_path / name)
        model = frontends.load(tmp_path / name)
        (constant,) = model.constants.values()
        np.testing.assert_array_equal(constant, weights)
        traced = jax.make_jaxpr(model)(array(2, 64))
        assert [c.shape for c in traced.consts] == [(64, 32)]
        assert jax.make_jaxpr(model)(array(2, 64)).consts[0] is traced.consts[0]


@pytest.mark.parametrize("sizes", [(3, 4), (5, 2)])
def test_symbolic_shapes(sizes, tmp_path):
    def function(x, w):
        def step(total, row):
            return total + row, total * row

        y = jax.nn.softmax(x @ w, -1)
        sums = jnp.cumsum(lax.scan(step, jnp.zeros(3), y)[1], 0)
        return sums, jnp.sort(x, 0), x.reshape(-1)[1:], jnp.arange(x.shape[0]), y.mean(0)

    b, n = jax.export.symbolic_shape("b, n")
    specs = jax.ShapeDtypeStruct((b, n), np.float32), jax.ShapeDtypeStruct((n, 3), np.float32)
    path = tmp_path / "m.jaxexport"
    path.write_bytes(jax.export.export(jax.jit(function))(*specs).serialize())
    model = frontends.load(path)
    args = array(*sizes), array(sizes[1], 3)
    assert_equal(model(*args), function(*args))
    assert model.example_args(dims={"b": 7})[0].shape == (7, 8)
    names = [eqn.primitive.name for eqn in jax.make_jaxpr(model)(*args).eqns]
    assert "scan" in names
    assert "while" not in names
    text = tmp_path / "m.mlir"
    text.write_text(model.exported.mlir_module())
    assert_equal(frontends.load(text)(*args), function(*args))


def test_several_platforms(tmp_path):
    def function(x):
        return jnp.linalg.cholesky(x @ x.T + jnp.eye(4)) + lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos)

    x = array(4, 4)
    exported = jax.export.export(jax.jit(function), platforms=["cpu", "cuda"])(x)
    (tmp_path / "m.jaxexport").write_bytes(exported.serialize())
    model = frontends.load(tmp_path / "m.jaxexport")
    assert_equal(model(x), function(x))
    assert "cond" not in {eqn.primitive.name for eqn in jax.make_jaxpr(model)(x).eqns}
    frontends.save(model, (x,), tmp_path / "again.jaxexport", like=model)
    assert frontends.load(tmp_path / "again.jaxexport").calling_convention["platforms"] == ("cpu", "cuda")


def test_unused_and_keyword_arguments(tmp_path):
    def function(a, unused, *, scale):
        return {"out": a * scale}

    a, unused = array(3), array(2)
    exported = jax.export.export(jax.jit(function))(a, unused, scale=np.float32(2))
    (tmp_path / "m.jaxexport").write_bytes(exported.serialize())
    model = frontends.load(tmp_path / "m.jaxexport")
    assert_equal(model(a, unused, scale=np.float32(2)), function(a, unused, scale=np.float32(2)))
    assert model(a, unused, scale=2.0)["out"].dtype == np.float32


def test_stored_gradients_are_stored_again(tmp_path):
    x = array(3)
    exported = jax.export.export(jax.jit(lambda x: jnp.sin(x).sum()))(x)
    (tmp_path / "m.jaxexport").write_bytes(exported.serialize(vjp_order=1))
    model = frontends.load(tmp_path / "m.jaxexport")
    frontends.save(model, (x,), tmp_path / "again.jaxexport", like=model)
    again = jax.export.deserialize((tmp_path / "again.jaxexport").read_bytes())
    np.testing.assert_allclose(jax.grad(again.call)(x), np.cos(x), rtol=1e-5)


def test_a_saved_function_without_gradient_stores_none(tmp_path):
    x = np.float32(2)
    exported = jax.export.export(jax.jit(jnp.sin))(x)
    (tmp_path / "m.jaxexport").write_bytes(exported.serialize(vjp_order=1))
    function, args = newton()
    frontends.save(function, args, tmp_path / "again.jaxexport", like=frontends.load(tmp_path / "m.jaxexport"))
    assert frontends.load(tmp_path / "again.jaxexport").calling_convention["vjp_order"] == 0
