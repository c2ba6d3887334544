# SPDX-License-Identifier: Apache-2.0
"""Work that the carries do not wait for leaves the loop: before it, or after it, for all trips at once.

``h' = tanh(W h + U x)`` becomes one product of U with all x, then the loop; sums over the trips (``c' = c + A x``) and
outputs (``y = V h``) are computed after it from what the loop stacks. Where nothing is left, neither is the loop.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.walk import ancestors
from egraph_opt.loops.batch import Batch, can_batch
from egraph_opt.loops.counters import Numbers, known_numbers
from egraph_opt.loops.loop import Change, Loop, read_results, rewritten, sub_body

MOST_BYTES = 3e7
"""No value of all trips may be larger than this, or than twice what the loop reads and returns anyway [byte]."""

WIDER = 2.0
"""How much larger than the products in it a value may be that is computed before the loop."""


class Role(enum.Enum):
    """Where a node of a body is computed."""

    STEADY = "the same in every trip"
    NUMBER = "an integer known for each trip"
    BEFORE = "reads slices, and no carry"
    CORE = "a carry waits for it, or it cannot be computed for all trips at once"
    AFTER = "reads carries, and no carry waits for it"


@dataclass(slots=True)
class _Plan:
    """Roles of the nodes of a body, and the sums among its carries."""

    roles: list[Role]
    sums: dict[int, tuple[int, ...]]
    numbers: Numbers


def split_loops(graph: Graph, numerics: Numerics) -> Graph | None:
    """The graph with all that can leave its scans outside of them; None where nothing can."""
    if numerics < Numerics.REASSOCIATE:
        return None
    read = read_results(graph)
    done = False

    def change(emitter: Emitter, number: int, node: Node, operands: Sequence[int]) -> Change | None:
        nonlocal done
        if node.op != "scan" or node.attr("body").effects or node.attr("length") < 2:
            return None
        found = _Split(emitter, Loop.of(node, operands), read[number]).change()
        done = done or found is not None
        return found

    result = rewritten(graph, numerics, change)
    return result if done else None


class _Split:
    """One loop that is taken apart."""

    def __init__(self, emitter: Emitter, loop: Loop, read: set[int]) -> None:
        self.emitter, self.loop, self.body = emitter, loop, loop.body
        self.count = len(loop.init)
        self.read = sorted(read)
        outside = [*loop.consts, *loop.init, *loop.xs]
        traffic = sum(emitter.type(x).nbytes for x in outside)
        kinds = loop.body.output_types
        traffic += sum(kinds[k].nbytes * (1 if k < self.count else loop.length) for k in self.read)
        self.limit = max(MOST_BYTES, 2 * traffic)
        self.plan = self._planned()

    def change(self) -> Change | None:
        """The loop in parts; None where it stays as it is."""
        self._decide()
        plan, body = self.plan, self.body
        roots = self._core_roots()
        moved = [k for k in self.read if self._output(k) not in roots]
        hoisted = self._hoisted(roots)
        if not moved and not hoisted:
            return None
        leaving = [q for k in moved for q in self._terms(k)]
        after = {n for n in self._cone(leaving) if plan.roles[n] is Role.AFTER}
        border = sorted({q for n in after for q in body.nodes[n].operands if plan.roles[q] is Role.CORE})
        border += [q for q in dict.fromkeys(leaving) if plan.roles[q] is Role.CORE and q not in border]
        batch = self._batch()
        results: list[int | None] = [None] * len(body.outputs)
        number = self._smaller(batch, hoisted, roots, border, results)
        for k in moved:
            results[k] = self._moved(batch, k)
        return Change(results, number)

    def _output(self, k: int) -> int:
        return self.body.outputs[k]

    def _terms(self, k: int) -> tuple[int, ...]:
        """What an output that leaves is made of: the terms of a sum, or itself."""
        return self.plan.sums.get(k, (self._output(k),))

    def _planned(self) -> _Plan:
        numbers = known_numbers(self.loop, self.emitter.node)
        sums = {k: terms for k in range(self.count) if k in self.read and (terms := self._sum(k))}
        return _Plan(self._roles(numbers, sums), sums, numbers)

    def _sum(self, k: int) -> tuple[int, ...]:
        """Terms that a carry adds up, where nothing else reads it: ``c' = c + x + y``."""
        body = self.body
        before, after = self.loop.carry_inputs[k], self.loop.carry_outputs[k]
        node = body.nodes[after]
        if node.op != "add" or node.operands.count(before) != 1 or body.nodes[before].type.dtype == "bool":
            return ()
        readers = [n for n, other in enumerate(body.nodes) if before in other.operands]
        others = [n for n, other in enumerate(body.nodes) if after in other.operands]
        if readers != [after] or others or body.outputs.count(after) != 1 or before in body.outputs:
            return ()
        return tuple(q for q in node.operands if q != before)

    def _roles(self, numbers: Numbers, sums: Mapping[int, tuple[int, ...]]) -> list[Role]:
        loop, body = self.loop, self.body
        roles: list[Role] = []
        consts, slices = set(loop.const_inputs), set(loop.x_inputs)
        for number, node in enumerate(body.nodes):
            mine = [roles[q] for q in node.operands]
            if number in numbers:
                roles.append(Role.NUMBER)
            elif number in slices:
                roles.append(Role.BEFORE)
            elif number in consts or (node.op != "input" and all(r is Role.STEADY for r in mine)):
                roles.append(Role.STEADY)
            elif node.op == "input":
                roles.append(Role.CORE)
            else:
                early = {Role.STEADY, Role.NUMBER, Role.BEFORE} >= set(mine)
                roles.append(Role.BEFORE if early and self._fits(node, roles) else Role.AFTER)
        needed = [q for k, q in enumerate(loop.carry_outputs) if k not in sums and loop.carry_inputs[k] not in numbers]
        return self._with_core(roles, needed)

    def _fits(self, node: Node, roles: Sequence[Role]) -> bool:
        """Whether a node can be computed for all trips at once, in memory that is there."""
        changing = [roles[q] is not Role.STEADY for q in node.operands]
        numbers = [roles[q] is Role.NUMBER for q in node.operands]
        size = sum(t.nbytes for t in node.types) * self.loop.length
        return can_batch(node, changing, numbers) and size <= self.limit

    def _with_core(self, roles: list[Role], needed: Sequence[int]) -> list[Role]:
        """Roles where what the needed nodes wait for is in the core, and what cannot be computed afterwards as well."""
        body = self.body
        wanted = list(needed)
        while True:
            for number in ancestors(body, wanted):
                if roles[number] is Role.AFTER:
                    roles[number] = Role.CORE
            late = [n for n, node in enumerate(body.nodes) if roles[n] is Role.AFTER and not self._fits(node, roles)]
            if not late:
                return roles
            wanted = late

    def _cone(self, roots: Sequence[int]) -> set[int]:
        """What is computed before or after the loop for some nodes."""
        roles = self.plan.roles
        return ancestors(self.body, roots, [n for n, role in enumerate(roles) if role is Role.CORE])

    def _decide(self) -> None:
        """Take back into the loop what gains nothing outside."""
        plan, body = self.plan, self.body
        while True:
            roots = self._core_roots()
            alone = not any(self.body.nodes[n].op != "input" for n in self._inside(roots))
            back = [k for k in self.read if self._output(k) not in roots and not (alone or self._gains(k))]
            if not back:
                return
            for k in back:
                plan.sums.pop(k, None)
                output = body.outputs[k]
                plan.roles[output] = Role.CORE
                self._with_core(plan.roles, [output])

    def _core_roots(self) -> list[int]:
        """Outputs that the loop itself makes."""
        plan = self.plan
        kept = [
            q for k, q in enumerate(self.loop.carry_outputs)
            if k not in plan.sums and self.loop.carry_inputs[k] not in plan.numbers
        ]  # fmt: skip
        return kept + [q for q in self.loop.y_outputs if plan.roles[q] is Role.CORE]

    def _inside(self, roots: Sequence[int]) -> set[int]:
        early = [n for n, r in enumerate(self.plan.roles) if r is not Role.CORE]
        return {n for n in ancestors(self.body, roots, early) if self.plan.roles[n] is Role.CORE}

    def _gains(self, k: int) -> bool:
        """Whether an output is better computed outside: products are, and what needs no carry at all."""
        plan, body = self.plan, self.body
        cone = self._cone(self._terms(k))
        late = [n for n in cone if plan.roles[n] in (Role.AFTER, Role.CORE)]
        if not late or (k < self.count and k not in plan.sums):
            return True
        stacked = [n for n in late if plan.roles[n] is Role.CORE and body.nodes[n].operands]
        if any(body.nodes[n].type.nbytes * self.loop.length > self.limit for n in stacked):
            return False
        return any(is_product(body.nodes[n]) for n in cone if plan.roles[n] in (Role.AFTER, Role.BEFORE))

    def _hoisted(self, roots: Sequence[int]) -> list[int]:
        """Nodes before the loop whose values of all trips the loop reads as slices."""
        body, roles = self.body, self.plan.roles
        inside = self._inside(roots)
        stack = [q for n in inside for q in body.nodes[n].operands]
        stack += [q for q in roots if roles[q] is not Role.CORE]
        found: list[int] = []
        seen: set[int] = set()
        while stack:
            number = stack.pop()
            node = body.nodes[number]
            if number in seen or roles[number] is not Role.BEFORE or node.op == "input":
                continue
            seen.add(number)
            products = [n for n in self._cone([number]) if roles[n] is Role.BEFORE and is_product(body.nodes[n])]
            largest = max((body.nodes[n].type.size for n in products), default=0)
            if products and node.type.size <= WIDER * largest:
                found.append(number)
            elif products:
                stack += node.operands
        return sorted(found)

    def _batch(self) -> Batch:
        loop, body = self.loop, self.body
        steady = dict(zip(loop.const_inputs, loop.consts, strict=True))
        for number, node in enumerate(body.nodes):
            if node.op != "input" and not node.operands and self.plan.roles[number] is Role.STEADY:
                steady[number] = self.emitter.copy(node, ())
        changing = dict(zip(loop.x_inputs, loop.xs, strict=True))
        return Batch(self.emitter, body, loop.length, steady, changing, self.plan.numbers)

    def _smaller(
        self,
        batch: Batch,
        hoisted: Sequence[int],
        roots: Sequence[int],
        border: Sequence[int],
        results: list[int | None],
    ) -> int | None:
        """Append the loop that is left; tells the batch and the results what it returns."""
        loop, body = self.loop, self.body
        kept = [k for k, q in enumerate(loop.carry_inputs) if k not in self.plan.sums]
        ys = [k for k in range(self.count, len(body.outputs)) if k in self.read and self._output(k) in roots]
        if not ys and not border and not any(k in self.read and self._output(k) in roots for k in kept):
            return None
        outputs = [*(loop.carry_outputs[k] for k in kept), *(self._output(k) for k in ys), *border]
        xs = [batch.stacked(q) for q in hoisted]
        inputs = [*loop.const_inputs, *(loop.carry_inputs[k] for k in kept), *loop.x_inputs, *hoisted]
        left = Loop(
            sub_body(body, [[q] for q in inputs], outputs, self.emitter.numerics),
            loop.consts, tuple(loop.init[k] for k in kept), (*loop.xs, *xs),
            loop.length, loop.reverse, loop.unroll, loop.sources,
        )  # fmt: skip
        number, made = left.emit(self.emitter)
        for place, k in enumerate([*kept, *ys]):
            results[k] = made[place]
        batch.changing.update(zip(border, made[len(kept) + len(ys) :], strict=True))
        return number

    def _moved(self, batch: Batch, k: int) -> int:
        """The value of an output that left the loop."""
        emitter, loop = self.emitter, self.loop
        if k not in self.plan.sums:
            if k < self.count:
                return self._counted(k)
            return batch.stacked(self._output(k))
        terms: list[int] = []
        if not _is_zero(emitter, loop.init[k]):
            terms.append(loop.init[k])
        terms += [batch.total(q) for q in self.plan.sums[k]]
        return emitter.sum_of(terms, loop.sources)

    def _counted(self, k: int) -> int:
        """The last value of a counter."""
        loop, numbers = self.loop, self.plan.numbers
        values = numbers[loop.carry_inputs[k]]
        ordered = values[::-1] if loop.reverse else values
        step = int(ordered[1]) - int(ordered[0])
        kind = self.body.nodes[loop.carry_inputs[k]].type
        return self.emitter.constant(int(ordered[-1]) + step, kind.dtype, loop.sources)


def is_product(node: Node) -> bool:
    """Whether a node is a product of two tensors that sums, or whose result is larger than both."""
    if node.op != "einsum" or len(node.operands) != 2:
        return False
    spec = Spec.parse(node.attr("spec"))
    return bool(spec.summed) or all(spec.count(spec.output) > spec.count(word) for word in spec.inputs)


def _is_zero(emitter: Emitter, x: int) -> bool:
    scalar = emitter.uniform_scalar(x)
    return scalar is not None and emitter.scalar_value(scalar) == 0
