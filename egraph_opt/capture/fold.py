# SPDX-License-Identifier: Apache-2.0
"""Values of nodes that depend on no input.

Masks, index arrays and identity matrices are built inside programs by ``iota`` and comparisons. Their values are
computed here, in numpy, to recognise structure; what they are replaced by is decided in ``structure``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from egraph_opt.capture.evaluate import evaluate
from egraph_opt.ir import Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics

MAX_ELEMENTS = 1 << 22
MAX_HELD_BYTES = 1 << 28
TABLES = frozenset({"reduce_window_sum", "reduce_window"})
Value = np.ndarray[Any, Any]


class Folder:
    """Knows which nodes of an emitter depend on no input, and computes their values on demand.

    Args:
        emitter: maker of the nodes.
        numerics: functions that numpy may round differently are evaluated above ``EXACT`` only.
    """

    def __init__(self, emitter: Emitter, numerics: Numerics) -> None:
        self.emitter = emitter
        self.numerics = numerics
        self._free: list[bool] = []
        self._known: dict[int, Any] = {}
        self._values: dict[int, Value | None] = {}
        self._held = 0
        self._settled: dict[int, int] = {}
        self._tables: dict[int, bool] = {}

    def know(self, x: int, value: Any) -> None:
        """State the value of an input that may be looked at."""
        self.is_free(x)
        self._free[x] = True
        self._known[x] = value

    def is_free(self, x: int) -> bool:
        """Whether a node depends on no input."""
        nodes = self.emitter.nodes
        for number in range(len(self._free), len(nodes)):
            self._free.append(self._depends_on_nothing(nodes[number]))
        return self._free[x]

    def value(self, x: int) -> Value | None:
        """Value of a node, or None where it depends on an input, is too large or has no evaluation here."""
        if not self.is_free(x):
            return None
        if x not in self._values:
            self._keep(x, self._compute(x))
        return self._values[x]

    def is_table(self, x: int) -> bool:
        """Whether an input-free node is computed from windows: XLA would fold those slowly, once for each program."""
        known = self._tables.get(x)
        if known is None:
            node = self.emitter.nodes[x]
            known = self._tables[x] = node.op in TABLES or any(self.is_table(q) for q in node.operands)
        return known

    def settle(self, x: int) -> int:
        """The node to use in the place of ``x``: its value's structured form where it has one."""
        if not self.is_free(x):
            return x
        known = self._settled.get(x)
        if known is None:
            from egraph_opt.capture.structure import structured

            known = structured(self, x)
            self._settled[x] = known
            self._settled[known] = known
        return known

    def _keep(self, x: int, value: Value | None) -> None:
        """Remember a value, and forget the oldest ones when all take too much memory: they can be computed again."""
        self._values[x] = value
        if value is None or not value.flags.owndata:
            return
        self._held += value.nbytes
        for old in list(self._values) if self._held > MAX_HELD_BYTES else ():
            gone = self._values[old]
            if old != x and gone is not None and gone.flags.owndata:
                self._held -= gone.nbytes
                del self._values[old]
            if self._held <= MAX_HELD_BYTES // 2:
                break

    def _depends_on_nothing(self, node: Node) -> bool:
        if node.op in ("input", "opaque"):
            return False
        return all(self._free[q] for q in node.operands)

    def _compute(self, x: int) -> Value | None:
        node = self.emitter.nodes[x]
        if len(node.types) != 1 or node.type.size > MAX_ELEMENTS:
            return None
        if x in self._known:
            return np.asarray(self._known[x])  # fetched from its device only here
        operands = []
        for q in node.operands:
            value = self.value(q)
            if value is None:
                return None
            operands.append(value)
        return evaluate(node, operands, self.numerics)
