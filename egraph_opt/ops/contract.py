# SPDX-License-Identifier: Apache-2.0
"""How an einsum is spelled in ``jax.lax``: what XLA runs fastest was measured (docs/decisions/einsum-spelling.md).

A contraction is one ``dot_general`` whose natural result order is the wanted one where an order of the operands gives
it; a product without contraction is a multiplication. Diagonals are read by a gather and written by a select, so that
infinities and NaN beside them do not spread.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
from jax import lax

from egraph_opt.ir import Spec
from egraph_opt.ir.spec import Scale

NARROW_FLOATS = ("bfloat16", "float16", "float8", "float4")


def lower_einsum(
    *operands: Any, spec: str, precision: Any = None, accumulate: Any = None, computed: bool = False
) -> Any:
    """The einsum of one or two arrays.

    Args:
        operands: arrays of one element type.
        spec: text of the spec.
        precision: of the matrix product.
        accumulate: wider element type of the sum of products and of the result (two operands only).
        computed: what is summed is made by elementwise work that has to run as one loop: see ``_total``.
    """
    parsed = Spec.parse(spec)
    if len(operands) == 1:
        return _one(operands[0], parsed, computed)
    if not parsed.is_pure:
        return _impure(operands, parsed, precision)
    x, y = operands
    first, second = parsed.inputs
    contracted = [c for c in first if c not in parsed.output]
    if not contracted:
        return lax.mul(_align(x, first, parsed), _align(y, second, parsed))
    if set(first) == set(second):
        return _inner(x, y, parsed, accumulate, computed)
    return _dot(x, y, parsed, contracted, precision, accumulate)


def _inner(x: Any, y: Any, spec: Spec, accumulate: Any, computed: bool) -> Any:
    """Inner products: a sum of products is as fast as ``dot_general`` and fuses with what makes the operands.

    On a GPU it also keeps the full precision of the element type, which a matrix product may not.
    """
    first, second = spec.inputs
    narrow = x.dtype
    wide = accumulate or (np.float32 if str(narrow).startswith(NARROW_FLOATS) else narrow)
    x, y = (z if z.dtype == wide else lax.convert_element_type(z, wide) for z in (x, y))
    product = lax.mul(x, _permute(y, second, first))
    total = _total(product, tuple(place for place, c in enumerate(first) if c not in spec.output), computed)
    kept = "".join(c for c in first if c in spec.output)
    total = _permute(total, kept, spec.output)
    return total if accumulate or wide == narrow else lax.convert_element_type(total, narrow)


def _dot(x: Any, y: Any, spec: Spec, contracted: list[str], precision: Any, accumulate: Any) -> Any:
    first, second = spec.inputs
    batch = [c for c in spec.output if c in first and c in second]
    orders = [(x, y, first, second), (y, x, second, first)]
    plans = [(*plan, _natural(batch, contracted, plan[2], plan[3])) for plan in orders]
    a, b, p, q, result = next((plan for plan in plans if plan[4] == spec.output), plans[0])
    numbers = (
        (tuple(map(p.index, contracted)), tuple(map(q.index, contracted))),
        (tuple(map(p.index, batch)), tuple(map(q.index, batch))),
    )
    out = lax.dot_general(a, b, numbers, precision=precision, preferred_element_type=accumulate)
    return _permute(out, result, spec.output)


def _natural(batch: list[str], contracted: list[str], first: str, second: str) -> str:
    free = (c for word in (first, second) for c in word if c not in batch and c not in contracted)
    return "".join([*batch, *free])


def _align(x: Any, word: str, spec: Spec) -> Any:
    """``x`` as a factor of an elementwise product over the result's letters."""
    if word == spec.output or not word:
        return x
    order = "".join(c for c in spec.output if c in word)
    x = _permute(x, word, order)
    if order == spec.output:
        return x
    return lax.broadcast_in_dim(x, spec.shape, tuple(map(spec.output.index, order)))


def _permute(x: Any, word: str, order: str) -> Any:
    return x if word == order else lax.transpose(x, tuple(map(word.index, order)))


def _impure(operands: tuple[Any, ...], spec: Spec, precision: Any) -> Any:
    from egraph_opt.ir.spec_algebra import purify

    pure = purify(spec.inputs, spec.output, spec.sizes, spec.scale)
    x = _one(operands[0], Spec.parse(pure.before_x)) if pure.before_x else operands[0]
    y = _one(operands[1], Spec.parse(pure.before_y)) if pure.before_y else operands[1]
    core = lower_einsum(x, y, spec=pure.core, precision=precision)
    return _one(core, Spec.parse(pure.post)) if pure.post else core


def _one(x: Any, spec: Spec, computed: bool = False) -> Any:
    word, output = spec.inputs[0], spec.output
    x, word = _read_diagonals(x, word)
    kept = "".join(c for c in word if c in output)
    if kept != word:
        x = _sum(x, tuple(place for place, c in enumerate(word) if c not in output), computed)
    order = "".join(c for c in dict.fromkeys(output) if c in kept)
    x = _scaled(_permute(x, kept, order), spec.scale)
    if order == output:
        return x
    wide = lax.broadcast_in_dim(x, spec.shape, tuple(map(output.index, order)))
    return _off_diagonal_zero(wide, output)


