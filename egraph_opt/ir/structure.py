# SPDX-License-Identifier: Apache-2.0
"""What may be known of a tensor beside its type: facts about the matrices in its last two dimensions, and signs.

Facts are sets that only grow: what holds of a value under one spelling holds under all of them. Zeros away from the
diagonal are two numbers, the bandwidths below and above it; names such as "diagonal" follow from them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

UNBOUNDED = math.inf

ELEMENTWISE = frozenset({"zero", "constant", "nonnegative", "positive"})
"""Facts about each element alone; all others are about matrices."""

DECLARED = frozenset(
    {
        "banded", "circulant", "constant", "diagonal", "identity", "lower_triangular", "nonnegative", "one_hot",
        "orthogonal", "orthonormal_columns", "orthonormal_rows", "permutation", "positive", "positive_definite",
        "positive_semidefinite", "symmetric", "toeplitz", "tridiagonal", "unit_diagonal", "upper_triangular", "zero",
    }
)  # fmt: skip
"""Facts that a user may state of an array."""

NAMES = DECLARED | {"invertible"}
"""Facts that rules may ask for."""

BANDS = {
    "diagonal": (0, 0),
    "identity": (0, 0),
    "zero": (0, 0),
    "lower_triangular": (UNBOUNDED, 0),
    "upper_triangular": (0, UNBOUNDED),
    "tridiagonal": (1, 1),
}
"""Facts that are bandwidths below and above the diagonal."""

_NAMED = frozenset({"identity", "zero"})
"""Facts that are more than bandwidths."""

IMPLIED = {
    "zero": ("constant", "nonnegative", "symmetric", "positive_semidefinite", "circulant"),
    "identity": ("permutation", "positive_definite", "unit_diagonal", "circulant"),
    "positive": ("nonnegative",),
    "positive_definite": ("positive_semidefinite", "invertible"),
    "positive_semidefinite": ("symmetric",),
    "permutation": ("orthogonal", "one_hot"),
    "one_hot": ("nonnegative",),
    "orthogonal": ("orthonormal_columns", "orthonormal_rows", "invertible"),
    "circulant": ("toeplitz",),
    "constant": ("toeplitz", "circulant", "symmetric"),
}
"""What follows from each fact."""

SQUARE = frozenset(
    {"symmetric", "positive_semidefinite", "positive_definite", "orthogonal", "permutation", "circulant", "identity",
     "unit_diagonal", "invertible"}
)  # fmt: skip
"""Facts that only square matrices have."""

REAL = frozenset({"symmetric", "positive_semidefinite", "positive_definite", "orthogonal", "orthonormal_columns",
                  "orthonormal_rows", "nonnegative", "positive"})  # fmt: skip
"""Facts that are not kept of complex numbers, where they would mean something else."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What is known of one tensor.

    Args:
        facts: names out of ``NAMES``, without those that bandwidths give.
        lower: elements further below the diagonal than this are zero.
        upper: elements further above the diagonal than this are zero.
    """

    facts: frozenset[str] = frozenset()
    lower: float = UNBOUNDED
    upper: float = UNBOUNDED

    def __bool__(self) -> bool:
        return bool(self.facts) or self.lower < UNBOUNDED or self.upper < UNBOUNDED

    def both(self, other: Structure) -> Structure:
        """What is known from two sources."""
        if not other:
            return self
        if not self:
            return other
        return Structure(self.facts | other.facts, min(self.lower, other.lower), min(self.upper, other.upper))

    def having(self, *facts: str) -> Structure:
        """The same and further facts."""
        return replace(self, facts=self.facts | set(facts)) if facts else self

    def only(self, facts: Iterable[str], banded: bool = False) -> Structure:
        """What remains when nothing but some facts, and maybe the bandwidths, outlives an operation."""
        kept = self.facts & frozenset(facts)
        return Structure(kept, self.lower, self.upper) if banded else Structure(kept)

    @property
    def transposed(self) -> Structure:
        """Structure of the transposed matrices."""
        turn = {"orthonormal_columns": "orthonormal_rows", "orthonormal_rows": "orthonormal_columns", "one_hot": ""}
        facts = frozenset(turn.get(f, f) for f in self.facts) - {""}
        return Structure(facts, self.upper, self.lower)


NOTHING = Structure()


def impossible(shape: Sequence[int]) -> frozenset[str]:
    """Facts that no tensor of a shape has."""
    if len(shape) < 2:
        return (DECLARED | NAMES) - ELEMENTWISE
    rows, columns = shape[-2:]
    found = set() if rows == columns else set(SQUARE)
    if rows < columns:
        found.add("orthonormal_columns")
    if rows > columns:
        found.add("orthonormal_rows")
    if rows and not columns:
        found.add("one_hot")
    return frozenset(found)


def is_square(shape: Sequence[int]) -> bool:
    """Whether the last two dimensions are there and equal."""
    return len(shape) > 1 and shape[-1] == shape[-2]


@functools.lru_cache(maxsize=1 << 14)
def closed(known: Structure, shape: tuple[int, ...], real: bool = True) -> Structure:
    """All that follows from what is known of a tensor of a shape; facts that make no sense for it are dropped."""
    facts, low, high = set(known.facts), known.lower, known.upper
    square = is_square(shape)
    never = impossible(shape) | (REAL if not real else frozenset())
    facts -= never
    size = -1
    while len(facts) != size:
        size = len(facts)
        for name in list(facts):
            facts.update(IMPLIED.get(name, ()))
            below, above = BANDS.get(name, (UNBOUNDED, UNBOUNDED))
            low, high = min(low, below), min(high, above)
        if low + high < 0 and len(shape) > 1:
            facts.add("zero")
        if square and "symmetric" in facts:
            low = high = min(low, high)
        if {"positive_semidefinite", "invertible"} <= facts:
            facts.add("positive_definite")
        if square and real and low <= 0 and high <= 0:
            facts.add("symmetric")
            if "unit_diagonal" in facts:
                facts.add("identity")
        if square and real and facts & {"orthonormal_columns", "orthonormal_rows"}:
            facts.add("orthogonal")
        facts -= never
    if len(shape) < 2:
        return Structure(frozenset(facts))
    low = UNBOUNDED if low >= shape[-2] - 1 else low  # what the shape gives anyway is no knowledge
    high = UNBOUNDED if high >= shape[-1] - 1 else high
    return Structure(frozenset(facts - (BANDS.keys() - _NAMED)), low, high)


@functools.lru_cache(maxsize=1 << 14)
def names(known: Structure) -> frozenset[str]:
    """Names of everything that is known, for rules."""
    found = set(known.facts)
    found |= {name for name, (low, high) in BANDS.items() if known.lower <= low and known.upper <= high} - _NAMED
    if known.lower < UNBOUNDED and known.upper < UNBOUNDED:
        found.add("banded")
    return frozenset(found & NAMES)


def declared(facts: Iterable[str], shape: tuple[int, ...], real: bool = True) -> Structure:
    """The structure that declarations state of a tensor: names, ``"banded:2,1"`` for bandwidths.

    "positive" and "nonnegative" of a diagonal matrix are about its diagonal.
    """
    found = set(facts)
    low = high = UNBOUNDED
    for text in list(found):
        name, _, numbers = text.partition(":")
        if name == "banded" and numbers:
            found.discard(text)
            low, high = map(int, numbers.split(","))
    if "diagonal" in found or (low, high) == (0, 0):
        if "positive" in found:
            found = found - {"positive"} | {"positive_definite", "nonnegative"}
        elif "nonnegative" in found:
            found |= {"positive_semidefinite"}
    return closed(Structure(frozenset(found & NAMES - {"banded"}), low, high), shape, real)
