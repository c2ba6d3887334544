# SPDX-License-Identifier: Apache-2.0
"""Draws instances of a rule's left side until there are enough: each kind of element type in turn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from egraph_opt.rules.check.instances import Instance
from egraph_opt.rules.check.maker import Effort, Maker
from egraph_opt.rules.check.premises import Premises
from egraph_opt.rules.check.profile import MisfitError, Profile

TURNS = (None, "complex128", None, "int32", None, "float32", "float64", "bool", "bfloat16", None, "uint32", None)
"""Main element types of successive instances; None leaves it to chance."""

TURN_TRIES = 25
"""Draws for an instance of the type whose turn it is."""

TURN_CHANCES = 4
"""Turns that a type is given up before it is hardly tried again."""

MOST_ELEMENTS = 20_000
"""Larger instances would only be slow."""


EFFORTS = (Effort(1, 0), Effort(12, 0), Effort(6, 4), Effort(12, 30))
"""What is drawn again: of rare instances parts, of others nothing, for that is cheaper."""

EXPLORED = 0.15
"""Share of the draws that are made with any effort, and not with the one that has paid best."""


class _Efforts:
    """Instances drawn with the effort that gives most of them for the same work."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._work = dict.fromkeys(EFFORTS, 10.0)
        self._made = dict.fromkeys(EFFORTS, 1.0)

    def make(self, premises: Premises, profile: Profile) -> Instance:
        """One instance, or a ``MisfitError``."""
        best = max(EFFORTS, key=lambda effort: self._made[effort] / self._work[effort])
        effort = self._rng.choice(EFFORTS) if self._rng.random() < EXPLORED else best
        self._work[effort] += 2
        maker = Maker(premises, profile, effort)
        try:
            found = maker.make()
        finally:
            self._work[effort] += maker.steps
        self._made[effort] += 1
        return found


class Drawer:
    """Draws instances of one rule; what was learnt of them in one batch serves the next.

    Args:
        premises: what the rule asks for.
        rng: source of randomness.
        dtypes: element types to draw from; all of them without it.
    """

    def __init__(self, premises: Premises, rng: random.Random, dtypes: Sequence[str] = ()) -> None:
        self._premises, self._rng, self._dtypes = premises, rng, dtypes
        self._efforts = _Efforts(rng)
        self._given_up: Counter[str | None] = Counter()
        self._made = 0

    def draw(self, count: int, tries: int, small: bool = False) -> tuple[list[Instance], Counter[str]]:
        """Instances, and how often what stood against one.

        Args:
            count: how many to build.
            tries: draws to spend at most.
            small: small sizes and ranks.
        """
        made: list[Instance] = []
        against: Counter[str] = Counter()
        asked = since = 0
        for _ in range(tries):
            if len(made) == count:
                break
            # Every kind of element type has its turn, as far as the rule takes it; so have empty tensors.
            number = self._made + len(made)
            turn = TURNS[number % len(TURNS)]
            since = since + 1 if len(made) == asked else 0
            asked = len(made)
            if since == TURN_TRIES:
                self._given_up[turn] += 1
            if self._dtypes or since >= (TURN_TRIES if self._given_up[turn] < TURN_CHANCES else 2):
                turn = None
            profile = Profile(self._rng, small, (turn,) if turn else self._dtypes, number % 20 == 13)
            try:
                instance = self._efforts.make(self._premises, profile)
            except MisfitError as misfit:
                against[str(misfit)] += 1
                continue
            if instance.elements <= MOST_ELEMENTS:
                made.append(instance)
        self._made += len(made)
        return made, against
