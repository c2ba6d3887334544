# SPDX-License-Identifier: Apache-2.0
"""The numerics contract: what a rewrite may change, as an ordered class."""

from __future__ import annotations

import enum

from egraph_opt.errors import ArgumentError


class Numerics(enum.IntEnum):
    """Promise of a rewrite; a later member admits all earlier ones.

    ``EXACT``: bit-identical for every IEEE input, NaN, infinities and signed zeros included.
    ``REASSOCIATE``: equal over the reals; rounding may change; finite inputs never become infinite or NaN.
    ``FINITE``: equal unless infinities, NaN or overflow occur, or on the domain that the rewrite states.
    """

    EXACT = 0
    REASSOCIATE = 1
    FINITE = 2

    @staticmethod
    def parse(text: str | Numerics) -> Numerics:
        """Read ``"exact"``, ``"reassociate"`` or ``"finite"``.

        Raises:
            ArgumentError: another word.
        """
        if isinstance(text, Numerics):
            return text
        if text not in {member.name.lower() for member in Numerics}:
            raise ArgumentError(f"numerics={text!r}; want 'exact', 'reassociate' or 'finite'")
        return Numerics[text.upper()]
