# SPDX-License-Identifier: Apache-2.0
"""Specs of products with structured operands: diagonals are read, operands turned, pairs cancelled."""

from __future__ import annotations

import functools
from typing import NamedTuple

from egraph_opt.ir.spec import LETTERS, Spec, canonical, identity
from egraph_opt.ir.spec_algebra import merge, purify

COLUMNS, ROWS = "columns", "rows"


class Full(NamedTuple):
    """``post(core(before_x(x), before_y(y)))``, identities where nothing is to be done."""

    core: str
    before_x: str
    before_y: str
    post: str


def _full(words: list[str], output: str, sizes: dict[str, int]) -> Full:
    pure = purify(words, output, sizes, 1)
    core = Spec.parse(pure.core)
    return Full(
        pure.core,
        pure.before_x or identity(core.shapes[0]),
        pure.before_y or identity(core.shapes[1]),
        pure.post or identity(core.shape),
    )


@functools.cache
def filled(shape: tuple[int, ...]) -> str:
    """Spec over a scalar of a tensor that holds it everywhere."""
    letters = LETTERS[: len(shape)]
    return canonical([""], letters, dict(zip(letters, shape, strict=True)))


@functools.cache
def mirrored(text: str, position: int) -> str | None:
    """The spec that reads operand ``position`` with its last two dimensions exchanged, if that is the smaller text."""
    spec = Spec.parse(text)
    word = spec.inputs[position]
    if len(word) < 2:
        return None
    words = list(spec.inputs)
    words[position] = word[:-2] + word[-1] + word[-2]
    turned = canonical(words, spec.output, spec.sizes, spec.scale)
    return turned if turned < text else None


@functools.cache
def on_diagonal(text: str, position: int) -> Full | None:
    """A product whose operand ``position`` is diagonal in its last two dimensions: only the diagonal is read."""
    spec = Spec.parse(text)
    if len(spec.inputs[position]) < 2:
        return None
    p, q = spec.inputs[position][-2], spec.inputs[position][-1]
    if p == q or spec.sizes[p] != spec.sizes[q]:
        return None
    full = _full([w.replace(q, p) for w in spec.inputs], spec.output.replace(q, p), dict(spec.sizes))
    return full if Spec.parse(full.core).flops < spec.flops else None


@functools.cache
def sum_of_diagonal(text: str) -> str | None:
    """A one-operand einsum that sums over one of the last two dimensions of a diagonal operand."""
    spec = Spec.parse(text)
    word = spec.inputs[0]
    if len(word) < 2 or word[-1] == word[-2] or not {word[-1], word[-2]} & set(spec.summed):
        return None
    p, q = word[-2], word[-1]
    if spec.sizes[p] != spec.sizes[q]:
        return None
    return canonical([word.replace(q, p)], spec.output.replace(q, p), spec.sizes, spec.scale)


def _delta(first: str, second: str, kind: str, rest: str) -> tuple[str, str] | None:
    """The two letters that ``sum_r Q[r, a] Q[r, b]`` makes one, given all letters around the pair."""
    if kind == ROWS:
        first, second = (w[:-2] + w[-1:] + w[-2:-1] for w in (first, second))
    one, other = first, second
    if len(one) < 2 or one[:-1] != other[:-1] or len(set(one)) < len(one) or len(set(other)) < len(other):
        return None
    r, a, b = one[-2], one[-1], other[-1]
    if r in rest or a == b or not set(one[:-2]) <= set(rest) or not {a, b} & set(rest):
        return None
    return a, b


@functools.cache
def gram_identity(text: str, kind: str) -> str | None:
    """Spec over the scalar one of ``Q' Q`` (``Q Q'`` for rows), given the product's."""
    spec = Spec.parse(text)
    found = _delta(spec.inputs[0], spec.inputs[1], kind, spec.output)
    if found is None or not set(found) <= set(spec.output):
        return None
    output = spec.output.replace(*found)
    return canonical([""], output, {c: spec.sizes[c] for c in output})


@functools.cache
def cancelled(outer: str, inner: str, position: int, place: int, kind: str) -> str | None:
    """Spec over ``y`` of ``Q' (Q y)``.

    Args:
        outer: product of Q and the inner one, which is its operand ``position``.
        inner: product of Q and ``y``; Q is its operand ``place``.
        position: 0 or 1.
        place: 0 or 1.
        kind: whether the columns or the rows of Q are orthonormal.
    """
    words, output, sizes, scale = merge(Spec.parse(outer), Spec.parse(inner), position)
    first = words.pop(0 if position == 1 else 2)
    second, y = words[place], words[1 - place]
    found = _delta(first, second, kind, y + output)
    if found is None or scale != 1:
        return None
    word, result = y.replace(*found), output.replace(*found)
    return canonical([word], result, {c: sizes[c] for c in word + result})


@functools.cache
def rotated(outer: str, left: str, right: str, place: int, other: int, kind: str) -> Full | None:
    """Product over ``x`` and ``y`` of ``(Q x) (Q y)`` where the rotation cancels.

    Args:
        outer: product of the two products.
        left: of Q, its operand ``place``, and x.
        right: of Q, its operand ``other``, and y.
        place: 0 or 1.
        other: 0 or 1.
        kind: whether the columns or the rows of Q are orthonormal.
    """
    half = merge(Spec.parse(outer), Spec.parse(right), 1)
    names = {c: chr(0x2000 + n) for n, c in enumerate(half.sizes)}
    plain = Spec(
        (names_of(half.inputs[0], names), ""),
        names_of(half.output, names),
        {names[c]: n for c, n in half.sizes.items()},
    )
    whole = merge(plain, Spec.parse(left), 0)
    tail = [names_of(w, names) for w in half.inputs[1:]]
    held = {**{names[c]: n for c, n in half.sizes.items()}, **whole.sizes}
    first, x = whole.inputs[place], whole.inputs[1 - place]
    second, y = tail[other], tail[1 - other]
    found = _delta(first, second, kind, x + y + whole.output)
    if found is None:
        return None
    words = [x.replace(*found), y.replace(*found)]
    return _full(words, whole.output.replace(*found), held)


def names_of(word: str, names: dict[str, str]) -> str:
    """A word with its letters renamed."""
    return "".join(names[c] for c in word)


@functools.cache
def own_factor(text: str, lower: bool) -> tuple[str, str] | None:
    """How a triangular matrix is the factor of its product with its transpose, up to signs.

    Args:
        text: ``L L'`` for a lower triangular operand, ``U' U`` for an upper one.
        lower: which of them.

    Returns:
        Product of the operand with signs of its diagonal, as lower triangular matrix, and the spec of that diagonal.
    """
    spec = Spec.parse(text)
    first, second = spec.inputs
    batch = spec.output[:-2]
    if len(first) < 2 or len(second) != len(first) or spec.scale != 1 or len(set(first)) < len(first):
        return None
    free, summed = (-2, -1) if lower else (-1, -2)
    i, k = first[free], first[summed]
    if first[:-2] != batch or second[:-2] != batch or second[summed] != k or spec.sizes[i] != spec.sizes[k]:
        return None
    if {i, second[free]} != set(spec.output[-2:]) or i == second[free] or k in spec.output:
        return None
    word = batch + (i + k if lower else k + i)
    held = {c: spec.sizes[c] for c in word}
    diagonal = canonical([batch + k + k], batch + k, held)
    return canonical([word, batch + k], batch + i + k, held), diagonal
