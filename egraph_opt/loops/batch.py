# SPDX-License-Identifier: Apache-2.0
"""All trips of a loop at once: nodes of a body on tensors that have the trips as a further, first dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jax import lax

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.graph import Attrs
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.loops.counters import Numbers
from egraph_opt.ops import Trait, get_op

AXES = ("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin")
AXIS = ("cummax", "cummin", "cumsum", "cumprod", "cumlogsumexp")
BY_NAME = {**dict.fromkeys(AXES, "axes"), **dict.fromkeys(AXIS, "axis"), "sort": "dimension", "rev": "dimensions"}
"""Operations on one operand whose axes, in the attribute named here, are counted from the first dimension."""

MOVING = frozenset({"einsum", "add", "reshape", "slice", "concatenate", "pad"})


def can_batch(node: Node, changing: Sequence[bool], numbers: Sequence[bool]) -> bool:
    """Whether all trips of a node can be computed at once.

    Args:
        node: some of its operands differ between the trips.
        changing: for each operand, whether it does.
        numbers: for each operand, whether it is an integer that is known for each trip.
    """
    if len(node.types) != 1:
        return False
    if node.op in ("dynamic_slice_in_dim", "take"):
        if changing == [True, False]:
            return True
        return changing == [False, True] and node.op == "dynamic_slice_in_dim" and numbers[1]
    if node.op == "pad":
        return not changing[1]
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        return len(spec.sizes) < len(LETTERS)
    return node.op in MOVING or node.op in BY_NAME or Trait.ELEMENTWISE in get_op(node.op).traits


class Batch:
    """The trips of a body at once.

    Args:
        emitter: of the graph around the loop.
        body: the body.
        length: number of trips.
        steady: nodes of the body that are the same in every trip, by their node outside.
        changing: nodes of the body by the node outside that stacks them.
        numbers: integers of the body that are known for each trip.
    """

    def __init__(
        self,
        emitter: Emitter,
        body: Graph,
        length: int,
        steady: Mapping[int, int],
        changing: Mapping[int, int],
        numbers: Numbers,
    ) -> None:
        self.emitter, self.body, self.length = emitter, body, length
        self.steady, self.changing, self.numbers = dict(steady), dict(changing), numbers

    def stacked(self, number: int) -> int:
        """The node outside that stacks a node of the body, made where it is not there yet."""
        self._make(number)
        if number in self.changing:
            return self.changing[number]
        if number in self.numbers:
            return self._array(number)
        return self._repeated(self.steady[number])

    def value(self, number: int) -> tuple[int, bool]:
        """The node outside, and whether it stacks the trips."""
        self._make(number)
        if number in self.steady:
            return self.steady[number], False
        return self.stacked(number), True

    def total(self, number: int) -> int:
        """The node outside that is the sum of a node of the body over all trips."""
        node = self.body.nodes[number]
        if node.op == "add":
            return self.emitter.sum_of([self.total(q) for q in node.operands], node.sources)
        if node.op == "einsum" and len(node.operands) == 1:
            return self.emitter.einsum(node.attr("spec"), [self.total(node.operands[0])], node.sources)
        if node.op == "einsum" and not self._has(number):
            for q in node.operands:
                self._make(q)
            if not all(q in self.steady for q in node.operands):
                return self._einsum(node, total=True)
        x, many = self.value(number)
        if not many:
            return self.emitter.scaled(x, self.length, node.sources)
        shape = self.emitter.type(x).shape
        word = LETTERS[: len(shape)]
        return self.emitter.contract([word], word[1:], dict(zip(word, shape, strict=True)), [x], node.sources)

    def _make(self, root: int) -> None:
        stack = [root]
        while stack:
            number = stack[-1]
            missing = [q for q in self.body.nodes[number].operands if not self._has(q)]
            if self._has(number) or not missing:
                stack.pop()
                if not self._has(number):
                    self._node(number)
            else:
                stack += missing

    def _has(self, number: int) -> bool:
        return number in self.changing or number in self.steady or number in self.numbers

    def _node(self, number: int) -> None:
        node = self.body.nodes[number]
        elementwise = Trait.ELEMENTWISE in get_op(node.op).traits
        if all(q in self.steady for q in node.operands):
            operands = [self.steady[q] for q in node.operands]
            self.steady[number] = self.emitter.emit(node, operands, elementwise)
        elif node.op in _WAYS:
            self.changing[number] = _WAYS[node.op](self, node)
        elif elementwise:
            self.changing[number] = self._elementwise(node)
        else:
            self.changing[number] = self._shifted(node)

    def _type(self, node: Node) -> TensorType:
        return node.type.with_shape((self.length, *node.type.shape))

    def _array(self, number: int) -> int:
        values = np.asarray(self.numbers[number], dtype=self.body.nodes[number].type.dtype)
        self.changing[number] = self.emitter.array(values, self.body.nodes[number].type.dtype)
        return self.changing[number]

    def _repeated(self, x: int) -> int:
        shape = self.emitter.type(x).shape
        return self.emitter.broadcast(x, LETTERS[1 : 1 + len(shape)], (self.length, *shape))

    def _einsum(self, node: Node, total: bool = False) -> int:
        spec = Spec.parse(node.attr("spec"))
        letter = next(c for c in LETTERS if c not in spec.sizes)
        words, operands = [], []
        for q, word in zip(node.operands, spec.inputs, strict=True):
            x, many = self.value(q)
            words.append(letter + word if many else word)
            operands.append(x)
        sizes = {**spec.sizes, letter: self.length}
        output = spec.output if total else letter + spec.output
        return self.emitter.einsum(canonical(words, output, sizes, spec.scale), operands, node.sources)

    def _add(self, node: Node) -> int:
        return self.emitter.sum_of([self.stacked(q) for q in node.operands], node.sources)

    def _elementwise(self, node: Node) -> int:
        shape = (self.length, *node.type.shape)
        operands = []
        for q in node.operands:
            x, many = self.value(q)
            rank = len(self.body.nodes[q].type.shape)
            if rank < len(node.type.shape) and many:
                x = self.emitter.broadcast(x, LETTERS[0], shape)
            elif rank and not many:
                x = self._repeated(x)
            operands.append(x)
        return self.emitter.elementwise(node.op, operands, node.attrs, self._type(node), node.sources)

    def _reshape(self, node: Node) -> int:
        return self.emitter.reshape(self.stacked(node.operands[0]), (self.length, *node.type.shape), node.sources)

    def _slice(self, node: Node) -> int:
        strides = node.attr("strides")
        attrs = (
            ("start_indices", (0, *node.attr("start_indices"))),
            ("limit_indices", (self.length, *node.attr("limit_indices"))),
            ("strides", strides and (1, *strides)),
        )
        return self.emitter.add("slice", [self.stacked(node.operands[0])], attrs, self._type(node), node.sources)

    def _concatenate(self, node: Node) -> int:
        operands = [self.stacked(q) for q in node.operands]
        attrs = (("dimension", node.attr("dimension") + 1),)
        return self.emitter.add("concatenate", operands, attrs, self._type(node), node.sources)

    def _pad(self, node: Node) -> int:
        operands = [self.stacked(node.operands[0]), self.steady[node.operands[1]]]
        attrs = (("padding_config", ((0, 0, 0), *node.attr("padding_config"))),)
        return self.emitter.add("pad", operands, attrs, self._type(node), node.sources)

    def _shifted(self, node: Node) -> int:
        name = BY_NAME[node.op]
        value = node.attr(name)
        moved = tuple(axis + 1 for axis in value) if isinstance(value, tuple) else value + 1
        attrs = tuple((key, moved if key == name else held) for key, held in node.attrs)
        return self.emitter.add(node.op, [self.stacked(node.operands[0])], attrs, self._type(node), node.sources)

    def _read(self, node: Node) -> int:
        """A read along one axis: of a tensor of each trip at the same places, or of one tensor at known places."""
        axis = node.attr("axis")
        x, many = self.value(node.operands[0])
        if many:
            attrs = tuple((key, axis + 1 if key == "axis" else held) for key, held in node.attrs)
            return self.emitter.add(node.op, [x, self.steady[node.operands[1]]], attrs, self._type(node), node.sources)
        size = node.attr("slice_size")
        shape = self.emitter.type(x).shape
        starts = np.clip(self.numbers[node.operands[1]], 0, shape[axis] - size).astype(np.int64)
        places = (starts[:, None] + np.arange(size)).reshape(-1)
        found = self._places(x, axis, places, node)
        # (..., trips * size, ...) -> (trips, ..., size, ...)
        before, after = shape[:axis], shape[axis + 1 :]
        parts = self.emitter.reshape(found, (*before, self.length, size, *after), node.sources)
        word = LETTERS[: len(shape) + 1]
        trips = word[axis]
        target = trips + word.replace(trips, "")
        sizes = dict(zip(word, (*before, self.length, size, *after), strict=True))
        return self.emitter.einsum(canonical([word], target, sizes), [parts], node.sources)

    def _places(self, x: int, axis: int, places: np.ndarray, node: Node) -> int:
        kind = self.emitter.type(x)
        count = len(places)
        if np.array_equal(places, np.arange(places[0], places[0] + count)):
            if count == kind.shape[axis]:
                return x
            attrs: Attrs = (
                ("start_indices", tuple(int(places[0]) if d == axis else 0 for d in range(kind.rank))),
                ("limit_indices", tuple(int(places[-1]) + 1 if d == axis else n for d, n in enumerate(kind.shape))),
                ("strides", None),
            )
            op, operands = "slice", [x]
        else:
            attrs = (("axis", axis), ("mode", lax.GatherScatterMode.PROMISE_IN_BOUNDS), ("fill_value", None))
            op, operands = "take", [x, self.emitter.array(places.astype(np.int32), "int32")]
        shape = tuple(count if d == axis else n for d, n in enumerate(kind.shape))
        return self.emitter.add(op, operands, attrs, kind.with_shape(shape), node.sources)


_WAYS: dict[str, Callable[[Batch, Node], int]] = {
    "einsum": Batch._einsum,
    "add": Batch._add,
    "reshape": Batch._reshape,
    "slice": Batch._slice,
    "concatenate": Batch._concatenate,
    "pad": Batch._pad,
    "dynamic_slice_in_dim": Batch._read,
    "take": Batch._read,
}
