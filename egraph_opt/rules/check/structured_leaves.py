# SPDX-License-Identifier: Apache-2.0
"""What random instances need for operands of which a rule asks structure: their facts, shapes that can have them."""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir.reshapes import shape_text
from egraph_opt.ir.structure import ELEMENTWISE, SQUARE, UNBOUNDED, declared
from egraph_opt.rules.check.asked import is_literal, unquote
from egraph_opt.rules.check.premises import Premises
from egraph_opt.rules.check.profile import MisfitError, Profile
from egraph_opt.verify.structured import fits


def facts_of(premises: Premises, profile: Profile) -> dict[str, tuple[str, ...]]:
    """Facts of each variable that a rule asks some of; bandwidths are drawn."""
    found = {name: tuple(facts) for name, facts in premises.structure.items()}
    for wanted, name in premises.bands:
        text = f"{profile.rng.randrange(3)},{profile.rng.randrange(3)}"
        if is_literal(wanted):
            text = unquote(str(wanted))
        found[name] = (*found.get(name, ()), f"banded:{text}")
    return found


def structured_shape(facts: Sequence[str], wanted: tuple[int, ...] | None, profile: Profile) -> tuple[int, ...]:
    """A shape of a tensor with facts.

    Raises:
        MisfitError: there is none of the wanted shape.
    """
    shape = wanted if wanted is not None else profile.shape(least=0 if ELEMENTWISE.issuperset(facts) else 2)
    if wanted is None and SQUARE & set(facts):
        shape = (*shape[:-1], shape[-2])
    if wanted is None and not fits(shape, facts):
        shape = (*shape[:-2], shape[-1], shape[-2])
    if not fits(shape, facts):
        raise MisfitError(f"no tensor of shape {shape_text(shape)} is {' and '.join(facts)}")
    return shape


def band_of(facts: Sequence[str], shape: tuple[int, ...]) -> str:
    """Bandwidths as rules see them.

    Raises:
        MisfitError: the matrix is so small that they say nothing.
    """
    known = declared(facts, shape)
    if max(known.lower, known.upper) == UNBOUNDED:
        raise MisfitError("bandwidths of so small a matrix say nothing")
    return f"{known.lower:.0f},{known.upper:.0f}"
