# SPDX-License-Identifier: Apache-2.0
"""Rules of calls and control flow: private functions are inlined, conditionals become cond or switch.

What JAX wrote from a ``scan`` or ``fori_loop`` is a while with a counter; `loops` recognises it, so that the loop has a
trip count again and can be differentiated in reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.loops import counted_loop, run_counted
from egraph_opt.frontends.stablehlo.module import Operation, OtherType
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()


@TABLE.op("func.call", "call")
def call(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """A call of another function of the module, inlined."""
    return frame.evaluator.call(op.attributes["callee"], args)


@TABLE.op("stablehlo.composite")
def composite(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """A named group of operations, replaced by its decomposition."""
    return frame.evaluator.call(op.attributes["decomposition"], args)


@TABLE.op("stablehlo.while")
def while_(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """A loop; with a known number of rounds it becomes a scan."""
    counted = counted_loop(frame, op, args)
    if counted is not None:
        return run_counted(frame, op, counted, args)
    condition, body = (frame.region(region) for region in op.regions)
    start = tuple(jnp.asarray(x) for x in args)
    return list(lax.while_loop(lambda carry: condition(*carry)[0], lambda carry: tuple(body(*carry)), start))


@TABLE.op("stablehlo.case")
def case(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """One of several branches by an index; an index out of range takes the last."""
    branches = [_branch(frame, region) for region in op.regions]
    made = frame.definition(op.operands[0])
    if len(branches) == 1:
        return list(branches[0]())
    if len(branches) == 2 and made is not None and made.name == "stablehlo.convert":
        (kind,) = made.operand_types
        if not isinstance(kind, OtherType) and kind.dtype == bool:
            return list(lax.cond(frame.value(made.operands[0]), branches[1], branches[0]))
    index = args[0]
    if isinstance(index, (np.ndarray, np.generic)):
        position = int(index)
        return frame.region(op.regions[position if 0 <= position < len(branches) else -1])()
    if made is None or made.name != "stablehlo.clamp":
        last = np.array(len(branches) - 1, np.int32)
        index = lax.select(lax.lt(index, np.zeros((), np.int32)), last, index)
    return list(lax.switch(index, branches))


@TABLE.op("stablehlo.if")
def if_(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """The first branch where the predicate is true, else the second."""
    return list(lax.cond(args[0], *(_branch(frame, region) for region in op.regions)))


def _branch(frame: Frame, region: Any) -> Any:
    """A region without arguments whose results are arrays, as cond and switch want them."""
    body = frame.region(region)
    return lambda: [jnp.asarray(x) for x in body()]


@TABLE.op("stablehlo.optimization_barrier")
def optimization_barrier(_frame: Frame, _op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """The identity; the compiler moves nothing across it."""
    return list(lax.optimization_barrier(list(args))) if args else []


@TABLE.op("stablehlo.tuple")
def tuple_(_frame: Frame, _op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Several values as one."""
    return [tuple(args)]


@TABLE.op("stablehlo.get_tuple_element")
def get_tuple_element(_frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """One component of a tuple."""
    return [args[0][op.attributes["index"]]]


@TABLE.op("stablehlo.create_token", "stablehlo.after_all")
def token(_frame: Frame, _op: Operation, _args: Sequence[Array]) -> Sequence[Array]:
    """Tokens order effects; no effect is left once a program is loaded, so a token is nothing."""
    return [None]
