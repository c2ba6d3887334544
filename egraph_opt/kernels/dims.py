# SPDX-License-Identifier: Apache-2.0
"""Which dimensions of a piece of program are the same one, and the same piece at other sizes.

Every node's dimensions get a class; classes meet through einsum letters, elementwise operands and reductions. A piece
is computed at small sizes by giving each class a size; where an operation fixes sizes, its classes keep theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        elif node.op != "input":
            fixed.update(own)
            fixed.update(d for dims in operands for d in dims)

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
        if [old[i] for i in left] == [new[i] for i in stayed]:
            self._unite_all([own[i] for i in stayed], [before[i] for i in left])
        else:
            left, stayed = [], []
        fixed.update(own[i] for i in range(first, len(own) - last) if i not in stayed)
        fixed.update(before[i] for i in range(first, len(before) - last) if i not in left)


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
        place.append(builder.add(node.op, [place[q] for q in node.operands], attrs, type))
    return builder.build([place[n] for n in graph.outputs])
