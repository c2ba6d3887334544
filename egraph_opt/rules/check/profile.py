# SPDX-License-Identifier: Apache-2.0
"""How one random instance leans: its sizes, ranks and element types, drawn once so that its parts meet often."""

from __future__ import annotations

import random
from collections.abc import Sequence

from egraph_opt.errors import EgraphOptError

FLOATS = ("float64", "float32", "bfloat16", "float16")
COMPLEX = ("complex128", "complex64")
INTEGERS = ("int32", "int64", "uint8", "uint32", "int8", "int16", "uint16", "uint64")
DTYPES = (*FLOATS, *COMPLEX, *INTEGERS, "bool")
_WEIGHTS = (34, 14, 3, 2, 6, 3, 14, 4, 3, 2, 1, 1, 1, 1, 15)
_SIZES = (1, 2, 3, 4, 5, 7)
_SIZE_WEIGHTS = (12, 28, 28, 14, 12, 6)


class MisfitError(EgraphOptError):
    """The parts drawn so far do not fit each other, or a condition does not hold: draw again."""


class Profile:
    """Random choices of one instance.

    Args:
        rng: source of randomness.
        small: sizes up to 2 and ranks up to 2, for counterexamples that are easy to read.
        dtypes: element types to choose the main one from; all of them without it.
        empty: some dimensions have size 0.
    """

    def __init__(
        self, rng: random.Random, small: bool = False, dtypes: Sequence[str] = (), empty: bool = False
    ) -> None:
        self.rng, self.small = rng, small
        kind = rng.random()
        pool = rng.choices(_SIZES, _SIZE_WEIGHTS, k=3)
        if small:
            pool = [min(n, 2) for n in pool]
        if kind < 0.3:
            pool = pool[:1]
        elif kind < 0.6:
            pool = list(dict.fromkeys((2, 3) if small else rng.sample(_SIZES, 3)))
        if empty:
            pool = [0, *pool]
        self.sizes = pool
        self.max_rank = 2 if small else 4
        self.main = rng.choice(dtypes) if dtypes else rng.choices(DTYPES, _WEIGHTS)[0]
        self.other = rng.choices(DTYPES, _WEIGHTS)[0]

    def chance(self, probability: float) -> bool:
        """True as often as said."""
        return self.rng.random() < probability

    def size(self) -> int:
        """Size of a dimension."""
        return self.rng.choice(self.sizes)

    def rank(self) -> int:
        """Number of dimensions."""
        weights = (12, 30, 38, 15, 5)
        return self.rng.choices(range(self.max_rank + 1), weights[: self.max_rank + 1])[0]

    def shape(self, least: int = 0) -> tuple[int, ...]:
        """A shape of some rank."""
        return tuple(self.size() for _ in range(max(least, self.rank())))

    def dtype(self) -> str:
        """The main element type, now and then another."""
        return self.main if self.chance(0.9) else self.rng.choices(DTYPES, _WEIGHTS)[0]
