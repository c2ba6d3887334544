# SPDX-License-Identifier: Apache-2.0
"""A choice of one e-node per class back to a Graph, and e-nodes as priced candidates for that choice.

Nodes are emitted through the smart constructors, so the extracted program is in normal form again; chains of sums that
nobody else reads become one n-ary sum.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.snapshot import ENode, Snapshot, is_well_typed
from egraph_opt.engine.words import ADD, EINSUM, Types, make_node
from egraph_opt.ir import Graph, Node, Sources, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import MAX_SOURCES, merge_sources
from egraph_opt.ir.walk import topological
from egraph_opt.ops import Trait, get_op

MAX_CONSUMED = 200
"""How many replaced terms below a class are looked at for their lines."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One e-node for every class that a program needs.

    Args:
        roots: classes of its outputs and then its effects.
        enodes: by class, children first.
        types: of these classes.
    """

    roots: tuple[int, ...]
    enodes: Mapping[int, ENode]
    types: Mapping[int, Types]


NodeCost = Callable[[Node, Sequence[TensorType]], float]
PricedNode = tuple[int, float, tuple[int, ...], str]


def as_node(enode: ENode, types: Types, encoder: Encoder, sources: Sources = ()) -> Node:
    """The Graph node that an e-node stands for; operands are its child classes."""
    if enode.constructor.startswith("Call"):
        call = encoder.calls[enode.text]
        return Node(call.op, enode.children, call.attrs, call.types, sources)
    node = make_node(enode.constructor, enode.text, enode.children, types)
    return replace(node, sources=sources) if sources else node


class Prices:
    """Prices of e-nodes under one cost model, remembered by constructor, text and operand types.

    Args:
        encoder: call table of the e-graph.
        cost: price of a Graph node given its operand types.
    """

    def __init__(self, encoder: Encoder, cost: NodeCost) -> None:
        self._encoder, self._cost = encoder, cost
        self._known: dict[tuple[object, ...], float] = {}

    def rows(self, snapshot: Snapshot) -> tuple[list[PricedNode], list[ENode]]:
        """Rows ``(class, cost, children, label)`` of all usable e-nodes, and the e-node of each row."""
        rows: list[PricedNode] = []
        enodes: list[ENode] = []
        types = snapshot.types
        known = self._known
        for c, members in enumerate(snapshot.classes):
            own = types[c]
            if own is None:
                continue
            for enode in members:
                constructor, text, children = enode
                operands = [types[child] for child in children]
                if c in children or None in operands:
                    continue
                # A spec says all about its operands but their element type.
                key = (constructor, text, own) if constructor in EINSUM.values() else (constructor, text, *operands)
                price = known.get(key)
                if price is None:
                    if not is_well_typed(enode, own, types, self._encoder):
                        known[key] = inf
                        continue
                    # An op with several results prices its readers' operands by their first type.
                    node = as_node(enode, own, self._encoder)
                    price = known[key] = self._cost(node, [t[0] for t in operands if t is not None])
                if price == inf:
                    continue
                rows.append((c, price, children, text or constructor))
                enodes.append(enode)
        return rows, enodes


def choose(roots: Sequence[int], chosen: Mapping[int, ENode], types: Sequence[Types | None]) -> Choice:
    """The part of a choice that the roots need.

    Args:
        roots: classes of outputs and then of effects.
        chosen: e-node of at least every needed class.
        types: of all classes.
    """
    enodes: dict[int, ENode] = {}
    found: dict[int, Types] = {}
    stack = [*reversed(roots)]
    while stack:
        c = stack[-1]
        missing = [q for q in chosen[c].children if q not in enodes]
        stack += missing
        if not missing:
            stack.pop()
            own = types[c]
            assert own is not None, "a chosen e-node has a type"
            enodes[c], found[c] = chosen[c], own
    return Choice(tuple(roots), enodes, found)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A choice as nodes.

    Args:
        emitter: the nodes.
        place: node of each class; those inside of sums that nobody else reads have none.
        operands: for each of these classes the classes that its node reads.
    """

    emitter: Emitter
    place: Mapping[int, int]
    operands: Mapping[int, Sequence[int]]


