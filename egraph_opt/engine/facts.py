# SPDX-License-Identifier: Apache-2.0
"""Facts about tensors that rules may ask for, loaded where some rule can use them.

``(frozen ?x)``: the tensor comes from inputs that stay the same between calls, and constants, alone. ``(shape ?x)`` and
``(dtype ?x)``: shape (``"4,5"``, or ``"scalar"``) and element type as text, of every tensor. ``(open-sum ?x ?y)``: of
the many trees of one sum, ``(Add ?x ?y)`` is part of the one to look into; between iterations the sums are read out and
marked so. ``(is "symmetric" ?x)`` and ``(= ?b (band ?x))`` (bandwidths, ``"1,1"``): what is known of the matrices in
the last two dimensions, and of signs (``ir.structure``, ``engine.structure``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from egraph_opt.engine.naming import Names
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.session import Row
from egraph_opt.engine.sexpr import Form
from egraph_opt.engine.structure import infer, possible, stated
from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.reshapes import shape_text
from egraph_opt.ir.structure import NAMES as STRUCTURE
from egraph_opt.ir.structure import NOTHING, UNBOUNDED, Structure
from egraph_opt.ir.structure import names as structure_names

FROZEN = "frozen"
SHAPE = "shape"
DTYPE = "dtype"
OPEN_SUM = "open-sum"
IS = "is"
BAND = "band"
NAMES = frozenset({FROZEN, SHAPE, DTYPE, OPEN_SUM, IS, BAND})

_DECLARATIONS = {
    FROZEN: "(relation frozen (T)) (relation load.frozen (i64))"
    " (rule ((load.frozen n) (= x (node n))) ((frozen x)) :ruleset load)",
    SHAPE: "(function shape (T) String :merge old) (relation load.shape (i64 String))"
    " (rule ((load.shape n s) (= x (node n))) ((set (shape x) s)) :ruleset load)",
    DTYPE: "(function dtype (T) String :merge old) (relation load.dtype (i64 String))"
    " (rule ((load.dtype n s) (= x (node n))) ((set (dtype x) s)) :ruleset load)",
    OPEN_SUM: "(relation open-sum (T T)) (relation load.open-sum (i64 i64))"
    " (rule ((load.open-sum a b) (= x (node a)) (= y (node b))) ((open-sum x y)) :ruleset load)",
    IS: "(relation is (String T)) (relation load.is (String i64))"
    " (rule ((load.is s n) (= x (node n))) ((is s x)) :ruleset load)",
    BAND: "(function band (T) String :merge new) (relation load.band (i64 String))"
    " (rule ((load.band n s) (= x (node n))) ((set (band x) s)) :ruleset load)",
}


class Facts:
    """Facts of one program.

    Args:
        graph: the program.
        numbers: number of each node in the e-graph.
        frozen: positions of the inputs that stay the same.
        wanted: facts that rules ask for; ``open-sum`` is always kept.
        structure: names of the structure that rules ask for.
    """

    def __init__(
        self,
        graph: Graph,
        numbers: Sequence[int],
        frozen: Collection[int],
        wanted: Collection[str] = NAMES,
        structure: Collection[str] = (),
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
        self._asked = frozenset(structure)
        self._structure: dict[int, Structure] = {}
        self._said: set[Row] = set()
        if IS in wanted or BAND in wanted:
            self.rows |= {name: [] for name in (IS, BAND) if name in wanted}
            self._structure = {numbers[n]: found for n, found in stated(graph).items()}

    @property
    def declarations(self) -> str:
        """Tables and loading rules of the facts that are there."""
        return "\n".join(_DECLARATIONS[name] for name in self.rows)

    @property
    def tables(self) -> dict[str, list[Row]]:
        """Rows by the table that they are loaded through."""
        return {f"load.{name}": rows for name, rows in self.rows.items()}

    def step(self, names: Names) -> bool:
        """Add to the rows of ``names`` the types of classes that rules made, and structure; whether that is news."""
        news = self._look(names) if IS in self.rows or BAND in self.rows else False
        if not self._types:
            return news
        snapshot = names.snapshot
        done = {snapshot.of_number[n] for n in self._typed if n in snapshot.of_number}
        for c, types in enumerate(snapshot.types):
            if c not in done and types is not None and len(types) == 1:
                number = names.of(c)
                self._typed.add(number)
                for name in self._types:
                    names.rows.setdefault(name, []).append((number, _text(name, types[0])))
        return news

    def _look(self, names: Names) -> bool:
        """Add what is known of the structure of classes and was not said before; whether there is any."""
        snapshot, before = names.snapshot, len(self._said)
        known: dict[int, Structure] = {}
        for number, found in self._structure.items():
            c = snapshot.of_number.get(number)
            if c is not None:
                known[c] = known.get(c, NOTHING).both(found)
        for c, found in infer(snapshot, names.encoder, known).items():
            rows = [(IS, name) for name in structure_names(found) & self._asked] if IS in self.rows else []
            if BAND in self.rows and max(found.lower, found.upper) < UNBOUNDED:
                rows.append((BAND, f"{found.lower:.0f},{found.upper:.0f}"))
            if not rows:
                continue
            number = names.of(c)
            self._structure[number] = found
            for fact, text in rows:
                row: Row = (text, number) if fact == IS else (number, text)
                if row not in self._said:
                    self._said.add(row)
                    names.rows.setdefault(fact, []).append(row)
        return len(self._said) > before


def absent(graph: Graph, frozen: Collection[int]) -> frozenset[str]:
    """Facts that no tensor of a program can have."""
    found = set() if frozen else {FROZEN}
    known = possible(graph)
    if not known:
        return frozenset(found | {IS, BAND})
    return frozenset(found | {f"{IS}:{name}" for name in STRUCTURE - known} | (set() if "banded" in known else {BAND}))


def asked(rules: Iterable[Rule]) -> frozenset[str]:
    """Names of the structure that rules ask for."""
    facts = [fact for rule in rules for fact in rule.facts if isinstance(fact, Form) and fact and fact[0] == IS]
    return frozenset(str(fact[1]).strip('"') for fact in facts)


def _text(fact: str, kind: TensorType) -> str:
    return shape_text(kind.shape) if fact == SHAPE else kind.dtype
