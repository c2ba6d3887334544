# SPDX-License-Identifier: Apache-2.0
"""Control flow: ``scan``, ``while`` and ``cond`` become nodes with sub-graphs.

At the boundary of a sub-graph tensors have their true shapes. What a body closes over, arrays included, becomes an
operand; constants with structure (scalars, uniform arrays, identity matrices) are written again inside instead.
A ``while`` that counts to a constant is a ``scan``: its number of trips is known.
A node whose body has effects stands in the effects of its graph; the numbers inside keep it apart from its equals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.extend.core as jex
import numpy as np

from egraph_opt.capture.batched import is_batched, unbatched
from egraph_opt.capture.calls import called, inherit
from egraph_opt.capture.general import is_effectful
from egraph_opt.capture.scope import Handler, Scope, tensor_type
from egraph_opt.ir import Graph
from egraph_opt.ir.counting import counted_trips

NO_XLA = frozenset({"mosaic", "mosaic_gpu", "triton"})
"""Platforms of kernel languages: a Graph is never lowered for them."""

_PARAMS = {
    "scan": {"jaxpr", "length", "num_carry", "num_consts", "reverse", "unroll"},
    "while": {"body_jaxpr", "body_nconsts", "cond_jaxpr", "cond_nconsts"},
    "cond": {"branches"},
}


def nested_arrays(jaxpr: Any) -> dict[int, Any]:
    """Closed-over arrays anywhere inside a closed jaxpr, by identity, in the order of their first use."""
    found = {id(array): array for array in jaxpr.consts}
    for eqn in jaxpr.jaxpr.eqns:
        for atom in eqn.invars:
            if isinstance(atom, jex.Literal) and np.ndim(atom.val):
                found[id(atom.val)] = atom.val
        for inner in _inner(eqn):
            found.update(nested_arrays(inner))
    return found


def _inner(eqn: Any) -> Iterator[Any]:
    body = called(eqn)
    if body is not None:
        yield body
    elif eqn.primitive.name in _PARAMS:
        for value in eqn.params.values():
            yield from (v for v in (value if isinstance(value, tuple) else (value,)) if hasattr(v, "consts"))


class Body:
    """Sub-graphs with common operands: constants that need not be passed are written inside each.

    Args:
        scope: the scope around the control flow.
        jaxprs: closed jaxprs of the sub-graphs.
        consts: nodes of their leading operands, which may be left out; squeezed.
        avals: types of those.
    """

    def __init__(self, scope: Scope, jaxprs: Sequence[Any], consts: Sequence[int], avals: Sequence[Any]) -> None:
        self.scope = scope
        self.arrays: dict[int, Any] = {}
        for jaxpr in jaxprs:
            self.arrays.update(nested_arrays(jaxpr))
        self.consts = list(zip(consts, avals, strict=True))
        self.kept = [not is_structured(scope, x) for x in consts]

    def operands(self) -> list[int]:
        """Nodes of what is passed before the other operands: kept constants, then closed-over arrays."""
        held = [self.scope.true(x, aval) for (x, aval), kept in zip(self.consts, self.kept, strict=True) if kept]
        return held + [self.scope.true(self.scope.constant_input(a), a) for a in self.arrays.values()]

    def graph(self, jaxpr: Any) -> Graph:
        """The graph of one of the jaxprs; its inputs are ``operands()`` and what follows the constants."""
        from egraph_opt.capture.interpreter import run

        scope, inner = self.scope, Scope(self.scope.shared)
        inherit(inner, scope)
        avals = [v.aval for v in jaxpr.jaxpr.invars]
        inputs: list[int] = []
        for (x, aval), kept in zip(self.consts, self.kept, strict=True):
            inputs.append(inner.new_input(tensor_type(aval).strong()) if kept else transplant(scope, inner, x))
        for array in self.arrays.values():
            inner.arrays[id(array)] = inner.new_input(tensor_type(array).strong())
        inputs += [inner.new_input(tensor_type(aval).strong()) for aval in avals[len(self.consts) :]]
        outputs = run(inner, jaxpr.jaxpr, jaxpr.consts, [inner.squeezed(x) for x in inputs])
        inner.sources = ()
        true = [inner.true(x, atom.aval) for x, atom in zip(outputs, jaxpr.jaxpr.outvars, strict=True)]
        return inner.emitter.build(true, inner.effects)


def is_structured(scope: Scope, x: int) -> bool:
    """Whether a node is a constant, or one einsum of a scalar constant."""
    node = scope.emitter.nodes[x]
    if node.op == "einsum" and len(node.operands) == 1:
        node = scope.emitter.nodes[node.operands[0]]
        return node.op == "constant" and not node.type.shape
    return node.op == "constant" and not node.type.shape


def transplant(scope: Scope, inner: Scope, x: int) -> int:
    """The same structured constant in another scope."""
    node = scope.emitter.nodes[x]
    return inner.emitter.copy(node, [transplant(scope, inner, q) for q in node.operands])


def _emit(scope: Scope, eqn: Any, op: str, operands: Sequence[int], attrs: Sequence[tuple[str, Any]]) -> list[int]:
    types = tuple(tensor_type(v.aval).strong() for v in eqn.outvars)
    number = scope.emitter.add(op, operands, attrs, types, scope.sources)
    if is_effectful(eqn):
        scope.effects.append(number)
    if len(types) == 1:
        return [scope.squeezed(number)]
    return [scope.add("result", (number,), (("index", k),), t) for k, t in enumerate(types)]


def _is_plain(eqn: Any) -> bool:
    """No parameter that the op does not hold, no mutable reference."""
    extra = {name for name, value in eqn.params.items() if value not in (None, False)} - _PARAMS[eqn.primitive.name]
    return not extra and all(hasattr(a.aval, "dtype") and not _is_ref(a.aval) for a in (*eqn.invars, *eqn.outvars))


def _is_ref(aval: Any) -> bool:
    return type(aval).__name__ == "AbstractRef"


def _true(scope: Scope, eqn: Any, operands: Sequence[int], start: int) -> list[int]:
    pairs = list(zip(operands, eqn.invars, strict=True))
    return [scope.true(x, atom.aval) for x, atom in pairs[start:]]


def _scan(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    if not _is_plain(eqn):
        return None
    params = eqn.params
    count = params["num_consts"]
    body = Body(scope, [params["jaxpr"]], operands[:count], [a.aval for a in eqn.invars[:count]])
    held = body.operands()
    inner = body.graph(params["jaxpr"])
    attrs = _scan_attrs(inner, len(held), params["num_carry"], params["length"], params["reverse"], params["unroll"])
    return _emit(scope, eqn, "scan", held + _true(scope, eqn, operands, count), attrs)


def _scan_attrs(
    body: Graph, consts: int, carries: int, length: int, reverse: bool = False, unroll: int = 1
) -> list[tuple[str, Any]]:
    return [
        ("body", body),
        ("num_consts", consts),
        ("num_carry", carries),
        ("length", length),
        ("reverse", reverse),
        ("unroll", unroll),
    ]


def _while(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    if not _is_plain(eqn):
        return None
    params = eqn.params
    first, start = params["cond_nconsts"], params["cond_nconsts"]
    last = first + params["body_nconsts"]
    avals = [a.aval for a in eqn.invars]
    if is_batched(params):
        params, start = unbatched(params), 0
    cond = Body(scope, [params["cond_jaxpr"]], operands[:first], avals[:first])
    body = Body(scope, [params["body_jaxpr"]], operands[start:last], avals[start:last])
    before, after, init = cond.operands(), body.operands(), _true(scope, eqn, operands, last)
    test, step = cond.graph(params["cond_jaxpr"]), body.graph(params["body_jaxpr"])
    trips = counted_trips(test, step, len(before), len(after), [scope.emitter.node(x) for x in init])
    if trips is not None:
        return _emit(scope, eqn, "scan", after + init, _scan_attrs(step, len(after), len(init), trips))
    attrs = [("cond", test), ("body", step), ("cond_nconsts", len(before)), ("body_nconsts", len(after))]
    return _emit(scope, eqn, "while", before + after + init, attrs)


def _cond(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    from egraph_opt.capture.interpreter import run

    branches = eqn.params["branches"]
    chosen = _only_branch(scope, eqn, operands[0])
    if chosen is not None:
        return run(scope, branches[chosen].jaxpr, branches[chosen].consts, operands[1:])
    if not _is_plain(eqn):
        return None
    body = Body(scope, branches, operands[1:], [a.aval for a in eqn.invars[1:]])
    held = [operands[0], *body.operands()]
    return _emit(scope, eqn, "cond", held, [("branches", tuple(body.graph(b) for b in branches))])


def _only_branch(scope: Scope, eqn: Any, index: int) -> int | None:
    """The branch that is always taken: the index is known, or the others are for platforms that never occur."""
    platforms = eqn.params.get("branches_platforms")
    if platforms is not None:
        live = [i for i, names in enumerate(platforms) if names is None or not set(names) <= NO_XLA]
        return live[0] if len(live) == 1 else None
    value = scope.folder.value(index)
    return None if value is None else min(max(int(value), 0), len(eqn.params["branches"]) - 1)


HANDLERS: dict[str, Handler] = {"scan": _scan, "while": _while, "cond": _cond}
