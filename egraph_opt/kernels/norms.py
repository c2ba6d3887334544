# SPDX-License-Identifier: Apache-2.0
"""Normalisations over the last dimension: layer norm and RMS norm with and without gain and offset; group norm."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.kernels import pallas_rows
from egraph_opt.kernels.record import Kernel

LARGEST_EPS = 0.1


def _eps(axes: int, scalars: Sequence[float], types: Sequence[TensorType]) -> Iterable[Mapping[str, Any]]:
    """Small positive numbers of the piece, also those that are added to sums instead of means; none counts as 0."""
    count = math.prod(types[0].shape[-axes:])
    found = dict.fromkeys(c / scale for scale in (1, count, count * count) for c in scalars if c > 0)
    yield from ({"eps": c} for c in found if c <= LARGEST_EPS)
    yield {"eps": 0.0}


def _layer(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred * centred).mean(axes, keepdims=True)
    return centred * lax.rsqrt(variance + jnp.asarray(eps, x.dtype) if eps else variance)


def _rms(x: Any, eps: float) -> Any:
    mean = (x * x).mean(-1, keepdims=True)
    return x * lax.rsqrt(mean + jnp.asarray(eps, x.dtype) if eps else mean)


def _layer_norm(x: Any, *, eps: float) -> Any:
    return _layer(x, (-1,), eps)


def _layer_norm_gain(x: Any, gain: Any, *, eps: float) -> Any:
    return _layer(x, (-1,), eps) * gain


def _layer_norm_affine(x: Any, gain: Any, offset: Any, *, eps: float) -> Any:
    return _layer(x, (-1,), eps) * gain + offset


def _group_norm(x: Any, *, eps: float) -> Any:
    return _layer(x, (-2, -1), eps)


def _group_norm_3(x: Any, *, eps: float) -> Any:
    return _layer(x, (-3, -2, -1), eps)


def _rms_norm(x: Any, *, eps: float) -> Any:
    return _rms(x, eps)


def _rms_norm_gain(x: Any, gain: Any, *, eps: float) -> Any:
    return _rms(x, eps) * gain


def _say(static: Mapping[str, Any]) -> str:
    return f"eps {static['eps']:.3g}" if static["eps"] else "no eps"


def _kernel(name: str, pattern: Any, shapes: tuple[str, ...], doc: str, rows: Any) -> Kernel:
    return Kernel(
        name=name,
        pattern=pattern,
        shapes=shapes,
        result=shapes[0],
        lowerings=(pallas_rows.way(rows, len(shapes[0].split()) - 1),),
        statics=functools.partial(_eps, len(shapes[0].split()) - 1),
        samples=({"eps": 1e-5},),
        describe=_say,
        doc=doc,
        families=frozenset({"root"}),
    )


_LAYER, _RMS = pallas_rows.layer_norm, pallas_rows.rms_norm

KERNELS = (
    _kernel("layer_norm", _layer_norm, ("... n",), "(x - mean) / sqrt(variance + eps)", _LAYER),
    _kernel("layer_norm_gain", _layer_norm_gain, ("... n", "n"), "layer norm times a gain", _LAYER),
    _kernel("layer_norm_affine", _layer_norm_affine, ("... n", "n", "n"), "the same plus an offset", _LAYER),
    _kernel("group_norm", _group_norm, ("... n m",), "layer norm over groups of channels and places", _LAYER),
    _kernel("group_norm_2d", _group_norm_3, ("... n m k",), "group norm with two axes of places", _LAYER),
    _kernel("rms_norm", _rms_norm, ("... n",), "x / sqrt(mean of squares + eps)", _RMS),
    _kernel("rms_norm_gain", _rms_norm_gain, ("... n", "n"), "RMS norm times a gain", _RMS),
)
