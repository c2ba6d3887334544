# SPDX-License-Identifier: Apache-2.0
"""Random einsum specs that fit what is known: shapes of operands, shape of the result, letters, factor.

Products are drawn in the normal form that the engine keeps them in (``spec_algebra.purify``): distinct letters in every
word, no factor, nothing broadcast, nothing that one operand alone sums.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.spec import LETTERS, Scale, Spec, canonical
from egraph_opt.ir.types import is_integer
from egraph_opt.rules.check.profile import MisfitError, Profile

Shape = tuple[int, ...]
_INTEGER_SCALES = (-1, 2, 3, -2, -3, 5)
_FLOAT_SCALES = (-1.0, 2.0, 0.5, -2.0, 3.0, 0.25, -0.5, -1)


def draw_scale(profile: Profile, dtype: str) -> Scale:
    """A factor: mostly one, now and then zero; factors of floats are short binary fractions, so that they are exact."""
    if dtype == "bool" or not profile.chance(0.3):
        return 1
    if profile.chance(0.08):
        return 0 if is_integer(dtype) else 0.0
    if dtype.startswith("uint"):
        return profile.rng.choice((2, 3, 5))
    return profile.rng.choice(_INTEGER_SCALES if is_integer(dtype) else _FLOAT_SCALES)


def draw_spec(
    profile: Profile,
    known: Sequence[Shape | None],
    want: Shape | None,
    dtype: str,
    letters: str | None = None,
    scale: str | None = None,
) -> str:
    """Text of a spec.

    Args:
        profile: random choices.
        known: shape of each operand, where it is fixed.
        want: shape of the result, if it is fixed.
        dtype: element type, for the factor.
        letters: words that a condition wants, as ``ab,bc->ac``.
        scale: factor that a condition wants.

    Raises:
        MisfitError: nothing fits, or this draw did not.
    """
    factor: Scale = 1
    if scale is not None:
        factor = dict(parse_attrs(f"value={scale}"))["value"]
    elif len(known) == 1:
        factor = draw_scale(profile, dtype)
    if letters is not None:
        return _sized(profile, letters, known, want, factor)
    if len(known) == 1:
        return _single(profile, known[0], want, factor, dtype)
    return _product(profile, known, want)


def _sized(profile: Profile, letters: str, known: Sequence[Shape | None], want: Shape | None, factor: Scale) -> str:
    left, arrow, output = letters.partition("->")
    inputs = left.split(",")
    if not arrow or len(inputs) != len(known):
        raise MisfitError(f"letters {letters!r} are no einsum of {len(known)} operands")
    sizes: dict[str, int] = {}
    for word, shape in zip((*inputs, output), (*known, want), strict=True):
        if shape is None:
            continue
        if len(word) != len(shape):
            raise MisfitError("the shape has another rank than the letters")
        for letter, size in zip(word, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise MisfitError("a letter has two sizes")
    for letter in dict.fromkeys("".join(inputs) + output):
        sizes.setdefault(letter, profile.size())
    return canonical(inputs, output, sizes, factor)


class _Letters:
    """Letters in use and their sizes."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._fresh = iter(LETTERS)

    def new(self, size: int) -> str:
        """A letter that is not used yet."""
        letter = next(self._fresh)
        self.sizes[letter] = size
        return letter


def _single(profile: Profile, known: Shape | None, want: Shape | None, factor: Scale, dtype: str) -> str:
    if known is None:
        return _single_by_result(profile, want if want is not None else profile.shape(), factor, dtype)
    rng, letters = profile.rng, _Letters()
    sizes = letters.sizes
    word: list[str] = []
    for size in known:
        again = [c for c in word if sizes[c] == size]
        word.append(rng.choice(again) if again and profile.chance(0.15) else letters.new(size))
    distinct = list(dict.fromkeys(word))
    if want is not None:
        left, out = list(distinct), list[str]()
        for size in want:
            again = [c for c in out if c not in distinct and sizes[c] == size]
            written = again and profile.chance(0.25)
            out.append(rng.choice(again) if written else _read_or_written(profile, size, left, letters))
        return canonical(["".join(word)], "".join(out), sizes, factor)
    kept = [c for c in distinct if profile.chance(0.75) or dtype == "bool"]
    if not profile.chance(0.35):
        rng.shuffle(kept)
    if profile.chance(0.2):
        kept.insert(rng.randrange(len(kept) + 1), letters.new(profile.size()))
    if kept and profile.chance(0.08):
        kept.insert(rng.randrange(len(kept) + 1), rng.choice(kept))
    return canonical(["".join(word)], "".join(kept), sizes, factor)


