# SPDX-License-Identifier: Apache-2.0
"""A saturation that can be asked afterwards: relations by class, and whether another program is in the e-graph."""

from __future__ import annotations

from egraph_opt.engine.encode import declarations, loaders
from egraph_opt.engine.facts import BAND, FROZEN, IS, OPEN_SUM
from egraph_opt.engine.naming import Names
from egraph_opt.engine.saturate import Saturation
from egraph_opt.engine.snapshot import ENode, read_provenance, read_relation
from egraph_opt.ir import Graph

ROUNDS = 3
"""How often sums and spellings of another program are put in order: each may make way for the other."""


class Probe(Saturation):
    """A saturation with questions; see ``Saturation``."""

    def relations(self) -> dict[str, frozenset[tuple[int | str, ...]]]:
        """Rows of the relations over classes, numbered as in a snapshot that is taken right now."""
        sorts = {FROZEN: (), OPEN_SUM: (), IS: ("String", "T"), BAND: ("T", "String")}
        return {
            name: read_relation(self.session, self.constructors, name, kinds)
            for name, kinds in sorts.items()
            if name in self._facts.rows
        }

    def stamps(self) -> dict[ENode, str]:
        """Rule that first made each e-node of the last snapshot, spellings under their own name."""
        return read_provenance(self.session, self.constructors)

    def add(self, graph: Graph) -> tuple[list[int], frozenset[int]]:
        """Bring another program into the e-graph; nothing is explored.

        Args:
            graph: a program with the same inputs, in normal form.

        Returns:
            Class of each of its nodes, and the classes that were there before, in the snapshot that is taken now.
        """
        names = Names(self.current, self.encoder)
        before = [names.of(c) for c, enode in enumerate(self.current.definition) if enode is not None]
        tables, numbers = self.encoder.rows(graph)
        new = {n: c for n, c in self.encoder.constructors.items() if n not in self.constructors}
        self.constructors.update(new)
        self.session.run("\n".join((declarations(new), loaders(new))))
        self._load(names.rows)
        self._load(tables)
        for _ in range(ROUNDS):
            self._normalize()
            names = Names(self.snapshot(), self.encoder)
            unions = self.sums.step(names)
            self._load(names.rows, unions)
        self._normalize()
        found = self.snapshot()
        return [found.of_number[n] for n in numbers], frozenset(found.of_number[n] for n in before)
