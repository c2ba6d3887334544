# SPDX-License-Identifier: Apache-2.0
"""Specs of a random instance that the conditions of a rule on a product fix together.

Conditions on an update of low rank, on one-hot rows or on merged dimensions speak of several specs, or of one that is
rare among all. Here such specs are drawn as a whole. Now and then they are left to chance, like those of other rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from egraph_opt.engine.facts import SHAPE
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.words import attribute_text
from egraph_opt.ir.reshapes import shape_text
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.rules.check.premises import Premises, is_variable
from egraph_opt.rules.check.profile import Profile
from egraph_opt.rules.check.random_specs import draw_scale

LEFT_TO_CHANCE = 0.1
"""Share of the instances for which nothing is drawn here."""


def product_texts(premises: Premises, profile: Profile) -> dict[str, str]:
    """Values of text variables that go together; empty for a rule without such conditions.

    Args:
        premises: what the rule asks for.
        profile: random choices.
    """
    calls = [call for _, call in premises.equations]
    for names, draw in _DRAWN:
        call = next((c for c in calls if str(c[0]).partition(".")[0] in names), None)
        if call is not None and not profile.chance(LEFT_TO_CHANCE):
            return {name: text for name, text in draw(profile, call[1:], premises).items() if is_variable(name)}
    return {}


class _Word:
    """Fresh letters with sizes."""

    def __init__(self, profile: Profile) -> None:
        self._profile, self._fresh = profile, iter(LETTERS)
        self.sizes: dict[str, int] = {}

    def new(self, count: int, least: int = 0) -> str:
        """Letters of random sizes, none of them below ``least``."""
        found = ""
        for _ in range(count):
            letter = next(self._fresh)
            self.sizes[letter] = max(self._profile.size(), least)
            found += letter
        return found

    def mixed(self, letters: str) -> str:
        """The letters, mostly in another order."""
        return "".join(self._profile.rng.sample(letters, len(letters))) if self._profile.chance(0.7) else letters

    def some(self, letters: str, share: float) -> str:
        """Some of the letters."""
        return "".join(c for c in letters if self._profile.chance(share))


def _one_hot(profile: Profile, arguments: Sequence[Expr], premises: Premises) -> dict[str, str]:
    """A product with rows that are one where an index says; the places are summed over, or the rows are."""
    word = _Word(profile)
    reads = any(str(call[0]).startswith("one-hot-read") for _, call in premises.equations)
    single = any(fact == SHAPE and wanted == '"scalar"' for fact, wanted, _ in premises.types)
    place, ids = word.new(1), word.new(0 if single else profile.rng.choice((1, 1, 1, 2)))
    rest = word.new(profile.rng.choice((0, 1, 1, 2)))
    row = word.mixed(ids + place)
    text, *others = map(str, arguments)
    sizes = word.sizes
    if len(others) == 2:  # a sum over the places
        kept = word.mixed(word.some(ids, 0.6))
        found = canonical([row], kept, sizes, draw_scale(profile, profile.main))
        return {text: found, **_spread(word, others, ids, place, row)}
    other, output = (place + rest, ids + rest) if reads else (ids + rest, place + rest)
    words = [word.mixed(other), row]
    found = canonical(words if others[0] == "1" else words[::-1], word.mixed(output), sizes)
    return {text: found, **_spread(word, others[1:], ids, place, row)}


def _spread(word: _Word, names: Sequence[str], ids: str, place: str, row: str) -> dict[str, str]:
    """Specs that broadcast indices and places over the rows."""
    return {
        names[0]: canonical([word.mixed(ids)], row, word.sizes),
        names[1]: canonical([place], row, word.sizes),
    }


def _low_rank(profile: Profile, arguments: Sequence[Expr], premises: Premises) -> dict[str, str]:
    """An update of low rank, and a right-hand side that shares its first factor."""
    word = _Word(profile)
    calls = [call for _, call in premises.equations]
    batch, row, rank = word.new(profile.rng.choice((0, 0, 0, 1, 1, 2))), word.new(1, least=2), word.new(1)
    column = word.new(1)
    sizes = word.sizes
    sizes[column] = sizes[row]
    sizes[rank] = profile.rng.choice((1, 1, 2 if sizes[row] > 2 else 1, sizes[rank]))
    if any(str(call[0]).startswith("rank-one") for call in calls):
        rank = ""
    transposed = len(arguments) > 2 and profile.chance(0.4)
    mine, other = (column, row) if transposed else (row, column)
    shared = batch if profile.chance(0.6) or any(str(call[0]).startswith("push") for call in calls) else None
    x = word.mixed((word.some(batch, 0.7) if shared is None else shared) + mine + rank)
    y = word.mixed((batch if shared is None else word.some(batch, 0.7)) + other + rank)
    words = [x, y] if str(arguments[1]) == "0" else [y, x]
    found = {str(arguments[0]): canonical(words, batch + row + column, sizes)}
    if len(arguments) > 2:
        found[str(arguments[2])] = f"matrix='general', transposed={transposed}"
    push = next((call for call in calls if str(call[0]).startswith("push-through")), None)
    if push is not None and rank:
        columns = word.new(profile.rng.choice((0, 1, 1, 2)))
        z = word.mixed(word.some(batch, 0.7) + rank + columns)
        pair = [x, z] if str(push[5]) == "0" else [z, x]
        found[str(push[4])] = canonical(pair, batch + mine + columns, sizes)
    return found


def _outer(profile: Profile, arguments: Sequence[Expr], premises: Premises) -> dict[str, str]:
    """An outer product, or a tensor beside an identity, whose dimensions are merged pair by pair."""
    word = _Word(profile)
    terms = [term for found in premises.definitions.values() for given in found for term in _terms(given)]
    product = any(term[0] == "Einsum2" and term[1] == arguments[0] for term in terms)
    shared = word.new(profile.rng.choice((0, 0, 0, 1)), least=2)
    pairs = [word.new(2, least=2) for _ in range(profile.rng.choice((1, 2, 2, 2, 3) if product else (2, 2, 3)))]
    x, y = ("".join(pair[i] for pair in pairs) for i in (0, 1))
    if not product:  # y is the letter of the identity, in the first two pairs
        pairs = [pairs[0], pairs[1][0] + pairs[0][1], *(pair[0] for pair in pairs[2:])]
    turned = [pair if profile.chance(0.7) else pair[::-1] for pair in pairs]
    words = [word.mixed(shared + x), word.mixed(word.some(shared, 0.3) + y)] if product else [word.mixed(shared + x)]
    merged = [word.sizes[c] for c in shared] + [math.prod(word.sizes[c] for c in pair) for pair in pairs]
    found = {str(arguments[0]): canonical(words, shared + "".join(turned), word.sizes)}
    inner = {name for name, given in premises.definitions.items() if any(t[1:2] == arguments[:1] for t in given)}
    for term in terms:
        if term[0] == "Reshape" and term[2] in inner:
            found[str(term[1])] = shape_text(tuple(merged))
    return found


def _triangle(profile: Profile, arguments: Sequence[Expr], premises: Premises) -> dict[str, str]:
    """A product with a triangle of ones, whose edge mostly lies where the rule wants it."""
    word = _Word(profile)
    row, rest = word.new(1, least=2), word.new(profile.rng.choice((0, 1, 1, 2)))
    column = word.new(1)
    n = word.sizes[column] = word.sizes[row]
    summed, kept = (row, column) if profile.chance(0.5) else (column, row)
    words = [row + column, word.mixed(rest + summed)]
    text, position, part, _ = map(str, arguments)
    shifted = any(str(call[0]).startswith("cumulated.shifted") for _, call in premises.equations)
    edge = -profile.rng.randrange(1, n) if shifted else 0
    far = n - profile.rng.choice((1, 1, 1, 2))
    lower, upper = (far, edge) if profile.chance(0.5) else (edge, far)
    found = {
        text: canonical(words if position == "0" else words[::-1], word.mixed(rest + kept), word.sizes),
        part: attribute_text((("lower", lower), ("upper", upper))),
    }
    for given in premises.definitions.values():
        found |= {str(t[1]): f"->ab;{n},{n}" for top in given for t in _terms(top) if t[0] == "Einsum1"}
    return found


def _terms(term: Expr) -> Iterator[Form]:
    """A term and all within it."""
    if isinstance(term, Form) and term:
        yield term
        for part in term[1:]:
            yield from _terms(part)


_DRAWN: tuple[tuple[frozenset[str], Callable[..., dict[str, str]]], ...] = (
    (frozenset({"one-hot-read", "one-hot-added", "one-hot-sum"}), _one_hot),
    (frozenset({"low-rank", "rank-one", "low-rank-determinant", "rank-one-determinant"}), _low_rank),
    (frozenset({"is-outer"}), _outer),
    (frozenset({"cumulated"}), _triangle),
)
