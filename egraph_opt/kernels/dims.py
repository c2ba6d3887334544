# SPDX-License-Identifier: Apache-2.0
"""Which dimensions of a piece of program are the same one, and the same piece at other sizes.

Every node's dimensions get a class; classes meet through einsum letters, elementwise operands and reductions. A piece
is computed at small sizes by giving each class a size; where an operation fixes sizes, its classes keep theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from egraph_opt.ir import Builder, Graph, Node, Spec, TensorType
from egraph_opt.ir.spec import canonical
from egraph_opt.ops import Trait, get_op

Classes = Sequence[int]


class Dims:
    """Classes of dimensions of a graph.

    Args:
        graph: of plain operations.

    Attributes:
        reduced: classes that some operation folds.
        fixed: classes whose sizes an operation depends on.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._parent: list[int] = []
        self._own: list[tuple[int, ...]] = []
        self._size: list[int] = []
        reduced: set[int] = set()
        fixed: set[int] = set()
        for node in graph.nodes:
            self._own.append(tuple(self._fresh(n) for n in (node.types[0].shape if node.types else ())))
            self._join(node, self._own[-1], [self._own[q] for q in node.operands], reduced, fixed)
        self.reduced = {self.find(c) for c in reduced}
        self.fixed = {self.find(c) for c in fixed}

    def of(self, number: int) -> tuple[int, ...]:
        """Classes of a node's dimensions."""
        return tuple(self.find(c) for c in self._own[number])

    def size(self, c: int) -> int:
        """Size of a class."""
        return self._size[self.find(c)]

    def classes(self) -> dict[int, int]:
        """Size of every class."""
        return {self.find(c): self._size[self.find(c)] for c in range(len(self._parent))}

    def find(self, c: int) -> int:
        """The member that stands for a class."""
        while self._parent[c] != c:
            self._parent[c] = self._parent[self._parent[c]]
            c = self._parent[c]
        return c

    def _fresh(self, size: int) -> int:
        self._parent.append(len(self._parent))
        self._size.append(size)
        return len(self._parent) - 1

    def _unite(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def _join(self, node: Node, own: Classes, operands: Sequence[Classes], reduced: set[int], fixed: set[int]) -> None:
        if node.op == "einsum":
            reduced.update(self._einsum(Spec.parse(node.attr("spec")), (*operands, own)))
        elif node.op == "add" or Trait.ELEMENTWISE in get_op(node.op).traits:
            for dims in operands:
                self._unite_all(own, dims if len(dims) == len(own) else own)
        elif node.op in REDUCTIONS:
            axes = node.attr("axes")
            reduced.update(operands[0][a] for a in axes)
            self._unite_all(own, [d for i, d in enumerate(operands[0]) if i not in axes])
        elif node.op in KEEPING:
            self._unite_all(own, operands[0])
        elif node.op == "reshape":
            self._reshape(node, own, operands[0], fixed)
        elif node.op in CUTTING:
            self._cut(
                set(CUTTING[node.op](node, [self._size[self.find(d)] for d in operands[0]])), own, operands, fixed
            )
        elif node.op != "input":
            fixed.update(own)
            fixed.update(d for dims in operands for d in dims)

    def _cut(self, axes: set[int], own: Classes, operands: Sequence[Classes], fixed: set[int]) -> None:
        """Dimensions that are cut or put together are fixed, and new ones; the others stay the same."""
        for dims in operands:
            self._unite_all(
                *([d for i, d in enumerate(word) if i not in axes] for word in (own, dims if dims else own))
            )
            fixed.update(d for i, d in enumerate(dims) if i in axes)
        fixed.update(d for i, d in enumerate(own) if i in axes)

    def _unite_all(self, own: Classes, other: Classes) -> None:
        for a, b in zip(own, other, strict=True):
            self._unite(a, b)

    def _einsum(self, spec: Spec, tensors: Sequence[Classes]) -> list[int]:
        """Classes of the letters that are summed."""
        letters: dict[str, int] = {}
        for word, dims in zip((*spec.inputs, spec.output), tensors, strict=True):
            for c, dim in zip(word, dims, strict=True):
                self._unite(letters.setdefault(c, dim), dim)
        return [letters[c] for c in spec.summed]

    def _reshape(self, node: Node, own: Classes, before: Classes, fixed: set[int]) -> None:
        """Dimensions that stay at the front and at the back are the same; those between are fixed.

        Between, those of size 1 may come and go beside others that stay.
        """
        old, new = [self._size[self.find(d)] for d in before], list(node.type.shape)
        first = 0
        while first < min(len(old), len(new)) and old[first] == new[first]:
            self._unite(own[first], before[first])
            first += 1
        last = 0
        while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
            self._unite(own[-1 - last], before[-1 - last])
            last += 1
        left = [i for i in range(first, len(old) - last) if old[i] != 1]
        stayed = [i for i in range(first, len(new) - last) if new[i] != 1]
        kept = _leading(old, new, left, stayed)
        kept += _leading(old, new, left[len(kept) :][::-1], stayed[len(kept) :][::-1])
        for i, j in kept:
            self._unite(own[j], before[i])
        fixed.update(own[j] for j in range(first, len(own) - last) if j not in {j for _, j in kept})
        fixed.update(before[i] for i in range(first, len(before) - last) if i not in {i for i, _ in kept})


def _leading(
    old: Sequence[int], new: Sequence[int], left: Sequence[int], stayed: Sequence[int]
) -> list[tuple[int, int]]:
    """Pairs of dimensions that are equal from the first on."""
    pairs = itertools.takewhile(lambda pair: old[pair[0]] == new[pair[1]], zip(left, stayed, strict=False))
    return list(pairs)


def _sliced(node: Node, shape: Sequence[int]) -> list[int]:
    strides = node.attr("strides") or [1] * len(shape)
    bounds = zip(node.attr("start_indices"), node.attr("limit_indices"), strides, shape, strict=True)
    return [i for i, (start, limit, stride, size) in enumerate(bounds) if (start, limit, stride) != (0, size, 1)]


def _padded(node: Node, shape: Sequence[int]) -> list[int]:
    del shape
    return [i for i, widths in enumerate(node.attr("padding_config")) if any(widths)]


CUTTING: Mapping[str, Callable[[Node, Sequence[int]], list[int]]] = {
    "slice": _sliced,
    "pad": _padded,
    "concatenate": lambda node, shape: [int(node.attr("dimension"))],
    "rev": lambda node, shape: list(node.attr("dimensions")),
}
"""Operations that cut dimensions, or put them together, and which, by the shape of the first operand."""

REDUCTIONS = frozenset({"reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_prod", "argmax", "argmin"})
KEEPING = frozenset({"stop_gradient", "copy", "cumsum", "cumprod", "cummax", "cumlogsumexp", "assume"})


def resized(graph: Graph, dims: Dims, sizes: Mapping[int, int]) -> Graph:
    """The graph with other sizes of some classes, none of which is fixed."""
    builder = Builder()
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        shape = tuple(sizes.get(c, dims.size(c)) for c in dims.of(number))
        type = TensorType(shape, node.types[0].dtype)
        if node.op == "input":
            place.append(builder.input(type))
            continue
        attrs = node.attrs
        if node.op == "einsum":
            spec = Spec.parse(node.attr("spec"))
            letters: dict[str, int] = {}
            members = (*(dims.of(q) for q in node.operands), dims.of(number))
            for word, held in zip((*spec.inputs, spec.output), members, strict=True):
                letters.update({c: sizes.get(d, dims.size(d)) for c, d in zip(word, held, strict=True)})
            attrs = (("spec", canonical(spec.inputs, spec.output, letters, spec.scale)),)
        elif node.op == "reshape":
            attrs = (("shape", shape),)
        elif node.op == "slice":
            cut = _sliced(node, graph.nodes[node.operands[0]].type.shape)
            limits = tuple(n if d in cut else shape[d] for d, n in enumerate(node.attr("limit_indices")))
            attrs = tuple((name, limits if name == "limit_indices" else value) for name, value in attrs)
        place.append(builder.add(node.op, [place[q] for q in node.operands], attrs, type))
    return builder.build([place[n] for n in graph.outputs])
