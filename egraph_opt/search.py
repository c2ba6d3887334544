# SPDX-License-Identifier: Apache-2.0
"""Graph in, cheaper equal Graphs out: normalise, saturate, extract, decode.

Bodies of control flow are optimised first, each as a graph of its own in which work that does not change between the
trips is paid once. The input is always among the results, so whatever goes wrong here costs time only.
"""

from __future__ import annotations

import functools
import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from egraph_opt.adjoint import FACTORED, MOVED, adjoint_form, factored
from egraph_opt.bodies import with_bodies
from egraph_opt.cost import CostModel, FlopCount, frozen_nodes
from egraph_opt.early import rewritten, used_pass
from egraph_opt.engine import ENode, Limits, RuleSet, Saturation, SaturationReport
from egraph_opt.engine.decode import Choice, Prices, choose, decode, inherit_sources, sources_of
from egraph_opt.engine.rule import base_name
from egraph_opt.errors import EngineError, ExtractionError
from egraph_opt.extract import EXTRACTORS, Extraction, Table, extract
from egraph_opt.ir import Builder, Graph
from egraph_opt.ir.matrix_forms import pays_alone
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import Found, with_idioms
from egraph_opt.loops import improved
from egraph_opt.nets import merged
from egraph_opt.normalise import normalise
from egraph_opt.reads import READ_PART, narrowed

LOOP = ("loop",)
"""What a stage is called in which loops were written in another form alone."""

FREE = 1e-6
"""Share of its price that work on frozen inputs keeps: of two free forms the cheaper is better still."""

WATCH_SECONDS = 0.02
"""Extraction time when the price of the best program is watched during saturation [s]."""

EXTRACT_SHARE = 0.02
EXTRACT_SECONDS_PER_NODE = 2e-5
SECOND_SHARE = 0.3
"""Extraction gets a share of the budget and time by the size of the e-graph [s]; further candidates a share of that."""

READ_AGAIN = 2_000
"""Nodes of a program that is looked at once more for what nobody reads."""

MERGED = 2
"""Candidates of which variants with merged products are made."""

LEAST_SHARE = 0.5
"""Share of the budget that the e-graph has at least, however long it took to make its first program."""

SMALL = 1
"""Graphs with no more non-input nodes than this are not searched, but for large products of a tensor with itself."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Args:
        rules: rewrite rules, already restricted to the numerics class.
        numerics: class of all changes.
        budget: seconds for saturation and extraction together [s].
        cost: prices of e-nodes and graphs.
        extract_share: part of the budget that extraction may take.
        nodes: e-nodes at which the search ends; large programs may have more.
        count_unions: whether the report tells how many e-classes each rule merged.
        iterations: rounds of all rules at most.
    """

    rules: RuleSet
    numerics: Numerics
    budget: float
    cost: CostModel
    extract_share: float = 0.3
    nodes: int = 12_000
    count_unions: bool = False
    iterations: int = Limits().iterations


