# SPDX-License-Identifier: Apache-2.0
"""What a node computes, as IEEE arithmetic defines it, to judge rules by: in numpy, nothing fused, nothing flushed.

Readings: as it is; with sums that do not depend on their order (``BITS``: the order inside a contraction is the
compiler's, so it must not count); and in extended precision, to tell rounding from error (``WIDE``, ``REAL``,
``MOVED``). What numpy lacks runs as it is lowered.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from egraph_opt.engine.testing import contracted, einsum
from egraph_opt.errors import EgraphOptError
from egraph_opt.ir import Node, Spec
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.check.arithmetic import FUNCTIONS, Array
from egraph_opt.rules.check.judge import rounding

_LANES = 64
_EXTENDED = ("input", "constant", "einsum", "add", "convert_element_type", "reduce_precision")


class Reading(enum.Enum):
    """How arithmetic is done."""

    PLAIN = "in the element types of the program"
    BITS = "the same, sums rounded once"
    WIDE = "in extended precision; conversions to a narrower type still round"
    REAL = "in extended precision, where nothing rounds but what becomes an integer"
    MOVED = "the same, with numbers that are no short binary fractions moved by what rounding moves them"

    @property
    def extended(self) -> bool:
        """Whether arithmetic is done in extended precision."""
        return self in (Reading.WIDE, Reading.REAL, Reading.MOVED)

    @property
    def real(self) -> bool:
        """Whether conversions between floats do not round."""
        return self in (Reading.REAL, Reading.MOVED)


class EvaluationError(EgraphOptError):
    """The node has no value: an operation refused its operands."""


def numpy_dtype(dtype: str, reading: Reading) -> np.dtype[Any]:
    """Element type in which values of a program's element type are held."""
    if reading.extended:
        if is_floating(dtype):
            return np.dtype(np.longdouble)
        if is_complex(dtype):
            return np.dtype(np.clongdouble)
    return np.dtype(dtype)


