# SPDX-License-Identifier: Apache-2.0
"""Texts of a random instance that go together in rules about matrices of blocks and products of Kronecker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from egraph_opt.engine.attributes_solves import solve_text
from egraph_opt.ir.reshapes import Shape, shape_text
from egraph_opt.ir.spec import canonical
from egraph_opt.rules.check.profile import Profile

Texts = dict[str, str]


def _size(profile: Profile) -> int:
    return max(1, profile.size() % 4)


def right_side(profile: Profile, lead: Shape) -> Shape:
    """Shape of a right-hand side, given those of its dimensions that the matrix has."""
    columns = tuple(_size(profile) for _ in range(profile.rng.choice((0, 1, 1, 2))))
    return (*lead, *columns)


def _system(profile: Profile) -> str:
    return solve_text("general", profile.chance(0.5))


def _kron(profile: Profile, names: Sequence[str], outputs: Collection[str]) -> Texts:
    """Spec, shape of the matrix, and shape of the right-hand side and kind of the system where they are asked for."""
    rng, batch = profile.rng, "x" if profile.chance(0.4) else ""
    sizes = {"x": _size(profile), "a": _size(profile), "c": _size(profile)}
    sizes |= {"b": sizes["a"], "d": sizes["c"]}
    words = [_shuffled(profile, letters + (batch if profile.chance(0.7) else "")) for letters in ("ab", "cd")]
    output = batch + "acbd"
    if "y" in outputs:
        rng.shuffle(words)
    else:
        kept = rng.randrange(2)
        words = [words[kept]]
        output = batch + ("acad" if kept else "acbc")
    used = {c: n for c, n in sizes.items() if c in output or any(c in word for word in words)}
    lead = (sizes["x"],) if batch else ()
    n = sizes["a"] * sizes["c"]
    found = {names[0]: canonical(words, output, used), names[1]: shape_text((*lead, n, n))}
    if len(names) == 4:
        found[names[2]] = shape_text(right_side(profile, (*lead, n)))
    if len(names) > 2:
        found[names[-1]] = _system(profile)
    return found


def _shuffled(profile: Profile, word: str) -> str:
    return "".join(profile.rng.sample(word, len(word)))


PRESETS: Mapping[str, Callable[[Profile, Sequence[str], Collection[str]], Texts]] = {
    "kron-system": _kron,
    "kron-inverse": _kron,
    "kron-determinant": _kron,
}
"""By attribute function: texts of its arguments, given their names and the outputs that the rule reads."""