@dataclass(frozen=True, slots=True)
class Candidate:
    """One extracted program.

    Args:
        graph: the program.
        cost: the model's price of it.
        fired: how many of its e-nodes each rule made, or found equal to what was there before.
        choice: the e-nodes it was made of; None where no e-graph was needed.
        stages: how it changed after that.
    """

    graph: Graph
    cost: float
    fired: Mapping[str, int] = field(default_factory=dict)
    choice: Choice | None = field(default=None, repr=False)
    stages: tuple[Stage, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """One change of the whole program before the e-graph, or after it.

    Args:
        passes: names of what was of use; ``("body",)`` where bodies of control flow were searched, those of
            ``adjoint.LAWS`` where adjoints were.
        before: the program.
        after: an equal one.
        searches: of bodies, each with what it became.
        price: of a program, where that decided on adjoints.
    """

    passes: tuple[str, ...]
    before: Graph
    after: Graph
    searches: Mapping[tuple[Graph, Graph], Search] = field(default_factory=dict, repr=False)
    price: Callable[[Graph], float] | None = field(default=None, repr=False)


@dataclass(slots=True)
class Search:
    """What a search found.

    Args:
        before: the program from which the e-graph grew, in normal form.
        candidates: cheapest first by the model; may hold ``before`` itself.
        saturation: report of the outermost e-graph.
        extraction: the outermost extraction.
        seconds: by stage: "normalise", "saturate", "extract", "decode", "bodies".
        notes: what was given up, in plain words.
        stages: how the program changed before the e-graph.
        idioms: what was recognised in the program from which the e-graph grew.
    """

    before: Graph
    candidates: list[Candidate]
    saturation: SaturationReport = field(default_factory=SaturationReport)
    extraction: Extraction | None = None
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    notes: list[str] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    idioms: list[Found] = field(default_factory=list)

    def note(
        self,
        passes: Collection[str],
        before: Graph,
        after: Graph,
        searches: Mapping[tuple[Graph, Graph], Search] | None = None,
        price: Callable[[Graph], float] | None = None,
    ) -> None:
        """Remember a stage."""
        if after != before:
            self.stages.append(Stage(tuple(passes), before, after, searches or {}, price))


def search(
    graph: Graph,
    options: SearchOptions,
    frozen: Collection[int] = (),
    invariant: Collection[int] = (),
    trips: float = 1.0,
) -> Search:
    """Cheaper programs equal to ``graph``.

    Args:
        graph: the program.
        options: rules, budget, cost.
        frozen: input positions whose values stay the same between calls: what reads only them is free.
        invariant: input positions that stay the same over the trips of a surrounding loop.
        trips: how often the surrounding loop runs the graph.
    """
    start = time.perf_counter()
    found = Search(graph, [])
    graph, early, changes = rewritten(normalise(graph, options.numerics), options.numerics, options.cost)
    for used, before, after in changes:
        found.note(used, before, after)
    found.seconds["normalise"] = time.perf_counter() - start
    plain, (graph, looped) = graph, improved(graph, options.numerics, options.cost)
    found.note(looped or LOOP, plain, graph)
    searches: dict[tuple[Graph, Graph], Search] = {}
    plain, (graph, bodies) = graph, _bodies(graph, options, found, searches)
    found.note(("body",), plain, graph, searches)
    plain, (graph, again) = graph, improved(graph, options.numerics, options.cost)
    found.note(again or LOOP, plain, graph)
    bodies += early + looped + again
    fixed = frozenset(frozen)
    steady = frozenset(invariant)
    if not steady:  # what a loop repeats may be paid once: adjoints would move it into the trips
        start = time.perf_counter()
        price = functools.partial(_price, cost=options.cost, fixed=fixed, steady=steady, trips=trips)
        plain, (graph, moved) = graph, adjoint_form(graph, options.numerics, price)
        found.note(moved, plain, graph, price=price)
        bodies += moved
        if MOVED not in moved:  # what was moved met other values as they are written
            new = factored(graph, options.numerics, options.cost.node_cost)
            plain, (graph, taken) = graph, used_pass(graph, new, FACTORED, options.numerics, options.cost)
            found.note(taken, plain, graph)
            bodies += taken
        spent = time.perf_counter() - start
        found.seconds["normalise"] += spent
        options = replace(options, budget=max(options.budget - spent, LEAST_SHARE * options.budget))
    found.before = graph
    base = Candidate(graph, _price(graph, options.cost, fixed, steady, trips), bodies)
    found.candidates = [base]
    if len(graph.nodes) - len(graph.inputs) > SMALL or any(map(pays_alone, graph.nodes)):
        try:
            with _no_collection():
                _saturate_and_extract(graph, options, found, fixed, steady, trips, bodies)
        except (EngineError, ExtractionError) as error:
            found.saturation.stop_reason = str(error)
            found.notes.append(f"search ended early: {error}")
    start = time.perf_counter()
    found.candidates += _finished(found.candidates, options, fixed, steady, trips)
    found.candidates.sort(key=lambda c: c.cost)
    found.seconds["decode"] += time.perf_counter() - start
    return found


def _finished(
    candidates: Sequence[Candidate], options: SearchOptions, fixed: frozenset[int], steady: frozenset[int], trips: float
) -> Iterator[Candidate]:
    """Candidates without what nobody reads of what rules made, and with products and convolutions merged."""
    price = functools.partial(_price, cost=options.cost, fixed=fixed, steady=steady, trips=trips)
    for candidate in sorted(candidates, key=lambda c: c.cost)[:MERGED]:
        graph = candidate.graph
        read = narrowed(graph, options.numerics) if len(graph) <= READ_AGAIN else graph
        made: list[tuple[Graph, Collection[str]]] = [used_pass(graph, read, READ_PART, options.numerics, options.cost)]
        if options.cost.name != "flops":  # what is merged is as much arithmetic as before
            made.append(merged(made[0][0], options.numerics, fixed or steady, options.cost, price))
        for new, used in made:
            if used and all(new != other.graph for other in candidates):
                stage = Stage(tuple(used), graph, new)
                fired = {**candidate.fired, **dict.fromkeys(used, 1)}
                candidate = replace(
                    candidate, graph=new, cost=price(new), fired=fired, stages=(*candidate.stages, stage)
                )
                graph = new
                yield candidate


def _saturate_and_extract(
    graph: Graph,
    options: SearchOptions,
    found: Search,
    fixed: frozenset[int],
    steady: frozenset[int],
    trips: float,
    bodies: Mapping[str, int],
) -> None:
    limits = Limits(
        seconds=options.budget * (1 - options.extract_share),
        nodes=max(options.nodes, 3 * len(graph)),
        iterations=options.iterations,
    )
    factor = FREE if fixed else 1.0 / max(trips, 1.0)
    priced = functools.partial(_price, cost=options.cost, fixed=fixed, steady=steady, trips=trips)

    prices: dict[CostModel, Prices] = {}

    def table(saturation: Saturation, model: CostModel) -> tuple[Table, list[ENode]]:
        snapshot = saturation.current
        if model not in prices:
            prices[model] = Prices(saturation.encoder, model.node_cost)
        rows, enodes = prices[model].rows(snapshot)
        if fixed or trips > 1:
            still = snapshot.derivable(saturation.encoder, fixed or steady)
            rows = [
                (c, price * factor, children, label) if c in still and still.issuperset(children) else row
                for row in rows
                for c, price, children, label in (row,)
            ]
        return Table(rows, saturation.roots(), len(snapshot.classes)), enodes

    def price(saturation: Saturation) -> float:
        return EXTRACTORS["local-search"].function(table(saturation, options.cost)[0], WATCH_SECONDS).cost

    start = time.perf_counter()
    both, equal, found.idioms = with_idioms(graph, options.numerics, options.budget)
    saturation = Saturation(both, options.rules, limits, price, options.numerics, fixed, options.count_unions, equal)
    try:
        found.saturation = saturation.report
        snapshot = saturation.run()
        found.seconds["saturate"] = time.perf_counter() - start
        roots = saturation.roots()
        lines = sources_of(graph, saturation.numbers, snapshot)
        why = saturation.provenance()
        joined = saturation.joined()
        seen = {graph}
        for model in (options.cost,) if options.cost.name == "flops" else (options.cost, FlopCount()):
            start = time.perf_counter()
            rows, enodes = table(saturation, model)
            share = options.budget * options.extract_share / (1 if options.cost.name == "flops" else 2)
            share = min(share, EXTRACT_SHARE * options.budget + EXTRACT_SECONDS_PER_NODE * len(enodes))
            extraction = extract(rows, share if model is options.cost else SECOND_SHARE * share)
            if model is options.cost:
                found.extraction = extraction
            found.seconds["extract"] += time.perf_counter() - start
            start = time.perf_counter()
            chosen = {c: enodes[k] for c, k in enumerate(extraction.choice) if k is not None}
            choice = choose(roots, chosen, snapshot.types)
            sources = inherit_sources(lines, roots, choice.enodes)
            program = decode(graph, choice, saturation.encoder, options.numerics, sources)
            program = normalise(program, options.numerics)
            if program not in seen:
                seen.add(program)
                makers = [why.get(e) or joined.get(c) for c, e in choice.enodes.items()]
                fired = Counter(map(base_name, filter(None, makers))) + Counter(bodies)
                found.candidates.append(Candidate(program, priced(program), dict(fired), choice))
            found.seconds["decode"] += time.perf_counter() - start
    finally:
        saturation.close()


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection: a search makes many small objects and no garbage, and JAX's heap is long to walk."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _price(graph: Graph, cost: CostModel, fixed: frozenset[int], steady: frozenset[int], trips: float) -> float:
    """Price of a program, or of one trip of a loop body: what is the same in all trips is shared by them."""
    if not steady or trips <= 1:
        return cost.graph_seconds(graph, frozen_nodes(graph, fixed) if fixed else frozenset())
    each = cost.graph_seconds(graph, frozen_nodes(graph, steady))
    return each + (cost.graph_seconds(graph) - each) / trips


def _bodies(
    graph: Graph, options: SearchOptions, found: Search, searches: dict[tuple[Graph, Graph], Search]
) -> tuple[Graph, Counter[str]]:
    """The graph with the sub-graphs of its control flow optimised, and the rules that fired in them.

    ``searches`` takes the search of each body, under the body and what it became.
    """
    fired: Counter[str] = Counter()
    if not any(True for _ in graph.subgraphs()):
        return graph, fired
    start = time.perf_counter()
    count = sum(1 for _ in graph.subgraphs())
    inner = replace(options, budget=options.budget * 0.5 / count)
    known: dict[tuple[Graph, frozenset[int], float], Graph] = {}

    def best(body: Graph, steady: frozenset[int], trips: float) -> Graph:
        key = (body, steady, trips)
        if key not in known:
            result = search(body, inner, invariant=steady, trips=trips)
            winner = result.candidates[0]
            fired.update(winner.fired)
            found.notes += result.notes
            written = _price(body, options.cost, frozenset(), steady, trips)
            known[key] = winner.graph if winner.cost < written else body
            searches[body, known[key]] = result
        return known[key]

    builder = Builder()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(builder.input(node.type, names[number]))
        else:
            place.append(builder.copy(with_bodies(node, best), [place[q] for q in node.operands]))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    found.seconds["bodies"] = time.perf_counter() - start
    return builder.build(*roots, graph.weak_outputs, graph.precision), fired
