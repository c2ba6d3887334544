# SPDX-License-Identifier: Apache-2.0
"""Random shapes and attributes of operations that read some diagonals of matrices alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from egraph_opt.rules.check.layout_choices import Attrs, Known, Proposal, Shape
from egraph_opt.rules.check.profile import Profile


def _matrix(profile: Profile) -> Shape:
    return (*profile.shape()[:2], profile.size(), profile.size())


def _part(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    shape = known[0].shape if known[0] is not None else want if want is not None else _matrix(profile)
    return Proposal(attrs or {side: profile.rng.randrange(-1, 4) for side in ("lower", "upper")}, [shape])


def _product(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    first, second = (None if t is None else t.shape for t in known)
    if first is None and want is not None and len(want) > 1:
        first = (*want[:-1], second[-2] if second is not None and len(second) > 1 else profile.size())
    if first is None:
        inner = second[:-1] if second is not None and len(second) > 1 else _matrix(profile)[:-1]
        first = (*inner[:-1], profile.size(), inner[-1])
    columns = want[-1] if want else profile.size()
    second = second if second is not None else (*first[:-2], first[-1], columns)
    least = min(max(min(first[-2:]), 1), 3)
    return Proposal(attrs or {side: profile.rng.randrange(least) for side in ("lower", "upper")}, [first, second])


def _triangular(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    first, second = (None if t is None else t.shape for t in known)
    if second is None and first is None:
        base = want if want is not None and len(want) > 1 else _matrix(profile)
        second = (*base[:-1], base[-1])
    elif second is None and first is not None:
        second = (*first[:-1], want[-1] if want else profile.size())
    square = first or (*(second or ())[:-1], *(second or ())[-2:-1])
    return Proposal(attrs or {"lower": profile.chance(0.5)}, [square, second or square])


def _system(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    right = known[1].shape if known[1] is not None else want
    if known[0] is not None:
        system = known[0].shape
    elif right:
        row = 1 if len(right) > 1 and profile.chance(0.4) else 0
        system = (*right[: row + 1], right[row])
    else:
        n = 2 + profile.size()
        system = (*profile.shape()[:1], n, n)
    columns = (profile.size(),) if profile.chance(0.6) else ()
    right = right if right is not None else (*system[:-1], *columns)
    return Proposal(attrs or {"transposed": profile.chance(0.5)}, [system, right])


CHOOSERS: Mapping[str, Callable[..., Proposal]] = {
    "band_part": _part,
    "banded_product": _product,
    "triangular_product": _triangular,
    "tridiagonal_system": _system,
}
