# SPDX-License-Identifier: Apache-2.0
"""Values that are read in their own order: ``x[argsort(x)] = sort(x)``, ``x[argmax(x)] = max(x)``.

So are parts of an order, orders of rows, descending ones, and the places that ``top_k`` gives: what gave the places has
the values too.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.attrs import Array
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.loops.loop import Change, rewritten

EXTREMES = {"argmax": "reduce_max", "argmin": "reduce_min"}
READS = frozenset({"take", "dynamic_slice_in_dim", "gather"})
MOVES = frozenset({"slice", "rev"})


def ordered(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with fewer reads at computed places.

    Args:
        graph: any graph without dead nodes.
        numerics: class of the changes; below ``reassociate`` nothing is done.
    """
    if numerics < Numerics.REASSOCIATE or not any(n.op in {"sort", "top_k", *EXTREMES} for n in graph.nodes):
        return graph
    done = False

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        nonlocal done
        value = _value(emitter, node, *operands) if node.op in READS and len(operands) == 2 else None
        done = done or value is not None
        return None if value is None else Change([value])

    result = rewritten(graph, numerics, change)
    return result if done else graph


def _value(emitter: Emitter, node: Node, x: int, index: int) -> int | None:
    """What a read of ``x`` at places that its own order gave finds there."""
    axis, kind = _axis(node, emitter.type(x), emitter.type(index)), emitter.type(x)
    if axis is None:
        return None
    while emitter.node(index).op == "reshape" and _only_ones(emitter, index):
        index = emitter.node(index).operands[0]
    moves: list[Node] = []
    while (source := emitter.node(index)).op in MOVES:
        moves.append(source)
        index = source.operands[0]
    if source.op in EXTREMES and not moves and source.operands == (x,) and source.attr("axes") == (axis,):
        shape = (*kind.shape[:axis], *kind.shape[axis + 1 :])
        found = emitter.add(EXTREMES[source.op], (x,), (("axes", (axis,)),), kind.with_shape(shape), node.sources)
        return emitter.reshape(found, node.type.shape, node.sources)
    if source.op != "result" or source.attr("index") != 1:
        return None
    scale = _sign(emitter, emitter.node(source.operands[0]), x, axis)
    if scale is None:
        return None
    order = emitter.node(source.operands[0])
    values = emitter.add("result", source.operands, (("index", 0),), order.types[0], node.sources)
    values = emitter.scaled(values, scale, node.sources)
    for move in reversed(moves):
        values = emitter.add(move.op, (values,), move.attrs, kind.with_shape(move.type.shape), node.sources)
    return emitter.reshape(values, node.type.shape, node.sources)


def _only_ones(emitter: Emitter, x: int) -> bool:
    """Whether a reshape only adds or drops dimensions of one."""
    node = emitter.node(x)
    old, new = emitter.type(node.operands[0]).shape, node.type.shape
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _axis(node: Node, kind: TensorType, index: TensorType) -> int | None:
    """The axis along which a read takes, at each place of the others, what stands at the places that are given."""
    if node.op == "take":
        return 0 if kind.rank == 1 else None
    if node.op == "dynamic_slice_in_dim":
        return 0 if kind.rank == 1 and node.attr("slice_size") == 1 else None
    numbers = node.attr("dimension_numbers")
    if len(numbers.start_index_map) != 1 or index.rank != kind.rank + 1:
        return None
    (axis,) = numbers.start_index_map
    others = tuple(d for d in range(kind.rank) if d != axis)
    along = (
        numbers.offset_dims == ()
        and numbers.collapsed_slice_dims == (axis,)
        and numbers.operand_batching_dims == numbers.start_indices_batching_dims == others
    )
    return axis if along else None


def _sign(emitter: Emitter, order: Node, x: int, axis: int) -> int | None:
    """1 or -1 where an order along an axis is that of ``x`` or of its negative."""
    key = order.operands[0]
    if order.op == "top_k":
        return _multiple(emitter, key, x) if order.attr("axis") == axis else None
    if order.op != "sort" or order.attr("dimension") != axis or order.attr("num_keys") != 1:
        return None
    step, turned = counts(emitter, order.operands[1], axis), emitter.node(key)
    if step == -1 and turned.op == "rev" and turned.attr("dimensions") == (axis,):
        return _multiple(emitter, turned.operands[0], x)
    return _multiple(emitter, key, x) if step == 1 else None


def _multiple(emitter: Emitter, key: int, x: int) -> int | None:
    """1 or -1 where a key is ``x`` or its negative."""
    if key == x:
        return 1
    node = emitter.node(key)
    if node.op != "einsum" or node.operands != (x,):
        return None
    spec = Spec.parse(node.attr("spec"))
    return -1 if spec.scale == -1 and spec.inputs[0] == spec.output and spec.is_copy else None


def counts(emitter: Emitter, x: int, axis: int) -> int:
    """1 where a tensor holds the places along an axis, -1 where it holds them from the last to the first, else 0."""
    node = emitter.node(x)
    if node.op == "rev":
        return -counts(emitter, node.operands[0], axis) if node.attr("dimensions") == (axis,) else 0
    if node.op == "iota":
        return int(node.attr("dimension") == axis)
    if node.op == "constant":
        return _array_counts(node) if node.type.rank == 1 and axis == 0 else 0
    if node.op != "einsum" or len(node.operands) != 1:
        return 0
    spec, source = Spec.parse(node.attr("spec")), emitter.node(node.operands[0])
    plain = spec.is_copy and spec.scale == 1 and spec.has_distinct_output and source.op != "einsum"
    if not plain or spec.output[axis] not in spec.inputs[0]:
        return 0
    return counts(emitter, node.operands[0], spec.inputs[0].index(spec.output[axis]))


def _array_counts(node: Node) -> int:
    value = node.attr("value")
    places = list(range(node.type.shape[0]))
    if not isinstance(value, Array) or len(places) < 2:
        return 0
    held = value.value.tolist()
    return 1 if held == places else -1 if held == places[::-1] else 0