def _read_or_written(profile: Profile, size: int, left: list[str], letters: _Letters) -> str:
    """Letter of a dimension of the result: one of the operand, taken off ``left``, or now and then a broadcast."""
    fitting = [c for c in left if letters.sizes[c] == size]
    if not fitting or profile.chance(0.12):
        return letters.new(size)
    found = fitting[0] if profile.chance(0.5) else profile.rng.choice(fitting)
    if not profile.chance(0.05):
        left.remove(found)
    return found


def _single_by_result(profile: Profile, shape: Shape, factor: Scale, dtype: str) -> str:
    """From the result back: each of its dimensions is read, broadcast, or the diagonal of an earlier one."""
    rng, letters = profile.rng, _Letters()
    output, read = "", ""
    reads = rng.choice((0.83, 0.83, 0.83, 0.5))
    for size in shape:
        again = [c for c in output if letters.sizes[c] == size]
        kind = rng.random()
        if again and kind < 0.12:
            output += rng.choice(again)
        else:
            output += letters.new(size)
            read += output[-1] if profile.chance(reads) else ""
    count = 0 if dtype == "bool" else rng.choice((0, 0, 0, 1, 1, 2))
    word = list(read) + [letters.new(profile.size()) for _ in range(count)]
    if word and profile.chance(0.12):
        word.append(rng.choice(word))
    rng.shuffle(word)
    if profile.chance(0.25):
        word = [c for c in dict.fromkeys(output) if c in word] + [c for c in word if c not in output]
    return canonical(["".join(word)], output, letters.sizes, factor)


def _mixed(profile: Profile, letters: Sequence[str]) -> list[str]:
    found = list(letters)
    if not profile.chance(0.3):
        profile.rng.shuffle(found)
    return found


def _product(profile: Profile, known: Sequence[Shape | None], want: Shape | None) -> str:
    x, y = known
    if x is None and y is not None:
        spec = Spec.parse(_product(profile, (y, None), want))
        return canonical([spec.inputs[1], spec.inputs[0]], spec.output, spec.sizes)
    letters = _Letters()
    if x is None:
        words, out = _free_product(profile, want, letters)
    elif y is None:
        words, out = _half_product(profile, x, want, letters)
    else:
        words, out = _fixed_product(profile, x, y, want, letters)
    return canonical(["".join(word) for word in words], "".join(out), letters.sizes)


Words = tuple[list[list[str]], list[str]]


def _free_product(profile: Profile, want: Shape | None, letters: _Letters) -> Words:
    rng = profile.rng
    shape = want if want is not None else tuple(profile.size() for _ in range(rng.choice((0, 1, 1, 2, 2, 2, 3))))
    out = [letters.new(size) for size in shape]
    roles = [rng.choices(("both", "x", "y"), (20, 40, 40))[0] for _ in out]
    both = [letters.new(profile.size()) for _ in range(rng.choice((0, 0, 1, 1, 1, 1, 2)))]
    left = [c for c, role in zip(out, roles, strict=True) if role != "y"] + both
    right = [c for c, role in zip(out, roles, strict=True) if role != "x"] + both
    return [_mixed(profile, left), _mixed(profile, right)], out


def _half_product(profile: Profile, x: Shape, want: Shape | None, letters: _Letters) -> Words:
    left = [letters.new(size) for size in x]
    more: list[str] = []
    if want is None:
        out = [c for c in left if profile.chance(0.6)]
        more = [letters.new(profile.size()) for _ in range(profile.rng.choice((0, 0, 1, 1, 2)))]
    else:
        out = []
        for size in want:
            free = [c for c in left if letters.sizes[c] == size and c not in out]
            out.append(profile.rng.choice(free) if free and profile.chance(0.7) else letters.new(size))
    right = [c for c in left if c not in out or profile.chance(0.25)] + [c for c in out if c not in left] + more
    return [left, _mixed(profile, right)], _mixed(profile, out + more) if want is None else out


def _fixed_product(profile: Profile, x: Shape, y: Shape, want: Shape | None, letters: _Letters) -> Words:
    left, right = [letters.new(size) for size in x], list[str]()
    sizes = letters.sizes
    for size in y:
        free = [c for c in left if sizes[c] == size and c not in right]
        right.append(profile.rng.choice(free) if free and profile.chance(0.7) else letters.new(size))
    alone = [c for c in dict.fromkeys(left + right) if (c in left) != (c in right)]
    shared = [c for c in left if c in right]
    if want is None:
        return [left, right], _mixed(profile, alone + [c for c in shared if profile.chance(0.3)])
    out: list[str] = []
    for size in want:
        free = [c for c in (*alone, *shared) if sizes[c] == size and c not in out]
        if not free:
            raise MisfitError("the product has no dimension of that size")
        out.append(profile.rng.choice([c for c in free if c in alone] or free))
    if not set(alone) <= set(out):
        raise MisfitError("the product has a dimension too many")
    return [left, right], out
