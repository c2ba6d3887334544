# SPDX-License-Identifier: Apache-2.0
"""Instances of which nothing is left to choose, once sizes and element types are drawn: most rules made of functions.

All texts of such a rule follow from its presets, and so do the shapes of its variables. It is built from its operands
upwards, at once, where a search for parts that fit would draw thousands of times.
"""

from __future__ import annotations

from egraph_opt.ir.reshapes import Shape
from egraph_opt.ir.spec import Spec
from egraph_opt.rules.check.choices import Want
from egraph_opt.rules.check.conditions import Conditions
from egraph_opt.rules.check.premises import Premises
from egraph_opt.rules.check.profile import Profile

DIRECT = 0.8
"""Share of the instances that are built upwards where only the specs around a variable say what shape it has."""


def is_decided(premises: Premises, conditions: Conditions, profile: Profile) -> bool:
    """Whether all texts and shapes are fixed before anything is built.

    Args:
        premises: what the rule asks for.
        conditions: with what is fixed by now.
        profile: random choices.
    """
    if premises.read is None:
        return False
    texts, plain = premises.read
    if any(conditions.text(text) is None for text in texts):
        return False
    unsaid = [name for name in plain if conditions.hinted(name, Want()).shape is None]
    if any(shape_under(name, premises, conditions) is None for name in unsaid):
        return False
    # Operands of elementwise operations may be scalars as well: now and then that is left open.
    return not unsaid or profile.chance(DIRECT)


def shape_under(name: str, premises: Premises, conditions: Conditions) -> Shape | None:
    """Shape of the operand of an einsum that a variable is, alone or in elementwise operations; None if unknown."""
    spec_of, operand = premises.under.get(name, ("", 0))
    text = conditions.text(spec_of) if spec_of else None
    if text is None:
        return None
    spec = Spec.parse(text)
    return tuple(spec.sizes[c] for c in spec.inputs[operand]) if operand < len(spec.inputs) else None
