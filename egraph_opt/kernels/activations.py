# SPDX-License-Identifier: Apache-2.0
"""Activations: GELU in both forms, SiLU, and gated units. XLA fuses them anyway; they are recognised to be named."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from egraph_opt.kernels.record import Kernel


def _gelu(x: Any) -> Any:
    return jax.nn.gelu(x, approximate=False)


def _gelu_tanh(x: Any) -> Any:
    return jax.nn.gelu(x, approximate=True)


def _silu(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


def _gated(activation: Any) -> Any:
    return lambda x, gate: activation(gate) * x


def _quick_gelu(x: Any) -> Any:
    return x * jax.nn.sigmoid(jnp.asarray(1.702, x.dtype) * x)


_ONE = (("...",), "...")
_TWO = (("...", "..."), "...")


def _kernel(name: str, pattern: Any, form: tuple[tuple[str, ...], str], doc: str, family: str = "exp") -> Kernel:
    return Kernel(name=name, pattern=pattern, shapes=form[0], result=form[1], doc=doc, families=frozenset({family}))


KERNELS = (
    _kernel("gelu", _gelu, _ONE, "x Phi(x)", "erf"),
    _kernel("gelu_tanh", _gelu_tanh, _ONE, "GELU with Phi by tanh"),
    _kernel("quick_gelu", _quick_gelu, _ONE, "x sigmoid(1.702 x)"),
    _kernel("silu", _silu, _ONE, "x sigmoid(x)"),
    _kernel("swiglu", _gated(_silu), _TWO, "x silu(gate)"),
    _kernel("geglu", _gated(_gelu), _TWO, "x gelu(gate)", "erf"),
    _kernel("geglu_tanh", _gated(_gelu_tanh), _TWO, "x gelu_tanh(gate)"),
    _kernel("glu", _gated(jax.nn.sigmoid), _TWO, "x sigmoid(gate)"),
)
