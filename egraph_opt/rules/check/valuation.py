# SPDX-License-Identifier: Apache-2.0
"""Values of the classes of an e-graph that began as a batch of cases.

The value of a class is that of an original node in it, computed outside of the engine; a class that rules made has the
value of its first well-founded e-node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from egraph_opt.engine.decode import as_node
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.snapshot import ENode, Snapshot
from egraph_opt.engine.words import ADD, CONSTANT, EINSUM, head, words
from egraph_opt.ir import TensorType
from egraph_opt.rules.check.cases import Case, node_values
from egraph_opt.rules.check.choices import result_type
from egraph_opt.rules.check.draws import Array
from egraph_opt.rules.check.evaluate import Reading, evaluate, left_rounding


class Valuation:
    """Values of the classes of an e-graph that began as a batch of cases."""

    def __init__(
        self, cases: Sequence[Case], members: dict[int, list[tuple[int, int]]], snapshot: Snapshot, encoder: Encoder
    ) -> None:
        self.cases, self.members, self.snapshot = cases, members, snapshot
        self.encoder = encoder
        # Whether anything was compared, and whether anything was left out because the original is not finite there.
        self.judged = self.left_out = False
        wide = ("float64", "complex128")
        self.narrow = not any(node.type.dtype in wide for case in cases for node in case.instance.nodes)
        self._class_of = {member: c for c, found in members.items() for member in found}
        self._classes: dict[tuple[int, Reading], Array | None] = {}
        self._types: dict[int, TensorType | None] = {}
        self._scales: dict[int, float] = {}
        self._definition = self._well_founded()
        self.originals = {enode for k, n in (m for ms in members.values() for m in ms) for enode in self._enode(k, n)}

    def node(self, case: int, n: int, reading: Reading) -> Array:
        """Value of an original node."""
        known = self.cases[case].values
        if reading not in known:
            known[reading] = node_values(self.cases[case], reading)
        return known[reading][n]

    def of(self, c: int, reading: Reading) -> Array | None:
        """Value of a class; None when only ill-typed e-nodes define it."""
        key = (c, reading)
        if key not in self._classes:
            constant = self._constant_of(c)
            if c in self.members and constant is None:
                self._classes[key] = self.node(*self.members[c][0], reading)
            else:
                definition = constant or self._definition.get(c)
                self._classes[key] = self.made(definition, reading) if definition else None
        return self._classes[key]

    def _constant_of(self, c: int) -> ENode | None:
        """The constant that a rule says is the value of nodes of several cases."""
        if len({k for k, _ in self.members.get(c, ())}) < 2:
            return None
        return next((e for e in self.snapshot.classes[c] if e.constructor == CONSTANT), None)

    def owners(self, enode: ENode) -> set[int]:
        """Cases that an e-node reads; none for a constant."""
        found: set[int] = set()
        for q in enode.children:
            cases = {k for k, _ in self.members.get(q, ())}
            if not cases and (definition := self._definition.get(q)):
                cases = self.owners(definition)
            if len(cases) == 1:
                found |= cases
        return found

    def type(self, c: int) -> TensorType | None:
        """Type of a class, by an original node in it or else by its definition."""
        if c in self.members:
            case, n = self.members[c][0]
            return self.cases[case].instance.nodes[n].type
        if c not in self._types:
            definition = self._definition.get(c)
            self._types[c] = self.made_type(definition) if definition else None
        return self._types[c]

    def made_type(self, enode: ENode) -> TensorType | None:
        """Type of an e-node; None when it is ill-typed."""
        operands = [self.type(q) for q in enode.children]
        return result_type(enode.constructor, enode.text, [t for t in operands if t]) if None not in operands else None

    def made(self, enode: ENode, reading: Reading) -> Array | None:
        """Value of an e-node that is no call; None when it is ill-typed."""
        type_ = self.made_type(enode)
        operands = [self.of(q, reading) for q in enode.children]
        if type_ is None or any(v is None for v in operands):
            return None
        node = replace(as_node(enode, (type_,), self.encoder), types=(type_,))
        return evaluate(node, [v for v in operands if v is not None], reading)

    def definition(self, c: int) -> ENode | None:
        """The e-node that gives a class without original nodes its value."""
        return self._definition.get(c)

    def origin(self, c: int) -> tuple[int, int] | None:
        """An original node in a class, or one that its definition reads."""
        if c in self.members:
            return self.members[c][0]
        definition = self._definition.get(c)
        if definition is None:
            return None
        return next((found for q in definition.children if (found := self.origin(q))), None)

    def finite_places(self, case: int, n: int) -> Array:
        """Elements of an original node on whose way nothing overflows or is NaN; none where that cannot be told.

        Infinities that the rule itself names, and what hands them on, are no overflow: ``max(-inf, x)``, masks.
        """
        nodes = self.cases[case].instance.nodes
        found = np.ones(nodes[n].type.shape, bool)
        named = set[int]()
        for m, node in enumerate(nodes):
            value = plain(self.node(case, m, Reading.PLAIN))
            if value.dtype.kind not in "fc":
                continue
            handed = [plain(self.node(case, q, Reading.PLAIN)) for q in node.operands if q in named]
            infinite = np.isinf(value)
            if node.op == "constant":
                fine = infinite
            else:
                # Beside an operand of the same shape it is known which elements were infinite before.
                before = [np.isinf(v) if v.shape == value.shape else np.ones(value.shape, bool) for v in handed]
                fine = infinite & np.logical_or.reduce(before) if before else np.zeros(value.shape, bool)
            if fine.any():
                named.add(m)
            finite = np.isfinite(value) | fine
            found = found & (finite if value.shape == found.shape else bool(finite.all()))
        return found

    def specs(self, case: int, made: ENode | None) -> list[str]:
        """Specs of all einsums of a case and of what was made there."""
        found = [n.attr("spec") for n in self.cases[case].instance.nodes if n.op == "einsum"]
        return found + [e.text for e in self._made_there(made) if e.constructor in EINSUM.values()]

    def left_over(self, case: int, made: ENode | None, shape: Sequence[int], reading: Reading) -> Array:
        """Rounding that is left of each element in an extended reading of a case and of what was made there."""
        nodes = self.cases[case].instance.nodes
        below = self._made_there(made)
        ops = [node.op for node in nodes] + [words()[e.constructor].op for e in below if e.constructor in words()]
        values = [self.node(case, n, reading) for n in range(len(nodes))]
        values += [v for e in below[1:] if (v := self.made(e, reading)) is not None]
        return left_rounding(ops) * largest(values, shape)

    def _made_there(self, made: ENode | None) -> list[ENode]:
        """What was made, and what it is made of down to original nodes."""
        found: list[ENode] = []
        stack = [made] if made else []
        while stack:
            enode = stack.pop()
            found.append(enode)
            stack += [d for q in enode.children if q not in self.members and (d := self._definition.get(q))]
        return found

    def scale(self, c: int) -> float:
        """Largest finite magnitude in a class."""
        if c not in self._scales:
            value = self.of(c, Reading.PLAIN)
            self._scales[c] = magnitude(value) if value is not None else 0.0
        return self._scales[c]

    def _enode(self, case: int, n: int) -> list[ENode]:
        """The e-node of an original node."""
        node = self.cases[case].instance.nodes[n]
        found = (ADD, ()) if node.op == "add" else head(node)
        if found is None or node.op == "input":
            return []
        children = tuple(self._class_of[case, q] for q in node.operands)
        return [ENode(found[0], found[1][0] if found[1] else "", children)]

    def _well_founded(self) -> dict[int, ENode]:
        """An e-node for every class without original nodes."""
        found: dict[int, ENode] = {}
        waiting = [c for c in range(len(self.snapshot.classes)) if c not in self.members]
        while waiting:
            left = []
            for c in waiting:
                ready = [
                    e
                    for e in self.snapshot.classes[c]
                    if all(q in self.members or q in found for q in e.children) and c not in e.children
                ]
                if ready:
                    found[c] = ready[0]
                else:
                    left.append(c)
            if len(left) == len(waiting):
                break
            waiting = left
        return found


def plain(value: Array) -> Array:
    """Values of a type that numpy cannot compute with, in one that it can."""
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def largest(values: Sequence[Array], shape: Sequence[int]) -> Array:
    """Largest finite magnitude beside each element; values of another shape stand beside every element."""
    found = np.zeros(shape, np.longdouble)
    for value in values:
        if value.dtype.kind in "fc" and value.shape == found.shape:
            with np.errstate(all="ignore"):
                size = np.abs(value)
            found = np.maximum(found, np.where(np.isfinite(size), size, 0))
        else:
            found = np.maximum(found, magnitude(value))
    return found


def magnitude(value: Array) -> float:
    """Largest finite magnitude of an array."""
    if value.dtype.kind not in "fcV":
        return 0.0
    with np.errstate(all="ignore"):
        size = np.abs(value.astype(np.complex128))
    return float(np.max(size[np.isfinite(size)], initial=0.0))
