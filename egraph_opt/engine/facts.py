# SPDX-License-Identifier: Apache-2.0
"""Facts about tensors that rules may ask for, loaded where some rule can use them.

``(frozen ?x)``: the tensor comes from inputs that stay the same between calls, and constants, alone. ``(shape ?x)`` and
``(dtype ?x)``: shape (``"4,5"``, or ``"scalar"``) and element type as text, of every tensor. ``(open-sum ?x ?y)``: of
the many trees of one sum, ``(Add ?x ?y)`` is part of the one to look into; between iterations the sums are read out and
marked so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from egraph_opt.engine.naming import Names
from egraph_opt.engine.session import Row
from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.reshapes import shape_text

FROZEN = "frozen"
SHAPE = "shape"
DTYPE = "dtype"
OPEN_SUM = "open-sum"
NAMES = frozenset({FROZEN, SHAPE, DTYPE, OPEN_SUM})

_DECLARATIONS = {
    FROZEN: "(relation frozen (T)) (relation load.frozen (i64))"
    " (rule ((load.frozen n) (= x (node n))) ((frozen x)) :ruleset load)",
    SHAPE: "(function shape (T) String :merge old) (relation load.shape (i64 String))"
    " (rule ((load.shape n s) (= x (node n))) ((set (shape x) s)) :ruleset load)",
    DTYPE: "(function dtype (T) String :merge old) (relation load.dtype (i64 String))"
    " (rule ((load.dtype n s) (= x (node n))) ((set (dtype x) s)) :ruleset load)",
    OPEN_SUM: "(relation open-sum (T T)) (relation load.open-sum (i64 i64))"
    " (rule ((load.open-sum a b) (= x (node a)) (= y (node b))) ((open-sum x y)) :ruleset load)",
}


class Facts:
    """Facts of one program.

    Args:
        graph: the program.
        numbers: number of each node in the e-graph.
        frozen: positions of the inputs that stay the same.
        wanted: facts that rules ask for; ``open-sum`` is always kept.
    """

    def __init__(
        self, graph: Graph, numbers: Sequence[int], frozen: Collection[int], wanted: Collection[str] = NAMES
    ) -> None:
        self.rows: dict[str, list[Row]] = {OPEN_SUM: []}
        self._typed: set[int] = set()
        if frozen and FROZEN in wanted:
            fixed = [graph.inputs[p] for p in frozen]
            fixed += [n for n, node in enumerate(graph.nodes) if node.op == "constant"]
            self.rows[FROZEN] = [(numbers[n],) for n in fixed]
        self._types = [name for name in (SHAPE, DTYPE) if name in wanted]
        for name in self._types:
            single = [(n, node) for n, node in enumerate(graph.nodes) if len(node.types) == 1]
            self.rows[name] = [(numbers[n], _text(name, node.type)) for n, node in single]
            self._typed = {numbers[n] for n, _ in single}

    @property
    def declarations(self) -> str:
        """Tables and loading rules of the facts that are there."""
        return "\n".join(_DECLARATIONS[name] for name in self.rows)

    @property
    def tables(self) -> dict[str, list[Row]]:
        """Rows by the table that they are loaded through."""
        return {f"load.{name}": rows for name, rows in self.rows.items()}

    def step(self, names: Names) -> None:
        """Add to the rows of ``names`` the types of classes that rules made."""
        if not self._types:
            return
        snapshot = names.snapshot
        done = {snapshot.of_number[n] for n in self._typed if n in snapshot.of_number}
        for c, types in enumerate(snapshot.types):
            if c not in done and types is not None and len(types) == 1:
                number = names.of(c)
                self._typed.add(number)
                for name in self._types:
                    names.rows.setdefault(name, []).append((number, _text(name, types[0])))


def absent(frozen: Collection[int]) -> frozenset[str]:
    """Facts that no tensor of a program can have."""
    return frozenset() if frozen else frozenset({FROZEN})


def _text(fact: str, kind: TensorType) -> str:
    return shape_text(kind.shape) if fact == SHAPE else kind.dtype
