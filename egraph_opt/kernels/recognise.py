# SPDX-License-Identifier: Apache-2.0
"""Recognises idioms in a program: pieces whose values are those of a kernel, however they are spelled.

A piece is proposed where operations of the kernel's families end, and compared by value; verdicts are remembered by
the piece, so that the blocks of a deep network cost one comparison. What a larger idiom holds is not listed again.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import jax

from egraph_opt.ir import Graph
from egraph_opt.kernels.attention import ATTENTION
from egraph_opt.kernels.attention_find import find_attention
from egraph_opt.kernels.found import Found, found_of
from egraph_opt.kernels.integer_products import INTEGER_PRODUCT, find_integer_products
from egraph_opt.kernels.labels import reads_labels_plainly
from egraph_opt.kernels.match import Layout, Match, match
from egraph_opt.kernels.norm_groups import as_group_norm
from egraph_opt.kernels.picks import Picks, picks_in
from egraph_opt.kernels.record import Kernel, Static, all_kernels, frozen
from egraph_opt.kernels.region import FAMILIES, LABEL_DTYPES, Piece, can_open, cuts, families, piece, read_by, texts
from egraph_opt.kernels.rotary import ROTARY
from egraph_opt.kernels.rotary_find import find_rotary
from egraph_opt.kernels.values import Likeness

REACH = 14
"""Steps from an operation of a family to the result of an idiom that holds it."""

REMEMBERED = 20_000

_verdicts: OrderedDict[tuple[Kernel, Graph], tuple[Layout, Static, Likeness] | None] = OrderedDict()


def recognise(graph: Graph, kernels: Sequence[Kernel] | None = None, seconds: float = math.inf) -> list[Found]:
    """Idioms of a program in normal form, in the order of the program.

    Those with lowerings for the device at hand are listed wherever they are, even inside of each other; the rest
    outermost only.

    Args:
        graph: the program; sub-graphs are not looked into.
        kernels: what to look for; all that are known by default.
        seconds: when to end, with what was found so far [s].
    """
    wanted = list(all_kernels().values()) if kernels is None else list(kernels)
    present = families(graph.nodes)
    wanted = [k for k in wanted if needs(k) <= present]
    if not wanted:
        return []
    end = time.process_time() + seconds  # of its own work: a busy machine must not hide idioms
    runs = {k for k in wanted if k.runs_on(jax.default_backend())}
    known = texts(graph)
    picks = picks_in(graph, known) if any(k.labels for k in wanted) else {}
    reach = _reach(graph, known, picks)
    users = _users(graph)
    found: list[Found] = []
    covered: set[int] = set()
    if ATTENTION in wanted:
        wanted.remove(ATTENTION)
        found += find_attention(graph, known)
        covered |= {n for one in found for n in one.inside}
    if INTEGER_PRODUCT in wanted:
        wanted.remove(INTEGER_PRODUCT)
        found += find_integer_products(graph)
    if ROTARY in wanted:
        wanted.remove(ROTARY)
        turned = list(find_rotary(graph, known, end))
        found += turned
        covered |= {n for one in turned for n in one.inside}
    for root in reversed(range(len(graph.nodes))):
        here = [k for k in wanted if needs(k) <= reach[root] and (k in runs or root not in covered)]
        if root in known or not graph.nodes[root].operands or not here:
            continue
        if time.process_time() > end:
            break
        ones = [as_group_norm(graph, one, wanted) for one in _at(graph, root, here, known, picks)]
        named = max((one for one in ones if root not in covered), key=_extent, default=None)
        found += [one for one in ones if one is named or (one.kernel in runs and not _is_part(one, found, users))]
        if named is not None:
            covered |= {n for n in named.inside if users[n] <= named.inside | {named.root}}
    return sorted(found, key=lambda one: one.root)


def needs(kernel: Kernel) -> frozenset[str]:
    """Families of operations without which no piece is the kernel."""
    if kernel.families is not None:
        return kernel.families
    if kernel not in _needs:
        body = kernel.body(kernel.sample(), frozen(kernel.samples[0]))
        _needs[kernel] = families(body.nodes) if body is not None else frozenset()
    return _needs[kernel]


_needs: dict[Kernel, frozenset[str]] = {}


def _at(graph: Graph, root: int, kernels: Sequence[Kernel], known: frozenset[int], picks: Picks) -> list[Found]:
    """The idioms whose result is this node: of each kernel the largest piece."""
    best: dict[Kernel, Match] = {}
    for leaves in cuts(graph, root, known, max(len(k.shapes) for k in kernels), picks):
        fitting = [k for k in kernels if _takes(k, graph, root, leaves)]
        made = piece(graph, root, leaves, picks) if fitting else None
        if made is None:
            continue
        held = families(made.graph.nodes)
        for kernel in fitting:
            one = _verdict(kernel, made) if needs(kernel) <= held else None
            if one is not None and (kernel not in best or len(made.inside) > len(best[kernel].piece.inside)):
                best[kernel] = one
    return [found_of(one) for one in best.values()]


def _takes(kernel: Kernel, graph: Graph, root: int, leaves: Sequence[int]) -> bool:
    """Whether leaves and a result may be the kernel's, by their number, and by their element types."""
    if len(kernel.shapes) != len(leaves):
        return False
    kinds = [graph.nodes[n].types[0].dtype for n in (root, *leaves)]
    return len({d for d in kinds if d not in LABEL_DTYPES}) <= 1 and sum(d in LABEL_DTYPES for d in kinds[1:]) == len(
        kernel.labels
    )