def _read_diagonals(x: Any, word: str) -> tuple[Any, str]:
    """Merge repeated letters by a gather: unlike a strided slice it is not computed again for all that it scales."""
    for letter in dict.fromkeys(word):
        places = [place for place, c in enumerate(word) if c == letter]
        if len(places) == 1:
            continue
        n, rest = x.shape[places[0]], [place for place, c in enumerate(word) if c != letter]
        before = sum(place < places[0] for place in rest)
        numbers = lax.GatherDimensionNumbers(
            offset_dims=tuple(axis for axis in range(len(rest) + 1) if axis != before),
            collapsed_slice_dims=tuple(places),
            start_index_map=tuple(places),
        )
        index = lax.broadcasted_iota(np.int32, (n, len(places)), 0)
        sizes = tuple(1 if c == letter else size for c, size in zip(word, x.shape, strict=True))
        x = lax.gather(x, index, numbers, sizes, mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS)
        word = "".join([*(word[place] for place in rest[:before]), letter, *(word[place] for place in rest[before:])])
    return x, word


def _sum(x: Any, axes: tuple[int, ...], computed: bool = False) -> Any:
    """Sum in the element type; the 16-bit floats and narrower are accumulated in float32, as XLA's products are."""
    dtype = x.dtype
    if str(dtype).startswith(NARROW_FLOATS):
        return lax.convert_element_type(lax.reduce_sum(lax.convert_element_type(x, np.float32), axes), dtype)
    return _total(x, axes, computed)


def _total(x: Any, axes: tuple[int, ...], computed: bool) -> Any:
    """A sum over axes, as a product with ones where that keeps the work before it in one loop.

    XLA:CPU draws elementwise work into the kernel of a sum and runs it there operation by operation, after storing all
    constants and broadcasts that it reads. It does not draw it into a product of a matrix and a vector.
    """
    rows = tuple(range(x.ndim - len(axes)))
    if not computed or x.dtype not in (np.float32, np.float64) or x.ndim < 2:
        return lax.reduce_sum(x, axes)
    if not rows:
        return lax.reduce_sum(_total(x, (x.ndim - 1,), computed), tuple(range(x.ndim - 1)))
    if x.ndim > 2 and axes != tuple(range(len(rows), x.ndim)):
        return lax.reduce_sum(x, axes)
    ones = lax.full([x.shape[axis] for axis in axes], 1, x.dtype)
    return lax.dot_general(x, ones, ((axes, tuple(range(len(axes)))), ((), ())), precision=lax.Precision.HIGHEST)


def _scaled(x: Any, scale: Scale) -> Any:
    if scale == -1:
        return lax.neg(x)
    for factor in factors(scale, x.dtype):
        x = lax.mul(x, typed_scale(factor, x.dtype))  # a scalar may stand for a tensor
    return x


def factors(scale: Scale, dtype: Any) -> list[Scale]:
    """The factor, or two or more whose product it is: factors that were merged may leave the range of the type."""
    if scale == 1:
        return []
    if _is_held(scale, np.dtype(dtype)):
        return [scale]
    root = math.sqrt(abs(scale))
    return factors(root, dtype) + factors(math.copysign(root, scale), dtype)


def _is_held(scale: Scale, dtype: np.dtype[Any]) -> bool:
    """Whether the element type has the number, in full precision or exactly."""
    if np.issubdtype(dtype, np.integer) or not math.isfinite(scale):
        return True
    limits: Any = ml_dtypes.finfo(np.finfo(dtype).dtype if dtype.kind == "c" else dtype)  # type: ignore[no-untyped-call]
    if float(limits.smallest_normal) <= abs(scale) <= float(limits.max):
        return True
    with np.errstate(all="ignore"):
        return float(np.array(scale).astype(limits.dtype)) == scale


def typed_scale(scale: Scale, dtype: Any) -> Any:
    """The factor as a scalar of the element type; integers wrap around as their products do."""
    kind = np.dtype(dtype)
    if isinstance(scale, int) and np.issubdtype(kind, np.integer):
        bits = np.iinfo(kind).bits
        return np.array(scale & ((1 << bits) - 1), f"uint{bits}").astype(kind)
    return np.array(scale).astype(kind)


def _off_diagonal_zero(x: Any, output: str) -> Any:
    mask = None
    for letter in dict.fromkeys(output):
        places = [place for place, c in enumerate(output) if c == letter]
        for place in places[1:]:
            rows = lax.broadcasted_iota(np.int32, x.shape, places[0])
            same = lax.eq(rows, lax.broadcasted_iota(np.int32, x.shape, place))
            mask = same if mask is None else lax.bitwise_and(mask, same)
    return x if mask is None else lax.select(mask, x, lax.full_like(x, 0))
