# SPDX-License-Identifier: Apache-2.0
"""Values of terms at many points at once: the first axis of every array counts the points.

Two ways to compute: in float64, and for polynomial terms in the integers modulo a prime, where equal means equal. Terms
are told apart by their values in float64, rounded so that the order of operations does not show.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from scipy import special

from egraph_opt.engine.testing import einsum
from egraph_opt.ir.spec import canonical
from egraph_opt.ops import get_op
from egraph_opt.rules.suggest.terms import Dims, Term, size_of, spell

Array = np.ndarray[Any, Any]

PRIME = 1_048_573
"""Products of two residues, summed over any dimension used here, fit into 64 bits."""

POLYNOMIAL = frozenset({"einsum", "add", "rev", "slice", "concatenate", "cumsum"})
"""Operations whose results are polynomials of their operands, with rational coefficients."""

DIGITS = 1e-9
"""Grid of rounded values, relative to the power of two next to the largest one, and to one."""

_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    **{name: getattr(np, name) for name in ("exp", "exp2", "expm1", "log", "log1p", "tanh", "sin", "cos", "tan")},
    **{name: getattr(np, name) for name in ("sqrt", "cbrt", "sinh", "cosh", "floor", "ceil", "abs", "sign")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "logistic": special.expit,
    "erf": special.erf,
    "erfc": special.erfc,
    "max": np.maximum,
    "min": np.minimum,
    "div": np.true_divide,
    "add": np.add,
    "round": np.round,
}


def polynomial(term: Term) -> bool:
    """Whether the term is a polynomial of its variables."""
    return all(t.operator is None or t.operator.op in POLYNOMIAL for t in term.walk())


class Values:
    """Values of terms at given points.

    Args:
        points: for each variable an array whose first axis counts the points.
        sizes: of the small letters.
        modulus: compute in the integers modulo this prime.
    """

    def __init__(self, points: Mapping[str, Array], sizes: Mapping[str, int], modulus: int = 0) -> None:
        self.count = len(next(iter(points.values())))
        self._sizes, self._modulus = sizes, modulus
        self._known: dict[Term, Array] = {Term(None, (), (), name): value for name, value in points.items()}

    def __call__(self, term: Term, keep: bool = True) -> Array:
        """Values of a term; ``keep`` remembers them."""
        value = self._known.get(term)
        if value is None:
            with np.errstate(all="ignore"):
                value = self._compute(term)
            if keep:
                self._known[term] = value
        return value

    def _compute(self, term: Term) -> Array:
        operator = term.operator
        assert operator is not None, f"variable {term.name} has no points"
        operands = [self(arg) for arg in term.args]
        if operator.constant is not None:
            constant = np.full(self.count, operator.constant, np.int64 if self._modulus else np.float64)
            operands = [constant, *operands]
        if operator.op == "einsum":
            spec, scale = self._spec(term)
            result = einsum(spec, *operands)
            if scale != 1:
                result = result * (_residue(scale, self._modulus) if self._modulus else scale)
        else:
            result = self._other(term, operands)
        return np.asarray(result % self._modulus if self._modulus else result)

    def _spec(self, term: Term) -> tuple[str, float]:
        assert term.operator is not None, "variables have no spec"
        shapes = [self._shape(arg.dims) for arg in term.args]
        return _batched(*spell(term), tuple(shapes), self._shape(term.dims), self.count), term.operator.scale

    def _other(self, term: Term, operands: Sequence[Array]) -> Any:
        """Operations that are no einsum, with their axes moved by one."""
        operator = term.operator
        assert operator is not None, "variables are known"
        attrs = dict(operator.attrs([self._shape(arg.dims) for arg in term.args]))
        x = operands[0]
        match operator.op:
            case "reduce_max":
                return x.max(tuple(axis + 1 for axis in attrs["axes"]))
            case "reduce_min":
                return x.min(tuple(axis + 1 for axis in attrs["axes"]))
            case "rev":
                return np.flip(x, tuple(axis + 1 for axis in attrs["dimensions"]))
            case "concatenate":
                return np.concatenate(operands, attrs["dimension"] + 1)
            case "slice":
                return x[:, attrs["start_indices"][0] : attrs["limit_indices"][0]]
            case "cumsum":
                return np.cumsum(x, attrs["axis"] + 1)
            case "integer_pow":
                return x ** attrs["y"]
        if operator.constant is not None:
            operands = [x.reshape(x.shape + (1,) * len(term.dims)), *operands[1:]]
        function = _FUNCTIONS.get(operator.op)
        if function:
            return function(*operands)
        return _lowered(operator.op, operands)

    def _shape(self, dims: Dims) -> tuple[int, ...]:
        return tuple(size_of(dim, self._sizes) for dim in dims)


@functools.cache
def _batched(
    words: tuple[str, ...], output: str, shapes: tuple[tuple[int, ...], ...], shape: tuple[int, ...], count: int
) -> str:
    """The spec with the points as a first letter of all operands."""
    numbers = [n for s in (*shapes, shape) for n in s]
    sizes = {"Z": count} | dict(zip("".join((*words, output)), numbers, strict=True))
    return canonical([f"Z{word}" for word in words], f"Z{output}", sizes)


def _residue(scale: float, modulus: int) -> int:
    value = Fraction(scale)
    return value.numerator * pow(value.denominator, -1, modulus) % modulus


def _lowered(op: str, operands: Sequence[Array]) -> Array:
    """An elementwise operation as it is lowered, in double precision."""
    with jax.enable_x64(True):
        return np.asarray(get_op(op).lower(*operands))


def signature(term: Term, value: Array) -> bytes | None:
    """What tells the values of terms apart; None where more than half of them are not finite."""
    finite = np.isfinite(value)
    if finite.mean() < 0.5:
        return None
    axes = tuple(range(1, value.ndim))
    largest = np.max(np.abs(np.where(finite, value, 0.0)), axes, keepdims=True, initial=1.0)
    grid = DIGITS * np.exp2(np.floor(np.log2(largest)))
    rounded = np.round(np.where(finite, value, 0.0) / grid) * grid + 0.0
    special_values = np.where(finite, 0.0, np.where(np.isnan(value), 1.0, np.sign(value) * 2.0))
    kinds: bytes = special_values.tobytes()
    return ",".join(term.dims).encode() + b"|" + bytes(rounded.tobytes()) + kinds


ORDINARY = (-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0)
"""Values that meet each other: ties, zeros, halves."""


def float_points(
    variables: Mapping[str, Dims], sizes: Mapping[str, int], count: int, seed: int, spread: float = 1.0
) -> dict[str, Array]:
    """Points for every variable: normal, from a few values, and positive ones, a third each."""
    random = np.random.default_rng(seed)
    points = {}
    for name, dims in variables.items():
        shape = (count, *(size_of(dim, sizes) for dim in dims))
        value = random.standard_normal(shape) * spread
        value[1::3] = random.choice(np.array(ORDINARY), value[1::3].shape)
        value[2::3] = random.uniform(0.1, 2.0, value[2::3].shape) * spread
        points[name] = value
    return points


def ring_points(variables: Mapping[str, Dims], sizes: Mapping[str, int], count: int, seed: int) -> dict[str, Array]:
    """Random residues for every variable."""
    random = np.random.default_rng(seed)
    return {
        name: random.integers(0, PRIME, (count, *(size_of(dim, sizes) for dim in dims)))
        for name, dims in variables.items()
    }
