# SPDX-License-Identifier: Apache-2.0
"""When two values of one e-class differ: inputs to draw, and what each numerics class lets pass.

In double precision values may differ by rounding; where operands are finite, results must be finite alike, unless a
rule of class ``finite`` is in play. Rules of class ``exact`` are also held to every bit, at the program's own types and
with infinities, NaN, signed zeros and the largest integers among the inputs; only sums of several terms may round.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egraph_opt.engine import ENode, RuleSet
from egraph_opt.engine.testing import Compare, within_tolerance
from egraph_opt.ir import Graph, Spec, TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.types import is_complex, is_floating, is_integer
from egraph_opt.verify import sample_inputs

KINDS = ("normal", "positive", "integers")
"""Any sign; inside the domain of roots and logarithms; ties and zeros."""

DRAWS = ((40, 12), (500, 2))
"""E-graphs with fewer e-nodes than the first number are evaluated on so many draws of each kind."""

_ROUNDING = {8: 1e-9, 4: 2e-4, 2: 2e-2}
"""What rounding may come to, relative to the largest value in play, by bytes of a real."""

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 0.1, 0.3, -2.5, np.inf, -np.inf, np.nan, 100.0, -100.0)
"""Floats among which rules of class exact must agree to the bit."""


class Mode(enum.Enum):
    """What values are compared."""

    DOUBLE = "in double precision"
    OWN = "in the program's own types, for rules that speak of these"
    BITS = "bit by bit, for rules of class exact"


@dataclass(frozen=True, slots=True)
class Judge:
    """How a saturation is judged.

    Args:
        mode: what values are compared.
        strict: whether no rule of class ``finite`` is in play.
    """

    mode: Mode
    strict: bool = True

    @property
    def numerics(self) -> Numerics:
        """Class of what is done to sums."""
        return Numerics.EXACT if self.mode is Mode.BITS else Numerics.REASSOCIATE

    def inputs(self, graph: Graph, seed: int, size: int) -> Iterator[tuple[tuple[Any, ...], Compare]]:
        """Inputs for a graph whose e-graph has ``size`` e-nodes, and what counts as a difference on them."""
        count = next((draws for bound, draws in DRAWS if size < bound), 1)
        count = 1 if any(True for _ in graph.subgraphs()) else count  # loops are compiled for each evaluation
        for draw in range(seed, seed + count):
            if self.mode is Mode.BITS:
                plain = sample_inputs(graph, draw)
                random = np.random.default_rng([draw, 1])
                yield tuple(_special(t, v, random) for t, v in zip(graph.input_types, plain, strict=True)), _by_bits
                continue
            for kind in KINDS:
                inputs = sample_inputs(graph, draw, kind)
                if kind == "integers":
                    yield tuple(map(_signed, inputs)), _finite_operands if self.strict else _where_finite
                else:
                    yield tuple(inputs), _finite_alike if self.strict else _where_finite


def judge_of(rules: RuleSet, mode: Mode) -> Judge:
    """The judge of some rules."""
    return Judge(mode, all(rule.numerics < Numerics.FINITE for rule in rules))


def _where_finite(
    nodes: tuple[ENode, ENode], values: tuple[Any, Any], operands: tuple[Sequence[Any], Sequence[Any]]
) -> str:
    """Difference of values, where both are finite."""
    want, got = values
    if want.shape != got.shape or not _is_inexact(want) or want.dtype != got.dtype:
        return within_tolerance(nodes, values, operands)
    both = np.isfinite(want) & np.isfinite(got)
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    a, b = (np.where(both, v, 0).astype(wide) for v in values)
    tolerance = _ROUNDING.get(want.dtype.itemsize if want.dtype.kind != "c" else want.dtype.itemsize // 2, 0.1)
    scale = max(1e-4, *(_largest(v) for v in (a, *operands[0], *operands[1])))
    if np.all(np.abs(a - b) <= tolerance * (scale + np.abs(a))):
        return ""
    return f"off by {np.max(np.abs(a - b)):.3g} of {scale:.3g}"


def _finite_alike(
    nodes: tuple[ENode, ENode], values: tuple[Any, Any], operands: tuple[Sequence[Any], Sequence[Any]]
) -> str:
    """Difference of values; what is finite must be so in both."""
    problem = _where_finite(nodes, values, operands)
    if problem or not _is_inexact(values[0]):
        return problem
    odd = np.isfinite(values[0]) != np.isfinite(values[1])
    return "finite in one, not finite in the other" if odd.any() else ""


def _finite_operands(
    nodes: tuple[ENode, ENode], values: tuple[Any, Any], operands: tuple[Sequence[Any], Sequence[Any]]
) -> str:
    """Difference of values; what is finite must be so in both, unless an operand is not: divisions by zero."""
    finite = all(np.isfinite(v).all() for side in operands for v in side if _is_inexact(v))
    return (_finite_alike if finite else _where_finite)(nodes, values, operands)


def _by_bits(nodes: tuple[ENode, ENode], values: tuple[Any, Any], operands: tuple[Sequence[Any], Sequence[Any]]) -> str:
    """Difference in any bit, one NaN being as good as another; sums of several terms may round."""
    want, got = values
    if any(node.constructor.startswith("Einsum") and Spec.parse(node.text).summed for node in nodes):
        wide = want.dtype.itemsize >= 8
        return within_tolerance(nodes, values, operands) if wide and np.isfinite(want).all() else ""
    if want.shape != got.shape or want.dtype != got.dtype:
        return f"{got.dtype}{list(got.shape)}, want {want.dtype}{list(want.shape)}"
    same = np.array_equal(want, got, equal_nan=_is_inexact(want))
    if same and _is_inexact(want):
        parts = [(want.real, got.real), (want.imag, got.imag)] if want.dtype.kind == "c" else [(want, got)]
        same = all(np.array_equal(np.signbit(a) | np.isnan(a), np.signbit(b) | np.isnan(b)) for a, b in parts)
    return "" if same else "other bits"


def _largest(value: Any) -> float:
    if not _is_inexact(value):
        return float(np.max(np.abs(value.astype(np.float64)), initial=0.0)) if value.dtype.kind in "iub" else 0.0
    wide = np.abs(value.astype(np.complex128 if value.dtype.kind == "c" else np.float64))
    return float(np.max(wide[np.isfinite(wide)], initial=0.0))


def _signed(value: Any) -> Any:
    """Every third element with the other sign, of integers: they are drawn as indices."""
    if value.dtype.kind != "i":
        return value
    places = np.arange(value.size).reshape(value.shape)
    return np.where(places % 3 == 0, -value, value).astype(value.dtype)


def _is_inexact(value: Any) -> bool:
    return is_floating(str(value.dtype)) or is_complex(str(value.dtype))


def _special(type: TensorType, plain: Any, random: np.random.Generator) -> Any:
    """The value with some elements replaced by special ones."""
    if is_integer(type.dtype) and type.itemsize >= 1:
        info = np.iinfo(plain.dtype)
        choices = np.array(
            [0, 1, 2, 3, max(info.min, -1), max(info.min, -2), 31, info.min, info.max], dtype=plain.dtype
        )
    elif is_floating(type.dtype) or is_complex(type.dtype):
        choices = np.array(SPECIAL).astype(plain.dtype)
    else:
        return plain
    picked = choices[random.integers(0, len(choices), plain.shape)]
    return np.where(random.random(plain.shape) < 0.6, picked, plain).astype(plain.dtype)