def emit_choice(
    graph: Graph, choice: Choice, encoder: Encoder, numerics: Numerics, sources: Mapping[int, Sources]
) -> Decoded:
    """The nodes of a choice, made by the smart constructors; see ``decode``."""
    emitter = Emitter(numerics)
    inputs = [emitter.input(graph.nodes[n].type, name) for n, name in zip(graph.inputs, graph.names, strict=True)]
    chosen, roots = choice.enodes, choice.roots
    uses = Counter(child for enode in chosen.values() for child in enode.children)
    uses.update(roots)
    place: dict[int, int] = {}
    read: dict[int, Sequence[int]] = {}

    def terms(c: int) -> list[int]:
        """Classes of the n-ary sum at ``c``: through sums that are read here only; it is added up from the left."""
        found: list[int] = []
        stack = [c]
        while stack:
            top = stack.pop()
            enode = chosen[top]
            leftmost = not found or numerics >= Numerics.REASSOCIATE
            if enode.constructor == ADD and (top == c or (uses[top] == 1 and leftmost)):
                stack += enode.children[::-1]
            else:
                found.append(top)
        return found

    for root in roots:
        stack = [root]
        while stack:
            c = stack[-1]
            if c not in read:
                read[c] = terms(c) if chosen[c].constructor == ADD else chosen[c].children
                stack += [q for q in reversed(read[c]) if q not in place]
                continue
            stack.pop()
            if c in place:
                continue
            node = as_node(chosen[c], choice.types[c], encoder, sources.get(c, ()))
            if node.op == "input":
                place[c] = inputs[node.attr("index")]
                continue
            elementwise = Trait.ELEMENTWISE in get_op(node.op).traits
            place[c] = emitter.emit(node, [place[q] for q in read[c]], elementwise)
    return Decoded(emitter, place, read)


def decode(graph: Graph, choice: Choice, encoder: Encoder, numerics: Numerics, sources: Mapping[int, Sources]) -> Graph:
    """Graph of a choice.

    Args:
        graph: the program that was encoded: gives inputs, names, weak types, precision.
        choice: the e-nodes.
        encoder: its call table.
        numerics: class for the smart constructors.
        sources: user lines of each class.
    """
    made = emit_choice(graph, choice, encoder, numerics, sources)
    numbers = [made.place[r] for r in choice.roots]
    count = len(graph.outputs)
    return made.emitter.build(numbers[:count], numbers[count:], graph.weak_outputs, graph.precision)


class ClassLines(dict[int, Sources]):
    """User lines of the classes that hold original nodes.

    Attributes:
        operands: operand classes of the original nodes in each class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operands: defaultdict[int, dict[int, None]] = defaultdict(dict)

    def consumed(self, c: int, kept: Collection[int]) -> Sources:
        """Lines of what class ``c`` was computed from and what is no longer there: rules replaced it."""
        found: Sources = ()
        queue = deque(self.operands.get(c, ()))
        seen = {c}
        while queue and len(found) < MAX_SOURCES and len(seen) < MAX_CONSUMED:
            q = queue.popleft()
            if q not in kept and q not in seen:
                seen.add(q)
                found = merge_sources(found, self.get(q, ()))
                queue += self.operands.get(q, ())
        return found


def sources_of(graph: Graph, numbers: Sequence[int], snapshot: Snapshot) -> ClassLines:
    """User lines of each class that holds original nodes."""
    lines = ClassLines()
    for n, node in enumerate(graph.nodes):
        c = snapshot.of_number[numbers[n]]
        lines[c] = merge_sources(lines.get(c, ()), node.sources)
        lines.operands[c] |= dict.fromkeys(snapshot.of_number[numbers[q]] for q in node.operands)
    return lines


def inherit_sources(lines: ClassLines, roots: Sequence[int], chosen: Mapping[int, ENode]) -> dict[int, Sources]:
    """User lines of every needed class.

    A class of the original program has its own lines and those of the terms below it that rules replaced; what rules
    made has the lines of its readers.
    """
    order = list(topological(roots, lambda c: chosen[c].children))
    seen = set(order)
    found: dict[int, Sources] = {}
    wanted: dict[int, Sources] = {}
    for c in reversed(order):
        own = lines.get(c)
        found[c] = merge_sources(own, lines.consumed(c, seen)) if own else wanted.get(c, ())
        for q in chosen[c].children:
            if not lines.get(q):
                wanted[q] = merge_sources(wanted.get(q, ()), found[c])
    return found
