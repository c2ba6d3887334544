# SPDX-License-Identifier: Apache-2.0
"""Finds the scan in a while loop.

JAX lowers ``scan`` to a while that counts from a constant to a constant: unchanged carries hold what is scanned over or
read in each round, a slice at the counter takes the round's input, an update at the counter stores the round's output.
Taken apart here, such a loop is a `lax.scan` again: it has a trip count, differentiates, and keeps no stacked copies.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Block, Operation, TensorType
from egraph_opt.frontends.stablehlo.table import Array


@dataclasses.dataclass(frozen=True)
class CountedLoop:
    """A while loop taken apart; carries are named by their position.

    Args:
        counter: the carry that counts by one.
        start: its first value.
        length: the number of rounds.
        reverse: whether rounds take their slices from the end.
        invariant: carries that no round changes.
        inputs: value made by slicing -> the invariant carry that is sliced, one slice a round.
        outputs: carry that is filled -> the value stored in each round.
        dead: values that no round needs once the scan slices and stores.
        counter_used: whether the rest of the body reads the counter.
    """

    counter: int
    start: int
    length: int
    reverse: bool
    invariant: frozenset[int]
    inputs: Mapping[int, int]
    outputs: Mapping[int, int]
    dead: frozenset[int]
    counter_used: bool


def counted_loop(frame: Frame, op: Operation, args: Sequence[Array]) -> CountedLoop | None:
    """The parts of a loop ``for i in range(start, stop)``, or None if the loop is not provably one."""
    condition, body = op.regions
    found = _bounds(frame, condition, body, args)
    if found is None:
        return None
    counter, start, stop = found
    length = max(stop - start, 0)
    invariant = frozenset(
        i for i, (argument, result) in enumerate(zip(body.arguments, body.returned, strict=True)) if argument == result
    )
    parts = _Parts(frame, body, counter, length, invariant, start == 0)
    return parts.loop(start)


def _bounds(frame: Frame, condition: Block, body: Block, args: Sequence[Array]) -> tuple[int, int, int] | None:
    """Counter, start and stop of ``while counter < stop: counter += 1``."""
    test = condition.definitions().get(condition.returned[0])
    if test is None or test.name != "stablehlo.compare" or test.attributes["comparison_direction"] != "LT":
        return None
    left, right = test.operands
    if left not in condition.arguments:
        return None
    counter = condition.arguments.index(left)
    step = body.definitions().get(body.returned[counter])
    if step is None or step.name != "stablehlo.add" or body.arguments[counter] not in step.operands:
        return None
    one = next((n for n in step.operands if n != body.arguments[counter]), None)
    if one is None or _integer(frame, one) != 1:
        return None
    start = _known_integer(args[counter])
    if right in condition.arguments:
        position = condition.arguments.index(right)
        stop = _known_integer(args[position]) if body.returned[position] == body.arguments[position] else None
    else:
        stop = _integer(frame, right)
    return None if start is None or stop is None else (counter, start, stop)


def _integer(frame: Frame, number: int) -> int | None:
    """The integer that a value is by its definition, or by what an outer frame holds."""
    made = frame.definition(number)
    if made is not None and made.name == "stablehlo.constant":
        return _known_integer(made.attributes["value"])
    return None


def _known_integer(value: Any) -> int | None:
    if isinstance(value, (np.ndarray, np.generic)) and value.shape == () and value.dtype.kind in "iu":
        return int(value)
    return None


class _Parts:
    """Sorts the operations of a counted loop's body into inputs, outputs and the rest."""

    def __init__(
        self, frame: Frame, body: Block, counter: int, length: int, invariant: frozenset[int], from_zero: bool
    ) -> None:
        self.frame, self.body, self.counter, self.length = frame, body, counter, length
        self.invariant, self.from_zero = invariant, from_zero
        self.uses = body.uses()
        self.made = body.definitions()
        self.directions: Counter[bool] = Counter()

    def loop(self, start: int) -> CountedLoop:
        """The finished description; slices that run against the common direction stay what they are."""
        slices = {op.results[0]: part for op in self.body.operations if (part := self._slice(op)) is not None}
        updates = {i: stored for i in range(len(self.body.returned)) if (stored := self._update(i)) is not None}
        votes = Counter([r for _, r in slices.values()] + [r for _, r in updates.values()])
        reverse = votes[True] > votes[False]
        inputs = {value: carry for value, (carry, r) in slices.items() if r == reverse}
        outputs = {carry: value for carry, (value, r) in updates.items() if r == reverse}
        live, dead = self._liveness(inputs, outputs)
        return CountedLoop(
            counter=self.counter,
            start=start,
            length=self.length,
            reverse=reverse,
            invariant=self.invariant,
            inputs=inputs,
            outputs=outputs,
            dead=dead,
            counter_used=self.body.arguments[self.counter] in live,
        )

    def _liveness(self, inputs: Mapping[int, int], outputs: Mapping[int, int]) -> tuple[set[int], frozenset[int]]:
        """The values that a round reads, and the results of operations that none reads."""
        live = {n for i, n in enumerate(self.body.returned) if i != self.counter and i not in outputs}
        live |= set(outputs.values())
        dead: set[int] = set()
        for op in reversed(self.body.operations):
            if op.results and op.results[0] in inputs:
                continue
            if live & set(op.results):
                live |= set(op.operands) | {n for region in op.regions for n in region.uses()}
            else:
                dead |= set(op.results)
        return live, frozenset(dead)

    def _slice(self, op: Operation) -> tuple[int, bool] | None:
        """The invariant carry whose slice at the counter this op is, and whether counted from the end."""
        if not self.from_zero:
            return None
        parts = _as_slice(self.frame, op)
        if parts is None or parts[0] not in self.body.arguments:
            return None
        carry = self.body.arguments.index(parts[0])
        kind = self.body.argument_types[carry]
        if carry not in self.invariant or not isinstance(kind, TensorType) or kind.shape[0] != self.length:
            return None
        reverse = self._direction(parts[1])
        return None if reverse is None else (carry, reverse)

    def _update(self, carry: int) -> tuple[int, bool] | None:
        """The value stored at the counter into this carry, and whether counted from the end."""
        argument, returned = self.body.arguments[carry], self.body.returned[carry]
        op = self.made.get(returned)
        kind = self.body.argument_types[carry]
        if op is None or self.uses[argument] != 1 or self.uses[returned] != 1 or not self.from_zero:
            return None
        if not isinstance(kind, TensorType) or not kind.shape or kind.shape[0] != self.length:
            return None
        parts = _as_update(self.frame, op)
        if parts is None or parts[0] != argument:
            return None
        reverse = self._direction(parts[2])
        return None if reverse is None else (parts[1], reverse)

    def _direction(self, index: int) -> bool | None:
        """False for the counter itself, True for ``length - 1 - counter``, None for anything else."""
        if index == self.body.arguments[self.counter]:
            return False
        offset = 0
        while (op := self.made.get(index)) is not None and op.name == "stablehlo.subtract":
            left, right = op.operands
            constant = _integer(self.frame, left)
            if constant is not None and right == self.body.arguments[self.counter]:
                return True if offset + constant == self.length - 1 else None
            constant = _integer(self.frame, right)
            if constant is None:
                return None
            offset -= constant
            index = left
        return None


