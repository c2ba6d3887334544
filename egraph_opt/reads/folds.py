# SPDX-License-Identifier: Apache-2.0
"""What need not be put in order before it is folded: sums and extremes of joined, merged, reversed and sorted tensors.

``sum([x, y]) = sum(x) + sum(y)``, ``sum(sort(x)) = sum(x)``, ``sort(x)[0] = min(x)``. Each takes the place of what was
written where nobody else reads that; none costs more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.attrs import DType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.reshapes import Shape
from egraph_opt.ir.slices import Range, slice_attrs
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.loops.loop import Change, rewritten
from egraph_opt.reads.leading import NARROW, largest, leading
from egraph_opt.reads.ordered import counts

EXTREMES = {"reduce_max": "max", "reduce_min": "min"}


def folded(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with less work before folds.

    Args:
        graph: any graph without dead nodes.
        numerics: class of the changes; below ``reassociate`` nothing is done.
    """
    if numerics < Numerics.REASSOCIATE or not any(node.op in _SOURCES for node in graph.nodes):
        return graph
    change = _Folds(graph)
    result = rewritten(graph, numerics, change)
    return result if change.done else graph


class _Folds:
    """What takes the place of a node; ``done`` says whether anything did."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.uses, self.done = graph, graph.use_counts(), False
        self.cut = {n.operands[0] for n in graph.nodes if n.op == "slice" and self.uses[n.operands[0]] == 1}
        self.values_only = {n.operands[0] for n in graph.nodes if n.op == "result" and n.attr("index") == 0}
        self.values_only -= {n.operands[0] for n in graph.nodes if n.op == "result" and n.attr("index") > 0}

    def __call__(self, emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        change = self._ordering(emitter, number, node, operands)
        if change is None and len(operands) == 1:
            made = self._one(emitter, number, node, operands[0])
            change = None if made is None else Change([made])
        self.done = self.done or change is not None
        return change

    def _ordering(self, emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        """A sort without what nobody reads in its order; the largest of narrow values, found in float32."""
        if node.op == "sort" and len(operands) > 1 and node.attr("num_keys") == 1 and number in self.values_only:
            alone = emitter.add("sort", operands[:1], node.attrs, node.types[0], node.sources)
            return Change([alone, *[None] * (len(operands) - 1)])
        if node.op == "top_k" and emitter.type(operands[0]).dtype in NARROW:
            return Change(largest(emitter, operands[0], node.attr("k"), node.attr("axis"), node))
        return None

    def _one(self, emitter: Emitter, number: int, node: Node, x: int) -> int | None:
        """A fold or a cut of one operand."""
        if node.op == "result":
            return None if number in self.cut else _greatest(emitter, node, x)
        if self.uses[self.graph.nodes[number].operands[0]] != 1:
            return None
        if node.op == "einsum":
            return _sum(emitter, node, x)
        if node.op in EXTREMES:
            return _extreme(emitter, node, x)
        return _end(emitter, node, x, self._alone(number)) if node.op == "slice" else None

    def _alone(self, number: int) -> bool:
        """Whether nobody else reads the ordering that a slice cuts from, nor another result of it."""
        source = self.graph.nodes[number].operands[0]
        ordering = self.graph.nodes[source].operands[0] if self.graph.nodes[source].op == "result" else source
        return self.uses[source] == self.uses[ordering] == 1


def _sum(emitter: Emitter, node: Node, x: int) -> int | None:
    """A sum over axes without the order that its operand was given."""
    spec = Spec.parse(node.attr("spec"))
    word, inner = spec.inputs[0], emitter.node(x)
    free = [axis for axis, c in enumerate(word) if c not in spec.output and word.count(c) == 1]
    if inner.op == "concatenate" and inner.attr("dimension") in free:
        letter = word[inner.attr("dimension")]
        terms = []
        for q in inner.operands:
            size = emitter.type(q).shape[inner.attr("dimension")]
            part = canonical([word], spec.output, {**spec.sizes, letter: size}, spec.scale)
            terms.append(emitter.einsum(part, [q], node.sources))
        return emitter.sum_of(terms, node.sources)
    if inner.op == "rev" and set(inner.attr("dimensions")) <= set(free):
        return emitter.einsum(node.attr("spec"), inner.operands, node.sources)
    if inner.op == "sort" and len(inner.operands) == 1 and inner.attr("dimension") in free:
        return emitter.einsum(node.attr("spec"), inner.operands, node.sources)
    if inner.op == "reshape":
        return _sum_of_reshape(emitter, node, spec, inner.operands[0])
    if inner.op == "conv_general_dilated":
        return _sum_of_convolution(emitter, node, spec, inner)
    return None


def _sum_of_reshape(emitter: Emitter, node: Node, spec: Spec, x: int) -> int | None:
    """A sum or trace of a reshape that merges dimensions: each of them is a letter of its own."""
    word, old = spec.inputs[0], emitter.type(x).shape
    groups = merged_groups(old, emitter.type(x).with_shape(spec.shapes[0]).shape)
    if not spec.summed or groups is None or all(len(group) == 1 for group in groups):
        return None
    if len(old) + len(spec.broadcast) > len(LETTERS):
        return None
    names = iter(LETTERS)
    parts: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for letter, group in zip(word, groups, strict=True):
        shape = [old[axis] for axis in group]
        if letter in parts:
            if [sizes[c] for c in parts[letter]] != shape:
                return None
            continue
        parts[letter] = "".join(next(names) for _ in group)
        sizes.update(zip(parts[letter], shape, strict=True))
    for letter in spec.broadcast:
        parts[letter] = next(names)
        sizes[parts[letter]] = spec.sizes[letter]
    made = canonical(["".join(parts[c] for c in word)], "".join(parts[c] for c in spec.output), sizes, spec.scale)
    return emitter.reshape(emitter.einsum(made, [x], node.sources), spec.shape, node.sources)


def merged_groups(old: Shape, new: Shape) -> list[list[int]] | None:
    """The dimensions of an operand that each dimension of its reshape merges; None where one is split."""
    groups: list[list[int]] = []
    i = 0
    for size in new:
        group: list[int] = []
        product = 1
        while i < len(old) and (product < size or not group):
            group.append(i)
            product *= old[i]
            i += 1
        if product != size:
            return None
        groups.append(group)
    return groups if i == len(old) else None


def _sum_of_convolution(emitter: Emitter, node: Node, spec: Spec, inner: Node) -> int | None:
    """A sum over the places of a convolution whose kernel is one place wide: a product of what is summed before."""
    attrs = inner.kwargs
    x, kernel = inner.operands
    numbers = attrs["dimension_numbers"]
    shape, image = emitter.type(kernel).shape, emitter.type(x).shape
    places = [spec.inputs[0][axis] for axis in numbers.out_spec[2:]]
    plain = (
        all(shape[axis] == 1 for axis in numbers.rhs_spec[2:])
        and attrs["feature_group_count"] == attrs["batch_group_count"] == 1
        and all(entry == (0, 0) for entry in attrs["padding"])
        and all(d == 1 for d in (*attrs["window_strides"], *attrs["lhs_dilation"]))
        and emitter.type(x).dtype == inner.type.dtype
    )
    if not plain or any(c in spec.output or spec.inputs[0].count(c) > 1 for c in places):
        return None
    left = [""] * len(image)
    right = [""] * len(shape)
    used = set(spec.sizes)
    channel, *ones = [c for c in LETTERS if c not in used][: 1 + len(places)]
    left[numbers.lhs_spec[0]] = spec.inputs[0][numbers.out_spec[0]]
    left[numbers.lhs_spec[1]] = right[numbers.rhs_spec[1]] = channel
    right[numbers.rhs_spec[0]] = spec.inputs[0][numbers.out_spec[1]]
    for place, axis in enumerate(numbers.lhs_spec[2:]):
        left[axis] = places[place]
        right[numbers.rhs_spec[2 + place]] = ones[place]
    sizes = {**spec.sizes, channel: image[numbers.lhs_spec[1]], **dict.fromkeys(ones, 1)}
    made = emitter.contract(["".join(left), "".join(right)], spec.output, sizes, [x, kernel], node.sources)
    return made if spec.scale == 1 else emitter.scaled(made, spec.scale, node.sources)


def _extreme(emitter: Emitter, node: Node, x: int) -> int | None:
    """A maximum or minimum without the order that its operand was given."""
    inner, axes = emitter.node(x), node.attr("axes")
    if inner.op == "concatenate" and inner.attr("dimension") in axes:
        kind = node.type
        parts = [emitter.add(node.op, (q,), node.attrs, kind, node.sources) for q in inner.operands]
        result = parts[0]
        for part in parts[1:]:
            result = emitter.elementwise(EXTREMES[node.op], [result, part], (), kind, node.sources)
        return result
    ordered = inner.op == "rev" and set(inner.attr("dimensions")) <= set(axes)
    ordered = ordered or (inner.op == "sort" and len(inner.operands) == 1 and inner.attr("dimension") in axes)
    return emitter.add(node.op, inner.operands, node.attrs, node.type, node.sources) if ordered else None


def _end(emitter: Emitter, node: Node, x: int, alone: bool) -> int | None:
    """The first or last of a sorted tensor, or of the order that sorts one; the first or last few."""
    inner = emitter.node(x)
    which = inner.attr("index") if inner.op == "result" else 0
    ordering = emitter.node(inner.operands[0]) if inner.op == "result" else inner
    found = _ENDS.get(ordering.op)
    starts, limits = node.attr("start_indices"), node.attr("limit_indices")
    if found is None or node.attr("strides") not in (None, (1,) * len(starts)):
        return None
    cut = list(map(Range, starts, limits))
    made = found(emitter, node, ordering, which, cut)
    if made is None and alone and ordering.op == "sort" and _sorts_alone(emitter, ordering, which):
        made = leading(emitter, node, ordering, which, cut)
    return made


def _sorts_alone(emitter: Emitter, ordering: Node, which: int) -> bool:
    """Whether a sort by one key gives, as the result that is read, its values or their places."""
    if ordering.attr("num_keys") != 1 or len(ordering.operands) > 2:
        return False
    if which == 0:
        return True
    return bool(ordering.attr("is_stable")) and counts(emitter, ordering.operands[1], ordering.attr("dimension")) != 0


def _end_of_sort(emitter: Emitter, node: Node, ordering: Node, which: int, cut: list[Range]) -> int | None:
    axis = ordering.attr("dimension")
    kind = emitter.type(ordering.operands[0])
    last = kind.shape[axis] - 1
    if ordering.attr("num_keys") != 1 or cut[axis].length != 1 or cut[axis].start not in (0, last) or last == 0:
        return None
    if which == 0:
        op = "reduce_min" if cut[axis].start == 0 else "reduce_max"
        return _folded_end(emitter, node, op, ordering.operands[0], axis, cut)
    if not _sorts_alone(emitter, ordering, which) or counts(emitter, ordering.operands[1], axis) < 0:
        return None
    if cut[axis].start == 0:
        return _folded_end(emitter, node, "argmin", ordering.operands[0], axis, cut)
    return None


def _end_of_top_k(emitter: Emitter, node: Node, ordering: Node, which: int, cut: list[Range]) -> int | None:
    axis = emitter.type(ordering.operands[0]).rank - 1
    if cut[axis] != Range(0, 1) or ordering.kwargs.get("axis", -1) not in (-1, axis) or which not in (0, 1):
        return None
    return _folded_end(emitter, node, ("reduce_max", "argmax")[which], ordering.operands[0], axis, cut)


_ENDS: dict[str, Callable[[Emitter, Node, Node, int, list[Range]], int | None]] = {
    "sort": _end_of_sort,
    "top_k": _end_of_top_k,
}


def _greatest(emitter: Emitter, node: Node, x: int) -> int | None:
    """``top_k`` of one, or its place: all of it is an end, however it is read."""
    ordering = emitter.node(x)
    if ordering.op != "top_k" or ordering.attr("k") != 1:
        return None
    return _end_of_top_k(emitter, node, ordering, node.attr("index"), [Range(0, n) for n in node.type.shape])


def _folded_end(emitter: Emitter, node: Node, op: str, x: int, axis: int, cut: Sequence[Range]) -> int:
    """An extreme along an axis of what is cut out of the other axes."""
    kind = emitter.type(x)
    inside = [Range(0, n) if d == axis else part for d, (part, n) in enumerate(zip(cut, kind.shape, strict=True))]
    if any(not part.is_all(n) for part, n in zip(inside, kind.shape, strict=True)):
        kind = kind.with_shape(tuple(part.length for part in inside))
        x = emitter.add("slice", (x,), slice_attrs(inside), kind, node.sources)
    attrs: tuple[tuple[str, object], ...] = (("axes", (axis,)),)
    if op in ("argmin", "argmax"):
        attrs = (*attrs, ("index_dtype", DType(node.type.dtype)))
    result = node.type.with_shape((*kind.shape[:axis], *kind.shape[axis + 1 :]))
    return emitter.reshape(emitter.add(op, (x,), attrs, result, node.sources), node.type.shape, node.sources)


_SOURCES = frozenset({"concatenate", "rev", "sort", "reshape", "conv_general_dilated", "top_k"})
