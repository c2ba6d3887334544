# SPDX-License-Identifier: Apache-2.0
"""Algebra of specs: how two einsums become one, or one product is grouped another way.

Plain functions over spec text, memoised: the same specs come back thousands of times. The normaliser calls them
directly; the engine offers them to rules as attribute functions. ``None``: not possible, or a growth guard said no.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from egraph_opt.ir.spec import Scale, Spec, canonical

_cache = functools.cache

LARGEST = 1e150
"""Factors beyond this one, and below one over it, are not merged."""

MAX_LINK = 16.0
"""Largest factor, and one over the smallest, that is taken for exact in both directions."""

PRIVATE_LETTERS = 0x1000
"""Code point from which letters of an inner spec are named that the outer one does not see."""


class Pure(NamedTuple):
    """A product in normal form: ``post(core(before_x(x), before_y(y)))``; ``None`` stands for the identity."""

    core: str
    before_x: str | None
    before_y: str | None
    post: str | None


class Merged(NamedTuple):
    """A merged, not yet canonical spec."""

    inputs: list[str]
    output: str
    sizes: dict[str, int]
    scale: Scale


def merge(outer: Spec, inner: Spec, position: int) -> Merged:
    """Substitute ``inner`` for operand ``position`` of ``outer``.

    Letters of a diagonal that ``inner`` writes, or that ``outer`` reads, become one letter. A letter that is summed and
    that nobody holds any more turns into a factor.
    """
    rename, find = _unify(outer, inner, position)

    def word(letters: str, table: Mapping[str, str] | None = None) -> str:
        return "".join(find(table[c] if table else c) for c in letters)

    inputs = [word(w) for w in outer.inputs]
    inputs[position : position + 1] = [word(w, rename) for w in inner.inputs]
    output = word(outer.output)
    sizes = {find(c): n for c, n in outer.sizes.items()}
    sizes |= {find(rename[c]): n for c, n in inner.sizes.items()}
    held = set("".join(inputs)) | set(output)
    scale = outer.scale * inner.scale
    for c, n in sizes.items():
        if c not in held:
            scale *= n
    return Merged(inputs, output, {c: n for c, n in sizes.items() if c in held}, scale)


def _unify(outer: Spec, inner: Spec, position: int) -> tuple[dict[str, str], Callable[[str], str]]:
    """Names of the letters of ``inner`` in ``outer``, and the letter that each name stands for."""
    rename: dict[str, str] = {}
    same: dict[str, str] = {}

    def find(c: str) -> str:
        while c in same:
            c = same[c]
        return c

    for mine, theirs in zip(inner.output, outer.inputs[position], strict=True):
        if mine not in rename:
            rename[mine] = theirs
        elif find(rename[mine]) != find(theirs):
            same[find(theirs)] = find(rename[mine])
    for number, c in enumerate(inner.sizes):
        rename.setdefault(c, chr(PRIVATE_LETTERS + number))
    return rename, find


@_cache
def compose(outer: str, inner: str) -> str:
    """One-operand einsum of a one-operand einsum: always one einsum."""
    return canonical(*merge(Spec.parse(outer), Spec.parse(inner), 0))


def purify(inputs: Sequence[str], output: str, sizes: Mapping[str, int], scale: Scale) -> Pure:
    """Normal form of a two-operand product.

    The core has distinct letters in each operand and in the result, no factor, no broadcast, and no letter that one
    operand alone holds and the result lacks: those are summed before, diagonals are read before and written after.
    """
    out_letters = set(output)
    words: list[str] = []
    before: list[str | None] = []
    for mine, other in ((0, 1), (1, 0)):
        needed = out_letters | set(inputs[other])
        kept = "".join(c for c in dict.fromkeys(inputs[mine]) if c in needed)
        words.append(kept)
        before.append(None if kept == inputs[mine] else canonical([inputs[mine]], kept, sizes))
    held = set("".join(words))
    core_out = "".join(c for c in dict.fromkeys(output) if c in held)
    post = None if core_out == output and scale == 1 else canonical([core_out], output, sizes, scale)
    return Pure(canonical(words, core_out, sizes), before[0], before[1], post)


@_cache
def compose_product(outer: str, inner: str) -> Pure:
    """One-operand einsum of a product."""
    return purify(*merge(Spec.parse(outer), Spec.parse(inner), 0))


@_cache
def absorb(outer: str, inner: str, position: int) -> Pure:
    """Product one of whose operands is a one-operand einsum."""
    return purify(*merge(Spec.parse(outer), Spec.parse(inner), position))


@_cache
def swap(spec: str) -> str:
    """The product with its operands exchanged."""
    s = Spec.parse(spec)
    return canonical([s.inputs[1], s.inputs[0]], s.output, s.sizes, s.scale)


@_cache
def inverse(spec: str) -> str | None:
    """The einsum that undoes a scaled permutation, when that is exact (the scale a power of two, of floats)."""
    s = Spec.parse(spec)
    if not s.is_permutation or not _is_power_of_two(s.scale):
        return None
    scale = s.scale if s.scale in (1, -1) else 1.0 / s.scale
    return canonical([s.output], s.inputs[0], s.sizes, scale)


@_cache
def mergeable(outer: str, inner: str) -> bool:
    """Whether the product of the factors of two specs is a factor too."""
    return all(is_factor(Spec.parse(s).scale) for s in (outer, inner))


def is_factor(scale: Scale) -> bool:
    """Whether a factor may be merged with another one: their product neither overflows nor vanishes."""
    return 1 / LARGEST <= abs(scale) <= LARGEST


def _is_power_of_two(scale: Scale) -> bool:
    if scale in (1, -1):
        return True
    if not 1 / MAX_LINK <= abs(scale) <= MAX_LINK:
        return False  # what is scaled may have overflowed or vanished: it does not determine the other
    return float.hex(float(abs(scale))).startswith("0x1.0000000000000p")


@_cache
def relate(first: str, second: str) -> str | None:
    """Permutation that makes the result of ``first`` that of ``second``: same operands, other result order."""
    a, b = Spec.parse(first), Spec.parse(second)
    if a.inputs != b.inputs or a.output == b.output or sorted(a.output) != sorted(b.output):
        return None
    return canonical([a.output], b.output, a.sizes)


@_cache
def turned(product: str, permutation: str) -> str:
    """The product with its result transposed as ``permutation`` does it, whose factor is left out."""
    p, turn = Spec.parse(product), Spec.parse(permutation)
    place = dict(zip(turn.inputs[0], p.output, strict=True))
    return canonical(list(p.inputs), "".join(place[c] for c in turn.output), p.sizes, p.scale)


@_cache
def further_sum(first: str, second: str) -> str | None:
    """Sum that makes the result of ``first`` that of ``second``: same operands, fewer dimensions in the result."""
    a, b = Spec.parse(first), Spec.parse(second)
    if a.inputs != b.inputs or not set(b.output) < set(a.output):
        return None
    return canonical([a.output], b.output, a.sizes)


@_cache
def regroup(outer: str, inner: str, position: int, keep: int, slack: float) -> tuple[str, str] | None:
    """Another grouping of a product of three operands.

    Args:
        outer: product whose operand ``position`` is the product ``inner``.
        inner: product of ``x`` and ``y``; the other operand of ``outer`` is ``z``.
        position: 0 or 1.
        keep: which operand of ``inner`` leaves it: 0 groups ``y`` with ``z``, 1 groups ``x`` with ``z``.
        slack: the local FLOP may grow by this factor.

    Returns:
        ``(pair, rest)``: spec of the new inner product (paired operand first, ``z`` second) and of the new outer one
        (leaving operand first). ``None`` where a guard refuses: the new intermediate is larger than everything around
        it, the local FLOP grow, or all three operands carry the same letters (a plain elementwise product).
    """
    o, i = Spec.parse(outer), Spec.parse(inner)
    inputs, output, sizes, scale = merge(o, i, position)
    assert scale == 1, "products carry no factor"
    x, y, z = inputs if position == 0 else (inputs[1], inputs[2], inputs[0])
    paired, leaving = (y, x) if keep == 0 else (x, y)
    new = "".join(c for c in dict.fromkeys(paired + z) if c in leaving or c in output)
    old = "".join(c for c in dict.fromkeys(x + y) if c in z or c in output)

    def count(letters: str) -> int:
        total = 1
        for c in set(letters):
            total *= sizes[c]
        return total

    if count(new) > max(count(old), count(paired), count(z), count(output)):
        return None
    before = count(x + y) + count(old + z)
    after = count(paired + z) + count(new + leaving)
    if after > before * slack:
        return None
    every = set(x + y + z)
    flat = sum(set(word) == every for word in (x, y, z)) > 1 or set(x) == set(y)
    if flat and after >= before:
        return None
    pair, rest = purify([paired, z], new, sizes, 1), purify([leaving, new], output, sizes, 1)
    if (pair.before_x, pair.before_y, pair.post, rest.before_x, rest.before_y, rest.post) != (None,) * 6:
        return None
    return pair.core, rest.core


@_cache
def shrinks(spec: str, position: int) -> bool:
    """Whether the result is smaller than operand ``position``: only then does it pay to distribute over a sum in it."""
    s = Spec.parse(spec)
    return s.count(s.output) < s.count(s.inputs[position])
