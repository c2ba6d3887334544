# SPDX-License-Identifier: Apache-2.0
"""What nobody reads of loops and branches is dropped: results, carries, operands; what never changes is a constant.

Equal carries, equal stacked outputs and equal operands are kept once. Nothing that has an effect goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.walk import ancestors
from egraph_opt.loops.loop import Change, Loop, inlined, read_results, results_of, rewritten, sub_body


def without_unread(graph: Graph, numerics: Numerics) -> Graph:
    """The graph with smaller loops and branches.

    Args:
        graph: any graph without dead nodes.
        numerics: class of the simplifications on the way; dropping is exact.
    """
    read = read_results(graph)
    if not read:
        return graph
    handlers: dict[str, Callable[..., Change | None]] = {"scan": _scan, "while": _while, "cond": _cond}

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        handler = handlers.get(node.op)
        return handler(emitter, node, operands, read[number], numerics) if handler else None

    return rewritten(graph, numerics, change)


def _scan(
    emitter: Emitter, node: Node, operands: Sequence[int], read: Collection[int], numerics: Numerics
) -> Change | None:
    loop = Loop.of(node, operands)
    body, count = loop.body, len(loop.init)
    steady = [k for k in range(count) if loop.carry_outputs[k] == loop.carry_inputs[k]]
    stacked = [k - count for k in sorted(read) if k >= count]
    roots = [*(loop.y_outputs[k] for k in stacked), *body.effects]
    live = _live(body, loop.carry_inputs, loop.carry_outputs, [k for k in read if k < count], roots)
    carries = [k for k in live if k not in steady]
    first = _equal_carries(loop, carries)
    kept = sorted(set(first.values()))
    outputs = [loop.carry_outputs[k] for k in kept]
    ys = list(dict.fromkeys(loop.y_outputs[k] for k in stacked))
    needed = ancestors(body, [*outputs, *ys, *body.effects])
    consts = _grouped(
        [
            *zip(loop.const_inputs, loop.consts, strict=True),
            *((loop.carry_inputs[k], loop.init[k]) for k in steady),
        ],
        needed,
    )
    xs = _grouped(zip(loop.x_inputs, loop.xs, strict=True), needed)
    states = [[loop.carry_inputs[k] for k in carries if first[k] == keep] for keep in kept]
    sizes = len(loop.consts), count, len(loop.xs), len(body.outputs)
    if (len(consts), len(kept), len(xs), len(kept) + len(ys)) == sizes:
        return None
    results: list[int | None] = [None] * len(node.types)
    for k in steady:
        results[k] = loop.init[k]
    if not kept and not ys and not body.effects:
        return Change(results)
    inner = sub_body(body, [*consts.values(), *states, *xs.values()], [*outputs, *ys], numerics, body.effects)
    smaller = Loop(
        inner, tuple(consts), tuple(loop.init[k] for k in kept), tuple(xs),
        loop.length, loop.reverse, loop.unroll, loop.sources,
    )  # fmt: skip
    number, made = smaller.emit(emitter)
    for k in carries:
        results[k] = made[kept.index(first[k])]
    for k in stacked:
        results[count + k] = made[len(kept) + ys.index(loop.y_outputs[k])]
    return Change(results, number)


def _live(
    body: Graph, inputs: Sequence[int], outputs: Sequence[int], read: Iterable[int], roots: Iterable[int]
) -> list[int]:
    """Carries that are read after the loop, by a root, or by a carry that is."""
    live = set(read)
    wanted = list(roots)
    while True:
        needed = ancestors(body, [*wanted, *(outputs[k] for k in live)])
        found = live | {k for k, q in enumerate(inputs) if q in needed}
        if found == live:
            return sorted(live)
        live = found


def _grouped(pairs: Iterable[tuple[int, int]], needed: Collection[int]) -> dict[int, list[int]]:
    """Inputs of a body by the operand that they stand for; inputs that are not needed are left out."""
    found: dict[int, list[int]] = {}
    for inner, outer in pairs:
        if inner in needed:
            found.setdefault(outer, []).append(inner)
    return found


def _equal_carries(loop: Loop, carries: Sequence[int]) -> dict[int, int]:
    """For each carry the first one that has its value in every trip.

    All that start alike are taken for equal; whoever then ends a trip otherwise is taken out, until nobody does.
    """
    groups = {k: (loop.init[k], loop.body.nodes[loop.carry_inputs[k]].type) for k in carries}
    classes = {k: min(j for j in carries if groups[j] == groups[k]) for k in carries}
    while len(set(classes.values())) < len(carries):
        names = _names(loop, classes)
        split = {k: (classes[k], names[loop.carry_outputs[k]]) for k in carries}
        finer = {k: min(j for j in carries if split[j] == split[k]) for k in carries}
        if finer == classes:
            break
        classes = finer
    return classes


def _names(loop: Loop, classes: dict[int, int]) -> list[Any]:
    """A number for each node of the body, the same for nodes that are equal if carries of a class are."""
    alias = {loop.carry_inputs[k]: loop.carry_inputs[first] for k, first in classes.items()}
    for inputs, operands in ((loop.const_inputs, loop.consts), (loop.x_inputs, loop.xs)):
        seen: dict[int, int] = {}
        alias.update({q: seen.setdefault(outer, q) for q, outer in zip(inputs, operands, strict=True)})
    known: dict[Any, int] = {}
    names: list[int] = []
    for number, node in enumerate(loop.body.nodes):
        if node.op == "input":
            names.append(names[alias[number]] if alias.get(number, number) < number else number)
            continue
        key = (node.op, node.attrs, node.types, tuple(names[q] for q in node.operands))
        names.append(known.setdefault(key, number))
    return names


def _while(
    emitter: Emitter, node: Node, operands: Sequence[int], read: Collection[int], numerics: Numerics
) -> Change | None:
    values = node.kwargs
    cond, body = values["cond"], values["body"]
    first, second = values["cond_nconsts"], values["body_nconsts"]
    init = operands[first + second :]
    tested, stepped = cond.inputs[first:], body.inputs[second:]
    count = len(init)
    if cond.effects or body.effects:
        return None
    asked = ancestors(cond, cond.outputs)
    live = _live(body, stepped, body.outputs, {*read, *(k for k in range(count) if tested[k] in asked)}, ())
    steady = [k for k in range(count) if body.outputs[k] == stepped[k]]
    kept = [k for k in live if k not in steady]
    needed = ancestors(body, [body.outputs[k] for k in kept])
    before = _grouped(
        [*zip(cond.inputs[:first], operands[:first], strict=True), *((tested[k], init[k]) for k in steady)], asked
    )
    after = _grouped(
        [
            *zip(body.inputs[:second], operands[first : first + second], strict=True),
            *((stepped[k], init[k]) for k in steady),
        ],
        needed,
    )
    if (len(before), len(after), len(kept)) == (first, second, count):
        return None
    results: list[int | None] = [None] * count
    for k in steady:
        results[k] = init[k]
    if not kept:
        return Change(results)  # a loop that changes nothing ends at once, or never
    test = sub_body(cond, [*before.values(), *([tested[k]] for k in kept)], cond.outputs, numerics)
    step = sub_body(body, [*after.values(), *([stepped[k]] for k in kept)], [body.outputs[k] for k in kept], numerics)
    attrs = (("cond", test), ("body", step), ("cond_nconsts", len(before)), ("body_nconsts", len(after)))
    types = [node.types[k] for k in kept]
    number = emitter.add("while", (*before, *after, *(init[k] for k in kept)), attrs, types, node.sources)
    for k, made in zip(kept, results_of(emitter, number, types, node.sources), strict=True):
        results[k] = made
    return Change(results, number)


def _cond(
    emitter: Emitter, node: Node, operands: Sequence[int], read: Collection[int], numerics: Numerics
) -> Change | None:
    branches: tuple[Graph, ...] = node.attr("branches")
    if any(branch.effects for branch in branches):
        return None
    kept = sorted(read)
    if len(set(branches)) == 1:
        known = dict(zip(branches[0].inputs, operands[1:], strict=True))
        made = inlined(emitter, branches[0], known, [branches[0].outputs[k] for k in kept])
        results = dict(zip(kept, made, strict=True))
        return Change([results.get(k) for k in range(len(node.types))])
    ways = [tuple(branch.outputs[k] for branch in branches) for k in kept]
    distinct = list(dict.fromkeys(ways))
    needed = [ancestors(branch, [branch.outputs[k] for k in kept]) for branch in branches]
    groups: dict[int, list[int]] = {}
    for k, operand in enumerate(operands[1:]):
        if any(branch.inputs[k] in found for branch, found in zip(branches, needed, strict=True)):
            groups.setdefault(operand, []).append(k)
    if len(groups) == len(operands) - 1 and len(distinct) == len(node.types):
        return None
    smaller = tuple(
        sub_body(branch, [[branch.inputs[k] for k in group] for group in groups.values()],
                 [way[place] for way in distinct], numerics)
        for place, branch in enumerate(branches)
    )  # fmt: skip
    types = [node.types[kept[ways.index(way)]] for way in distinct]
    number = emitter.add("cond", (operands[0], *groups), (("branches", smaller),), types, node.sources)
    made = results_of(emitter, number, types, node.sources)
    found: list[int | None] = [None] * len(node.types)
    for k, way in zip(kept, ways, strict=True):
        found[k] = made[distinct.index(way)]
    return Change(found, number)
