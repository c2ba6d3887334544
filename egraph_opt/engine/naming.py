# SPDX-License-Identifier: Apache-2.0
"""Numbers of classes: how what was computed from a snapshot speaks of classes when it is loaded into the e-graph.

Loaded nodes have a number each. A class that rules made gets one by loading its definition again.
"""

from __future__ import annotations

from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.session import Row
from egraph_opt.engine.snapshot import Snapshot


class Names:
    """Numbers of the classes of one snapshot, and the rows to load.

    Args:
        snapshot: the e-graph as it stands.
        encoder: gives fresh numbers.
    """

    def __init__(self, snapshot: Snapshot, encoder: Encoder) -> None:
        self.snapshot, self.encoder = snapshot, encoder
        self.rows: dict[str, list[Row]] = {}
        self._made: dict[tuple[str, str, tuple[int, ...]], int] = {}
        self._number: dict[int, int] = {}
        for number, c in snapshot.of_number.items():
            if number < self._number.get(c, 1 << 60):
                self._number[c] = number

    @property
    def made(self) -> int:
        """Number of e-nodes that are to be loaded."""
        return len(self._made)

    def of(self, c: int) -> int:
        """A number of the class, which must have a definition; always the same one while it has that number."""
        if c not in self._number:
            stack = [c]
            while stack:
                top = stack[-1]
                node = self.snapshot.definition[top]
                assert node is not None, "a class without a well-founded e-node"
                missing = [q for q in node.children if q not in self._number]
                if missing:
                    stack += missing
                    continue
                stack.pop()
                if top not in self._number:
                    operands = tuple(self._number[q] for q in node.children)
                    self._number[top] = self.make(node.constructor, node.text, operands)
        return self._number[c]

    def make(self, constructor: str, text: str, operands: tuple[int, ...]) -> int:
        """Number of an e-node that is to be loaded; operands are numbers."""
        key = (constructor, text, operands)
        if key not in self._made:
            self._made[key] = self.encoder.row(self.rows, constructor, (text,) if text else (), operands)
        return self._made[key]
