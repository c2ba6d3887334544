# SPDX-License-Identifier: Apache-2.0
"""Large tensors times small ones: sums, masks and divisors of such products act on the small ones.

Differentiation along a basis scales the rows of whole Jacobians once per elementwise function, term by term:
``(J + J h) (1 - h)``, ``where(mask, J e, 0)``. Here ``J`` has more dimensions than ``h``, ``mask`` and ``e``, so all of
that is one product ``J w``, and its weight is computed on few elements: ``(1 + h) (1 - h)``, ``where(mask, e, 0)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from egraph_opt.adjoint.tame import Tame
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, Scale, Spec, canonical
from egraph_opt.ir.spec_algebra import is_factor
from egraph_opt.ir.types import is_floating
from egraph_opt.ops import Trait, get_op

WEIGHTED = "row-factors"
"""What reports call the pass."""

NARROW = ("float16",)
"""Element types whose sums of weights overflow too easily."""

SMALLER = 2
"""A weight has so many times fewer elements than what it scales."""

Axes = tuple[int, ...]


class Weighted(NamedTuple):
    """``scale * root[axes] * weight[places]`` for a tensor.

    Args:
        root: a node of the same dimensions in some order; None stands for ones.
        axes: the dimension of the root for each of the tensor's.
        weight: a node, or None for one.
        places: dimensions of the tensor that the weight has, in its order.
        scale: a factor.
    """

    root: int | None
    axes: Axes
    weight: int | None
    places: Axes
    scale: Scale


def weights_gathered(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with sums, selections and divisions of scaled tensors done on what scales them.

    Args:
        graph: a program in normal form.
        numerics: class of the changes; below ``reassociate`` nothing is done.
    """
    if numerics < Numerics.REASSOCIATE or not any(_is_scaling(node) for node in graph.nodes):
        return graph
    gathering = Gathering(graph, numerics)
    return gathering.run()


def _is_scaling(node: Node) -> bool:
    """Whether a node is the product of a tensor with one of fewer dimensions, or selects by such a mask."""
    if node.op == "select_n":
        return len(node.type.shape) > 1
    if node.op != "einsum" or len(node.operands) != 2:
        return False
    spec = Spec.parse(node.attr("spec"))
    return not spec.summed and len(spec.output) > min(map(len, spec.inputs))