def _is_part(one: Found, found: Sequence[Found], users: Sequence[frozenset[int]]) -> bool:
    """Whether an idiom of the same kernel stands for it and for all that reads it."""
    wider = [other for other in found if other.kernel is one.kernel and one.root in other.inside]
    return any(users[one.root] <= other.inside | {other.root} for other in wider)


def _extent(one: Found) -> tuple[int, bool]:
    return len(one.inside), not one.kernel.user


def _verdict(kernel: Kernel, made: Piece) -> Match | None:
    """Whether a piece is a kernel, from memory where it was seen before."""
    key = (kernel, made.graph)
    if key not in _verdicts:
        one = match(kernel, made) if _is_smooth(made.graph, kernel) else None
        _verdicts[key] = None if one is None else (one.layout, one.static, one.likeness)
        if len(_verdicts) > REMEMBERED:
            _verdicts.popitem(last=False)
    held = _verdicts[key]
    return None if held is None else Match(kernel, made, *held)


def _is_smooth(graph: Graph, kernel: Kernel) -> bool:
    """Whether no case is told apart by a number whose both sides draws would not meet, but by those of the pattern."""
    labels = bool(kernel.labels)
    if labels and not reads_labels_plainly(graph):
        return False
    allowed = {(0.0, True), (0.0, False), *(c for body in kernel.bodies() for c in _compared(body, labels))}
    return all(c in allowed or (c[1] and LEAST_MET <= abs(c[0]) <= MOST_MET) for c in _compared(graph, labels))


def _compared(graph: Graph, labels: bool = False) -> Iterator[tuple[float, bool]]:
    """Finite numbers with which something is compared, and whether by its order."""
    for node in graph.nodes:
        if node.op in COMPARING:
            for q in node.operands:
                other = graph.nodes[q]
                while other.op == "einsum" and len(other.operands) == 1:
                    other = graph.nodes[other.operands[0]]
                value = other.attr("value") if other.op == "constant" and not other.type.shape else None
                if labels and other.type.dtype in LABEL_DTYPES:
                    continue  # of labels, which have rules of their own
                if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                    yield float(value), node.op not in ("eq", "ne")


LEAST_MET, MOST_MET = 0.01, 100.0
"""Between these numbers draws have values on both sides."""

COMPARING = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "max", "min", "clamp"})


def _reach(graph: Graph, known: frozenset[int], picks: Picks) -> list[frozenset[str]]:
    """Families that a piece ending in each node can hold."""
    found: list[dict[str, int]] = []
    for number, node in enumerate(graph.nodes):
        own: dict[str, int] = {}
        if number not in known and (number in picks or can_open(node)):
            for q in read_by(graph, number, picks):
                for family, steps in found[q].items():
                    if steps < REACH:
                        own[family] = min(own.get(family, REACH), steps + 1)
            if node.op in FAMILIES:
                own[FAMILIES[node.op]] = 0
        found.append(own)
    return [frozenset(own) for own in found]


def _users(graph: Graph) -> list[frozenset[int]]:
    users: list[set[int]] = [set() for _ in graph.nodes]
    for number, node in enumerate(graph.nodes):
        for q in node.operands:
            users[q].add(number)
    for number in (*graph.outputs, *graph.effects):
        users[number].add(-1)
    return list(map(frozenset, users))
