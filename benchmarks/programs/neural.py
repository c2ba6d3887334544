# SPDX-License-Identifier: Apache-2.0
"""Neural networks in plain JAX: forward passes, gradients and whole training steps, in float32 unless said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.bench.case import unscored

from .arrays import Built, Program, Random, stacked

Params = Any


def mlp_params(random: Random, sizes: Sequence[int]) -> list[tuple[jax.Array, jax.Array]]:
    """Weights ``[m,n]`` and zero biases ``[n]`` of a multi-layer perceptron."""
    return [(random.weight(m, n), jnp.zeros(n)) for m, n in pairwise(sizes)]


def mlp(params: Params, x: jax.Array, act: Callable[[jax.Array], jax.Array] = jax.nn.relu) -> jax.Array:
    """Multi-layer perceptron, the last layer linear."""
    *hidden, (w_last, b_last) = params
    for w, b in hidden:
        x = act(x @ w + b)
    return x @ w_last + b_last


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross entropy of integer labels."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)
    return -jnp.mean(chosen)


def adam(
    params: Params,
    grads: Params,
    past: Params,
    step: jax.Array,
    rate: float = 1e-3,
    decay: float = 0.0,
    clip: float | None = None,
) -> tuple[Params, Params]:
    """One step of AdamW (Loshchilov and Hutter, ICLR 2019), with the gradient clipped by its global norm if asked for.

    Returns:
        New parameters and new first and second moments.
    """
    if clip is not None:
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: jnp.where(norm < clip, g, g / norm * clip), grads)
    first, second = past
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, grads)
    unbias_first, unbias_second = 1 - 0.9**step, 1 - 0.999**step

    def update(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - rate * (m / unbias_first / (jnp.sqrt(v / unbias_second) + 1e-8) + decay * p)

    return jax.tree.map(update, params, first, second), (first, second)


def moments(params: Params) -> tuple[Params, Params]:
    """Moments of a training that is under way: where a gradient is only rounding, zeros would blow it up."""
    return jax.tree.map(lambda p: jnp.full_like(p, 1e-3), params), jax.tree.map(
        lambda p: jnp.full_like(p, 1e-5), params
    )


def mlp_forward(sizes: Sequence[int] = (784, 256, 256, 10), batch: int = 64) -> Built:
    """Classifier of the size used for MNIST."""
    random = Random()
    return mlp, (mlp_params(random, sizes), random.normal(batch, sizes[0]))


def mlp_adam_step(sizes: Sequence[int] = (784, 256, 256, 10), batch: int = 64) -> Built:
    """Training step of the classifier: loss, gradient, Adam update."""
    random = Random()
    params = mlp_params(random, sizes)

    def step(params: Params, past: Params, count: jax.Array, x: jax.Array, labels: jax.Array) -> Any:
        loss, grads = jax.value_and_grad(lambda p: cross_entropy(mlp(p, x), labels))(params)
        params, past = adam(params, grads, past, count)
        return params, past, loss

    data = random.normal(batch, sizes[0]), random.integers(sizes[-1], batch)
    return step, (params, moments(params), jnp.float32(3.0), *data)


def layer_norm(x: jax.Array, gain: jax.Array, bias: jax.Array) -> jax.Array:
    """Layer normalisation over the last dimension."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * gain + bias


def block_params(random: Random, d: int) -> dict[str, jax.Array]:
    """Parameters of a transformer block of width ``d``, 12 d^2 of them in its matrices."""
    small = partial(random.normal, scale=0.02)
    return {
        "gain_1": jnp.ones(d), "bias_1": jnp.zeros(d), "qkv": small(d, 3 * d), "qkv_bias": jnp.zeros(3 * d),
        "out": small(d, d), "out_bias": jnp.zeros(d), "gain_2": jnp.ones(d), "bias_2": jnp.zeros(d),
        "up": small(d, 4 * d), "up_bias": jnp.zeros(4 * d), "down": small(4 * d, d), "down_bias": jnp.zeros(d),
    }  # fmt: skip


