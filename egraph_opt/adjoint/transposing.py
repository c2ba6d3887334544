# SPDX-License-Identifier: Apache-2.0
"""Linear operations read from the other side: ``<f, L u> = <L' f, u>`` for convolutions, slices, pads and their like.

``v @ jacfwd(f)(x)`` sends a whole basis through ``L`` and multiplies with ``v`` then; ``L'`` sends back ``v`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.slices import Range, slice_attrs
from egraph_opt.ir.spec import LETTERS, canonical

Make = Callable[[Emitter, int, Sequence[int]], int]


class Transpose(NamedTuple):
    """How a linear operation is transposed.

    Args:
        touched: dimensions of the result that are not the same to it, in order.
        read: those of the first operand, in order.
        kept: dimensions of the first operand that it does the same along, each with that of the result.
        make: the transpose, given a tensor whose dimensions are one of several images and then the touched ones, and
            the nodes of the other operands; its result has the images first, then the dimensions that are read.
    """

    touched: tuple[int, ...]
    read: tuple[int, ...]
    kept: dict[int, int]
    make: Make


def transpose(graph: Graph, node: Node) -> Transpose | None:
    """The transpose of an operation as a function of its first operand; None for others.

    Args:
        graph: holds the node.
        node: the operation.
    """
    made = _MADE.get(node.op)
    return None if made is None else made(graph, node)


def _of_conv(graph: Graph, node: Node) -> Transpose | None:
    """A convolution of what came out with the kernel turned round, what was a stride then being a dilation."""
    attrs, order = node.kwargs, node.attr("dimension_numbers")
    image, kernel = (graph.nodes[q].type for q in node.operands)
    if attrs["feature_group_count"] != 1 or attrs["batch_group_count"] != 1 or image.dtype != node.type.dtype:
        return None
    touched = tuple(d for d in range(node.type.rank) if d != order.out_spec[0])
    read = tuple(d for d in range(image.rank) if d != order.lhs_spec[0])
    padding = []
    for k, (low, _) in enumerate(attrs["padding"]):
        before = _spread(image.shape[order.lhs_spec[2 + k]], attrs["lhs_dilation"][k])
        window = _spread(kernel.shape[order.rhs_spec[2 + k]], attrs["rhs_dilation"][k])
        after = _spread(node.type.shape[order.out_spec[2 + k]], attrs["window_strides"][k])
        padding.append((window - 1 - low, before - after + low))
    if min(map(min, padding), default=0) < 0:
        return None  # XLA:CPU reads beyond its operand where a convolution crops
    places = tuple(order.rhs_spec[2:])
    changed = {
        "window_strides": attrs["lhs_dilation"],
        "padding": tuple(padding),
        "lhs_dilation": attrs["window_strides"],
        "dimension_numbers": type(order)(
            order.out_spec, (order.rhs_spec[1], order.rhs_spec[0], *places), order.lhs_spec
        ),
    }

    def make(emitter: Emitter, x: int, others: Sequence[int]) -> int:
        turned = emitter.add("rev", others, (("dimensions", tuple(sorted(places))),), kernel, node.sources)
        x = _first_to(emitter, x, order.out_spec[0])
        shape = list(image.shape)
        shape[order.lhs_spec[0]] = emitter.type(x).shape[order.out_spec[0]]
        held = tuple((key, changed.get(key, value)) for key, value in node.attrs)
        found = emitter.add(node.op, (x, turned), held, node.type.with_shape(tuple(shape)), node.sources)
        return _to_first(emitter, found, order.lhs_spec[0])

    return Transpose(touched, read, {order.lhs_spec[0]: order.out_spec[0]}, make)


def _along(node: Node, dims: Sequence[int], make: Make) -> Transpose:
    """The transpose of what leaves all but some dimensions alone."""
    touched = tuple(sorted(dims))
    return Transpose(touched, touched, {d: d for d in range(node.type.rank) if d not in touched}, make)


def _of_slice(graph: Graph, node: Node) -> Transpose | None:
    before, after = graph.nodes[node.operands[0]].type, node.type
    dims = [d for d, (m, n) in enumerate(zip(before.shape, after.shape, strict=True)) if m != n]
    strides = node.attr("strides") or (1,) * before.rank
    config = []
    for d in dims:
        start, n, step = node.attr("start_indices")[d], after.shape[d], strides[d]
        config.append((start, before.shape[d] - start - ((n - 1) * step + 1), step - 1))
    if 0 in after.shape:
        return None

    def make(emitter: Emitter, x: int, others: Sequence[int]) -> int:
        kind = emitter.type(x).with_shape((emitter.type(x).shape[0], *(before.shape[d] for d in dims)))
        zero = emitter.constant(0, kind.dtype)
        attrs = (("padding_config", ((0, 0, 0), *config)),)
        return emitter.add("pad", (x, zero), attrs, kind, node.sources)

    return _along(node, dims, make)


def _of_pad(graph: Graph, node: Node) -> Transpose | None:
    """What was added is left out, what was left out is zero; what had gaps is read in steps."""
    before, filled = (graph.nodes[q] for q in node.operands)
    if filled.op != "constant" or filled.attr("value") != 0 or 0 in before.type.shape:
        return None
    config = node.attr("padding_config")
    dims = [d for d, sides in enumerate(config) if any(sides)]
    sizes = [before.type.shape[d] for d in dims]
    strides = (1, *(config[d][2] + 1 for d in dims))
    crops = any(min(config[d][:2]) < 0 for d in dims)

    def make(emitter: Emitter, x: int, others: Sequence[int]) -> int:
        kind = emitter.type(x)
        spread = [(n - 1) * step + 1 for n, step in zip(sizes, strides[1:], strict=True)]
        starts = [config[d][0] for d in dims]
        if crops:
            undone = ((0, 0, 0), *((-config[d][0], -config[d][1], 0) for d in dims))
            padded, zero = kind.with_shape((kind.shape[0], *spread)), emitter.constant(0, kind.dtype)
            x = emitter.add("pad", (x, zero), (("padding_config", undone),), padded, node.sources)
            starts = [0 for _ in dims]
        ranges = [Range(0, kind.shape[0])]
        ranges += [Range(a, a + n, step) for a, n, step in zip(starts, spread, strides[1:], strict=True)]
        if all(r.is_all(n) for r, n in zip(ranges, emitter.type(x).shape, strict=True)):
            return x
        return emitter.add("slice", (x,), slice_attrs(ranges), kind.with_shape((kind.shape[0], *sizes)), node.sources)

    return _along(node, dims, make)


def _of_rev(graph: Graph, node: Node) -> Transpose | None:
    del graph
    dims = sorted(node.attr("dimensions"))

    def make(emitter: Emitter, x: int, others: Sequence[int]) -> int:
        attrs = (("dimensions", tuple(range(1, len(dims) + 1))),)
        return emitter.add("rev", (x,), attrs, emitter.type(x), node.sources)

    return _along(node, dims, make)


def _of_cumsum(graph: Graph, node: Node) -> Transpose | None:
    del graph

    def make(emitter: Emitter, x: int, others: Sequence[int]) -> int:
        attrs = (("axis", 1), ("reverse", not node.attr("reverse")))
        return emitter.add("cumsum", (x,), attrs, emitter.type(x), node.sources)

    return _along(node, [node.attr("axis")], make)


def _spread(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1 if size else 0


def _first_to(emitter: Emitter, x: int, place: int) -> int:
    """The tensor with its first dimension elsewhere."""
    word = LETTERS[: emitter.type(x).rank]
    return _reordered(emitter, x, word, word[1 : place + 1] + word[0] + word[place + 1 :])


def _to_first(emitter: Emitter, x: int, place: int) -> int:
    word = LETTERS[: emitter.type(x).rank]
    return _reordered(emitter, x, word, word[place] + word[:place] + word[place + 1 :])


def _reordered(emitter: Emitter, x: int, word: str, out: str) -> int:
    return emitter.einsum(canonical([word], out, dict(zip(word, emitter.type(x).shape, strict=True))), [x])


_MADE: dict[str, Callable[[Graph, Node], Transpose | None]] = {
    "conv_general_dilated": _of_conv,
    "slice": _of_slice,
    "pad": _of_pad,
    "rev": _of_rev,
    "cumsum": _of_cumsum,
}
