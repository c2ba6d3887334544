# SPDX-License-Identifier: Apache-2.0
"""Nodes that read and give any order of dimensions: what each copies in a given one, and which orders suit it.

Einsums say by letters how their dimensions stand, convolutions by dimension numbers; a reshape that only adds or drops
dimensions of size 1 can have those anywhere. Each is seen here as words: one a reordered operand, one for the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from egraph_opt.cost.work import einsum_work
from egraph_opt.ir import Node, Spec, TensorType
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import itemsize

CONV = "conv_general_dilated"

PACKED = 0.5
"""Time to bring a byte into order inside a matrix product, as a share of that for one copied beforehand."""


class Flexible:
    """A node of any order; this one is an einsum.

    Args:
        node: the node.
        words: letters of each operand that may be reordered, and of the result.

    Attributes:
        originals: the words before anything was moved.
    """

    def __init__(self, node: Node, words: Sequence[str]) -> None:
        self.node = node
        self.words = list(words)
        self.originals = tuple(words)

    @property
    def spec(self) -> Spec:
        """Its spec before anything was moved."""
        return Spec.parse(self.node.attr("spec"))

    @property
    def text(self) -> str:
        """Its spec."""
        *inputs, output = self.words
        return canonical(inputs, output, self.spec.sizes, self.spec.scale)

    @property
    def is_idle(self) -> bool:
        """Whether it returns its operand as it is."""
        return Spec.parse(self.text).is_identity

    def copied(self) -> float:
        """Bytes that are copied, or read across [byte]."""
        return _copied_by(self.text, self.node.type.dtype)

    def natural(self) -> list[str]:
        """Orders in which it gives its result."""
        *inputs, out = self.words
        x, y = inputs[0], inputs[-1]
        if len(inputs) == 2 and self.spec.summed:
            batch = kept(kept(out, x), y)
            rows, columns = ("".join(c for c in kept(word, out) if c not in batch) for word in (x, y))
            return [batch + rows + columns, batch + columns + rows]
        return [_completed(kept(word, out), out) for word in (x, y)]

    def wanted(self, place: int) -> list[str]:
        """Orders in which it takes an operand as it is."""
        *inputs, result = self.words
        word = inputs[place]
        other = inputs[1 - place] if len(inputs) == 2 else result
        if len(inputs) == 2 and self.spec.summed and set(other) != set(word):
            shared = kept(kept(result, word), other)
            own = "".join(c for c in kept(result, word) if c not in other)
            summed = "".join(c for c in kept(other, word) if c not in result)
            return [shared + own + summed, shared + summed + own]
        return [_completed(kept(theirs, word), word) for theirs in (result, other)]


class Convolution(Flexible):
    """A convolution, by its input and its result; XLA:CPU brings both into an order with the channels last."""

    def __init__(self, node: Node, x: TensorType) -> None:
        numbers = node.attr("dimension_numbers")
        super().__init__(node, [_placed(numbers.lhs_spec), _placed(numbers.out_spec)])
        self.types = (x, node.type)
        pairs = [zip(word, type.shape, strict=True) for word, type in zip(self.words, self.types, strict=True)]
        self.large = ["".join(c for c, n in pair if n > 1) for pair in pairs]

    def copied(self) -> float:
        """Bytes that are copied [byte]."""
        total = 0.0
        for word, best, large, type in zip(self.words, self._best, self.large, self.types, strict=True):
            if kept(word, large) != kept(best, large):
                total += 2.0 * type.nbytes
            elif word != best:
                total += 1.0  # nothing is copied, but the program reads better
        return total

    def natural(self) -> list[str]:
        """Orders in which it gives its result."""
        return [self._best[1]]

    def wanted(self, place: int) -> list[str]:
        """Orders in which it takes an operand as it is."""
        return [self._best[place]]

    @property
    def _best(self) -> list[str]:
        letters = LETTERS[: len(self.words[0])]
        return [letters[0] + letters[2:] + letters[1]] * 2

    def attrs(self) -> tuple[tuple[str, Any], ...]:
        """The attributes of the node in the present order."""
        lhs, out = (tuple(word.index(c) for c in LETTERS[: len(word)]) for word in self.words)
        numbers = self.node.attr("dimension_numbers")._replace(lhs_spec=lhs, out_spec=out)
        return tuple((name, numbers if name == "dimension_numbers" else value) for name, value in self.node.attrs)


class Units(Flexible):
    """A reshape that adds or drops dimensions of size 1."""

    @staticmethod
    def of(node: Node, operand: TensorType) -> Units | None:
        """Such a reshape; None for others."""
        shapes = operand.shape, node.type.shape
        large = [[n for n in shape if n != 1] for shape in shapes]
        if large[0] != large[1] or sum(map(len, shapes)) > len(LETTERS):
            return None
        fresh = iter(LETTERS[len(large[0]) :])
        words = []
        for shape in shapes:
            letters = iter(LETTERS)
            words.append("".join(next(letters) if n != 1 else next(fresh) for n in shape))
        return Units(node, words)

    def copied(self) -> float:
        """Bytes that are copied [byte]."""
        x, out = self.words
        return 0.0 if kept(x, out) == kept(out, x) else 2.0 * self.node.type.nbytes

    def natural(self) -> list[str]:
        """Orders in which it gives its result."""
        x, out = self.words
        return [_completed(kept(x, out), out)]

    def wanted(self, place: int) -> list[str]:
        """Orders in which it takes an operand as it is."""
        x, out = self.words
        return [_completed(kept(out, x), x)]


def flexible(node: Node, operand_types: Sequence[TensorType], *, convolutions: bool) -> Flexible | None:
    """The node as one of any order, or None."""
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        return Flexible(node, [*spec.inputs, spec.output]) if _is_plain(spec) else None
    if node.op == CONV and convolutions:
        return Convolution(node, operand_types[0])
    return Units.of(node, operand_types[0]) if node.op == "reshape" else None


def kept(word: str, others: str) -> str:
    """The letters of a word that another one has as well."""
    return "".join(c for c in word if c in others)


def _completed(first: str, word: str) -> str:
    """Some letters of a word, and then the rest of it."""
    return first + "".join(c for c in word if c not in first)


def _placed(spec: Sequence[int]) -> str:
    """A word of dimension numbers: a letter for each of batch, channel, and space, where it stands."""
    return "".join(LETTERS[spec.index(axis)] for axis in range(len(spec)))


@lru_cache(maxsize=1 << 14)
def _copied_by(text: str, dtype: str) -> float:
    """Bytes that an einsum reads across or copies [byte]."""
    spec = Spec.parse(text)
    if len(spec.inputs) == 2 and spec.summed and set(spec.inputs[0]) != set(spec.inputs[1]):
        return einsum_work(text, dtype).copied + _packed(spec, itemsize(dtype))
    crossed = [word for word in spec.inputs if kept(word, spec.output) != kept(spec.output, word)]
    if len(spec.inputs) == 2 and spec.summed and not crossed and spec.inputs[0] != spec.inputs[1]:
        crossed = [spec.inputs[0]]
    return 2.0 * itemsize(dtype) * sum(spec.count(word) for word in crossed)


def _packed(spec: Spec, nbytes: float) -> float:
    """Bytes that a matrix product of XLA:CPU brings into order itself (docs/decisions/einsum-spelling.md).

    The operand whose rows come first in the result wants what is summed last; the other one only where the first has it
    otherwise. Products with a vector read a matrix as it stands.
    """
    first, second = spec.inputs if _leads(spec) else spec.inputs[::-1]
    crossed: list[str] = []
    if not all(any(c not in other for c in word) for word, other in ((first, second), (second, first))):
        return 0.0
    if first[-1] not in spec.summed:
        crossed = [first, second] if second[-1] in spec.summed else [first]
    return PACKED * 2.0 * nbytes * sum(spec.count(word) for word in crossed)


def _leads(spec: Spec) -> bool:
    """Whether the first operand is the one whose rows come first in the result."""
    x, y = spec.inputs
    own = [c for c in spec.output if (c in x) != (c in y)]
    return not own or own[0] in x


def _is_plain(spec: Spec) -> bool:
    """A product in normal form, or one operand without diagonals."""
    if len(spec.inputs) == 2:
        return spec.is_pure
    return all(len(set(word)) == len(word) for word in (*spec.inputs, spec.output))
