# SPDX-License-Identifier: Apache-2.0
"""Stacked outputs of which only the last trip's is read are not stacked.

What is the carry anyway is read of it. What the carries do not wait for is computed once, after the loop, of what the
last trip had; that is carried out of the loop in place of the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.slices import Range, slice_attrs
from egraph_opt.ir.types import is_numeric
from egraph_opt.ir.walk import ancestors
from egraph_opt.loops.loop import Change, Loop, inlined, rewritten


def unstacked(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph without stacks whose last places alone are read; None where there are none."""
    lasts = _lasts(graph)
    if not lasts:
        return None
    values: dict[int, int] = {}

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        found = [k for scan, k in lasts if scan == number]
        if found:
            new, results, made = _shorter(emitter, Loop.of(node, operands), found)
            values.update({reader: made[k] for k in found for reader in lasts[number, k]})
            return Change(results, new)
        return Change([_cut(emitter, node, values[number])]) if number in values else None

    return rewritten(graph, numerics, change)


def _lasts(graph: Graph) -> dict[tuple[int, int], list[int]]:
    """Scans with the positions of stacked results whose readers all cut out the last place, and those readers."""
    found: dict[tuple[int, int], list[int]] = {}
    roots = {*graph.outputs, *graph.effects}
    readers: dict[int, list[int]] = {}
    for number, node in enumerate(graph.nodes):
        for q in dict.fromkeys(node.operands):
            readers.setdefault(q, []).append(number)
    for number, node in enumerate(graph.nodes):
        scan = graph.nodes[node.operands[0]] if node.op == "result" else node
        if scan.op != "scan" or (node.op == "scan" and len(node.types) > 1) or number in roots:
            continue
        k = node.attr("index") if node.op == "result" else 0
        place = 0 if scan.attr("reverse") else scan.attr("length") - 1
        mine = readers.get(number, [])
        if k < scan.attr("num_carry") or scan.attr("length") < 2 or scan.attr("body").effects:
            continue
        if not all(is_numeric(t.dtype) for t in scan.attr("body").output_types):
            continue
        if mine and all(_is_cut(graph.nodes[reader], place) for reader in mine):
            found[node.operands[0] if node.op == "result" else number, k] = mine
    return found


def _is_cut(node: Node, place: int) -> bool:
    """Whether a node reads nothing but one place along the first dimension."""
    return node.op == "slice" and node.attr("start_indices")[0] == place and node.attr("limit_indices")[0] == place + 1


def _cut(emitter: Emitter, node: Node, value: int) -> int:
    """What a slice of the stack reads, of the last trip's value alone."""
    kind = emitter.type(value)
    x = emitter.reshape(value, (1, *kind.shape), node.sources)
    attrs = (
        ("start_indices", (0, *node.attr("start_indices")[1:])),
        ("limit_indices", (1, *node.attr("limit_indices")[1:])),
        ("strides", node.attr("strides")),
    )
    if node.type.shape == (1, *kind.shape):
        return x
    return emitter.add("slice", (x,), attrs, node.type, node.sources)


def _shorter(emitter: Emitter, loop: Loop, found: Sequence[int]) -> tuple[int, list[int | None], dict[int, int]]:
    """The loop without some stacks: its node, its results, and the last values of what was stacked."""
    body, count = loop.body, len(loop.init)
    kept = [k for k in range(count, len(body.outputs)) if k not in found]
    roots = [*loop.carry_outputs, *(body.outputs[k] for k in kept)]
    inside = {*ancestors(body, roots), *body.inputs}
    wanted = [body.outputs[k] for k in found]
    late = {n for n in ancestors(body, wanted, inside) if n not in inside}
    border = {q for n in late for q in body.nodes[n].operands if q in inside} | inside.intersection(wanted)
    ready = {*loop.const_inputs, *loop.x_inputs, *loop.carry_outputs}
    carried = sorted(q for q in border if q not in ready and (q in body.inputs or body.nodes[q].operands))
    starts = tuple(emitter.uniform(0, body.nodes[q].type) for q in carried)
    node, results = replace(
        loop, body=_carrying(loop, carried, kept, emitter.numerics), init=(*loop.init, *starts)
    ).emit(emitter)
    total = count + len(carried)
    known = dict(zip(loop.const_inputs, loop.consts, strict=True))
    known.update(zip((*loop.carry_outputs, *carried), results, strict=False))
    for inner, x in zip(loop.x_inputs, loop.xs, strict=True):
        if inner in border and inner not in known:
            known[inner] = _last(emitter, loop, x)
    made = dict(zip(found, inlined(emitter, body, known, wanted), strict=True))
    shown: list[int | None] = [*results[:count], *[None] * (len(body.outputs) - count)]
    for place, k in enumerate(kept):
        shown[k] = results[total + place]
    return node, shown, made


def _carrying(loop: Loop, carried: Sequence[int], kept: Sequence[int], numerics: Numerics) -> Graph:
    """The body that also carries some of its values out, and stacks fewer."""
    body = loop.body
    emitter = Emitter(numerics)
    known = {q: emitter.input(body.nodes[q].type) for q in (*loop.const_inputs, *loop.carry_inputs)}
    for q in carried:
        emitter.input(body.nodes[q].type)  # what the trip before had is not read
    known.update({q: emitter.input(body.nodes[q].type) for q in loop.x_inputs})
    outputs = [*loop.carry_outputs, *carried, *(body.outputs[k] for k in kept)]
    return emitter.build(inlined(emitter, body, known, outputs), (), None, body.precision)


def _last(emitter: Emitter, loop: Loop, x: int) -> int:
    """The slice that the last trip reads."""
    kind = emitter.type(x)
    cut = [Range(loop.last, loop.last + 1), *(Range(0, n) for n in kind.shape[1:])]
    one = emitter.add("slice", (x,), slice_attrs(cut), kind.with_shape((1, *kind.shape[1:])), loop.sources)
    return emitter.reshape(one, kind.shape[1:], loop.sources)
