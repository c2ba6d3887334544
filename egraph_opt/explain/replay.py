# SPDX-License-Identifier: Apache-2.0
"""The search of a result once more, kept open for questions: matches, made e-nodes, programs that use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import jax

from egraph_opt.cost import CostModel, cost_model, frozen_nodes
from egraph_opt.engine import ENode, Limits, Snapshot
from egraph_opt.engine.decode import ClassLines, Prices, choose, decode, inherit_sources, sources_of
from egraph_opt.engine.probe import Probe
from egraph_opt.explain.dearer import forced, lines_of
from egraph_opt.explain.partial_match import Facts, Matcher
from egraph_opt.ir import Graph, Sources
from egraph_opt.ir.sources import merge_sources
from egraph_opt.normalise import normalise
from egraph_opt.result import Result
from egraph_opt.search import SearchOptions

SECONDS = 120.0
"""A replay stops where the search did by iterations; time is a net only [s]."""

LONGER_SECONDS, LONGER = 15.0, 4
"""How much further a search is taken that met a limit, to see whether more would have helped [s], times."""

MADE = 12
"""How many e-nodes of a rule are looked at."""


class Replay:
    """One more search of a result's program, with the same rules and as many iterations.

    Args:
        result: what is asked about.
        longer: take the search beyond the limit that it met.
    """

    def __init__(self, result: Result, longer: bool = False) -> None:
        self.result, self.graph = result, result.search.before
        options = result.options
        self.cost: CostModel = cost_model(options.cost, jax.default_backend())
        self.rules = options.active_rules()
        self.frozen = result.convention.frozen_positions
        growth = result.search.saturation.growth
        nodes = max(SearchOptions(self.rules, options.numerics, 0.0, self.cost).nodes, 3 * len(self.graph))
        limits = Limits(seconds=SECONDS, nodes=nodes, iterations=max(len(growth) - 1, 0) if growth else 3)
        if longer:
            count = LONGER * max(len(growth), 2)
            limits = replace(limits, seconds=LONGER_SECONDS, nodes=LONGER * nodes, iterations=count)
        self.probe = Probe(self.graph, self.rules, limits, None, options.numerics, self.frozen)
        self.start = Facts(self.probe.snapshot(), {})
        self.end = Facts(self.probe.run(), self.probe.relations())
        self.probe.provenance()  # counts the e-nodes of each rule
        self.stamps = self.probe.stamps()

    def close(self) -> None:
        """Release the e-graph."""
        self.probe.close()

    @property
    def snapshot(self) -> Snapshot:
        """The e-graph at the end."""
        return self.end.snapshot

    @cached_property
    def matcher(self) -> Matcher:
        """For the e-graph at the end."""
        return Matcher(self.end)

    @cached_property
    def first_matcher(self) -> Matcher:
        """For the program as it was loaded: some spellings are gone at the end."""
        return Matcher(self.start)

    def matches(self, rule: str) -> int:
        """How often a rule matched."""
        statistics = self.probe.report.rules.get(rule)
        return statistics.matches if statistics is not None else 0

    def made_by(self, rule: str) -> list[tuple[int, ENode]]:
        """E-nodes that a rule made first, with their classes."""
        classes = enumerate(self.snapshot.classes)
        return [(c, enode) for c, enodes in classes for enode in enodes if self.stamps.get(enode) == rule]

    def price(self, graph: Graph) -> float:
        """The model's price of a program."""
        return self.cost.graph_seconds(graph, frozen_nodes(graph, self.frozen) if self.frozen else frozenset())

    def programs_with(self, rule: str) -> Iterator[Graph]:
        """For some e-nodes of a rule, a cheap program that uses it."""
        snapshot, encoder = self.snapshot, self.probe.encoder
        rows, enodes = Prices(encoder, self.cost.node_cost).rows(snapshot)
        roots = self.probe.roots()
        made = {enode for _, enode in self.made_by(rule)}
        for wanted in [k for k, enode in enumerate(enodes) if enode in made][:MADE]:
            choice = forced(rows, roots, len(snapshot.classes), wanted)
            if choice is not None:
                forced_to = {c: enodes[k] for c, k in enumerate(choice) if k is not None}
                chosen = choose(roots, forced_to, snapshot.types)
                lines = inherit_sources(self.lines, roots, chosen.enodes)
                numerics = self.result.options.numerics
                graph = decode(self.graph, chosen, encoder, numerics, lines)
                yield normalise(graph, numerics)

    @cached_property
    def lines(self) -> ClassLines:
        """User lines of the classes that hold nodes of the program."""
        return sources_of(self.graph, self.probe.numbers, self.snapshot)

    def lines_at(self, facts: Facts, c: int | None) -> tuple[str, ...]:
        """User lines of a class, or of what it is made of."""
        known = self.lines if facts is self.end else sources_of(self.graph, self.probe.numbers, facts.snapshot)
        found: Sources = ()
        stack = [c] if c is not None else []
        seen: set[int] = set()
        while stack and not found:
            top = stack.pop(0)
            if top in seen:
                continue
            seen.add(top)
            found = merge_sources(found, known.get(top, ()))
            definition = facts.snapshot.definition[top]
            stack += definition.children if definition is not None else ()
        return lines_of(found)
