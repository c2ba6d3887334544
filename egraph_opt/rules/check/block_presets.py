# SPDX-License-Identifier: Apache-2.0
"""Texts of a random instance that go together in rules about matrices of blocks and products of Kronecker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from egraph_opt.engine.attributes_solves import solve_text
from egraph_opt.engine.facts import SHAPE
from egraph_opt.ir.reshapes import Shape, shape_text
from egraph_opt.ir.spec import canonical
from egraph_opt.rules.check.premises import Premises, is_variable
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


def _kron(profile: Profile, premises: Premises) -> Texts:
    """Spec, shape of the matrix, and shape of the right-hand side and kind of the system where they are asked for."""
    calls = [call for _, call in premises.equations if str(call[0]).startswith("kron")]
    names, outputs = [str(part) for part in calls[0][1:]], {str(call[0]).partition(".")[2] for call in calls}
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


def _blocks(profile: Profile, premises: Premises) -> Texts:
    """Attributes and shapes of two rows of blocks, and of what stands beside them."""
    n, m = _size(profile), _size(profile)
    lead = (_size(profile),) if profile.chance(0.3) else ()
    around = ((0, 0, 0),) * (len(lead) + 1)
    first, second = (*lead, n, n), (*lead, m, m)
    rows, columns = f"dimension={len(lead)}", f"dimension={len(lead) + 1}"
    halves = (*lead, n, n + m), (*lead, m, n + m)
    values = {
        "zeros-right": (f"padding_config={(*around, (0, m, 0))}", shape_text(first)),
        "zeros-left": (f"padding_config={(*around, (n, 0, 0))}", shape_text(second)),
        "block-parts": (rows, *map(shape_text, halves)),
        "block-sides": (
            rows,
            *map(shape_text, halves),
            shape_text(right_side(profile, (*lead, n + m))),
            _system(profile),
        ),
        "complement": (columns, shape_text(first), shape_text((*lead, n, m))),
    }
    found: Texts = {}
    for _, call in premises.equations:
        names = [str(part) for part in call[1:]]
        found.update(zip(names, values.get(str(call[0]).partition(".")[0], ()), strict=False))
    for fact, wanted, name in premises.types:
        if fact == SHAPE and "identity" in premises.structure.get(name, ()):
            found[str(wanted)] = shape_text((*lead, n + m, n + m))
    return {name: text for name, text in found.items() if is_variable(name)}


def _padded(profile: Profile, premises: Premises) -> Texts:
    """Padding of two tensors that are joined."""
    rank = profile.rng.choice((1, 2, 2, 3))
    axis = profile.rng.randrange(rank)
    shared = [tuple(profile.rng.randrange(3) for _ in "lh") for _ in range(rank)]

    def config() -> str:
        entries = [(low + profile.rng.choice((0, 0, 1)), high, 0) for low, high in shared]
        return f"padding_config={tuple(entries)}"

    names = next([str(p) for p in call[1:]] for _, call in premises.equations if str(call[0]).startswith("common-p"))
    return dict(zip(names, (f"dimension={axis}", config(), config()), strict=True))


PRESETS: Mapping[str, Callable[[Profile, Premises], Texts]] = {
    **dict.fromkeys(("kron-system", "kron-inverse", "kron-determinant"), _kron),
    **dict.fromkeys(("zeros-right", "zeros-left", "block-parts", "block-sides"), _blocks),
    "common-padding": _padded,
}
"""By attribute function that a rule calls: values of the rule's text variables."""