def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Causal attention over ``[b,h,t,d]``."""
    t, d = q.shape[-2:]
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(d)
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -1e9)
    return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, -1), v)


def block(p: Params, x: jax.Array, heads: int) -> jax.Array:
    """Pre-norm transformer block over ``x[b,t,d]``."""
    b, t, d = x.shape

    def split_heads(y: jax.Array) -> jax.Array:
        return y.reshape(b, t, heads, d // heads).transpose(0, 2, 1, 3)

    y = layer_norm(x, p["gain_1"], p["bias_1"])
    q, k, v = (split_heads(part) for part in jnp.split(y @ p["qkv"] + p["qkv_bias"], 3, -1))
    mixed = attention(q, k, v).transpose(0, 2, 1, 3).reshape(b, t, d)
    x = x + mixed @ p["out"] + p["out_bias"]
    y = layer_norm(x, p["gain_2"], p["bias_2"])
    return x + jax.nn.gelu(y @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]


def block_forward(width: int = 768, heads: int = 12, length: int = 128) -> Built:
    """Transformer block of the size of GPT-2 small, batch 1."""
    random = Random()
    return partial(block, heads=heads), (block_params(random, width), random.normal(1, length, width))


def block_gradient(width: int = 768, heads: int = 12, length: int = 128) -> Built:
    """Gradient of the sum of a transformer block's output by its parameters and its input."""
    _, args = block_forward(width, heads, length)
    return jax.grad(lambda p, x: block(p, x, heads).sum(), (0, 1)), args


def gpt2_params(random: Random, layers: int, width: int, vocabulary: int) -> dict[str, Any]:
    """Parameters of GPT-2: embedding of tokens, tied to the output, and of 1024 positions, and the blocks."""
    return {
        "tokens": random.normal(vocabulary, width, scale=0.02),
        "positions": random.normal(1024, width, scale=0.02),
        "blocks": [block_params(random, width) for _ in range(layers)],
        "gain": jnp.ones(width),
        "bias": jnp.zeros(width),
    }


def gpt2(params: Params, tokens: jax.Array, heads: int) -> jax.Array:
    """Logits ``[b,t,v]`` of tokens ``[b,t]``; one after another, or by a scan where the blocks are stacked."""
    x = params["tokens"][tokens] + params["positions"][: tokens.shape[1]]
    if isinstance(params["blocks"], list):
        for p in params["blocks"]:
            x = block(p, x, heads)
    else:
        x, _ = lax.scan(lambda x, p: (block(p, x, heads), None), x, params["blocks"])
    return layer_norm(x, params["gain"], params["bias"]) @ params["tokens"].T


def gpt2_forward(
    layers: int = 12, width: int = 768, heads: int = 12, length: int = 128, vocabulary: int = 5000
) -> Built:
    """GPT-2 small with 5,000 tokens, layers written out (Radford et al., 2019)."""
    random = Random()
    params = gpt2_params(random, layers, width, vocabulary)
    return partial(gpt2, heads=heads), (params, random.integers(vocabulary, 1, length))


def gpt2_scan_forward(
    layers: int = 12, width: int = 768, heads: int = 12, length: int = 128, vocabulary: int = 5000
) -> Built:
    """The same with a scan over the stacked layers."""
    function, (params, tokens) = gpt2_forward(layers, width, heads, length, vocabulary)
    return function, (params | {"blocks": stacked(params["blocks"])}, tokens)


def gpt2_adamw_step(
    layers: int = 12, width: int = 768, heads: int = 12, length: int = 128, vocabulary: int = 5000
) -> Built:
    """Whole training step of GPT-2: next-token loss, gradient, clipping by the global norm, AdamW."""
    _, (params, tokens) = gpt2_forward(layers, width, heads, length, vocabulary)

    def step(params: Params, past: Params, count: jax.Array, tokens: jax.Array) -> Any:
        def loss(p: Params) -> jax.Array:
            return cross_entropy(gpt2(p, tokens, heads)[:, :-1], tokens[:, 1:])

        value, grads = jax.value_and_grad(loss)(params)
        params, past = adam(params, grads, past, count, decay=1e-4, clip=1.0)
        return params, past, value

    return step, (params, moments(params), jnp.float32(3.0), tokens)


def rms_norm(x: jax.Array, gain: jax.Array) -> jax.Array:
    """Root-mean-square normalisation over the last dimension."""
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gain


def rotary(x: jax.Array) -> jax.Array:
    """Rotary positions on ``x[b,t,h,d]``."""
    t, d = x.shape[1], x.shape[-1]
    angle = jnp.arange(t)[:, None] * (1.0 / 10000 ** (jnp.arange(0, d, 2) / d))
    cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
    left, right = jnp.split(x, 2, -1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], -1).astype(x.dtype)


