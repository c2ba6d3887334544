# SPDX-License-Identifier: Apache-2.0
"""Carries that are multiplied by the same thing in every trip: powers by repeated squaring in place of the loop.

``c' = a c`` for each element gives ``a^n c``; ``C' = C A`` that starts at ``A`` or the identity gives a power of ``A``.
Powers of a matrix alone may overflow where ``A (A (A x))`` does not: from any other start they are of class ``finite``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import canonical
from egraph_opt.ir.walk import ancestors
from egraph_opt.loops.loop import Change, Loop, inlined, rewritten

WIDE = frozenset({"bfloat16", "float32", "float64"})
"""Element types whose powers overflow late."""

SAFE_FACTOR = 1e30
"""Powers of constants are taken up to this, and down to one over it."""


class Step(NamedTuple):
    """A carry after a trip as an einsum of it before the trip and of what no trip changes.

    Args:
        factor: node of the body that is the same in every trip.
        words: letters of the factor, of the carry and of the result.
        sizes: size of each letter.
    """

    factor: int
    words: tuple[str, str, str]
    sizes: dict[str, int]

    @property
    def is_elementwise(self) -> bool:
        """Whether each element of the carry is multiplied for itself."""
        return self.words[1] == self.words[2]

    @property
    def axis(self) -> int | None:
        """The one axis of the carry on which a square matrix acts; None where something else happens."""
        factor, before, after = self.words
        moved = [i for i, (c, d) in enumerate(zip(before, after, strict=False)) if c != d]
        if len(before) != len(after) or len(moved) != 1 or len(factor) != 2:
            return None
        old, new = before[moved[0]], after[moved[0]]
        square = {old, new} == set(factor) and self.sizes[old] == self.sizes[new]
        return moved[0] if square and new not in before and old not in after else None


def step_of(loop: Loop, k: int) -> Step | None:
    """How a carry changes in a trip, where it is a product with something steady and nothing else reads it."""
    body = loop.body
    before, after = loop.carry_inputs[k], loop.carry_outputs[k]
    node = body.nodes[after]
    if node.op != "einsum" or node.operands.count(before) != 1 or len(node.operands) != 2:
        return None
    readers = [n for n, other in enumerate(body.nodes) if before in other.operands]
    if readers != [after] or body.outputs.count(before) or body.outputs.count(after) != 1:
        return None
    place = node.operands.index(before)
    factor = node.operands[1 - place]
    changing = {*loop.carry_inputs, *loop.x_inputs}
    if ancestors(body, [factor]) & changing or any(after in other.operands for other in body.nodes):
        return None
    spec = Spec.parse(node.attr("spec"))
    words = spec.inputs[1 - place], spec.inputs[place], spec.output
    return Step(factor, words, dict(spec.sizes)) if spec.is_pure else None


def powers(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph with powers in place of carries that grow; None where there are none."""
    if numerics < Numerics.REASSOCIATE:
        return None
    done = False

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        nonlocal done
        del number
        if node.op != "scan" or node.attr("body").effects or node.attr("length") < 2:
            return None
        loop = Loop.of(node, operands)
        found = {k: made for k in range(len(loop.init)) if (made := _power(emitter, loop, k, numerics)) is not None}
        if not found:
            return None
        done = True
        made, results = loop.emit(emitter)
        return Change([found.get(k, result) for k, result in enumerate(results)], made)

    result = rewritten(graph, numerics, change)
    return result if done else None


def _power(emitter: Emitter, loop: Loop, k: int, numerics: Numerics) -> int | None:
    """The last value of a carry without the loop."""
    if emitter.type(loop.init[k]).dtype not in WIDE:
        return None
    scale = _scale(loop, k)
    if scale is not None:
        return emitter.scaled(loop.init[k], scale, loop.sources)
    step = step_of(loop, k)
    if step is None:
        return None
    if step.is_elementwise:
        return _elementwise(emitter, loop, k, step)
    return _matrix(emitter, loop, k, step, numerics)


def _scale(loop: Loop, k: int) -> float | None:
    """By what a carry is multiplied in all trips together, where that is a number."""
    body, before = loop.body, loop.carry_inputs[k]
    node = body.nodes[loop.carry_outputs[k]]
    if node.op != "einsum" or node.operands != (before,) or loop.carry_outputs[k] in body.outputs[len(loop.init) :]:
        return None
    spec = Spec.parse(node.attr("spec"))
    if spec.inputs[0] != spec.output or not spec.is_permutation:
        return None
    logarithm = loop.length * math.log10(abs(spec.scale)) if spec.scale else math.inf
    return float(spec.scale) ** loop.length if abs(logarithm) < math.log10(SAFE_FACTOR) else None


