# SPDX-License-Identifier: Apache-2.0
"""Control flow: If, Loop and Scan.

What is known while the model is traced is decided there: a branch is taken, a short loop over known values is run.
Else they become lax.cond, lax.scan and lax.while_loop. A loop that these cannot express, since shapes change from step
to step or sequences grow, is run by Python, in a trace only when the number of its steps is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.errors import ModelError
from egraph_opt.frontends.onnx.node import Array, DataDependentError, Node, is_known
from egraph_opt.frontends.onnx.operator import operator

SHORT = 64
"""Loops over known values are run while the model is traced up to so many steps."""

Body = Callable[..., list[Any]]


@operator("If", host=True)
def _if(node: Node, condition: Array) -> Any:
    then_branch, else_branch = node.body("then_branch"), node.body("else_branch")
    if not isinstance(condition, jax.core.Tracer):
        return tuple((then_branch if bool(np.asarray(condition).reshape(())) else else_branch)())
    yes, no = jax.eval_shape(lambda: _arrays(then_branch())), jax.eval_shape(lambda: _arrays(else_branch()))
    if not _alike(yes, no):
        raise DataDependentError(
            f"{node.where}: its branches have results of different types or shapes ({_text(yes)} and {_text(no)}), and"
            " the condition is not known while the model is traced; call the model outside of jax.jit"
        )
    return tuple(lax.cond(jnp.reshape(condition, ()), lambda: _arrays(then_branch()), lambda: _arrays(else_branch())))


@operator("Loop", host=True)
def _loop(node: Node, limit: Array | None = None, condition: Array | None = None, *carried: Any) -> Any:
    loop = _Loop(node, len(carried))
    steps = None if limit is None or isinstance(limit, jax.core.Tracer) else int(np.asarray(limit).reshape(()))
    start = None if isinstance(condition, jax.core.Tracer) else condition is None or bool(np.all(condition))
    if start is False or (steps is not None and steps <= 0):
        return loop.in_python(0, True, carried)
    if steps is not None and steps <= SHORT and _all_known(carried) and loop.stays_known(carried):
        return loop.in_python(steps, True, carried)
    if steps is not None and start and (result := loop.as_scan(steps, carried)) is not None:
        return result
    if (result := loop.as_while(limit, condition, carried)) is not None:
        return result
    node.concrete(condition, "the condition") if start is None else None
    if limit is not None:
        steps = int(node.concrete(limit, "the number of steps of a loop whose values change their shapes").reshape(()))
    return loop.in_python(steps, True, carried)


class _Loop:
    """A Loop node with so many carried values; what its body returns beyond them is collected."""

    def __init__(self, node: Node, carried: int) -> None:
        self.node, self.count = node, carried
        self.body = node.body("body")
        self.graph = node.graph("body")
        if len(self.graph.inputs) != carried + 2 or len(self.graph.outputs) < carried + 1:
            raise node.fault(
                f"its body has {len(self.graph.inputs)} inputs and {len(self.graph.outputs)} outputs; want"
                f" {carried + 2} and at least {carried + 1} for {carried} carried values"
            )

    def step(self, number: Any, condition: Any, carried: Sequence[Any]) -> tuple[Any, list[Any], list[Any]]:
        """Condition, carried values and collected values of one step."""
        first, second = self.graph.inputs[:2]
        number = number.reshape(1) if first.shape == (1,) else number
        condition = condition.reshape(1) if second.shape == (1,) else condition
        going, *rest = self.body(number, condition, *carried)
        return going, rest[: self.count], rest[self.count :]

    def stays_known(self, carried: Sequence[Any]) -> bool:
        """Whether carried values that are known are so after a step, too."""
        found = []

        def step() -> None:
            going, after, _ = self.step(np.asarray(0, np.int64), np.asarray(True), carried)
            found.append(_all_known([going, *after]))

        try:
            jax.eval_shape(step)
        except DataDependentError:
            return False
        return found[0]

    def in_python(self, steps: int | None, going: bool, carried: Sequence[Any]) -> tuple[Any, ...]:
        """Step after step, until the condition is false."""
        values, number = list(carried), 0
        collected: list[list[Any]] = [[] for _ in self.graph.outputs[self.count + 1 :]]
        while going and (steps is None or number < steps):
            condition, values, outputs = self.step(np.asarray(number, np.int64), np.asarray(True), values)
            for held, output in zip(collected, outputs, strict=True):
                held.append(output)
            going = bool(self.node.concrete(condition, "the condition that its body returns").reshape(()))
            number += 1
        return (*values, *(self.stacked(held, index) for index, held in enumerate(collected)))

    def stacked(self, held: list[Any], index: int) -> Any:
        """What was collected, along a new first axis."""
        if held:
            return (np if _all_known(held) else jnp).stack(held)
        info = self.graph.outputs[self.count + 1 + index]
        shape = [size if isinstance(size, int) else 0 for size in info.shape or ()]
        return np.zeros((0, *shape), info.dtype if info.dtype is not None else np.float32)

    def as_scan(self, steps: int, carried: Sequence[Any]) -> tuple[Any, ...] | None:
        """Steps of a known number without an early end; None where lax.scan cannot express them."""
        values = _arrays(carried)

        def body(values: Any, number: Array) -> tuple[Any, list[Any]]:
            going, values, outputs = self.step(number, np.asarray(True), values)
            if not (is_known(going) and bool(np.all(going))):
                raise _NotThisWay
            return _arrays(values), _arrays(outputs)

        numbers = np.arange(steps, dtype=np.int64)
        after = _attempt(lambda: jax.eval_shape(body, values, jax.ShapeDtypeStruct((), np.int64))[0])
        if after is None or not _alike(after, jax.eval_shape(lambda: values)):
            return None
        values, outputs = lax.scan(body, values, numbers)
        return (*values, *outputs)

    def as_while(self, limit: Any, condition: Any, carried: Sequence[Any]) -> tuple[Any, ...] | None:
        """Steps until a condition fails; None where lax.while_loop cannot express them, as it collects nothing."""
        if len(self.graph.outputs) > self.count + 1:
            return None
        most = np.asarray(np.iinfo(np.int64).max) if limit is None else jnp.reshape(limit, ())
        going = jnp.asarray(True) if condition is None else jnp.reshape(condition, ())

        def body(state: Any) -> Any:
            number, going, values = state
            going, values, _ = self.step(number, going, values)
            return number + np.int64(1), jnp.reshape(going, ()).astype(bool), _arrays(values)

        start = (jnp.zeros((), np.int64), going, _arrays(carried))
        after = _attempt(lambda: jax.eval_shape(body, start))
        if after is None or not _alike(after, jax.eval_shape(lambda: start)):
            return None
        return tuple(lax.while_loop(lambda state: (state[0] < most) & state[1], body, start)[2])


class _NotThisWay(Exception):  # noqa: N818 -- no error: another way is taken
    """A loop cannot be expressed in the way that is tried."""


def _attempt(trace: Callable[[], Any]) -> Any:
    """What a trace gives; None where a body needs values that are not known, or shapes that do not stay."""
    try:
        return trace()
    except (_NotThisWay, DataDependentError):
        return None
    except ModelError as error:
        # A carried value whose shape changes may not fit at the second step of a trace: Python tells for sure.
        if error.__cause__ is not None:
            return None
        raise


@operator("Scan", since=8)
def _scan_with_batch(node: Node, lengths: Array | None, *args: Array) -> Any:
    """Version 8: one scan for each element of the batch, which is the first axis of everything."""
    count = node.attr("num_scan_inputs")
    states, inputs = args[:-count], args[-count:]
    if lengths is not None:
        raise node.unsupported("sequence_lens of version 8 is not supported; convert the model to version 9")
    directions = node.attr("directions", (0,) * count)
    body = node.body("body")
    inputs = tuple(
        jnp.flip(x, 1) if backwards else jnp.asarray(x) for x, backwards in zip(inputs, directions, strict=True)
    )

    def one(states: list[Array], inputs: list[Array]) -> tuple[list[Array], list[Array]]:
        return _scanned(body, states, inputs, inputs[0].shape[0])

    finals, outputs = jax.vmap(one)([jnp.asarray(s) for s in states], list(inputs))
    return (*finals, *outputs)


@operator("Scan", since=9)
def _scan(node: Node, *args: Array) -> Any:
    count = node.attr("num_scan_inputs")
    if not isinstance(count, int) or not 1 <= count <= len(args):
        raise node.fault(f"num_scan_inputs is {count}, but the node has {len(args)} inputs")
    states, inputs = args[:-count], args[-count:]
    axes = node.attr("scan_input_axes", (0,) * count)
    directions = node.attr("scan_input_directions", (0,) * count)
    turned = [
        _turned(jnp.moveaxis(x, axis, 0), backwards)
        for x, axis, backwards in zip(inputs, axes, directions, strict=True)
    ]
    length = turned[0].shape[0]
    if any(x.shape[0] != length for x in turned):
        raise node.fault(f"its scan inputs have {[x.shape[0] for x in turned]} steps; want the same number")
    finals, outputs = _scanned(node.body("body"), states, turned, length)
    axes = node.attr("scan_output_axes", (0,) * len(outputs))
    directions = node.attr("scan_output_directions", (0,) * len(outputs))
    return (
        *finals,
        *(
            jnp.moveaxis(_turned(y, backwards), 0, axis)
            for y, axis, backwards in zip(outputs, axes, directions, strict=True)
        ),
    )


def _turned(x: Array, backwards: int) -> Array:
    return jnp.flip(x, 0) if backwards else x


def _scanned(body: Body, states: Sequence[Any], inputs: Sequence[Array], length: int) -> tuple[list[Any], list[Any]]:
    count = len(states)

    def step(states: list[Any], at: list[Array]) -> tuple[list[Any], list[Any]]:
        results = _arrays(body(*states, *at))
        return results[:count], results[count:]

    start = _arrays(states)
    after = _attempt(lambda: jax.eval_shape(step, start, [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in inputs]))
    if after is not None and _alike(after[0], jax.eval_shape(lambda: start)):
        return lax.scan(step, start, list(inputs))
    values, rows = list(start), []
    for number in range(length):
        values, row = step(values, [x[number] for x in inputs])
        rows.append(row)
    return values, [jnp.stack(column) for column in zip(*rows, strict=True)]


def _arrays(values: Any) -> Any:
    """The leaves as JAX arrays."""
    return jax.tree.map(jnp.asarray, list(values))


def _all_known(values: Sequence[Any]) -> bool:
    return all(is_known(leaf) for leaf in jax.tree.leaves(list(values)))


def _alike(one: Any, other: Any) -> bool:
    """Whether two trees have the same form, shapes and types."""
    if str(jax.tree.structure(one)) != str(jax.tree.structure(other)):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)


def _text(tree: Any) -> str:
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree))
