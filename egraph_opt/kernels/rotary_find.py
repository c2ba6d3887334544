# SPDX-License-Identifier: Apache-2.0
"""Finds rotary embeddings: what is put together of parts of one tensor times two tables.

Nothing but the layout and products tells where one ends and begins. So each join is tried with each tensor of its size
before it: what does not depend on that tensor must come from two tables, or one of complex numbers, and the values must
be the pattern's. Where it shows how tables were made, they must be the cosine and the sine of the same angles.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.kernels.dims import Dims, resized
from egraph_opt.kernels.found import Found, Place
from egraph_opt.kernels.record import Static, frozen
from egraph_opt.kernels.region import Piece, piece
from egraph_opt.kernels.rotary import FORMS, ROTARY
from egraph_opt.kernels.rotary_layout import Turned, argument_types, arguments, boxed, joined, result, tables_of
from egraph_opt.kernels.rotary_tables import are_tables
from egraph_opt.kernels.values import Array, Likeness, likeness, value

PLUMBING = frozenset(
    {"add", "slice", "concatenate", "stack", "reshape", "pad", "rev", "copy", "stop_gradient"}
    | {"convert_element_type", "complex", "real", "imag", "conj", "select_n"}
)
"""Operations of a rotary embedding beside products without sums."""

JOINS = frozenset({"concatenate", "stack", "pad", "select_n"})
ROOTS = frozenset({"add", "concatenate", "stack", "reshape"})

MOST_DEPTH = 12
MOST_AFTER = 7
"""Steps from the join, and from a product, to the root."""

MOST_NODES = 48
MOST_TRIED = 10
"""Tensors that are tried as what is turned, for one join."""

SMALL = (2, 3)
LARGEST = 1 << 18
DRAWS = 3
TOLERANCE = 1e-9
"""No numbers stand in a rotary embedding that an element type could round."""

REMEMBERED = 2_000

_verdicts: OrderedDict[object, tuple[Static, bool] | None] = OrderedDict()


def find_rotary(graph: Graph, known: frozenset[int], end: float = math.inf) -> Iterator[Found]:
    """Rotary embeddings of a program in normal form.

    Args:
        graph: the program.
        known: nodes that read no input.
        end: of the process's own time, when to stop [s].
    """
    behind = _behind_joins(graph)
    covered: set[int] = set()
    for root in reversed(range(len(graph.nodes))):
        node = graph.nodes[root]
        if root not in behind or root in covered or root in known or not is_floating(node.type.dtype):
            continue
        if time.process_time() > end:
            return
        found = _at(graph, root, known)
        if found is not None:
            covered |= found.inside
            yield found


def _behind_joins(graph: Graph) -> set[int]:
    """Roots that may be: a join and a product stand before them, a few steps of layout away."""
    far = MOST_DEPTH
    joins, products = [far] * len(graph.nodes), [far] * len(graph.nodes)
    for number, node in enumerate(graph.nodes):
        if len(node.types) == 1 and _can_open(graph, number):
            joins[number] = 0 if node.op in JOINS else min((joins[q] + 1 for q in node.operands), default=far)
            own = _is_product(graph, number)
            products[number] = 0 if own else min((products[q] + 1 for q in node.operands), default=far)
    return {n for n, node in enumerate(graph.nodes) if node.op in ROOTS and max(joins[n], products[n]) < MOST_AFTER}


def _at(graph: Graph, root: int, known: frozenset[int]) -> Found | None:
    region = _region(graph, root)
    below = sorted({q for n in region for q in graph.nodes[n].operands}, reverse=True)
    size, dtype = graph.nodes[root].type.size, graph.nodes[root].type.dtype
    tried = 0
    for x in below:
        type = graph.nodes[x].types[0] if len(graph.nodes[x].types) == 1 else None
        if x in known or type is None or type.dtype != dtype or type.size < size or tried >= MOST_TRIED:
            continue
        box = boxed(graph, x, region)
        if box is None or math.prod(hi - lo for lo, hi in box) != size:
            continue
        tried += 1
        choices = [_found(graph, root, x, box, tables, known) for tables in _tables(graph, root, x, region, known)]
        found = [one for one in choices if one is not None]
        if found:
            return min(found, key=lambda one: one.types[1].size)  # tables with one number for each pair say more
    return None


def _region(graph: Graph, root: int) -> set[int]:
    """Nodes of layout and products before a root, nearest first."""
    region, level = {root}, [root]
    for _ in range(MOST_DEPTH):
        nexts = {q for n in level for q in graph.nodes[n].operands if q not in region and _can_open(graph, q)}
        if not nexts or len(region) + len(nexts) > MOST_NODES:
            break
        region |= nexts
        level = sorted(nexts)
    return region


def _can_open(graph: Graph, number: int) -> bool:
    node = graph.nodes[number]
    if node.op == "einsum":
        return not Spec.parse(node.attr("spec")).summed
    return node.op in PLUMBING


def _is_product(graph: Graph, number: int) -> bool:
    node = graph.nodes[number]
    return node.op == "einsum" and len(node.operands) == 2


def _tables(graph: Graph, root: int, x: int, region: set[int], known: frozenset[int]) -> Iterator[tuple[int, ...]]:
    """Pairs of nodes, or single ones of complex numbers, that with x make the root."""
    frontier = _beside(graph, root, x, region)
    heap = [-q for q in frontier]
    heapq.heapify(heap)
    while frontier:
        shaped = {q for q in frontier if graph.nodes[q].types[0].shape}
        chosen = tuple(sorted(shaped - known or shaped))
        if len(chosen) == 2 or (len(chosen) == 1 and _is_whole(graph, chosen[0], known)):
            yield chosen
        if not heap:
            return
        number = -heapq.heappop(heap)
        if number not in known and _can_open(graph, number):
            frontier.discard(number)
            for q in set(graph.nodes[number].operands) - frontier:
                frontier.add(q)
                heapq.heappush(heap, -q)


def _beside(graph: Graph, root: int, x: int, region: set[int]) -> set[int]:
    """What is read beside a tensor on the way to the root; nothing where the root does not depend on it."""
    depends = {x}
    for number in sorted(region):
        if number > x and depends.intersection(graph.nodes[number].operands):
            depends.add(number)
    if root not in depends:
        return set()
    return {q for n in depends - {x} for q in graph.nodes[n].operands if q not in depends}


def _is_whole(graph: Graph, number: int, known: frozenset[int]) -> bool:
    """Whether one table is of complex numbers, not made of a cosine and a sine where one could look."""
    opens = number not in known and _can_open(graph, number)
    return is_complex(graph.nodes[number].type.dtype) and not opens and graph.nodes[number].op != "complex"


def _found(
    graph: Graph, root: int, x: int, box: Sequence[tuple[int, int]], tables: tuple[int, ...], known: frozenset[int]
) -> Found | None:
    """The idiom with these leaves; None where it is none."""
    made = piece(graph, root, (x, *tables))
    if made is None:
        return None
    dims = Dims(made.graph)
    for shape in joined(made.graph, dims):
        turned = tables_of(made.graph, dims, box, shape)
        if turned is None:
            continue
        key = (made.graph, turned)
        if key not in _verdicts:
            _verdicts[key] = _verdict(made.graph, dims, turned)
            if len(_verdicts) > REMEMBERED:
                _verdicts.popitem(last=False)
        verdict = _verdicts[key]
        if verdict is not None:
            static, swapped = verdict
            if are_tables(graph, tables[::-1] if swapped else tables, known):
                return _idiom(made, replace(turned, swapped=swapped), static)
    return None


def _verdict(graph: Graph, dims: Dims, turned: Turned) -> tuple[Static, bool] | None:
    """Static keywords, and whether the sine comes first; None where values differ."""
    free = [c for c in dims.classes() if c not in dims.fixed | dims.reduced]
    sizes = {c: min(SMALL[i % len(SMALL)], dims.size(c)) for i, c in enumerate(free)}
    small = resized(graph, dims, sizes) if sizes else graph
    if max(t.size for node in small.nodes for t in node.types) > LARGEST:
        return None
    less = turned.resized(sizes)
    drawn = [_draw(small, number) for number in range(DRAWS)]
    values = [value(small, leaves) for leaves in drawn]
    if any(v is None for v in values):
        return None
    orders = (False,) if len(drawn[0]) == 2 else (False, True)
    for form, count, swapped in itertools.product(FORMS, turned.counts(), orders):
        static = frozen({"form": form, "turned": count})
        one = replace(less, swapped=swapped)
        if all(_same(one, static, leaves, v) for leaves, v in zip(drawn, values, strict=True)):
            return static, swapped
    return None


def _draw(graph: Graph, number: int) -> list[Array]:
    random = np.random.default_rng([17, number])
    leaves: list[Array] = []
    for type in graph.input_types:
        drawn = np.asarray(random.standard_normal(type.shape) * 10.0**number)
        leaves.append(drawn + 1j * random.standard_normal(type.shape) if is_complex(type.dtype) else drawn)
    return leaves


def _same(turned: Turned, static: Static, leaves: Sequence[Array], found: Array | None) -> bool:
    """Whether the pattern gives what the piece gave."""
    build = Emitter()
    inputs = [build.input(t) for t in turned.leaves]
    made = arguments(build, inputs, turned)
    body = ROTARY.body([build.type(n) for n in made], static)
    if body is None or found is None:
        return False
    layout = build.build(made)
    given = [value(replace(layout, outputs=(n,)), leaves) for n in layout.outputs]
    wanted = None if any(v is None for v in given) else value(body, [v for v in given if v is not None])
    if wanted is None:
        return False
    after = Emitter()
    node = result(after, after.input(body.output_types[0]), turned)
    last = value(after.build([node]), [wanted])
    return last is not None and likeness(found, last, TOLERANCE) is Likeness.SAME


def _idiom(made: Piece, turned: Turned, static: Static) -> Found:
    def emitted(emitter: Emitter, place: Place) -> list[int]:
        return arguments(emitter, [place(n) for n in made.leaves], turned)

    return Found(
        ROTARY,
        static,
        made.root,
        made.leaves,
        made.inside,
        argument_types(turned),
        emitted,
        lambda emitter, node: result(emitter, node, turned),
    )