def evaluate(node: Node, operands: Sequence[Array], reading: Reading = Reading.PLAIN) -> Array:
    """Value of a node.

    Args:
        node: any node but an input.
        operands: values of its operands.
        reading: how arithmetic is done.

    Raises:
        EvaluationError: it has none.
    """
    dtype = node.type.dtype
    held = numpy_dtype(dtype, reading)
    with np.errstate(all="ignore"):
        try:
            value = _value(node, operands, reading)
        except (TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise EvaluationError(f"{node.op}: {str(error).splitlines()[0]}") from None
        result = np.asarray(value)
        if result.shape != node.type.shape:
            raise EvaluationError(f"{node.op} gives {list(result.shape)}, not {node.type}")
        return result if result.dtype == held else result.astype(held)


def left_rounding(ops: Iterable[str]) -> float:
    """Relative rounding that is left in extended readings: of what numpy lacks, that of double precision."""
    double = any(op not in FUNCTIONS and op not in _EXTENDED for op in ops)
    return float(np.finfo(np.float64 if double else np.longdouble).eps)


def _value(node: Node, operands: Sequence[Array], reading: Reading) -> Any:
    dtype = node.type.dtype
    if node.op == "constant":
        value = np.asarray(thaw(node.attr("value")), np.dtype(dtype))
        return _moved(value) if reading is Reading.MOVED and value.dtype.kind in "fcV" else value
    if node.op == "convert_element_type":
        return _convert(operands[0], dtype, reading)
    if node.op == "reduce_precision" and reading.real:
        return operands[0]
    if node.op in FUNCTIONS or node.op in ("einsum", "add"):
        # Narrow floats are computed in float32 and rounded, operation by operation.
        wide = [v.astype(np.float32) if v.dtype.kind in "V" or v.dtype == np.float16 else v for v in operands]
        narrow = any(a is not b for a, b in zip(wide, operands, strict=True))
        value = _numpy(node, wide, reading)
        return np.asarray(value).astype(np.dtype(dtype)) if narrow else value
    return _lowered(node, operands, reading)


def _numpy(node: Node, operands: Sequence[Array], reading: Reading) -> Any:
    if node.op == "einsum":
        spec = node.attr("spec")
        if reading is Reading.MOVED and operands[0].dtype.kind in "fc":
            factor = _moved(np.asarray(Spec.parse(spec).scale, np.dtype(node.type.dtype)))
            plain = Spec.parse(spec)
            return einsum(str(Spec(plain.inputs, plain.output, plain.sizes)), *operands) * factor
        if reading is Reading.BITS and operands[0].dtype.kind in "fc" and Spec.parse(spec).summed:
            return _ordered_einsum(spec, operands)
        return _integer_einsum(spec, operands) if operands[0].dtype.kind in "iu" else einsum(spec, *operands)
    if node.op == "add":
        return functools.reduce(np.add, operands)
    if node.op == "reduce_prod" and reading is Reading.BITS and operands[0].dtype.kind in "fc":
        return _ordered_product(operands[0], node.attr("axes"))
    return FUNCTIONS[node.op](node, *spread(node, operands))


def spread(node: Node, operands: Sequence[Array]) -> Sequence[Array]:
    """Operands of an elementwise operation with those of rank 0 broadcast."""
    if Trait.ELEMENTWISE not in get_op(node.op).traits or len(operands) < 2:
        return operands
    return [np.broadcast_to(v, node.type.shape) if v.shape != node.type.shape else v for v in operands]


def _moved(value: Array) -> Array:
    """Numbers in extended precision, moved by a rounding of their type unless they are short binary fractions."""
    wide = value.astype(np.clongdouble if value.dtype.kind == "c" else np.longdouble)
    short = (wide.real * 1024 % 1 == 0) & (wide.imag * 1024 % 1 == 0)
    return np.where(short, wide, wide * (1 + np.longdouble(rounding(str(value.dtype)))))


def _ordered_einsum(text: str, operands: Sequence[Array]) -> Array:
    """An einsum whose sums are exact and rounded once, so that no order of summation shows."""
    spec = Spec.parse(text)
    held = "".join(dict.fromkeys(c for c in spec.output if c not in spec.broadcast))
    inner = "".join(dict.fromkeys("".join(spec.inputs)))
    rest = "".join(c for c in inner if c not in held)
    sizes = spec.sizes
    products = np.asarray(contracted(spec.inputs, held + rest, *operands))
    flat = products.reshape(math.prod(sizes[c] for c in held), math.prod(sizes[c] for c in rest))
    parts = (flat.real, flat.imag) if flat.dtype.kind == "c" else (flat,)
    sums = [np.array([_sum(row) for row in part.tolist()], np.float64) for part in parts]
    total = (sums[0] + 1j * sums[1] if len(sums) == 2 else sums[0]).astype(flat.dtype)
    letters = {c: sizes[c] for c in (*held, *spec.output)}
    after = Spec((held,), spec.output, {c: letters[c] for c in dict.fromkeys(held + spec.output)}, spec.scale)
    return np.asarray(einsum(str(after), total.reshape([sizes[c] for c in held])))


def _ordered_product(x: Array, axes: Sequence[int]) -> Array:
    """A product along axes, exact and rounded once, so that no order of its factors shows."""
    if x.dtype.kind == "c":
        raise NotImplementedError("a product of complex numbers depends on its order")
    kept = [d for d in range(x.ndim) if d not in axes]
    shape = [x.shape[d] for d in kept]
    rows = np.transpose(x, [*kept, *axes]).reshape(math.prod(shape), -1 if x.size else 0).tolist()
    return np.array([_product(row) for row in rows], np.float64).astype(x.dtype).reshape(shape)


def _product(factors: list[float]) -> float:
    negative = sum(math.copysign(1, f) < 0 for f in factors) % 2
    if not all(map(math.isfinite, factors)):
        lost = any(f == 0 or f != f for f in factors)
        return math.nan if lost else -math.inf if negative else math.inf
    total = math.prod(map(Fraction, factors), start=Fraction(1))
    try:
        size = float(abs(total))
    except OverflowError:
        size = math.inf
    return -size if negative else size


def _integer_einsum(text: str, operands: Sequence[Array]) -> Any:
    """An einsum of integers; its factor wraps around too."""
    spec = Spec.parse(text)
    plain = einsum(str(Spec(spec.inputs, spec.output, spec.sizes)), *operands)
    if spec.scale == 1:
        return plain
    if isinstance(spec.scale, float):
        return np.trunc(plain * spec.scale)
    bits = plain.dtype.itemsize * 8
    factor = np.array(spec.scale % 2**bits, np.uint64).astype(plain.dtype)
    return plain * factor


def _sum(terms: list[float]) -> float:
    if terms and all(t == 0 and math.copysign(1, t) < 0 for t in terms):
        return -0.0
    try:
        return math.fsum(terms)
    except (ValueError, OverflowError):
        return math.nan if any(map(math.isnan, terms)) else sum(terms)


def _convert(x: Array, dtype: str, reading: Reading) -> Any:
    target = np.dtype(dtype)
    if target.kind == "b":
        return x != 0
    if target.kind in "iu" and x.dtype.kind not in "iub":
        return _to_integer(x.real if x.dtype.kind == "c" else x.astype(np.longdouble), target)
    if x.dtype.kind == "c" and not is_complex(dtype):
        x = x.real
    if reading.extended and (reading.real or dtype in ("float64", "complex128")) and target.kind in "fcV":
        return x.astype(np.clongdouble if is_complex(dtype) else np.longdouble)
    return x.astype(np.float32).astype(target) if target.kind == "V" and x.dtype.itemsize > 4 else x.astype(target)


def _to_integer(x: Array, target: np.dtype[Any]) -> Array:
    info = np.iinfo(target)
    clipped = np.where(np.isnan(x), 0, np.clip(np.trunc(x), float(info.min), float(info.max)))
    # The largest value may not be representable as a float: what is above the range is set by hand.
    result = np.where(clipped >= float(info.max), 0, clipped).astype(target)
    return np.where(clipped >= float(info.max), info.max, result).astype(target)


def _lowered(node: Node, operands: Sequence[Array], reading: Reading) -> Any:
    """What the operation's own lowering gives; elementwise ones in full lanes, so that places do not matter."""
    op = get_op(node.op)
    if reading.extended:
        operands = [_narrowed(v) for v in operands]
    with jax.enable_x64(True):
        if Trait.ELEMENTWISE not in op.traits:
            result = op.lower(*operands, **{k: thaw(v) for k, v in node.attrs})
            return np.asarray(result[0] if isinstance(result, list | tuple) and len(result) == 1 else result)
        flat = [np.ravel(v) for v in spread(node, operands)]
        size = -(-max(flat[0].size, 1) // _LANES) * _LANES
        padded = [np.concatenate([v, np.zeros(size - v.size, v.dtype)]) for v in flat]
        result = np.asarray(op.lower(*padded, **{k: thaw(v) for k, v in node.attrs}))
    return result[: flat[0].size].reshape(node.type.shape)


def _narrowed(value: Array) -> Array:
    if value.dtype == np.longdouble:
        return value.astype(np.float64)
    return value.astype(np.complex128) if value.dtype == np.clongdouble else value
