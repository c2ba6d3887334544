# SPDX-License-Identifier: Apache-2.0
"""Convolutions as products: kernels of one element, and kernels as large as what they slide over.

A convolution whose window holds one element is a product of matrices, one whose window holds all of its input sums over
it. As einsums they take part in whatever the search knows of products: grouped, merged, factored, prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from egraph_opt.cost import CostModel
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS
from egraph_opt.ops import Trait, get_op

CONV = "conv_general_dilated"


class Window(NamedTuple):
    """One spatial dimension of a convolution: axes of input, kernel and result, sizes, and how the window moves."""

    x: int
    kernel: int
    out: int
    size: int
    taps: int
    stride: int
    padding: tuple[int, int]
    holes: int
    spread: int


def windows(node: Node, x_shape: Sequence[int], kernel_shape: Sequence[int]) -> list[Window]:
    """The spatial dimensions of a convolution."""
    numbers = node.attr("dimension_numbers")
    each = zip(
        numbers.lhs_spec[2:],
        numbers.rhs_spec[2:],
        numbers.out_spec[2:],
        node.attr("window_strides"),
        node.attr("padding"),
        node.attr("rhs_dilation"),
        node.attr("lhs_dilation"),
        strict=True,
    )
    return [Window(x, k, o, x_shape[x], kernel_shape[k], s, tuple(p), h, d) for x, k, o, s, p, h, d in each]


def conv_products(graph: Graph, numerics: Numerics, cost: CostModel) -> Graph:
    """The graph with convolutions as products where these are cheaper; the one given where there is none.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        cost: prices of programs.
    """
    if numerics < Numerics.REASSOCIATE or not any(node.op == CONV for node in graph.nodes):
        return graph
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    found = False
    for node in graph.nodes:
        if node.op == "input":
            place.append(emitter.input(node.type, names[len(place)]))
            continue
        operands = [place[q] for q in node.operands]
        if node.op == CONV and _is_product(graph, node) and _is_cheaper(graph, node, cost):
            place.append(_product(emitter, graph, node, operands))
            found = True
        else:
            place.append(emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits))
    if not found:
        return graph
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _is_product(graph: Graph, node: Node) -> bool:
    """Whether every spatial dimension of a convolution is passed on, or summed as a whole."""
    x, kernel = (graph.nodes[q].type for q in node.operands)
    if node.attr("batch_group_count") != 1 or {x.dtype, kernel.dtype} != {node.type.dtype}:
        return False
    each = windows(node, x.shape, kernel.shape)
    plain = all(w.padding == (0, 0) and w.spread == 1 for w in each)
    whole = all(w.taps == 1 or (w.taps == w.size and w.holes == 1) for w in each)
    empty = 0 in (*x.shape, *kernel.shape)
    return plain and whole and not empty


def _is_cheaper(graph: Graph, node: Node, cost: CostModel) -> bool:
    programs = []
    for change in (False, True):
        emitter = Emitter()
        operands = [emitter.input(graph.nodes[q].type) for q in node.operands]
        made = _product(emitter, graph, node, operands) if change else emitter.copy(node, operands)
        programs.append(emitter.build([made]))
    before, after = (cost.graph_seconds(program) for program in programs)
    return after <= before


def _product(emitter: Emitter, graph: Graph, node: Node, operands: Sequence[int]) -> int:
    """The convolution as an einsum; dimensions of size 1 are left out of it."""
    x, kernel = operands
    types = [graph.nodes[q].type for q in node.operands]
    numbers = node.attr("dimension_numbers")
    each = windows(node, types[0].shape, types[1].shape)
    x = _strided(emitter, x, each, node)
    groups = node.attr("feature_group_count")
    batch, group, channel, feature = tuple(LETTERS[:4])
    shape = emitter.type(x).shape
    n, c = (shape[axis] for axis in numbers.lhs_spec[:2])
    o = types[1].shape[numbers.rhs_spec[0]]
    sizes = {batch: n, group: groups, channel: c // groups, feature: o // groups}
    words = [[""] * len(spec) for spec in (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec)]
    lhs, rhs, out = words
    lhs[numbers.lhs_spec[0]], lhs[numbers.lhs_spec[1]] = batch, group + channel
    rhs[numbers.rhs_spec[0]], rhs[numbers.rhs_spec[1]] = group + feature, channel
    out[numbers.out_spec[0]], out[numbers.out_spec[1]] = batch, group + feature
    for w, letter in zip(each, LETTERS[4:], strict=False):
        sizes[letter] = shape[w.x]
        lhs[w.x] = letter
        if w.taps > 1:
            rhs[w.kernel] = letter
        else:
            out[w.out] = letter
    flat = ["".join(c for c in "".join(word) if sizes[c] > 1) for word in words]
    sources = node.sources
    x, kernel = (
        emitter.reshape(q, tuple(sizes[c] for c in word), sources) for q, word in zip((x, kernel), flat, strict=False)
    )
    made = emitter.contract(flat[:2], flat[2], sizes, [x, kernel], sources)
    return emitter.reshape(made, node.type.shape, sources)


def _strided(emitter: Emitter, x: int, each: Sequence[Window], node: Node) -> int:
    """The places that windows of one element stand on."""
    shape = emitter.type(x).shape
    steps = [1] * len(shape)
    for w in each:
        if w.taps == 1:
            steps[w.x] = w.stride
    if set(steps) == {1}:
        return x
    attrs = (("start_indices", (0,) * len(shape)), ("limit_indices", shape), ("strides", tuple(steps)))
    sizes = tuple(-(-n // step) for n, step in zip(shape, steps, strict=True))
    return emitter.add("slice", (x,), attrs, emitter.type(x).with_shape(sizes), node.sources)