def llama(params: Params, tokens: jax.Array, heads: int, groups: int) -> jax.Array:
    """Logits of a decoder with rotary positions, grouped queries and gated layers."""
    x = params["tokens"][tokens]
    b, t, d = x.shape
    causal = jnp.arange(t)[:, None] >= jnp.arange(t)
    for p in params["layers"]:
        y = rms_norm(x, p["norm_1"])
        q = rotary((y @ p["q"]).reshape(b, t, heads, -1))
        k = rotary((y @ p["k"]).reshape(b, t, groups, -1))
        v = (y @ p["v"]).reshape(b, t, groups, -1)
        k, v = (jnp.repeat(part, heads // groups, 2) for part in (k, v))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (d // heads) ** -0.5
        weights = jax.nn.softmax(jnp.where(causal, scores, jnp.finfo(scores.dtype).min), -1)
        x = x + jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(b, t, d) @ p["out"]
        y = rms_norm(x, p["norm_2"])
        x = x + (jax.nn.silu(y @ p["gate"]) * (y @ p["up"])) @ p["down"]
    return rms_norm(x, params["norm"]) @ params["tokens"].T


def llama_forward(
    layers: int = 4, width: int = 512, heads: int = 8, groups: int = 2, length: int = 128, vocabulary: int = 4000
) -> Built:
    """Four llama-like layers in bfloat16 (Touvron et al., 2023)."""
    random = Random()
    inner, grouped = width * 43 // 16, width // heads * groups
    weight = partial(random.normal, scale=0.02)
    params = {
        "tokens": weight(vocabulary, width),
        "norm": jnp.ones(width),
        "layers": [
            {
                "norm_1": jnp.ones(width), "q": weight(width, width), "k": weight(width, grouped),
                "v": weight(width, grouped), "out": weight(width, width), "norm_2": jnp.ones(width),
                "gate": weight(width, inner), "up": weight(width, inner), "down": weight(inner, width),
            }
            for _ in range(layers)
        ],
    }  # fmt: skip
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    return partial(llama, heads=heads, groups=groups), (params, random.integers(vocabulary, 1, length))


def mixture_of_experts(experts: int = 8, width: int = 256, inner: int = 512, tokens: int = 128) -> Built:
    """Layer with two experts chosen a token, every expert computed (Shazeer et al., ICLR 2017)."""
    random = Random()
    params = {
        "router": random.weight(width, experts),
        "up": random.normal(experts, width, inner, scale=width**-0.5),
        "down": random.normal(experts, inner, width, scale=inner**-0.5),
    }

    def layer(p: Params, x: jax.Array) -> jax.Array:
        weights, chosen = lax.top_k(jax.nn.softmax(x @ p["router"], -1), 2)
        weights = weights / weights.sum(-1, keepdims=True)
        share = (jax.nn.one_hot(chosen, experts) * weights[..., None]).sum(-2)
        hidden = jax.nn.silu(jnp.einsum("td,edf->tef", x, p["up"]))
        return jnp.einsum("tef,efd,te->td", hidden, p["down"], share)

    return layer, (params, random.normal(tokens, width))


def resnet_block(channels: int = 64, size: int = 28, batch: int = 4) -> Built:
    """Two 3x3 convolutions with batch statistics that are already known, and a shortcut (He et al., CVPR 2016)."""
    random = Random()
    convolve = partial(
        lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    layers = [
        {
            "kernel": random.normal(3, 3, channels, channels, scale=(9 * channels) ** -0.5),
            "mean": random.normal(channels, scale=0.1),
            "variance": jnp.abs(random.normal(channels)) + 0.5,
            "gain": jnp.ones(channels),
            "bias": random.normal(channels, scale=0.1),
        }
        for _ in range(2)
    ]

    def normalised(p: Params, x: jax.Array) -> jax.Array:
        return (x - p["mean"]) * lax.rsqrt(p["variance"] + 1e-5) * p["gain"] + p["bias"]

    def function(params: Params, x: jax.Array) -> jax.Array:
        first, second = params
        y = jax.nn.relu(normalised(first, convolve(x, first["kernel"])))
        return jax.nn.relu(x + normalised(second, convolve(y, second["kernel"])))

    return function, (layers, random.normal(batch, size, size, channels))


TINY = {"width": 32, "heads": 2, "length": 8}
TINY_GPT2 = TINY | {"layers": 2, "vocabulary": 50}

PROGRAMS = {
    "mlp_forward": Program(mlp_forward, {"sizes": (12, 16, 16, 5), "batch": 4}),
    "mlp_adam_step": Program(mlp_adam_step, {"sizes": (12, 16, 16, 5), "batch": 4}),
    "block_forward": Program(block_forward, TINY),
    "block_gradient": Program(block_gradient, TINY),
    "gpt2_forward": Program(gpt2_forward, TINY_GPT2),
    "gpt2_scan_forward": Program(gpt2_scan_forward, TINY_GPT2),
    "gpt2_adamw_step": Program(gpt2_adamw_step, TINY_GPT2 | {"layers": 1}),
    "llama_forward": Program(llama_forward, TINY_GPT2 | {"heads": 4, "groups": 2}),
    "mixture_of_experts": Program(mixture_of_experts, {"experts": 4, "width": 8, "inner": 16, "tokens": 6}),
    "resnet_block": Program(resnet_block, {"channels": 4, "size": 6, "batch": 2}),
}

CASES = unscored(PROGRAMS)
