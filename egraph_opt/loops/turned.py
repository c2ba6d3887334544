# SPDX-License-Identifier: Apache-2.0
"""Loops that multiply from one side and whose result is contracted on that side run on the other operand instead.

``(X A A A) z = X (A (A (A z)))``: where ``z`` is smaller than ``X``, every trip is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS
from egraph_opt.loops.growth import Step, step_of
from egraph_opt.loops.loop import Change, Loop, inlined, rewritten


def turned_loops(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph with linear loops run from the other side; None where there are none."""
    if numerics < Numerics.REASSOCIATE:
        return None
    found = _readers(graph)
    if not found:
        return None
    kept: dict[int, Loop] = {}

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        if number in found.values():
            kept[number] = Loop.of(node, operands)
            return None
        if number in found:
            return Change([_turned(emitter, kept[found[number]], node, operands, graph, number)])
        return None

    return rewritten(graph, numerics, change)


def _readers(graph: Graph) -> dict[int, int]:
    """Einsums that alone read the only result of a linear loop, with the loop."""
    uses = graph.use_counts()
    found: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        if node.op != "einsum":
            continue
        for place, q in enumerate(node.operands):
            scan = graph.nodes[q]
            if scan.op != "scan" or len(scan.types) != 1 or uses[q] != 1 or scan.attr("num_carry") != 1:
                continue
            axis = _axis(Loop.of(scan, scan.operands))
            spec = Spec.parse(node.attr("spec"))
            if axis is not None and _sums(spec, place, axis):
                found[number] = q
    return found


def _axis(loop: Loop) -> int | None:
    step = step_of(loop, 0)
    return step.axis if step is not None and not loop.body.effects else None


def _sums(spec: Spec, place: int, axis: int) -> bool:
    """Whether an einsum sums over an axis of an operand, and reads no diagonal of it."""
    letter = spec.inputs[place][axis]
    return letter not in spec.output and all(word.count(letter) <= 1 for word in spec.inputs)


def _turned(emitter: Emitter, loop: Loop, node: Node, operands: Sequence[int], graph: Graph, number: int) -> int:
    """The reader of the loop, with the loop on its other operand."""
    place = next(p for p, q in enumerate(graph.nodes[number].operands) if graph.nodes[q].op == "scan")
    spec = Spec.parse(node.attr("spec"))
    step = step_of(loop, 0)
    assert step is not None, "looked at before"
    assert step.axis is not None, "looked at before"
    letter = spec.inputs[place][step.axis]
    dtype = emitter.type(loop.init[0]).dtype
    if len(operands) == 2 and letter in spec.inputs[1 - place]:
        word, other = spec.inputs[1 - place], operands[1 - place]
        rest: list[tuple[str, int]] = []
    else:
        word, other = letter, emitter.broadcast(emitter.constant(1, dtype), "", (spec.sizes[letter],))
        rest = [(spec.inputs[1 - place], operands[1 - place])] if len(operands) == 2 else []
    run = _other_side(emitter, loop, step, other, word.index(letter))
    words, tensors = [spec.inputs[place], word], [loop.init[0], run]
    if rest:
        # The third tensor has no part in the sum over the letter.
        kept = "".join(c for c in spec.inputs[place] if c != letter)
        first = emitter.contract(words, kept, dict(spec.sizes), tensors, node.sources)
        words, tensors = [kept, rest[0][0]], [first, rest[0][1]]
    product = emitter.contract(words, spec.output, dict(spec.sizes), tensors, node.sources)
    return product if spec.scale == 1 else emitter.scaled(product, spec.scale, node.sources)


def _other_side(emitter: Emitter, loop: Loop, step: Step, start: int, axis: int) -> int:
    """The loop that multiplies ``start``, along an axis, with the transpose of what the loop multiplies with."""
    factor, before, after = step.words
    assert step.axis is not None, "a matrix acts on one axis"
    old, new = before[step.axis], after[step.axis]
    kind = emitter.type(start)
    builder = Emitter(emitter.numerics)
    inputs = [builder.input(loop.body.nodes[q].type) for q in loop.const_inputs]
    carry = builder.input(kind.strong())
    (matrix,) = inlined(builder, loop.body, dict(zip(loop.const_inputs, inputs, strict=True)), [step.factor])
    names = [c for c in LETTERS if c not in (old, new)][: kind.rank]
    word = [*names[:axis], new, *names[axis + 1 :]]
    result = [*names[:axis], old, *names[axis + 1 :]]
    sizes = {**dict(zip(names, kind.shape, strict=True)), old: step.sizes[old], new: step.sizes[new]}
    made = builder.contract([factor, "".join(word)], "".join(result), sizes, [matrix, carry], loop.sources)
    run = Loop(builder.build([made]), loop.consts, (start,), (), loop.length, False, loop.unroll, loop.sources)
    return run.emit(emitter)[1][0]
