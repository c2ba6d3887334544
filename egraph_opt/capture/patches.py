# SPDX-License-Identifier: Apache-2.0
"""Convolutions that copy windows: patches of images, and Toeplitz matrices as JAX makes them.

``jax.lax.conv_general_dilated_patches`` and ``jax.scipy.linalg.toeplitz`` multiply by an identity matrix to read
windows. Reading them at known places is the same without a product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.lax import GatherScatterMode

from egraph_opt.capture.scope import Handler, Scope, squeeze
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import DType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import is_numeric

LEAST_WINDOW = 4
"""Elements of a window below which a convolution is left as it is: XLA does it as fast."""


def _convolution(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    params, image, out = eqn.params, eqn.invars[0].aval, eqn.outvars[0].aval
    dims = params["dimension_numbers"]
    channels = image.shape[dims.lhs_spec[1]]
    plain = (
        params["batch_group_count"] == 1
        and params["feature_group_count"] == channels
        and all(d == 1 for d in params["lhs_dilation"])
        and all(low >= 0 and high >= 0 for low, high in params["padding"])
        and out.dtype == image.dtype
        and is_numeric(str(out.dtype))
        and scope.shared.numerics >= Numerics.REASSOCIATE
    )
    kernel = scope.folder.value(operands[1]) if plain and math.prod(eqn.invars[1].aval.shape) > LEAST_WINDOW else None
    if kernel is None or math.prod(out.shape) == 0:
        return None
    kernel = np.transpose(kernel.reshape(eqn.invars[1].aval.shape), dims.rhs_spec)[:, 0]
    window = kernel.shape[1:]
    eye = np.tile(np.eye(math.prod(window), dtype=bool), (channels, 1))
    if kernel.size != eye.size or not np.array_equal(kernel.reshape(eye.shape), eye):
        return None
    return [_read(scope, eqn, operands[0], window)]


def _read(scope: Scope, eqn: Any, x: int, window: Sequence[int]) -> int:
    """The windows of the image, in the order of the result's dimensions."""
    emitter, sources = scope.emitter, scope.sources
    dims, image, shape = eqn.params["dimension_numbers"], eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    dtype = scope.type(x).dtype
    batch, channels, *sizes = (image[d] for d in dims.lhs_spec)
    x = _in_order(scope, x, image, [LETTERS[d] for d in dims.lhs_spec])
    padding = eqn.params["padding"]
    if any(map(any, padding)):
        x = emitter.reshape(x, (batch, channels, *sizes), sources)
        sizes = [low + n + high for n, (low, high) in zip(sizes, padding, strict=True)]
        config = ((0, 0, 0), (0, 0, 0), *((low, high, 0) for low, high in padding))
        kind = TensorType((batch, channels, *sizes), dtype)
        x = scope.add("pad", [x, emitter.constant(0, dtype)], (("padding_config", config),), kind)
    x = emitter.reshape(x, (batch, channels, math.prod(sizes)), sources)
    places = _places(scope, eqn.params, window, [shape[d] for d in dims.out_spec[2:]], sizes)
    attrs = (("axis", 2), ("mode", GatherScatterMode.PROMISE_IN_BOUNDS), ("fill_value", None))
    count = scope.type(places).size
    x = scope.add("take", [x, places], attrs, TensorType((batch, channels, count), dtype))
    read = [shape[d] for d in dims.out_spec]
    x = emitter.reshape(x, squeeze(read), sources)
    return _in_order(scope, x, read, [LETTERS[dims.out_spec.index(d)] for d in range(len(shape))])


def _places(
    scope: Scope, params: Mapping[str, Any], window: Sequence[int], steps: Sequence[int], sizes: Sequence[int]
) -> int:
    """Where each element of each window stands in the image, its axes counted as one: sums of counts along axes."""
    emitter, terms = scope.emitter, []
    target = (*window, *steps)
    for axis in range(len(sizes)):
        jump = math.prod(sizes[axis + 1 :])
        for place, by in ((axis, params["rhs_dilation"][axis]), (axis + len(sizes), params["window_strides"][axis])):
            if target[place] > 1:
                attrs = (("dtype", DType("int32")), ("shape", (target[place],)), ("dimension", 0))
                count = scope.add("iota", [], attrs, TensorType((target[place],), "int32"))
                count = emitter.scaled(count, int(by * jump), scope.sources)
                terms.append(emitter.broadcast(count, LETTERS[place], target, scope.sources))
    return emitter.reshape(emitter.sum_of(terms, scope.sources), (math.prod(target),), scope.sources)


def _in_order(scope: Scope, x: int, shape: Sequence[int], order: Sequence[str]) -> int:
    """A squeezed tensor of a true shape with its dimensions in another order."""
    sizes = dict(zip(LETTERS, shape, strict=False))
    word = "".join(LETTERS[d] for d, n in enumerate(shape) if n != 1)
    return scope.emitter.einsum(
        canonical([word], "".join(c for c in order if sizes[c] != 1), sizes), [x], scope.sources
    )


HANDLERS: dict[str, Handler] = {"conv_general_dilated": _convolution}
