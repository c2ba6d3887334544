# SPDX-License-Identifier: Apache-2.0
"""Sums of convolutions: ``conv(x, a) + conv(x, b) = conv(x, a + b)``, ``conv(x, a) + conv(y, a) = conv(x + y, a)``.

Kernels of different sizes over one input are padded with zeros to one that holds them all, where their windows stand on
the same places: a branch of one element beside one of three by three costs nothing then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from egraph_opt.cost import CostModel
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.nets.convs import CONV
from egraph_opt.ops import Trait, get_op

Pads = tuple[tuple[int, int], ...]


class Term(NamedTuple):
    """A term of a sum: a convolution, perhaps reshaped, that nobody else reads."""

    number: int
    conv: int


def conv_sums(graph: Graph, numerics: Numerics, cost: CostModel) -> Graph:
    """The graph with convolutions that are added up as one where that is cheaper; the one given where there is none.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        cost: prices of programs.
    """
    if numerics < Numerics.REASSOCIATE or not any(node.op == CONV for node in graph.nodes):
        return graph
    uses = graph.use_counts()
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    found = False
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.type, names[number]))
            continue
        groups = _groups(graph, node, uses, cost) if node.op == "add" else []
        if groups:
            found = True
            inside = {term.number for group in groups for term in group}
            parts = [place[q] for q in node.operands if q not in inside]
            for group in groups:
                mine = [[place[q] for q in graph.nodes[term.conv].operands] for term in group]
                made = _joined(emitter, [graph.nodes[term.conv] for term in group], mine)
                parts.append(emitter.reshape(made, node.type.shape, node.sources))
            place.append(emitter.sum_of(parts, node.sources))
            continue
        operands = [place[q] for q in node.operands]
        place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    if not found:
        return graph
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _groups(graph: Graph, node: Node, uses: Sequence[int], cost: CostModel) -> list[list[Term]]:
    """Terms of a sum that are cheaper as one convolution."""
    terms: list[Term] = []
    for q in node.operands:
        inner = graph.nodes[q].operands[0] if graph.nodes[q].op == "reshape" else q
        conv = graph.nodes[inner]
        narrow = conv.op == CONV and {graph.nodes[p].type.dtype for p in conv.operands} != {conv.type.dtype}
        if conv.op == CONV and uses[q] == uses[inner] == 1 and not narrow:
            terms.append(Term(q, inner))
    left, groups = terms, list[list[Term]]()
    for shared in (0, 1):  # one input with several kernels, then one kernel with several inputs
        met: dict[Any, list[Term]] = defaultdict(list)
        for term in left:
            conv = graph.nodes[term.conv]
            x = graph.nodes[conv.operands[0]].type
            met[conv.operands[shared], x, conv.types, _frame(conv, whole=shared == 1)].append(term)
        groups += [group for group in met.values() if len(group) > 1 and _pays(graph, group, cost)]
        taken = {term for group in groups for term in group}
        left = [term for term in left if term not in taken]
    return groups


def _frame(conv: Node, whole: bool) -> Any:
    """What convolutions must have in common to be one: all attributes, or those but for the padding."""
    return tuple((name, value) for name, value in conv.attrs if whole or name != "padding")


def _pays(graph: Graph, group: Sequence[Term], cost: CostModel) -> bool:
    convs = [graph.nodes[term.conv] for term in group]
    if convs[0].operands[0] == convs[1].operands[0] and _enlarged(graph, convs) is None:
        return False
    inputs = dict.fromkeys(q for conv in convs for q in conv.operands)
    programs = []
    for change in (False, True):
        emitter = Emitter()
        place = {q: emitter.input(graph.nodes[q].type) for q in inputs}
        operands = [[place[q] for q in conv.operands] for conv in convs]
        if change:
            programs.append(emitter.build([_joined(emitter, convs, operands)]))
        else:
            made = [emitter.copy(conv, mine) for conv, mine in zip(convs, operands, strict=True)]
            programs.append(emitter.build([emitter.sum_of(made)]))
    before, after = (cost.graph_seconds(program) for program in programs)
    return after < before


def _enlarged(graph: Graph, convs: Sequence[Node]) -> tuple[Pads, list[Pads]] | None:
    shapes = [graph.nodes[conv.operands[1]].type.shape for conv in convs]
    return enlarged(convs, shapes)


def enlarged(convs: Sequence[Node], shapes: Sequence[Sequence[int]]) -> tuple[Pads, list[Pads]] | None:
    """The padding of a kernel that holds all of some, and how many zeros each of them gets before and after its taps.

    Returns:
        None where their windows do not stand on the same places.
    """
    numbers = convs[0].attr("dimension_numbers").rhs_spec
    if len({tuple(shape[axis] for axis in numbers[:2]) for shape in shapes}) > 1:
        return None
    holes = convs[0].attr("rhs_dilation")
    paddings = [conv.attr("padding") for conv in convs]
    whole = tuple((max(p[axis][0] for p in paddings), max(p[axis][1] for p in paddings)) for axis in range(len(holes)))
    zeros: list[Pads] = []
    for padding in paddings:
        mine = []
        for (low, high), (most_low, most_high), hole in zip(padding, whole, holes, strict=True):
            if (most_low - low) % hole or (most_high - high) % hole:
                return None
            mine.append(((most_low - low) // hole, (most_high - high) // hole))
        zeros.append(tuple(mine))
    sizes = {
        tuple(shape[axis] + before + after for axis, (before, after) in zip(numbers[2:], mine, strict=True))
        for shape, mine in zip(shapes, zeros, strict=True)
    }
    return (whole, zeros) if len(sizes) == 1 else None


def _joined(emitter: Emitter, convs: Sequence[Node], operands: Sequence[Sequence[int]]) -> int:
    """Append one convolution for the sum of several that share their input or their kernel."""
    sources = convs[0].sources
    if len({mine[0] for mine in operands}) > 1:
        total = emitter.sum_of([mine[0] for mine in operands], sources)
        return emitter.copy(convs[0], [total, operands[0][1]])
    kernels = [mine[1] for mine in operands]
    found = enlarged(convs, [emitter.type(k).shape for k in kernels])
    assert found is not None, "groups fit"
    whole, zeros = found
    numbers = convs[0].attr("dimension_numbers").rhs_spec
    parts = [_padded(emitter, kernel, numbers, mine) for kernel, mine in zip(kernels, zeros, strict=True)]
    attrs = tuple((name, whole if name == "padding" else value) for name, value in convs[0].attrs)
    total = emitter.sum_of(parts, sources)
    return emitter.add(CONV, (operands[0][0], total), attrs, convs[0].types, sources)


def _padded(emitter: Emitter, kernel: int, numbers: Sequence[int], zeros: Pads) -> int:
    if not any(before or after for before, after in zeros):
        return kernel
    type = emitter.type(kernel)
    config = [(0, 0, 0)] * type.rank
    shape = list(type.shape)
    for axis, (before, after) in zip(numbers[2:], zeros, strict=True):
        config[axis] = (before, after, 0)
        shape[axis] += before + after
    zero = emitter.constant(0, type.dtype)
    return emitter.add("pad", (kernel, zero), (("padding_config", tuple(config)),), type.with_shape(tuple(shape)))
