# SPDX-License-Identifier: Apache-2.0
"""Signals: Fourier transforms, windows, the mel filter bank. Complex numbers are pairs on the last axis."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator
from egraph_opt.frontends.onnx.tensors import element_type


@operator("DFT", since=17)
def _dft_attribute(node: Node, x: Array, length: Array | None = None) -> Array:
    return _dft(node, x, length, np.asarray(node.attr("axis", 1)))


@operator("DFT", since=20)
def _dft(node: Node, x: Array, length: Array | None = None, axis: Array | None = None) -> Array:
    at = -2 if axis is None else int(node.concrete(axis, "its input 'axis'").reshape(()))
    if not -x.ndim <= at < x.ndim or at % x.ndim == x.ndim - 1:
        raise node.fault(f"axis is {at}; want one of the signal's, of X {list(x.shape)}")
    count = None if length is None else node.ints(1, length)[0]
    return fourier(node, x, count, at % x.ndim, bool(node.attr("inverse", 0)), bool(node.attr("onesided", 0)))


def fourier(node: Node, x: Array, length: int | None, axis: int, inverse: bool, onesided: bool) -> Array:
    """The discrete Fourier transform of x[...,1] or x[...,2] along an axis of the signal."""
    x = jnp.asarray(x)
    wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    if x.shape[-1] not in (1, 2):
        raise node.fault(f"the last axis of X {list(x.shape)} holds real and imaginary parts; want 1 or 2")
    real = x.shape[-1] == 1
    signal: Any = wide[..., 0] if real else wide[..., 0] + wide[..., 1] * np.asarray(1j, _complex(wide))
    if onesided and not inverse:
        if not real:
            raise node.fault("onesided is given for a complex signal; want a real one")
        result = jnp.fft.rfft(signal, length, axis)
    elif onesided:
        result = jnp.fft.irfft(signal, 2 * (x.shape[axis] - 1) if length is None else length, axis)
        return result[..., None].astype(x.dtype)
    elif real and not inverse:
        count = x.shape[axis] if length is None else length
        half = jnp.fft.rfft(signal, count, axis)  # the other half mirrors it
        mirrored = jnp.flip(lax.slice_in_dim(half, 1, (count + 1) // 2, axis=axis), axis)
        result = jnp.concatenate([half, jnp.conj(mirrored)], axis)
    else:
        result = (jnp.fft.ifft if inverse else jnp.fft.fft)(signal, length, axis)
    return jnp.stack([jnp.real(result), jnp.imag(result)], axis=-1).astype(x.dtype)


def _complex(x: Array) -> Any:
    return np.complex128 if x.dtype == np.float64 else np.complex64


@operator("STFT", since=17)
def _stft(node: Node, x: Array, step: Array, window: Array | None = None, length: Array | None = None) -> Array:
    size = x.shape[1] if window is None else window.shape[0]
    size = size if length is None else node.ints(3, length)[0]
    if window is not None and window.shape != (size,):
        raise node.fault(f"the window has the shape {list(window.shape)}; want [{size}]")
    hop = node.ints(1, step)[0]
    if hop < 1 or not 1 <= size <= x.shape[1]:
        raise node.fault(f"frames of {size} elements every {hop} do not fit a signal of {x.shape[1]}")
    places = np.arange(0, x.shape[1] - size + 1, hop)[:, None] + np.arange(size)
    frames = jnp.take(jnp.asarray(x), places, axis=1)  # [batch, frames, size, parts]
    if window is not None:
        frames = frames * window[:, None]
    return fourier(node, frames, size, 2, False, bool(node.attr("onesided", 1)) and x.shape[-1] == 1)


COSINES = {"HannWindow": (0.5, 0.5), "HammingWindow": (25 / 46, 21 / 46), "BlackmanWindow": (0.42, 0.5, 0.08)}
"""Coefficients of the windows that are sums of cosines, with alternating signs."""


@operator("HannWindow", "HammingWindow", "BlackmanWindow", since=17, host=True)
def _window(node: Node, size: Array) -> Array:
    count = node.ints(0, size)[0]
    period = max(count if node.attr("periodic", 1) else count - 1, 1)
    angle = 2 * np.pi * np.arange(count) / period
    terms = [(-1) ** k * factor * np.cos(k * angle) for k, factor in enumerate(COSINES[node.op])]
    return np.sum(terms, axis=0).astype(element_type(node.attr("output_datatype", 1), node.where))


@operator("MelWeightMatrix", since=17, host=True)
def _mel(node: Node, bins: Array, length: Array, rate: Array, lowest: Array, highest: Array) -> Array:
    count, size, speed = (node.ints(i, value)[0] for i, value in enumerate((bins, length, rate)))
    low, high = (
        2595 * np.log10(1 + float(node.static(i, v).reshape(())) / 700) for i, v in ((3, lowest), (4, highest))
    )
    mels = np.arange(count + 2) * ((high - low) / (count + 2)) + low
    places = np.floor((size + 1) * (700 * (10 ** (mels / 2595) - 1)) / speed).astype(np.int64)
    matrix = np.zeros((size // 2 + 1, count))
    for i in range(count):
        left, middle, right = (int(place) for place in places[i : i + 3])
        if middle == left:
            matrix[middle, i] = 1
        else:
            matrix[left : middle + 1, i] = np.arange(middle - left + 1) / (middle - left)
        if right > middle:
            matrix[middle:right, i] = np.arange(right - middle, 0, -1) / (right - middle)
    return matrix.astype(element_type(node.attr("output_datatype", 1), node.where))
