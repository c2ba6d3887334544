# SPDX-License-Identifier: Apache-2.0
"""A kernel of one's own, in Pallas: tested when it is registered, used however a program spells what it computes."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

import egraph_opt


def pattern(x, gain):
    """RMS norm with a gain."""
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gain


def fused(x, gain):
    """The same as one Pallas program; off the GPU it is interpreted."""

    def program(x_ref, gain_ref, out_ref):
        y = x_ref[...]
        out_ref[...] = y * lax.rsqrt((y * y).sum(-1, keepdims=True) / y.shape[-1] + 1e-6) * gain_ref[...]

    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return pl.pallas_call(program, out_shape=out, interpret=jax.default_backend() != "gpu")(x, gain)


def layer(x, w, gain):
    """A layer that spells the norm in another way."""
    y = x @ w
    return jnp.tanh(gain * (y / jnp.sqrt(jnp.square(y).sum(1, keepdims=True) / y.shape[1] + 1e-6)))


# A price of next to nothing, and no race, so that it is taken here too, where it is interpreted.
egraph_opt.register_kernel("my_norm", pattern, fused, shapes=["... n", "n"], cost=lambda x, gain: 1e-9)
args = jnp.ones((64, 32)), jnp.cos(jnp.arange(32 * 128.0)).reshape(32, 128), jnp.linspace(0.5, 1.5, 128)
result = egraph_opt.optimize(layer, measure=False).plan(*args)
print(f"{result}\ndifference {jnp.max(jnp.abs(result(*args) - layer(*args))):.1e}")
egraph_opt.unregister_kernel("my_norm")