def _outside(emitter: Emitter, loop: Loop, number: int) -> int:
    known = dict(zip(loop.const_inputs, loop.consts, strict=True))
    return inlined(emitter, loop.body, known, [number])[0]


def _elementwise(emitter: Emitter, loop: Loop, k: int, step: Step) -> int:
    """``a^n c``, as ``c`` times a third or quarter of the power, again and again.

    Where such a part overflows, so does the result, unless ``c`` is zero: then it stays so.
    """
    start, factor = loop.init[k], _outside(emitter, loop, step.factor)
    kind = emitter.type(start)
    word, letters, _ = step.words

    def times(x: int, y: int) -> int:
        return emitter.contract([letters, word], letters, step.sizes, [x, y], loop.sources)

    def square(x: int, y: int) -> int:
        return emitter.contract([word, word], word, step.sizes, [x, y], loop.sources)

    grown, left = start, loop.length
    if loop.length >= 6:
        parts = min((4, 3), key=lambda p: p + loop.length % p + _products(loop.length // p))
        part = _repeated(square, factor, loop.length // parts)
        for _ in range(parts):
            grown = times(grown, part)
        left = loop.length % parts
    for _ in range(left):
        grown = times(grown, factor)
    zero = emitter.constant(0, kind.dtype)
    still = emitter.elementwise("eq", [start, zero], (), TensorType(kind.shape, "bool"), loop.sources)
    return emitter.elementwise("select_n", [still, grown, start], (), kind.strong(), loop.sources)


def _products(count: int) -> int:
    """How many products a power takes."""
    return count.bit_length() + count.bit_count() - 2


def _matrix(emitter: Emitter, loop: Loop, k: int, step: Step, numerics: Numerics) -> int | None:
    axis = step.axis
    if axis is None:
        return None
    start, factor = loop.init[k], _outside(emitter, loop, step.factor)
    word, before, after = step.words
    old, new = before[axis], after[axis]
    sizes = dict(step.sizes)

    def product(x: int, y: int) -> int:
        n = sizes[old]
        return emitter.contract(["ab", "bc"], "ac", {"a": n, "b": n, "c": n}, [x, y], loop.sources)

    turned = factor
    if word != old + new:  # rows are what the carry has before the trip
        turned = emitter.contract([word], old + new, sizes, [factor], loop.sources)
    # What acts on columns is the transpose of what acts on rows.
    given = start == turned if axis == 1 else start == factor if word == new + old else False
    given = given or (axis == 0 and _are_transposes(emitter, start, turned))
    if len(before) == 2 and given:
        grown = _repeated(product, turned, loop.length + 1)
        return grown if axis == 1 else emitter.einsum("ab->ba;" + f"{sizes[old]},{sizes[old]}", [grown], loop.sources)
    if _is_identity(emitter, start):
        grown = _repeated(product, turned, loop.length)
        return grown if axis == 1 else emitter.einsum("ab->ba;" + f"{sizes[old]},{sizes[old]}", [grown], loop.sources)
    if numerics < Numerics.FINITE:
        return None
    grown = _repeated(product, turned, loop.length)
    return emitter.contract([before, old + new], after, sizes, [start, grown], loop.sources)


def _are_transposes(emitter: Emitter, x: int, y: int) -> bool:
    """Whether one of two matrices is written as the transpose of the other."""
    for inner, outer in ((x, y), (y, x)):
        node = emitter.node(outer)
        if node.op == "einsum" and node.operands == (inner,):
            spec = Spec.parse(node.attr("spec"))
            if spec.is_permutation and spec.scale == 1 and not spec.is_identity:
                return True
    return False


def _is_identity(emitter: Emitter, x: int) -> bool:
    node = emitter.node(x)
    if node.op != "einsum" or len(node.operands) != 1 or node.type.rank != 2:
        return False
    eye = canonical([""], "aa", {"a": node.type.shape[0]})
    return node.attr("spec") == eye and emitter.scalar_value(node.operands[0]) == 1


def _repeated(product: Callable[[int, int], int], x: int, count: int) -> int:
    """``x`` multiplied with itself, by squaring."""
    assert count > 0, "a power of at least one"
    result: int | None = None
    while True:
        if count % 2:
            result = x if result is None else product(result, x)
        count //= 2
        if not count:
            assert result is not None, "the highest bit is set"
            return result
        x = product(x, x)
