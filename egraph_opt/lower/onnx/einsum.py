# SPDX-License-Identifier: Apache-2.0
"""Einsums and sums in ONNX: ``MatMul`` and ``Gemm``, ``Mul``, ``ReduceSum``, ``Transpose``, broadcasts left open.

The general operator ``Einsum`` is not needed: every spec is one of these with a reshape around it, and runtimes run
them faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from egraph_opt.ir import Spec, TensorType
from egraph_opt.ir.spec_algebra import purify
from egraph_opt.ir.types import is_integer
from egraph_opt.lower.onnx.steps import (
    counted,
    filled,
    full,
    held_as,
    part,
    ranked,
    reduced,
    reshape,
    size_of,
    transpose,
    where,
    widely,
)
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer
from egraph_opt.ops.contract import factors, typed_scale

EPSILON = 1e-6
"""Relative difference up to which a scale is one over a count: that of float32."""


def einsum(w: Writer, spec: Spec, args: Sequence[Value]) -> Value:
    """An einsum of one or two operands."""
    if len(args) == 1:
        return _one(w, args[0], spec)
    x, y = args
    if not spec.is_pure:
        pure = purify(spec.inputs, spec.output, spec.sizes, spec.scale)
        x = _one(w, x, Spec.parse(pure.before_x)) if pure.before_x else x
        y = _one(w, y, Spec.parse(pure.before_y)) if pure.before_y else y
        core = einsum(w, Spec.parse(pure.core), [x, y])
        return _one(w, core, Spec.parse(pure.post)) if pure.post else core
    first, second = spec.inputs
    if not spec.summed:
        return w.apply("Mul", [_aligned(w, x, first, spec), _aligned(w, y, second, spec)])
    if set(first) == set(second):
        return widely(w, [x, y], lambda a, b: _inner(w, a, b, spec))
    return _product(w, x, y, spec)


def is_matmul(spec: Spec) -> bool:
    """Whether the spec is the product of matrices as they stand."""
    if len(spec.inputs) != 2 or not spec.is_pure or not all(len(word) == 2 for word in (*spec.inputs, spec.output)):
        return False
    first, second = spec.inputs
    return first[1] == second[0] and first[0] + second[1] == spec.output and first[1] not in spec.output


def total(w: Writer, terms: Sequence[tuple[Value, bool]]) -> Value:
    """Sum from left to right, each term with whether it is subtracted."""
    first, negative = terms[0]
    result = w.apply("Neg", [first]) if negative else first
    for term, negative in terms[1:]:
        result = w.apply("Sub" if negative else "Add", [result, term])
    return result


def _permuted(w: Writer, x: Value, word: str, order: str) -> Value:
    return transpose(w, x, [word.index(c) for c in order])


def _aligned(w: Writer, x: Value, word: str, spec: Spec) -> Value:
    """The operand as it broadcasts to the result."""
    if word == spec.output:
        return x
    return _spread(w, x, word, spec.output, spec)


def _spread(w: Writer, x: Value, word: str, output: str, spec: Spec) -> Value:
    order = "".join(c for c in dict.fromkeys(output) if c in word)
    x = ranked(w, _permuted(w, x, word, order))
    sizes = dict(zip(order, x.held, strict=True))
    held = [sizes.pop(c, 1) for c in output]
    return held_as(w, x, held, tuple(spec.sizes[c] for c in output))


def _inner(w: Writer, x: Value, y: Value, spec: Spec) -> Value:
    """A sum of products, as the lowering to JAX makes it."""
    first, second = spec.inputs
    product = w.apply("Mul", [x, _permuted(w, y, second, first)])
    summed = reduced(w, "ReduceSum", product, [place for place, c in enumerate(first) if c not in spec.output])
    return _permuted(w, summed, "".join(c for c in first if c in spec.output), spec.output)


def _one(w: Writer, x: Value, spec: Spec) -> Value:
    word, output = spec.inputs[0], spec.output
    if spec.summed or len(set(word)) < len(word):
        x = full(w, x)
    x, word = _read_diagonals(w, x, word)
    kept = "".join(c for c in word if c in output)
    x = reduced(w, "ReduceSum", x, [place for place, c in enumerate(word) if c not in output])
    known, count = w.root.multiples.get(x.name, (x, 0))
    if count and math.isclose(spec.scale * count, 1, rel_tol=EPSILON):
        x = known  # the sum of a window divided by its size
    elif spec.scale == -1:
        x = w.apply("Neg", [x])
    else:
        for factor in factors(spec.scale, x.dtype):
            x = w.apply("Mul", [x, w.constant(typed_scale(factor, x.dtype), "scale")])
    if kept == output:
        return x
    wide = _spread(w, x, kept, output, spec)
    return _off_diagonal_zero(w, wide, output)


def _read_diagonals(w: Writer, x: Value, word: str) -> tuple[Value, str]:
    """Merge repeated letters: the diagonal of n x n is every (n+1)-th element of the flat matrix."""
    for letter in dict.fromkeys(word):
        places = [place for place, c in enumerate(word) if c == letter]
        count, place = len(places), places[0]
        if count == 1:
            continue
        rest = [other for other in range(len(word)) if other not in places]
        order = [*rest[:place], *places, *rest[place:]]
        x = transpose(w, x, order)
        word = "".join(word[axis] for axis in order)
        n = x.type.shape[place]
        flat = (*x.type.shape[:place], n**count, *x.type.shape[place + count :])
        x = part(w, reshape(w, x, flat), place, 0, n**count, sum(n**i for i in range(count)))
        word = word[:place] + letter + word[place + count :]
    return x, word


def _off_diagonal_zero(w: Writer, x: Value, output: str) -> Value:
    mask = None
    for letter in dict.fromkeys(output):
        places = [place for place, c in enumerate(output) if c == letter]
        for place in places[1:]:
            counts = [counted(w, x.type.shape, axis, "int64") for axis in (places[0], place)]
            same = w.apply("Equal", counts, dtype="bool")
            mask = same if mask is None else w.apply("And", [mask, same])
    return x if mask is None else where(w, mask, x, filled(w, 0, x.type))


def _product(w: Writer, x: Value, y: Value, spec: Spec) -> Value:
    """The product with the operands in the order that moves least."""
    plans = [_Plan(spec, 0), _Plan(spec, 1)]
    best = min(plans, key=lambda plan: plan.moves)
    return best.write(w, *((y, x) if best.turned else (x, y)))


class _Plan:
    """A matrix product: which operand stands on the left, and what has to move.

    Args:
        spec: a pure spec with a contraction.
        turned: whether the second operand stands on the left.
    """

    def __init__(self, spec: Spec, turned: int) -> None:
        self.spec, self.turned = spec, bool(turned)
        self.left, self.right = spec.inputs[::-1] if turned else spec.inputs
        output = spec.output
        self.batch = "".join(c for c in output if c in self.left and c in self.right)
        self.rows = "".join(c for c in output if c in self.left and c not in self.right)
        self.columns = "".join(c for c in output if c in self.right and c not in self.left)
        self.summed = "".join(c for c in self.left if c not in output)
        self.result = self.batch + self.rows + self.columns
        self.wanted = (self.batch + self.rows + self.summed, self.batch + self.summed + self.columns)

    @property
    def is_plain(self) -> bool:
        """Whether both operands are matrices."""
        return not self.batch and len(self.left) == len(self.right) == 2

    @property
    def moves(self) -> int:
        """How many transposes and reshapes there are; a ``Gemm`` transposes matrices for nothing."""
        moved = 0 if self.is_plain else (self.left != self.wanted[0]) + (self.right != self.wanted[1])
        merged = 0 if len(self.columns) <= 1 and len(self.summed) == 1 else 2
        return moved + merged + 2 * (self.result != self.spec.output)

    def write(self, w: Writer, a: Value, b: Value) -> Value:
        """The nodes of the product of the left and the right operand."""
        a, b = full(w, a), full(w, b)
        spec = self.spec
        shape = tuple(spec.sizes[c] for c in self.result)
        if any(spec.sizes[c] == 0 for c in spec.sizes):
            return filled(w, 0, TensorType(spec.shape, a.dtype))
        flips = (self.left != self.wanted[0], self.right != self.wanted[1])
        if self.is_plain and any(flips) and not is_integer(a.dtype):
            options = {name: 1 for name, flip in zip(("transA", "transB"), flips, strict=True) if flip}
            out = w.apply("Gemm", [a, b], shape=shape, **options)
        else:
            a = _permuted(w, a, self.left, self.wanted[0])
            b = _permuted(w, b, self.right, self.wanted[1])
            out = self._matmul(w, a, b, shape)
        return _permuted(w, out, self.result, spec.output)

    def _matmul(self, w: Writer, a: Value, b: Value, shape: tuple[int, ...]) -> Value:
        batch, rows, summed, columns = (
            tuple(self.spec.sizes[c] for c in word) for word in (self.batch, self.rows, self.summed, self.columns)
        )
        simple = len(summed) == 1 and len(columns) == 1 and (len(rows) == 1 or not batch)
        if not simple:  # vectors of a batch become matrices, several dimensions one
            a = reshape(w, a, (*batch, size_of(rows), size_of(summed)))
            b = reshape(w, b, (*batch, size_of(summed), size_of(columns)))
            merged = (*batch, size_of(rows), size_of(columns))
            return reshape(w, w.apply("MatMul", [a, b], shape=merged), shape)
        return w.apply("MatMul", [a, b], shape=shape)
