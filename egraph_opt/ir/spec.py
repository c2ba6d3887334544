# SPDX-License-Identifier: Apache-2.0
"""The positional einsum spec: the one description of all sum-product structure.

``"ab,bc->ac;2,3,4"``: operand letters, result letters, sizes of the letters in alphabetical order, and after ``|`` a
scalar factor when it is not 1. Letters are numbered by first appearance, so equal contractions have equal text. A
letter that stands only in the result is a broadcast; one that stands twice in an operand reads a diagonal; one that
stands twice in the result writes one (zero elsewhere); one that is missing in the result is summed.
"""

from __future__ import annotations

import functools
import math
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.errors import GraphError

LETTERS = string.ascii_lowercase + string.ascii_uppercase
Scale = float | int

LARGEST_WHOLE = 2.0**31
"""Factors that are whole numbers below this one are spelled as integers."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed spec.

    Args:
        inputs: letters of one or two operands.
        output: letters of the result.
        sizes: size of each letter.
        scale: factor of the result.
    """

    inputs: tuple[str, ...]
    output: str
    sizes: Mapping[str, int]
    scale: Scale = 1

    @staticmethod
    @functools.cache
    def parse(text: str) -> Spec:
        """Read the text form.

        Raises:
            GraphError: the text is no spec.
        """
        body, _, scale = text.partition("|")
        letters, _, sizes = body.partition(";")
        left, arrow, output = letters.partition("->")
        inputs = tuple(left.split(","))
        names = list(dict.fromkeys("".join(inputs) + output))
        numbers = [int(n) for n in sizes.split(",")] if sizes else []
        if not arrow or len(inputs) > 2 or len(names) != len(numbers) or not set(names) <= set(LETTERS):
            raise GraphError(f"{text!r} is no einsum spec; want e.g. 'ab,bc->ac;2,3,4'")
        factor: Scale = 1
        if scale:
            factor = float(scale) if any(c in scale for c in ".einf") else int(scale)
        return Spec(inputs, output, dict(zip(names, numbers, strict=True)), factor)

    def __str__(self) -> str:
        sizes = ",".join(str(n) for n in self.sizes.values())
        scale = "" if self.scale == 1 else f"|{self.scale!r}"
        return f"{','.join(self.inputs)}->{self.output};{sizes}{scale}"

    @property
    def summed(self) -> str:
        """Letters of the operands that the result lacks."""
        return "".join(c for c in self.sizes if c not in self.output)

    @property
    def broadcast(self) -> str:
        """Letters of the result that no operand has."""
        have = set("".join(self.inputs))
        return "".join(c for c in dict.fromkeys(self.output) if c not in have)

    @property
    def is_identity(self) -> bool:
        """One operand, returned as it is."""
        return len(self.inputs) == 1 and self.inputs[0] == self.output and self.scale == 1 and self.is_permutation

    @property
    def is_permutation(self) -> bool:
        """One operand whose dimensions are reordered; the scale does not count."""
        if len(self.inputs) != 1:
            return False
        letters = self.inputs[0]
        return len(set(letters)) == len(letters) == len(self.output) and set(letters) == set(self.output)

    @property
    def is_copy(self) -> bool:
        """One operand, nothing summed: every result element is an operand element times the scale, or zero."""
        return len(self.inputs) == 1 and set(self.inputs[0]) <= set(self.output)

    @property
    def has_distinct_output(self) -> bool:
        """Whether no diagonal is written."""
        return len(set(self.output)) == len(self.output)

    @property
    def is_pure(self) -> bool:
        """Two operands in normal form: see ``spec_algebra.purify``."""
        if len(self.inputs) != 2 or self.scale != 1:
            return False
        x, y = map(set, self.inputs)
        out = set(self.output)
        distinct = all(len(set(w)) == len(w) for w in (*self.inputs, self.output))
        return distinct and out <= x | y and x <= out | y and y <= out | x

    def count(self, letters: Iterable[str]) -> int:
        """Number of index values of a set of letters."""
        return math.prod(self.sizes[c] for c in set(letters))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each operand."""
        return tuple(tuple(self.sizes[c] for c in word) for word in self.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.sizes[c] for c in self.output)

    @property
    def flops(self) -> float:
        """Multiplications and additions [flop]."""
        terms = self.count(c for c in self.sizes if c not in self.broadcast)
        if len(self.inputs) == 2:
            return (2.0 if self.summed else 1.0) * terms
        scaling = self.count(set(self.output) - set(self.broadcast)) if self.scale not in (1, -1) else 0
        return float(terms if self.summed else 0) + scaling


def canonical(inputs: Sequence[str], output: str, sizes: Mapping[str, int], scale: Scale = 1) -> str:
    """Text of the spec with its letters renamed by first appearance.

    Raises:
        GraphError: more than 52 letters.
    """
    names = dict.fromkeys("".join(inputs) + output)
    if len(names) > len(LETTERS):
        raise GraphError(f"an einsum of {len(names)} letters; at most {len(LETTERS)} fit")
    table = dict(zip(names, LETTERS, strict=False))
    rename = "".join
    words = tuple(rename(table[c] for c in word) for word in inputs)
    return str(Spec(words, rename(table[c] for c in output), {table[c]: sizes[c] for c in names}, one_spelling(scale)))


def one_spelling(scale: Scale) -> Scale:
    """Whole numbers as integers, so that sums of equal terms and products with a number have one text.

    Those beyond what every integer type of JAX holds stay as they are, and so does minus zero.
    """
    if isinstance(scale, int) or not abs(scale) < LARGEST_WHOLE or not scale.is_integer():
        return scale
    return scale if scale == 0 and math.copysign(1, scale) < 0 else int(scale)


def identity(shape: tuple[int, ...], scale: Scale = 1) -> str:
    """Spec that returns its operand, times a scale."""
    text = _identity(shape)
    if scale == 1:
        return text
    return f"{text}|{one_spelling(scale)!r}"  # equal numbers of different texts would share a place in a cache


@functools.cache
def _identity(shape: tuple[int, ...]) -> str:
    letters = LETTERS[: len(shape)]
    return canonical([letters], letters, dict(zip(letters, shape, strict=True)))
