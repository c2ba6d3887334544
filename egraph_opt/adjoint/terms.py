# SPDX-License-Identifier: Apache-2.0
"""Sums of one tensor times another over named indices, and how indices are named, split and counted.

A dimension may stand for several indices, first the slowest: a convolution of a whole basis has its directions and its
images in one batch dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import LETTERS, Scale, canonical
from egraph_opt.ir.types import TensorType

Letters = tuple[int, ...]
Word = tuple[Letters, ...]
"""The indices of each dimension."""

UNSEEN = -1
"""Stands for a factor that the graph at hand cannot see: that of a loop's carries, outside of it."""


class StuckError(Exception):
    """A sum cannot go any further here."""


class Term(NamedTuple):
    """The sum of ``node[word] * factor[letters]`` over all indices that ``out`` lacks.

    Args:
        node: a node of the program that is read.
        word: its indices.
        factor: a node of the program that is made, or ``UNSEEN``.
        letters: the factor's indices, one a dimension.
        out: indices of the result, one a dimension.
    """

    node: int
    word: Word
    factor: int
    letters: Letters
    out: Letters

    @property
    def held(self) -> Letters:
        """Indices of the node."""
        return flat(self.word)

    @property
    def joined(self) -> set[int]:
        """Indices of the node that are summed."""
        return set(self.held) - set(self.out)


class Cut(NamedTuple):
    """An index to be split, and the size of its first part."""

    letter: int
    first: int


def flat(word: Word) -> Letters:
    """All indices of a word in order."""
    return tuple(c for group in word for c in group)


class Indices:
    """Sizes of indices, numbered as they are made."""

    def __init__(self) -> None:
        self._sizes: list[int] = []

    def new(self, size: int) -> int:
        """A further index."""
        self._sizes.append(size)
        return len(self._sizes) - 1

    def word(self, shape: Iterable[int]) -> Word:
        """A further index for each dimension."""
        return tuple((self.new(n),) for n in shape)

    def shape(self, letters: Letters) -> tuple[int, ...]:
        """Their sizes."""
        return tuple(self._sizes[c] for c in letters)

    def sizes(self, word: Word) -> tuple[int, ...]:
        """Sizes of the dimensions of a word."""
        return tuple(math.prod(self.shape(group)) for group in word)

    def count(self, letters: Iterable[int]) -> int:
        """Number of their values together."""
        return math.prod(self._sizes[c] for c in set(letters))

    def renamed(self, term: Term) -> tuple[Term, Letters]:
        """A key that equal sums share: the term with its indices numbered by first appearance, and their sizes."""
        order = list(dict.fromkeys((*term.held, *term.letters, *term.out)))
        names = {c: k for k, c in enumerate(order)}
        word = tuple(tuple(names[c] for c in group) for group in term.word)
        letters, out = (tuple(names[c] for c in each) for each in (term.letters, term.out))
        return Term(term.node, word, term.factor, letters, out), self.shape(tuple(order))

    def einsum(
        self, emitter: Emitter, words: Sequence[Letters], out: Letters, operands: Sequence[int], scale: Scale = 1
    ) -> int:
        """The sum of a product of one or two tensors.

        Raises:
            StuckError: there are more indices than letters.
        """
        order = list(dict.fromkeys(c for word in (*words, out) for c in word))
        if len(order) > len(LETTERS):
            raise StuckError
        names = dict(zip(order, LETTERS, strict=False))
        texts = ["".join(names[c] for c in word) for word in words]
        sizes = {names[c]: self._sizes[c] for c in order}
        made = emitter.einsum(canonical(texts, "".join(names[c] for c in out), sizes), operands)
        return made if scale == 1 else emitter.scaled(made, scale)

    def over(self, type: TensorType, letters: Letters) -> TensorType:
        """The type of a tensor with these indices."""
        return type.with_shape(self.shape(letters))

    def regrouped(self, letters: Letters, shape: Sequence[int]) -> Word | Cut | None:
        """The indices in order as the dimensions of another shape of that size.

        Returns:
            the index to split where a dimension ends inside of it; None where no split helps.
        """
        rest = list(letters)
        word: list[Letters] = []
        for size in shape:
            group: list[int] = []
            have = 1
            while have < size:
                c = rest[0]
                n = self._sizes[c]
                if size % have == 0 and (size // have) % n == 0:
                    have *= n
                    group.append(rest.pop(0))
                elif size % have == 0 and n % (size // have) == 0:
                    return Cut(c, size // have)
                else:
                    return None
            word.append(tuple(group))
        if rest and word:  # indices of one value
            word[-1] = (*word[-1], *rest)
            rest = []
        return None if rest else tuple(word)
