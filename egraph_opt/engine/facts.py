# SPDX-License-Identifier: Apache-2.0
"""Facts about tensors that rules may ask for, loaded with the program where some rule can use them.

``(frozen ?x)``: the tensor comes from inputs that stay the same between calls, and constants, alone. ``(shape ?x)``:
its shape as text. ``(open-sum ?x ?y)``: of the many trees of one sum, ``(Add ?x ?y)`` is part of the one to look into;
between iterations the sums are read out and marked so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from egraph_opt.engine.encode import RESHAPE
from egraph_opt.engine.session import Row
from egraph_opt.ir import Graph
from egraph_opt.ir.reshapes import shape_text

FROZEN = "frozen"
SHAPE = "shape"
OPEN_SUM = "open-sum"
NAMES = frozenset({FROZEN, SHAPE, OPEN_SUM})

_DECLARATIONS = {
    FROZEN: "(relation frozen (T)) (relation load.frozen (i64))"
    " (rule ((load.frozen n) (= x (node n))) ((frozen x)) :ruleset load)",
    SHAPE: "(function shape (T) String :merge old) (relation load.shape (i64 String))"
    " (rule ((load.shape n s) (= x (node n))) ((set (shape x) s)) :ruleset load)",
    OPEN_SUM: "(relation open-sum (T T)) (relation load.open-sum (i64 i64))"
    " (rule ((load.open-sum a b) (= x (node a)) (= y (node b))) ((open-sum x y)) :ruleset load)",
}


class Facts:
    """Facts of one program.

    Args:
        graph: the program.
        numbers: number of each node in the e-graph.
        present: constructors in the program.
        frozen: positions of the inputs that stay the same.
    """

    def __init__(self, graph: Graph, numbers: Sequence[int], present: Collection[str], frozen: Collection[int]) -> None:
        self.rows: dict[str, list[Row]] = {OPEN_SUM: []}
        if frozen:
            fixed = [graph.inputs[p] for p in frozen]
            fixed += [n for n, node in enumerate(graph.nodes) if node.op == "constant"]
            self.rows[FROZEN] = [(numbers[n],) for n in fixed]
        if RESHAPE in present:
            single = [(n, node) for n, node in enumerate(graph.nodes) if len(node.types) == 1]
            self.rows[SHAPE] = [(numbers[n], shape_text(node.type.shape)) for n, node in single]

    @property
    def names(self) -> set[str]:
        """Facts that are there."""
        return set(self.rows)

    @property
    def declarations(self) -> str:
        """Tables and loading rules of the facts that are there."""
        return "\n".join(_DECLARATIONS[name] for name in self.rows)

    @property
    def tables(self) -> dict[str, list[Row]]:
        """Rows by the table that they are loaded through."""
        return {f"load.{name}": rows for name, rows in self.rows.items()}