class Gathering:
    """One walk over a program.

    Args:
        graph: the program.
        numerics: class of the changes.

    After ``run``, ``place`` holds for each node of the program the one of ``emitter`` that is equal to it.
    """

    def __init__(self, graph: Graph, numerics: Numerics) -> None:
        self._graph, self._emitter = graph, Emitter(numerics)
        self.place: list[int] = []
        self._uses = graph.use_counts()
        self._forms: dict[int, Weighted] = {}
        self._tame = Tame(self._emitter)

    @property
    def emitter(self) -> Emitter:
        """Holds the nodes that were made."""
        return self._emitter

    def run(self) -> Graph:
        """The program, or the one given if nothing was found."""
        graph, emitter, place = self._graph, self._emitter, self.place
        names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
        found = False
        for number, node in enumerate(graph.nodes):
            if node.op == "input":
                place.append(emitter.input(node.type, names[number]))
                continue
            operands = [place[q] for q in node.operands]
            made = self._change(node, operands)
            found |= made is not None
            if made is None:
                made = emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)
            place.append(made)
        if not found:
            return graph
        outputs, effects = ([place[n] for n in numbers] for numbers in (graph.outputs, graph.effects))
        return emitter.build(outputs, effects, graph.weak_outputs, graph.precision)

    def _change(self, node: Node, operands: Sequence[int]) -> int | None:
        if len(node.types) != 1 or len(node.type.shape) < 1 or not is_floating(node.type.dtype):
            return None
        if node.type.dtype in NARROW:
            return None
        if node.op == "add":
            return self._sum(node, operands)
        if node.op == "select_n" and len(operands) == 3:
            return self._selection(node, operands)
        if node.op == "div":
            return self._quotient(node, operands)
        if node.op == "einsum" and len(operands) == 2:
            made = self._emitter.einsum(node.attr("spec"), operands, node.sources)
            form = self._form(made)
            chained = form.root is not None and form.root not in operands and form.weight is not None
            return self._emit(form, node) if chained else None
        return None

    # What is scaled, and by what.

    def _form(self, number: int) -> Weighted:
        known = self._forms.get(number)
        if known is None:
            self._forms[number] = known = self._read(number)
        return known

    def _read(self, number: int) -> Weighted:
        node = self._emitter.nodes[number]
        whole = tuple(range(len(node.type.shape)))
        itself = Weighted(number, whole, None, (), 1)
        if node.op != "einsum":
            return itself
        spec = Spec.parse(node.attr("spec"))
        if spec.summed or any(len(set(word)) < len(word) for word in (*spec.inputs, spec.output)):
            return itself
        if len(node.operands) == 1:
            if spec.is_permutation:
                form = self._turned(self._form(node.operands[0]), spec.inputs[0], spec.output)
                scale = form.scale * spec.scale
                return form._replace(scale=scale) if is_factor(scale) else itself
            places = tuple(spec.output.index(c) for c in spec.inputs[0])
            small = self._is_small(places, node.type.shape)
            return Weighted(None, whole, node.operands[0], places, spec.scale) if small else itself
        for k in (0, 1):
            large, other = spec.inputs[k], spec.inputs[1 - k]
            places = tuple(spec.output.index(c) for c in other)
            if set(large) != set(spec.output) or not self._is_small(places, node.type.shape):
                continue
            form = self._turned(self._form(node.operands[k]), large, spec.output)
            both = self._product(form, node.operands[1 - k], places, node.type.shape)
            axes = tuple(large.index(c) for c in spec.output)
            return both or Weighted(node.operands[k], axes, node.operands[1 - k], places, 1)
        return itself

    def _turned(self, form: Weighted, word: str, output: str) -> Weighted:
        """The form of a tensor whose dimensions ``word`` are put in another order."""
        axes = tuple(form.axes[word.index(c)] for c in output)
        return form._replace(axes=axes, places=tuple(output.index(word[p]) for p in form.places))

    def _product(self, form: Weighted, other: int, places: Axes, shape: Sequence[int]) -> Weighted | None:
        """A scaled tensor times a smaller one; None where both weights together are as large as the tensor."""
        union = tuple(sorted({*form.places, *places}))
        if form.weight is None:
            return form._replace(weight=other, places=places)
        if not self._is_small(union, shape):
            return None
        words = ["".join(LETTERS[p] for p in word) for word in (form.places, places, union)]
        spec = canonical(words[:2], words[2], {LETTERS[p]: shape[p] for p in union})
        return form._replace(weight=self._emitter.einsum(spec, [form.weight, other]), places=union)

    @staticmethod
    def _is_small(places: Axes, shape: Sequence[int]) -> bool:
        left = math.prod(n for p, n in enumerate(shape) if p not in places)
        return len(places) < len(shape) and left >= SMALLER

    # Changes of single nodes.

    def _sum(self, node: Node, operands: Sequence[int]) -> int | None:
        """Terms that scale the same tensor become one."""
        groups: dict[tuple[int | None, Axes], list[tuple[int, Weighted]]] = {}
        for q in operands:
            form = self._form(q)
            groups.setdefault((form.root, form.axes), []).append((q, form))
        parts: list[int] = []
        gathered = False
        for members in groups.values():
            union = tuple(sorted({p for _, form in members for p in form.places}))
            plain = all(form.weight is None for _, form in members)
            if len(members) == 1 or plain or not self._is_small(union, node.type.shape):
                parts += [q for q, _ in members]
                continue
            weights = [self._weight(form, union, node) for _, form in members]
            form = members[0][1]._replace(weight=self._emitter.sum_of(weights, node.sources), places=union, scale=1)
            parts.append(self._emit(form, node))
            gathered = True
        return self._emitter.sum_of(parts, node.sources) if gathered else None

    def _selection(self, node: Node, operands: Sequence[int]) -> int | None:
        """``where(m, x a, x b) = x where(m, a, b)`` for a small mask; of ``b = 0`` where x is finite."""
        mask = self._mask(operands[0], node.type.shape)
        if mask is None:
            return None
        zero = [self._is_zero(q) for q in operands[1:]]
        if all(zero):
            return None
        forms = [None if z else self._form(q) for z, q in zip(zero, operands[1:], strict=True)]
        first, second = forms
        if first is not None and second is not None:
            if (first.root, first.axes) != (second.root, second.axes) or first.root is None:
                return None
            return self._selected(node, mask, [first, second])
        place = 0 if first is not None else 1
        written = self._graph.nodes[node.operands[1 + place]]
        terms = [operands[1 + place]]
        inner = self._emitter.nodes[operands[1 + place]]
        if inner.op == "add" and self._uses[node.operands[1 + place]] == 1 and written.op == "add":
            terms = list(inner.operands)
        made: list[int] = []
        for q in terms:
            form = self._form(q)
            cases: list[Weighted | None] = [None, None]
            cases[place] = form
            if form.root is not None and not self._tame(form.root):
                return None
            part = self._selected(node, mask, cases)
            if part is None:
                return None
            made.append(part)
        return self._emitter.sum_of(made, node.sources)

    def _selected(self, node: Node, mask: tuple[int, Axes], cases: Sequence[Weighted | None]) -> int | None:
        """A tensor times the selection of its weights; None stands for zero."""
        shape = node.type.shape
        forms = [form for form in cases if form is not None]
        union = tuple(sorted({*mask[1], *(p for form in forms for p in form.places)}))
        if not self._is_small(union, shape):
            return None
        sub = tuple(shape[p] for p in union)
        type = node.type.with_shape(sub)
        predicate = self._spread(mask[0], mask[1], union, shape)
        weights = [
            self._emitter.constant(0.0, type.dtype) if form is None else self._weight(form, union, node)
            for form in cases
        ]
        weight = self._emitter.elementwise("select_n", (predicate, *weights), node.attrs, type, node.sources)
        return self._emit(forms[0]._replace(weight=weight, places=union, scale=1), node)

    def _quotient(self, node: Node, operands: Sequence[int]) -> int | None:
        """``(x a) / b = x (a / b)`` for small a and b."""
        form = self._form(operands[0])
        if form.weight is None:
            return None
        other = operands[1]
        if self._emitter.type(other).shape:
            below = self._form(other)
            if below.root is not None:
                return None
            divisor, places = self._weight(below, below.places, node), below.places
        else:
            divisor, places = other, ()
        union = tuple(sorted({*form.places, *places}))
        if not self._is_small(union, node.type.shape):
            return None
        type = node.type.with_shape(tuple(node.type.shape[p] for p in union))
        parts = (self._weight(form, union, node), self._spread(divisor, places, union, node.type.shape))
        weight = self._emitter.elementwise("div", parts, node.attrs, type, node.sources)
        return self._emit(form._replace(weight=weight, places=union, scale=1), node)

    # Pieces.

    def _is_zero(self, number: int) -> bool:
        scalar = self._emitter.uniform_scalar(number)
        return scalar is not None and self._emitter.scalar_value(scalar) == 0

    def _mask(self, number: int, shape: Sequence[int]) -> tuple[int, Axes] | None:
        """A mask with fewer dimensions than it selects from, and where these stand."""
        node = self._emitter.nodes[number]
        if not node.type.shape:
            return number, ()
        if node.op != "einsum" or len(node.operands) != 1:
            return None
        spec = Spec.parse(node.attr("spec"))
        places = tuple(spec.output.index(c) for c in spec.inputs[0] if c in spec.output)
        plain = spec.is_copy and spec.has_distinct_output and len(places) == len(set(spec.inputs[0]))
        small = plain and len(set(places)) == len(spec.inputs[0]) and self._is_small(places, shape)
        return (node.operands[0], places) if small else None

    def _weight(self, form: Weighted, union: Axes, node: Node) -> int:
        """The weight of a form with its factor, over some places of the tensor."""
        shape = node.type.shape
        if form.weight is None:
            one = self._emitter.constant(form.scale, node.type.dtype)
            return self._spread(one, (), union, shape)
        return self._spread(form.weight, form.places, union, shape, form.scale)

    def _spread(self, x: int, places: Axes, union: Axes, shape: Sequence[int], scale: Scale = 1) -> int:
        """``x`` over places that hold its own."""
        word, output = ("".join(LETTERS[p] for p in each) for each in (places, union))
        return self._emitter.einsum(canonical([word], output, {LETTERS[p]: shape[p] for p in union}, scale), [x])

    def _emit(self, form: Weighted, node: Node) -> int:
        """The tensor of a form."""
        shape = node.type.shape
        output = LETTERS[: len(shape)]
        sizes = dict(zip(output, shape, strict=True))
        word = "".join(output[p] for p in form.places)
        assert form.weight is not None
        if form.root is None:
            return self._emitter.einsum(canonical([word], output, sizes, form.scale), [form.weight], node.sources)
        large = [""] * len(shape)
        for p, axis in enumerate(form.axes):
            large[axis] = output[p]
        spec = canonical(["".join(large), word], output, sizes, form.scale)
        return self._emitter.einsum(spec, [form.root, form.weight], node.sources)