def _as_slice(frame: Frame, op: Operation) -> tuple[int, int] | None:
    """Operand and index of an op that takes ``operand[index]``; a call is looked into."""
    last, outside = _looked_into(frame, op)
    if last is None or last.name != "stablehlo.reshape":
        return None
    inner = frame.definition(last.operands[0])
    if inner is None or inner.name != "stablehlo.dynamic_slice":
        return None
    kind = inner.operand_types[0]
    assert isinstance(kind, TensorType), "a slice is of a tensor"
    row = kind.shape[1:]
    first = all(_integer(frame, n) == 0 for n in inner.operands[2:])
    if not first or inner.attributes["slice_sizes"] != (1, *row) or last.shape != row:
        return None
    operand, index = (outside(n) for n in inner.operands[:2])
    return None if operand is None or index is None else (operand, index)


def _as_update(frame: Frame, op: Operation) -> tuple[int, int, int] | None:
    """Operand, stored value and index of an op that does ``operand[index] = value``; a call is looked into."""
    last, outside = _looked_into(frame, op)
    if last is None or last.name != "stablehlo.dynamic_update_slice":
        return None
    operand, update, index, *rest = last.operands
    added = frame.definition(update)
    kind = last.operand_types[0]
    if added is None or added.name not in {"stablehlo.broadcast_in_dim", "stablehlo.reshape"}:
        return None
    assert isinstance(kind, TensorType), "a slice is of a tensor"
    source = added.operand_types[0]
    row = isinstance(source, TensorType) and source.shape == kind.shape[1:] and added.shape == (1, *kind.shape[1:])
    if not row or not all(_integer(frame, n) == 0 for n in rest):
        return None
    places = [outside(n) for n in (operand, added.operands[0], index)]
    return None if None in places else (places[0], places[1], places[2])  # type: ignore[return-value]


def _looked_into(frame: Frame, op: Operation) -> tuple[Operation | None, Callable[[int], int | None]]:
    """The operation that makes a result, inside the called function if it is a call, and a map of values to outside."""
    if op.name != "func.call":
        return op, lambda number: number
    body = frame.evaluator.module.functions[op.attributes["callee"]].body
    places = dict(zip(body.arguments, op.operands, strict=True))
    made = frame.definition(body.returned[0]) if len(body.returned) == 1 else None
    return made, places.get


def run_counted(frame: Frame, op: Operation, loop: CountedLoop, args: Sequence[Array]) -> list[Array]:
    """Run a counted loop as a `lax.scan`."""
    body = op.regions[1]
    carried = [i for i in range(len(args)) if i not in loop.invariant and i not in loop.outputs and i != loop.counter]
    counts = np.dtype(args[loop.counter].dtype)
    outputs = list(loop.outputs)

    def step(carry: tuple[Any, ...], slices: Sequence[Array]) -> tuple[tuple[Any, ...], list[Array]]:
        values = list(args)
        for position, value in zip(carried, carry[1:], strict=True):
            values[position] = value
        values[loop.counter] = carry[0] if loop.counter_used else args[loop.counter]
        known = dict(zip(loop.inputs, slices, strict=True))
        known.update(dict.fromkeys(loop.dead))
        runner = Frame(frame.evaluator, frame)
        returned = runner.run(body, values, known)
        following = carry[0] + np.ones((), counts) if loop.counter_used else ()
        stored = [jnp.asarray(runner.value(loop.outputs[i])) for i in outputs]
        return (following, *(returned[i] for i in carried)), stored

    first = jnp.asarray(args[loop.counter]) if loop.counter_used else ()
    start = (first, *(jnp.asarray(args[i]) for i in carried))
    scanned = [args[carry] for carry in loop.inputs.values()]
    last, stacked = lax.scan(step, start, scanned, length=loop.length, reverse=loop.reverse)
    results = list(args)
    for position, value in zip(carried, last[1:], strict=True):
        results[position] = value
    for position, value in zip(outputs, stacked, strict=True):
        results[position] = value
    results[loop.counter] = np.array(loop.start + loop.length, counts)
    return results
