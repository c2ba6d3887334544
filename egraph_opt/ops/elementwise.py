# SPDX-License-Identifier: Apache-2.0
"""Elementwise operations as table rows: one row per ``jax.lax`` primitive.

Operands have equal shapes or rank 0; a scalar operand is broadcast by the lowering. Weights of the transcendental
functions are rough, one exponential counting 1; the device model multiplies them by what it measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.ops.checks import check_count, check_kind, check_same_dtype, elementwise_shape
from egraph_opt.ops.op import Example, Op, Trait, define
from egraph_opt.ops.primitives import all_primitives, binding

LAX = "https://docs.jax.dev/en/latest/_autosummary/jax.lax.{}.html"
DTypeRule = Callable[[Sequence[TensorType], dict[str, Any]], str]

COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT = Trait.COMMUTATIVE, Trait.ASSOCIATIVE, Trait.IDEMPOTENT
INVOLUTION, MONOTONE, ZERO_TO_ZERO, LINEAR = Trait.INVOLUTION, Trait.MONOTONE, Trait.ZERO_TO_ZERO, Trait.LINEAR
INCREASING = Trait.INCREASING
TOTAL = Trait.TOTAL
LATTICE = (COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT)

_SAMPLES = {"f": "float32", "c": "complex64", "i": "int32", "u": "uint32", "b": "bool"}
_PART = {"complex64": "float32", "complex128": "float64"}
_WHOLE = {part: whole for whole, part in _PART.items()}


def spread(operands: Sequence[Any]) -> list[Any]:
    """Operands with those of rank 0 broadcast to the common shape."""
    shape = max((x.shape for x in operands), key=len)
    return [x if x.shape == shape else lax.broadcast_in_dim(x, shape, ()) for x in operands]


def _same(types: Sequence[TensorType], attrs: dict[str, Any]) -> str:
    del attrs
    return types[0].dtype


def _bool(types: Sequence[TensorType], attrs: dict[str, Any]) -> str:
    del types, attrs
    return "bool"


def _part(types: Sequence[TensorType], attrs: dict[str, Any]) -> str:
    del attrs
    return _PART.get(types[0].dtype, types[0].dtype)


def _whole(types: Sequence[TensorType], attrs: dict[str, Any]) -> str:
    del attrs
    return _WHOLE.get(types[0].dtype, types[0].dtype)


def row(
    name: str,
    arity: int,
    kinds: str,
    *traits: Trait,
    result: DTypeRule = _same,
    weight: float = 0.0,
    attrs: tuple[tuple[str, Any], ...] = (),
    fixed: tuple[tuple[str, Any], ...] = (),
    doc: str = "",
    page: str = "",
) -> None:
    """Declare one elementwise primitive.

    Args:
        name: of the primitive and of the operation.
        arity: number of operands.
        kinds: kinds of element types accepted, see ``checks.KINDS``; the first makes the examples.
        traits: beside ELEMENTWISE.
        result: element type of the result.
        weight: transcendental evaluations per element; 0 means one arithmetic operation.
        attrs: attributes and the values they have in the examples.
        fixed: parameters with the only value the operation stands for.
        doc: meaning, where the name does not say it.
        page: name of the documentation page, where it is not that of the primitive.
    """
    if name not in all_primitives():
        return  # this JAX lacks it
    bound = binding(name, **dict(fixed))

    def infer(types: Sequence[TensorType], **values: Any) -> tuple[TensorType, ...]:
        check_count(name, types, arity)
        shape = elementwise_shape(name, types)
        check_same_dtype(name, types)
        if kinds:
            check_kind(name, types, kinds)
        return (TensorType(shape, result(types, values)),)

    def lower(*operands: Any, **values: Any) -> Any:
        return bound(*(spread(operands) if arity > 1 else operands), **values)

    def flops(types: Sequence[TensorType], results: Sequence[TensorType], **values: Any) -> float:
        del types, values
        return 0.0 if weight else float(results[0].size)

    samples = [TensorType((2, 3), _SAMPLES[k]) for k in kinds] or [TensorType((2, 3), "float32")]
    define(
        Op(
            name=name,
            arity=arity,
            attrs=tuple(key for key, _ in attrs),
            infer=infer,
            lower=lower,
            flops=flops,
            transcendentals=weight,
            captures=(name,),
            fixed=fixed,
            traits=frozenset({Trait.ELEMENTWISE, *traits}),
            examples=tuple(Example((sample,) * arity, attrs) for sample in samples),
            source=LAX.format(page or name),
            doc=doc,
        )
    )


ACCURATE = (("accuracy", None),)


def _declare_floating() -> None:
    for name, weight, *traits in (
        ("exp", 1.0, MONOTONE, INCREASING, TOTAL),
        ("exp2", 1.0, MONOTONE, INCREASING, TOTAL),
        ("expm1", 1.5, MONOTONE, ZERO_TO_ZERO, TOTAL),
        ("log", 1.0, MONOTONE, INCREASING),
        ("log1p", 1.5, MONOTONE, INCREASING, ZERO_TO_ZERO),
        ("tanh", 1.0, MONOTONE, ZERO_TO_ZERO, TOTAL),
        ("logistic", 1.3, MONOTONE, TOTAL),
        ("sin", 1.5, ZERO_TO_ZERO, TOTAL),
        ("cos", 1.5, TOTAL),
        ("tan", 2.5, ZERO_TO_ZERO),
        ("sqrt", 0.5, MONOTONE, INCREASING, ZERO_TO_ZERO),
        ("rsqrt", 0.6),
    ):
        row(name, 1, "fc", *traits, weight=weight, fixed=ACCURATE)
    row("cbrt", 1, "f", MONOTONE, INCREASING, ZERO_TO_ZERO, TOTAL, weight=2.5, fixed=ACCURATE)
    for name, weight, *traits in (
        ("asin", 2.0, MONOTONE, INCREASING, ZERO_TO_ZERO),
        ("acos", 2.0),
        ("atan", 2.0, MONOTONE, ZERO_TO_ZERO, TOTAL),
        ("sinh", 2.0, MONOTONE, INCREASING, ZERO_TO_ZERO, TOTAL),
        ("cosh", 2.0, TOTAL),
        ("asinh", 3.0, MONOTONE, INCREASING, ZERO_TO_ZERO, TOTAL),
        ("acosh", 3.0, MONOTONE, INCREASING),
        ("atanh", 2.5, MONOTONE, INCREASING, ZERO_TO_ZERO),
    ):
        row(name, 1, "fc", *traits, weight=weight)
    for name, weight, *traits in (
        ("erf", 1.5, MONOTONE, ZERO_TO_ZERO, TOTAL),
        ("erfc", 2.0, TOTAL),
        ("erf_inv", 3.0, MONOTONE, INCREASING, ZERO_TO_ZERO),
        ("lgamma", 8.0),
        ("digamma", 6.0),
        ("bessel_i0e", 4.0),
        ("bessel_i1e", 4.0, ZERO_TO_ZERO),
    ):
        row(name, 1, "f", *traits, weight=weight)
    row("floor", 1, "f", MONOTONE, ZERO_TO_ZERO, TOTAL)
    row("ceil", 1, "f", MONOTONE, ZERO_TO_ZERO, TOTAL)
    row("round", 1, "f", MONOTONE, ZERO_TO_ZERO, attrs=(("rounding_method", lax.RoundingMethod.TO_NEAREST_EVEN),))
    row("is_finite", 1, "f", result=_bool)
    precision = (("exponent_bits", 5), ("mantissa_bits", 4))
    row("reduce_precision", 1, "f", MONOTONE, ZERO_TO_ZERO, attrs=precision, doc="rounds to fewer bits")
    for name, weight in (
        ("igamma", 10.0),
        ("igammac", 10.0),
        ("igamma_grad_a", 12.0),
        ("zeta", 10.0),
        ("polygamma", 12.0),
    ):
        row(name, 2, "f", weight=weight)
    row("regularized_incomplete_beta", 3, "f", weight=15.0, page="betainc")


def _declare_any() -> None:
    row("abs", 1, "fci", ZERO_TO_ZERO, TOTAL, result=_part)
    row("sign", 1, "fciu", ZERO_TO_ZERO)
    row("stop_gradient", 1, "", MONOTONE, ZERO_TO_ZERO, LINEAR, doc="the operand, with derivative zero")
    row("copy", 1, "", MONOTONE, ZERO_TO_ZERO, LINEAR, doc="the operand in a buffer of its own", page="copy")
    row("max", 2, "fciub", *LATTICE, MONOTONE)
    row("min", 2, "fciub", *LATTICE, MONOTONE)
    row("div", 2, "fciu", weight=0.5)
    row("rem", 2, "fiu", weight=1.0)
    row("atan2", 2, "fc", weight=2.5)
    row("nextafter", 2, "f")
    row("eq", 2, "", COMMUTATIVE, result=_bool)
    row("ne", 2, "", COMMUTATIVE, result=_bool)
    for name in ("lt", "le", "gt", "ge"):
        row(name, 2, "fiub", result=_bool)
    for name in ("eq_to", "le_to", "lt_to"):
        traits = (COMMUTATIVE,) if name == "eq_to" else ()
        row(name, 2, "f", *traits, result=_bool, doc="in the total order of floats", page=name.removesuffix("_to"))
    row("integer_pow", 1, "fciu", weight=1.0, attrs=(("y", 5),), doc="power with a fixed integer exponent")
    row("real", 1, "c", LINEAR, ZERO_TO_ZERO, result=_part)
    row("imag", 1, "c", LINEAR, ZERO_TO_ZERO, result=_part)
    row("complex", 2, "f", result=_whole)


def _declare_bits() -> None:
    row("not", 1, "iub", INVOLUTION, page="bitwise_not")
    row("and", 2, "iub", *LATTICE, page="bitwise_and")
    row("or", 2, "iub", *LATTICE, page="bitwise_or")
    row("xor", 2, "iub", COMMUTATIVE, ASSOCIATIVE, page="bitwise_xor")
    for name in ("shift_left", "shift_right_arithmetic", "shift_right_logical"):
        row(name, 2, "iu")
    row("population_count", 1, "iu", ZERO_TO_ZERO, doc="number of bits that are one")
    row("clz", 1, "iu", doc="number of leading bits that are zero")
    row("mulhi", 2, "iu", COMMUTATIVE, doc="upper half of the double-width product")


_declare_floating()
_declare_any()
_declare_bits()
