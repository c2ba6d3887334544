# SPDX-License-Identifier: Apache-2.0
"""What stands around convolutions and costs nothing inside of them: padding by zeros, and the order of dimensions.

A convolution pads by itself, and is told where channels and pixels stand; so pads and transposes of its operands, and
the transpose of a result that nobody else reads, become attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.nets.convs import CONV
from egraph_opt.ops import Trait, get_op


def conv_operands(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with pads and transposes around convolutions as their attributes; the one given where there are none.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
    """
    if numerics < Numerics.REASSOCIATE or not any(node.op == CONV for node in graph.nodes):
        return graph
    uses = graph.use_counts()
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    found = False
    for node in graph.nodes:
        if node.op == "input":
            place.append(emitter.input(node.type, names[len(place)]))
            continue
        operands = [place[q] for q in node.operands]
        made = None
        if node.op == CONV:
            made = _operands_taken(emitter, node, operands)
        elif node.op == "einsum" and len(operands) == 1 and _is_alone(graph, node.operands[0], uses):
            made = _turned(emitter, node, operands[0])
        found |= made is not None
        if made is None:
            made = emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
        place.append(made)
    if not found:
        return graph
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _is_alone(graph: Graph, number: int, uses: Sequence[int]) -> bool:
    """Whether nobody else reads a node, nor what it reshapes."""
    node = graph.nodes[number]
    return uses[number] == 1 and (node.op != "reshape" or uses[node.operands[0]] == 1)


def _operands_taken(emitter: Emitter, node: Node, operands: Sequence[int]) -> int | None:
    """The convolution of what its operands were before they were padded and transposed."""
    attrs = node.kwargs
    x, kernel = operands
    changed = False
    while True:
        taken = _unpadded(emitter, attrs, x) or _unturned(emitter, attrs, x, "lhs_spec")
        if taken is None:
            break
        x, attrs = taken
        changed = True
    taken = _unturned(emitter, attrs, kernel, "rhs_spec")
    if taken is not None:
        kernel, attrs = taken
    if not changed and taken is None:
        return None
    return emitter.add(CONV, (x, kernel), tuple(attrs.items()), node.types, node.sources)


def _unpadded(emitter: Emitter, attrs: dict[str, Any], x: int) -> tuple[int, dict[str, Any]] | None:
    """An input before zeros were put around its pixels, and the padding with these."""
    number, dims = _squeezed(emitter, x)
    inner = emitter.nodes[number]
    if inner.op != "pad" or emitter.scalar_value(inner.operands[1]) != 0 or set(attrs["lhs_dilation"]) > {1}:
        return None
    config = [(0, 0, 0) if d is None else inner.attr("padding_config")[d] for d in dims]
    space = attrs["dimension_numbers"].lhs_spec[2:]
    if any(gap or ((low or high) and axis not in space) for axis, (low, high, gap) in enumerate(config)):
        return None
    if any(low < 0 or high < 0 for pads in (attrs["padding"], config) for low, high, *_ in pads):
        return None
    added = [config[axis] for axis in space]
    padding = tuple((low + a, high + b) for (low, high), (a, b, _) in zip(attrs["padding"], added, strict=True))
    core = emitter.type(inner.operands[0]).shape
    shape = tuple(1 if d is None else core[d] for d in dims)
    return emitter.reshape(inner.operands[0], shape), attrs | {"padding": padding}


def _unturned(emitter: Emitter, attrs: dict[str, Any], x: int, name: str) -> tuple[int, dict[str, Any]] | None:
    """An operand before it was transposed, and the numbers of its dimensions there."""
    number, dims = _squeezed(emitter, x)
    inner = emitter.nodes[number]
    axes = transposition(inner)
    if axes is None:
        return None
    # Dimensions of size 1 that the operand has besides stand first.
    ones = [k for k, d in enumerate(dims) if d is None]
    moved = [ones.index(k) if d is None else len(ones) + axes[d] for k, d in enumerate(dims)]
    numbers = attrs["dimension_numbers"]
    spec = tuple(moved[axis] for axis in getattr(numbers, name))
    y = emitter.reshape(inner.operands[0], (*[1] * len(ones), *emitter.type(inner.operands[0]).shape))
    return y, attrs | {"dimension_numbers": numbers._replace(**{name: spec})}


def _turned(emitter: Emitter, node: Node, x: int) -> int | None:
    """The convolution whose result alone is transposed, with its dimensions in that order."""
    axes = transposition(node)
    inner = emitter.nodes[x]
    conv = emitter.nodes[inner.operands[0]] if inner.op == "reshape" else inner
    if conv.op != CONV or axes is None:
        return None
    kept = [k for k, n in enumerate(conv.type.shape) if n > 1 or inner is conv]
    if tuple(conv.type.shape[k] for k in kept) != inner.type.shape:
        return None
    order = [*(k for k in range(conv.type.rank) if k not in kept), *(kept[axis] for axis in axes)]
    numbers: lax.ConvDimensionNumbers = conv.attr("dimension_numbers")
    spec = tuple(order.index(axis) for axis in numbers.out_spec)
    attrs = conv.kwargs | {"dimension_numbers": numbers._replace(out_spec=spec)}
    type = conv.type.with_shape(tuple(conv.type.shape[k] for k in order))
    made = emitter.add(CONV, conv.operands, tuple(attrs.items()), type, node.sources)
    return emitter.reshape(made, node.type.shape, node.sources)


def _squeezed(emitter: Emitter, x: int) -> tuple[int, list[int | None]]:
    """The tensor that ``x`` is with further dimensions of size 1, and which of them each of its is; else itself."""
    node = emitter.nodes[x]
    inner = emitter.nodes[node.operands[0]].type.shape if node.op == "reshape" else ()
    if node.op != "reshape" or 1 in inner or tuple(n for n in node.type.shape if n > 1) != inner:
        return x, list(range(len(node.type.shape)))
    places = iter(range(len(inner)))
    return node.operands[0], [next(places) if n > 1 else None for n in node.type.shape]


def transposition(node: Node) -> tuple[int, ...] | None:
    """For each dimension of a transpose's result the dimension of its operand; None for other nodes."""
    if node.op != "einsum" or len(node.operands) != 1:
        return None
    spec = Spec.parse(node.attr("spec"))
    if not spec.is_permutation or spec.scale != 1:
        return None
    return tuple(spec.inputs[0].index(c) for c in spec.output)
