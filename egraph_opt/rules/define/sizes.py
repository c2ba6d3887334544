# SPDX-License-Identifier: Apache-2.0
"""Named sizes: a rule is captured at two sets of sizes, and what differs between them is an expression of the names.

The sizes are primes with few relations between them, so that an expression which explains a number at both is the one
that was meant.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from egraph_opt.ir.bindings import Binding
from egraph_opt.ir.nests import TOLERANCE

FIRST = (11, 17, 23, 31, 13, 41, 29, 19, 43, 37)
SECOND = (47, 67, 107, 157, 59, 193, 109, 89, 211, 163)
"""Sizes of the names, in order, at the two captures: what is smaller than another is so at both, as a window may be."""

SMALL = 4
"""Largest number that is added to a size or multiplied with it in an expression."""

MAX_DENOMINATOR = 24
"""Of a fraction that a number is taken for, if rounding alone is between them."""

ALLOWED = "a number times or over sizes, as in 1/n, 2/(n*k), 1/(n-1)"
"""What factors may be, in the words of messages."""

_NUMBER = re.compile(r"(?<![\w.'])-?\d+(?![\w.'])")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Names of sizes, at most ten."""

    names: tuple[str, ...]

    def at(self, second: bool = False) -> Mapping[str, int]:
        """The sizes at one of the captures."""
        return dict(zip(self.names, SECOND if second else FIRST, strict=False))

    def expression(self, a: int, b: int) -> str | None:
        """What is ``a`` at the first capture and ``b`` at the second; None when nothing is found."""
        if a == b:
            return str(a)
        first, second = Binding(self.at()), Binding(self.at(True))
        return next((text for text in self._candidates() if first.value(text) == a and second.value(text) == b), None)

    def factor(self, a: float, b: float) -> str | None:
        """The same for a factor of an einsum: a number times or over sizes, as in ``1/n``, ``2/(n*k)``, ``1/(n-1)``."""
        if a == b:
            return repr(a)
        first, second = Binding(self.at()), Binding(self.at(True))
        products = ("*".join(names) for count in (1, 2, 3) for names in itertools.combinations(self.names, count))
        for text in itertools.chain(products, self._candidates()):
            p, q = first.value(text), second.value(text)
            if not p or not q:
                continue
            inside = text if text.replace("*", "").isidentifier() else f"({text})"
            for written, x, y in ((f"*{inside}", a / p, b / q), (f"/({text})", a * p, b * q)):
                if math.isclose(x, y, rel_tol=TOLERANCE):
                    return f"{_plain(x)!r}{written}"
        return None

    def text(self, a: str, b: str) -> str | None:
        """Text whose numbers differ between the captures, with ``{expression}`` in their place."""
        if a == b:
            return a
        parts, others = _NUMBER.split(a), _NUMBER.split(b)
        found = [self.expression(int(x), int(y)) for x, y in zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=False)]
        if parts != others or None in found:
            return None
        numbers = [str(text) if re.fullmatch(r"-?\d+", str(text)) else f"{{{text}}}" for text in found]
        return "".join(itertools.chain(*zip(parts, [*numbers, ""], strict=True)))

    def _candidates(self) -> Iterator[str]:
        yield from self.names
        for count in (2, 3):
            for names in itertools.combinations_with_replacement(self.names, count):
                yield "*".join(names)
                yield "+".join(names)
        for name, number in itertools.product(self.names, range(1, SMALL + 1)):
            yield f"{name}+{number}"
            yield f"{name}-{number}"
            yield f"{number}*{name}"
        pairs = list(itertools.permutations(self.names, 2))
        yield from ("-".join(names) for names in pairs)
        for names, number in itertools.product(pairs, range(1, SMALL + 1)):
            yield f"{'-'.join(names)}+{number}"
            yield f"{'-'.join(names)}-{number}"


def _plain(number: float) -> float:
    """A number without what rounding to a narrow type did to it."""
    simple = float(Fraction(number).limit_denominator(MAX_DENOMINATOR))
    return simple if math.isclose(simple, number, rel_tol=TOLERANCE) else float(f"{number:.9g}")


def fresh_names(count: int, taken: Sequence[str] = ()) -> list[str]:
    """Names for sizes that have none."""
    return list(itertools.islice((n for n in ("n", "k", "m", "l", *"pqrstuvw") if n not in taken), count))
