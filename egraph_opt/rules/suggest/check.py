# SPDX-License-Identifier: Apache-2.0
"""Whether a pair of terms is a law: at general shapes, many sizes and sharper points, and of which numerics class.

Polynomial terms are compared in the integers modulo a prime, where no tolerance is needed. Others are compared in
float64 against the largest value that occurs on the way, over magnitudes from small to large, with ties, zeros and
negatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np

from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower.jaxpr import lower_graph
from egraph_opt.rules.suggest.enumerate import Pair
from egraph_opt.rules.suggest.general import generalised
from egraph_opt.rules.suggest.terms import Term, size_of, to_graph
from egraph_opt.rules.suggest.values import PRIME, Array, Values, float_points, polynomial, ring_points

LETTERS = "nmpqrstuvwxyzabcdefghijk"
PRIMES = (3, 5, 2, 7, 4, 6)
TOLERANCE = 1e-9
SPREADS = (1.0, 0.05, 6.0)
COUNT = 60
CALM = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.5)
MODERATE = (*CALM, 1e-3, -1e-3, 20.0, -20.0, 88.0, -88.0, 1e3, -1e3)
EXTREME = (*MODERATE, 1e-42, 1e-30, -1e-30, 1e30, -1e30, 3e38, np.nan, np.inf, -np.inf)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about a pair.

    Args:
        fault: why it is no law; empty when it is one.
        numerics: class of replacing the left side by the right one.
        back: class of the other direction.
        points: how many assignments of values were compared.
        pair: the law at its most general shapes.
    """

    fault: str
    numerics: Numerics
    back: Numerics
    points: int
    pair: Pair


def examine(pair: Pair) -> Verdict:
    """Test a pair more sharply than the enumeration did."""
    general = generalised(pair)
    points, fault = 0, ""
    for seed, sizes in enumerate(_sizes(general)):
        for spread in SPREADS:
            fault = fault or _difference(general, sizes, seed, spread)
            points += COUNT
    if fault:
        return Verdict(fault, Numerics.FINITE, Numerics.FINITE, points, general)
    return Verdict("", *_classes(general), points, general)


def _sizes(pair: Pair) -> list[dict[str, int]]:
    """Different sizes, equal sizes, sizes of one."""
    names = sorted({d.lower() for side in (pair.left, pair.right) for t in side.walk() for d in t.dims})
    return [dict(zip(names, PRIMES, strict=False)), dict.fromkeys(names, 3), dict.fromkeys(names, 1)]


def _difference(pair: Pair, sizes: Mapping[str, int], seed: int, spread: float) -> str:
    """Where the sides differ, in words."""
    variables = pair.variables()
    if polynomial(pair.left) and polynomial(pair.right):
        ring = Values(ring_points(variables, sizes, COUNT, seed), sizes, PRIME)
        left, right = ring(pair.left), ring(pair.right)
        return "" if np.array_equal(left, right) else f"differs in the integers modulo {PRIME} at sizes {dict(sizes)}"
    values = Values(float_points(variables, sizes, COUNT, seed + 100, spread), sizes)
    with np.errstate(all="ignore"):
        left, right = values(pair.left), values(pair.right)
        scale, overflow = _scale([pair.left, pair.right], values)
        same = np.abs(left - right) <= TOLERANCE * scale.reshape((-1,) + (1,) * (left.ndim - 1))
        same |= (left == right) | (np.isnan(left) & np.isnan(right))
    # Beyond ordinary magnitudes what overflowed on the way may differ: that is a matter of the numerics class.
    same |= (overflow if spread > 1 else np.zeros_like(overflow)).reshape((-1,) + (1,) * (left.ndim - 1))
    if same.all():
        return ""
    where = np.unravel_index(np.argmin(same), same.shape)
    inputs = {name: np.round(values(Term(None, (), (), name))[where[0]], 4).tolist() for name in variables}
    return f"{left[where]:.6g} is not {right[where]:.6g} at {inputs}"


def _scale(roots: list[Term], values: Values) -> tuple[Array, Array]:
    """For each point the largest finite value on the way, and whether anything overflowed."""
    largest = np.ones(values.count)
    overflow = np.zeros(values.count, bool)
    for root in roots:
        for term in root.walk():
            value = np.abs(values(term)).reshape(values.count, -1)
            largest = np.maximum(largest, np.max(np.where(np.isfinite(value), value, 0.0), 1, initial=0.0))
            overflow |= np.isinf(value).any(1)
    return largest, overflow


def _classes(pair: Pair) -> tuple[Numerics, Numerics]:
    """Numerics classes of both directions, from float32 as it is lowered."""
    sizes = _sizes(pair)[0]
    variables = pair.variables()
    graph = to_graph([pair.left, pair.right], sizes, variables)
    function = jax.vmap(lower_graph(graph))
    finite = _float32(pair, sizes, MODERATE, 1)
    ordinary = float_points(variables, sizes, COUNT, 2)
    with jax.enable_x64(False):
        left, right = (np.asarray(v) for v in function(list(finite.values())))
        forth = not np.any(np.isfinite(left) & ~np.isfinite(right))
        back = not np.any(np.isfinite(right) & ~np.isfinite(left))
        if pair.right.operator is None or pair.left.operator is None:
            forth = back = forth and back  # a variable is always there, so it may be replaced in turn
        exact = not _sums(pair)
        for points in (finite, _float32(pair, sizes, EXTREME, 3), ordinary):
            if exact:
                one, other = (np.asarray(v) for v in function([np.float32(p) for p in points.values()]))
                exact = _same_bits(one, other)
        clouded = _float32(pair, sizes, (*CALM, np.nan), 4)
        left, right = (np.asarray(v) for v in function(list(clouded.values())))
    if exact:
        return Numerics.EXACT, Numerics.EXACT
    if np.any(np.isnan(left) != np.isnan(right)):
        return Numerics.FINITE, Numerics.FINITE  # one side hides a NaN of its operands
    return tuple(Numerics.REASSOCIATE if safe else Numerics.FINITE for safe in (forth, back))  # type: ignore[return-value]


def _sums(pair: Pair) -> bool:
    """Whether a sum over an axis occurs: the order of its terms is the compiler's choice."""
    for side in (pair.left, pair.right):
        for term in side.walk():
            if term.operator is not None and term.operator.op in ("einsum", "cumsum") and term.args:
                words, output = term.operator.spelled(len(term.dims))
                if term.operator.op == "cumsum" or not set("".join(words)) <= set(output):
                    return True
    return False


def _same_bits(one: Array, other: Array) -> bool:
    nan = np.isnan(one) & np.isnan(other)
    return bool(np.all(nan | ((one == other) & (np.signbit(one) == np.signbit(other)))))


def _float32(pair: Pair, sizes: Mapping[str, int], among: tuple[float, ...], seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        name: random.choice(np.array(among, np.float32), (4 * COUNT, *(size_of(d, sizes) for d in dims)))
        for name, dims in pair.variables().items()
    }
