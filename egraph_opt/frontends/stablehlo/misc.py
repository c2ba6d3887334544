# SPDX-License-Identifier: Apache-2.0
"""Rules of what fits no other family: random bits, Fourier transforms, dense linear algebra, batch norm, shardings.

One of the op families that `rules` joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()

_ALGORITHMS = {
    "DEFAULT": lax.RandomAlgorithm.RNG_DEFAULT,
    "THREE_FRY": lax.RandomAlgorithm.RNG_THREE_FRY,
    "PHILOX": lax.RandomAlgorithm.RNG_PHILOX,
}


@TABLE.op("stablehlo.rng_bit_generator")
def rng_bit_generator(_frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Random bits and the state that follows."""
    kind = op.tensor_type(1)
    algorithm = _ALGORITHMS[op.attributes["rng_algorithm"]]
    return list(lax.rng_bit_generator(args[0], kind.shape, kind.dtype, algorithm))


@TABLE.op("stablehlo.rng")
def rng(frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Uniform numbers from the device's own generator."""
    if op.attributes["rng_distribution"] != "UNIFORM":
        raise frame.unsupported(op, "only the uniform distribution is known; use rng_bit_generator")
    return lax.rng_uniform(args[0], args[1], op.shape)


@TABLE.op("stablehlo.fft")
def fft(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Fourier transform over the last dimensions."""
    return lax.fft(args[0], lax.FftType[op.attributes["fft_type"]], op.attributes["fft_length"])


@TABLE.op("stablehlo.cholesky")
def cholesky(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """The Cholesky factor, lower or upper."""
    (a,) = args
    if op.attributes.get("lower", False):
        return lax.linalg.cholesky(a, symmetrize_input=False)
    factor = lax.linalg.cholesky(_adjoint(a), symmetrize_input=False)
    return _adjoint(factor)


def _adjoint(a: Array) -> Array:
    """Conjugate transpose of the last two dimensions."""
    swapped = jnp.swapaxes(a, -1, -2)
    return lax.conj(swapped) if jnp.iscomplexobj(swapped) else swapped


@TABLE.op("stablehlo.triangular_solve")
def triangular_solve(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Solve with a triangular matrix from the left or the right."""
    attributes = op.attributes
    return lax.linalg.triangular_solve(
        args[0],
        args[1],
        left_side=attributes["left_side"],
        lower=attributes["lower"],
        unit_diagonal=attributes["unit_diagonal"],
        transpose_a=attributes["transpose_a"] in {"TRANSPOSE", "ADJOINT"},
        conjugate_a=attributes["transpose_a"] == "ADJOINT",
    )


def _along(vector: Array, op: Operation, like: Array) -> Array:
    """A per-feature vector repeated to an operand's shape."""
    return lax.broadcast_in_dim(vector, np.shape(like), (op.attributes["feature_index"],))


def _normalise(op: Operation, x: Array, mean: Array, variance: Array) -> Array:
    epsilon = np.array(op.attributes["epsilon"], x.dtype)
    return (x - _along(mean, op, x)) * lax.rsqrt(_along(variance, op, x) + epsilon)


@TABLE.op("stablehlo.batch_norm_inference")
def batch_norm_inference(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Normalise by given statistics, then scale and shift."""
    x, scale, offset, mean, variance = args
    return _normalise(op, x, mean, variance) * _along(scale, op, x) + _along(offset, op, x)


def _statistics(op: Operation, x: Array) -> tuple[Array, Array]:
    axes = tuple(d for d in range(np.ndim(x)) if d != op.attributes["feature_index"])
    mean = jnp.mean(x, axes)
    return mean, jnp.mean(lax.square(x - _along(mean, op, x)), axes)


@TABLE.op("stablehlo.batch_norm_training")
def batch_norm_training(_frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Normalise by the batch's own statistics, and return them."""
    x, scale, offset = args
    mean, variance = _statistics(op, x)
    return _normalise(op, x, mean, variance) * _along(scale, op, x) + _along(offset, op, x), mean, variance


@TABLE.op("stablehlo.batch_norm_grad")
def batch_norm_grad(_frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Gradients of batch_norm_training by operand, scale and offset."""
    x, scale, mean, variance, cotangent = args
    axes = tuple(d for d in range(np.ndim(x)) if d != op.attributes["feature_index"])
    normal = _normalise(op, x, mean, variance)
    by_scale, by_offset = jnp.sum(cotangent * normal, axes), jnp.sum(cotangent, axes)
    count = np.array(np.prod([np.shape(x)[d] for d in axes]), x.dtype)
    centred = cotangent - _along(by_offset, op, x) / count - normal * _along(by_scale, op, x) / count
    epsilon = np.array(op.attributes["epsilon"], x.dtype)
    return _along(scale * lax.rsqrt(variance + epsilon), op, x) * centred, by_scale, by_offset


@TABLE.op("stablehlo.torch_index_select")
def torch_index_select(_frame: Frame, op: Operation, args: Sequence[Array]) -> Array:
    """Rows by number along one dimension, for each batch."""
    dim, batch = op.attributes["dim"], op.attributes["batch_dims"]

    def take(operand: Array, index: Array) -> Array:
        return jnp.take(operand, index, axis=dim - batch, mode="clip")

    batched: Callable[[Array, Array], Array] = take
    for _ in range(batch):
        batched = jax.vmap(batched)
    return batched(args[0], args[1])


@TABLE.op("sdy.sharding_constraint")
def sharding_constraint(_frame: Frame, _op: Operation, args: Sequence[Array]) -> Array:
    """Where an array lies on a mesh; a loaded program runs on one device, so nothing."""
    return args[0]
