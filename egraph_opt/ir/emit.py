# SPDX-License-Identifier: Apache-2.0
"""Smart constructors: a Builder that keeps nodes in normal form while they are made.

Capture, the normaliser and the decoder of extracted programs all emit nodes through this class, so a pattern that the
engine looks for has one spelling. Every simplification here is cheap, local and never costs anything; choices that
can lose are left to the e-graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from egraph_opt.ir.attrs import Array
from egraph_opt.ir.counting import is_place
from egraph_opt.ir.graph import Attrs, Builder, Node
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.sources import Sources, merge_sources
from egraph_opt.ir.spec import Scale, Spec, canonical, identity
from egraph_opt.ir.spec_algebra import Pure, absorb, compose, mergeable, purify
from egraph_opt.ir.types import TensorType, is_complex, is_floating, is_integer, itemsize

Value = Any


class Emitter(Builder):
    """A Builder with constructors for the ops of the normal form.

    Args:
        numerics: simplifications above this class are not made.
    """

    def __init__(self, numerics: Numerics = Numerics.REASSOCIATE) -> None:
        super().__init__()
        self.numerics = numerics

    def constant(self, value: Value, dtype: str, sources: Sources = ()) -> int:
        """A scalar constant; ``value`` is rounded to the element type."""
        return self.add("constant", (), (("value", scalar(value, dtype)),), TensorType((), dtype), sources)

    def array(self, value: np.ndarray, dtype: str, sources: Sources = ()) -> int:
        """A constant tensor of program text."""
        if value.ndim == 0:
            return self.constant(value.item(), dtype, sources)
        return self.add("constant", (), (("value", Array(value)),), TensorType(value.shape, dtype), sources)

    def uniform(self, value: Value, type: TensorType, sources: Sources = ()) -> int:
        """A tensor all of whose elements are one scalar constant."""
        return self.broadcast(self.constant(value, type.dtype, sources), "", type.shape, sources)

    def eye(self, n: int, dtype: str, sources: Sources = ()) -> int:
        """The identity matrix, as the diagonal writing of a scalar one."""
        return self.einsum(canonical([""], "aa", {"a": n}), [self.constant(1, dtype)], sources)

    def broadcast(self, x: int, letters: str, shape: tuple[int, ...], sources: Sources = ()) -> int:
        """``x``, whose dimensions are ``letters``, over result dimensions ``abc...`` of the given shape."""
        from egraph_opt.ir.spec import LETTERS

        output = LETTERS[: len(shape)]
        return self.einsum(canonical([letters], output, dict(zip(output, shape, strict=True))), [x], sources)

    def scaled(self, x: int, scale: Scale, sources: Sources = ()) -> int:
        """``x`` times a scalar."""
        return self.einsum(identity(self.type(x).shape, scale), [x], sources)

    def contract(
        self, words: Sequence[str], output: str, sizes: dict[str, int], operands: Sequence[int], sources: Sources = ()
    ) -> int:
        """Einsum over any letters (not yet canonical) of one or two operands."""
        return self.einsum(canonical(words, output, sizes), operands, sources)

    def einsum(self, spec: str, operands: Sequence[int], sources: Sources = ()) -> int:
        """An einsum of one or two operands, in normal form."""
        if len(operands) == 1:
            return self._unary(spec, operands[0], sources)
        parsed = Spec.parse(spec)
        if not parsed.is_pure:
            pure = purify(parsed.inputs, parsed.output, parsed.sizes, parsed.scale)
            return self._pure(pure, operands[0], operands[1], sources)
        return self._product(spec, operands[0], operands[1], sources)

    def sum_of(self, terms: Sequence[int], sources: Sources = ()) -> int:
        """Sum of one or more tensors of equal type, in the order given."""
        if len(terms) == 1:
            return terms[0]
        # A complex product with 2 makes NaN of infinity where the sum does not.
        doubled = len(terms) == 2 and terms[0] == terms[1]
        if doubled and (self.numerics >= Numerics.REASSOCIATE or not is_complex(self.type(terms[0]).dtype)):
            return self.scaled(terms[0], 2, sources)
        return self.add("add", tuple(terms), (), self.type(terms[0]), sources)

    def reshape(self, x: int, shape: tuple[int, ...], sources: Sources = ()) -> int:
        """``x`` with another shape of the same size."""
        node = self.nodes[x]
        if node.type.shape == shape:
            return x
        if node.op == "reshape":
            return self.reshape(node.operands[0], shape, self._with(sources, x))
        value = self.uniform_scalar(x)
        if value is not None:
            return self.broadcast(value, "", shape, self._with(sources, x))
        return self.add("reshape", (x,), (("shape", shape),), node.type.with_shape(shape), sources)

    def elementwise(
        self, op: str, operands: Sequence[int], attrs: Attrs, type: TensorType, sources: Sources = ()
    ) -> int:
        """An elementwise op; what all operands share as a broadcast or a transpose is done after it."""
        sources = self._with(sources, *(x for x in operands if self._thin(x) != x))
        operands = [self._thin(x) for x in operands]
        picked = self._picked(op, operands)
        if picked is not None:
            return picked if self.type(picked).shape == type.shape else self.broadcast(picked, "", type.shape, sources)
        spec = self._shared_copy(operands)
        if spec is not None:
            inner = [x if not self.type(x).shape else self.nodes[x].operands[0] for x in operands]
            shape = Spec.parse(spec).shapes[0]
            sources = self._with(sources, *(x for x, y in zip(operands, inner, strict=True) if x != y))
            result = self.add(op, inner, attrs, type.with_shape(shape), sources)
            return self._unary(spec, result, sources)
        if type.shape and not any(self.type(x).shape for x in operands):
            result = self.add(op, operands, attrs, type.with_shape(()), sources)
            return self.broadcast(result, "", type.shape, sources)
        return self.add(op, operands, attrs, type, sources)

    def emit(self, node: Node, operands: Sequence[int], elementwise: bool) -> int:
        """The node with other operands, through the constructor of its op."""
        if node.op == "einsum":
            return self.einsum(node.attr("spec"), operands, node.sources)
        if node.op == "add":
            return self.sum_of(operands, node.sources)
        if node.op == "reshape":
            return self.reshape(operands[0], node.attr("shape"), node.sources)
        if elementwise:
            return self.elementwise(node.op, operands, node.attrs, node.type, node.sources)
        if node.op == "rev":
            return self._reversed(node, operands[0])
        if node.op == "pad" and not any(map(any, node.attr("padding_config"))):
            return operands[0]
        return self.copy(node, operands)

    def _reversed(self, node: Node, x: int) -> int:
        """``x`` turned round along some dimensions, once along each that has more than one place."""
        inner, dims = self.nodes[x], set(node.attr("dimensions"))
        twice = inner.op == "rev"
        if twice:
            dims ^= set(inner.attr("dimensions"))
        dims = {d for d in dims if node.type.shape[d] > 1}
        source = inner.operands[0] if twice else x
        if not dims:
            return source
        sources = self._with(node.sources, x) if twice else node.sources
        return self.add("rev", (source,), (("dimensions", tuple(sorted(dims))),), node.type, sources)

    def uniform_scalar(self, x: int) -> int | None:
        """The rank-0 node that ``x`` repeats, if ``x`` is a plain broadcast of one."""
        node = self.nodes[x]
        if not node.type.shape:
            return x
        if node.op == "einsum" and len(node.operands) == 1:
            spec = Spec.parse(node.attr("spec"))
            if spec.inputs[0] == "" and len(set(spec.output)) == len(spec.output) and spec.scale == 1:
                return node.operands[0]
        return None

    def scalar_value(self, x: int) -> Value | None:
        """Value of a rank-0 constant node."""
        node = self.nodes[x]
        if node.op != "constant" or node.type.shape:
            return None
        value = node.attr("value")
        return None if isinstance(value, Array) else value

    def _unary(self, spec: str, x: int, sources: Sources) -> int:
        node, outer = self.nodes[x], Spec.parse(spec)
        if outer.is_identity:
            self.note(x, sources)
            return x
        if node.op == "einsum" and len(node.operands) == 1:
            inner = Spec.parse(node.attr("spec"))
            fits = mergeable(spec, node.attr("spec"))
            if inner.is_copy and fits and (self._is_ring(node.type.dtype) or _composes_exactly(outer, inner)):
                return self._unary(compose(spec, node.attr("spec")), node.operands[0], self._with(sources, x))
        value = self.scalar_value(x)
        if value is not None and outer.scale != 1:
            sources = self._with(sources, x)
            folded = self.constant(_times(value, outer.scale, node.type.dtype), node.type.dtype, sources)
            return self._unary(str(Spec(outer.inputs, outer.output, outer.sizes)), folded, sources)
        type = node.type.with_shape(outer.shape)
        return self.add("einsum", (x,), (("spec", spec),), type, sources)

    def _pure(self, pure: Pure, x: int, y: int, sources: Sources) -> int:
        if pure.before_x:
            x = self._unary(pure.before_x, x, sources)
        if pure.before_y:
            y = self._unary(pure.before_y, y, sources)
        core = self._product(pure.core, x, y, sources)
        return self._unary(pure.post, core, sources) if pure.post else core

    def _product(self, spec: str, x: int, y: int, sources: Sources) -> int:
        parsed = Spec.parse(spec)
        for position, operand in enumerate((x, y)):
            other = y if position == 0 else x
            node = self.nodes[operand]
            value = self.scalar_value(operand)
            if value is not None and is_scale(value, node.type.dtype):
                letters = parsed.inputs[1 - position]
                scaling = canonical([letters], parsed.output, parsed.sizes, value)
                return self._unary(scaling, other, self._with(sources, operand))
            if node.op == "einsum" and len(node.operands) == 1:
                inner = node.attr("spec")
                parsed_inner = Spec.parse(inner)
                exact = self._is_ring(node.type.dtype) or _absorbs_exactly(parsed, parsed_inner, position)
                # A diagonal that is read stays before the product: pure specs have distinct letters.
                reads_diagonal = len(set(parsed_inner.inputs[0])) < len(parsed_inner.inputs[0])
                if parsed_inner.is_copy and exact and not reads_diagonal and mergeable(spec, inner):
                    pure = absorb(spec, inner, position)
                    pair = (node.operands[0], other) if position == 0 else (other, node.operands[0])
                    return self._pure(pure, *pair, self._with(sources, operand))
        if x > y:
            x, y = y, x
            spec = canonical([parsed.inputs[1], parsed.inputs[0]], parsed.output, parsed.sizes)
            parsed = Spec.parse(spec)
        type = self.type(x).with_shape(parsed.shape)
        return self.add("einsum", (x, y), (("spec", spec),), type, sources)

    def _is_ring(self, dtype: str) -> bool:
        """Whether the laws of a ring may be used: for floats they hold up to rounding, infinities and signed zeros."""
        return self.numerics >= Numerics.REASSOCIATE or is_integer(dtype)

    def _with(self, sources: Sources, *absorbed: int) -> Sources:
        """The lines, and those of the nodes that the new one takes in.

        Not of one that the same line made too: equal nodes are one, and its further lines are those of other readers.
        """
        mine = set(sources)
        return merge_sources(sources, *(s for x in absorbed if mine.isdisjoint(s := self._sources[x])))

    def _thin(self, x: int) -> int:
        value = self.uniform_scalar(x)
        return x if value is None else value

    def _picked(self, op: str, operands: Sequence[int]) -> int | None:
        """The case that a selection by a constant takes; whether a place is negative, as indices are asked, is one."""
        if op == "lt" and self.scalar_value(operands[1]) == 0 and is_place(self.nodes, operands[0]):
            return self.constant(False, "bool")
        which = self.scalar_value(operands[0]) if op == "select_n" else None
        return None if which is None else operands[1 + int(which)]

    def _shared_copy(self, operands: Sequence[int]) -> str | None:
        specs = set()
        for x in operands:
            node = self.nodes[x]
            if not node.type.shape:
                continue
            if node.op != "einsum" or len(node.operands) != 1:
                return None
            specs.add(node.attr("spec"))
        if len(specs) != 1:
            return None
        (text,) = specs
        spec = Spec.parse(text)
        plain = len(set(spec.output)) == len(spec.output) and len(set(spec.inputs[0])) == len(spec.inputs[0])
        return text if spec.is_copy and plain and spec.scale == 1 else None


def _composes_exactly(outer: Spec, inner: Spec) -> bool:
    """Whether a copying einsum may go into the one after it without a change of any bit."""
    if outer.summed:
        return inner.is_permutation and inner.scale == 1
    if outer.scale < 0 and not inner.has_distinct_output:
        return False  # minus the zeros beside a diagonal
    return outer.scale in (1, -1) or inner.scale in (1, -1)


def _absorbs_exactly(product: Spec, inner: Spec, position: int) -> bool:
    """Whether a copying einsum of an operand may go into the product without a change of any bit."""
    if not inner.has_distinct_output or inner.scale not in (1, -1):
        return False  # the zeros beside a diagonal times NaN are NaN
    if inner.scale == -1 and product.summed:
        return False  # a sum of zeros is +0
    word = product.inputs[position]
    repeated = {word[inner.output.index(c)] for c in inner.broadcast}
    return not repeated & set(product.summed)


def scalar(value: Value, dtype: str) -> Value:
    """A Python scalar that stands for ``value`` rounded to the element type."""
    if dtype == "bool":
        return bool(value)
    if is_integer(dtype):
        bits = int(itemsize(dtype) * 8)
        wrapped = int(value) % (1 << bits)
        return wrapped - (1 << bits) if dtype.startswith("int") and wrapped >> (bits - 1) else wrapped
    rounded = np.asarray(value).astype(_compute_dtype(dtype))
    return rounded.astype(np.complex128).item() if is_complex(dtype) else float(rounded.astype(np.float64))


def _times(value: Value, scale: Scale, dtype: str) -> Value:
    """Product of scalars as the element type has it; integers wrap around when it becomes a constant."""
    if is_integer(dtype):
        return int(value) * int(scale)
    return (np.asarray(value, _compute_dtype(dtype)) * np.asarray(scale, _compute_dtype(dtype))).item()


def is_scale(value: Value, dtype: str) -> bool:
    """Whether a scalar constant may live in a spec: finite, not zero, of a real ring type."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (is_floating(dtype) or is_integer(dtype)) and math.isfinite(value) and value != 0


def _compute_dtype(dtype: str) -> Any:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, dtype)) if hasattr(ml_dtypes, dtype) else np.dtype(dtype)
