# SPDX-License-Identifier: Apache-2.0
"""What capture returns: the Graph and everything needed to call it in the place of the function.

The graph's inputs are the argument leaves followed by the closed-over arrays, whose values are not looked at unless
the caller says that they are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax.extend.core as jex

from egraph_opt.capture.arguments import Arguments
from egraph_opt.capture.interpreter import run
from egraph_opt.capture.scope import Scope, Shared, tensor_type
from egraph_opt.capture.trace import Trace, trace
from egraph_opt.capture.written import captured_products, written_products
from egraph_opt.errors import ShapeError
from egraph_opt.ir import Graph, Source
from egraph_opt.ir.numerics import Numerics

LEAST_SAVING = 0.02
"""Share of the products that capture must save for its Graph to count as another program than the original."""


@dataclass(frozen=True)
class Captured:
    """A captured program.

    Args:
        graph: the program; its inputs are the argument leaves, then ``constants``.
        arguments: the arguments it was captured with.
        in_tree: tree of ``(args, kwargs)`` without static parts.
        out_tree: tree of the results.
        constants: closed-over arrays, shared where the function shares them.
        leaf_names: a readable name of each argument leaf.
        tracebacks: where each source of the graph's nodes was traced.
        jaxpr: the program as JAX traced it.
        original: ``original(*leaves, *constants)`` runs that jaxpr and returns the flat results.
        donated_invars: which leaves the function, if it is jitted, donates.
        custom_derivatives: functions with a derivative of their own whose bodies were inlined. Differentiating the
            graph instead of the original may give another derivative.
        has_checkpoint: whether the function holds rematerialised parts, which were inlined.
    """

    graph: Graph
    arguments: Arguments
    in_tree: Any
    out_tree: Any
    constants: tuple[Any, ...]
    leaf_names: tuple[str, ...]
    tracebacks: Mapping[Source, Any] = field(repr=False)
    jaxpr: Any = field(repr=False)
    original: Callable[..., list[Any]] = field(repr=False)
    donated_invars: tuple[bool, ...] = ()
    custom_derivatives: tuple[str, ...] = ()
    has_checkpoint: bool = False

    @cached_property
    def saved_products(self) -> float:
        """Arithmetic of products that stands in the original but no more in the Graph [flop]."""
        written = written_products(self.jaxpr.jaxpr)
        saved = written - captured_products(self.graph)
        return saved if saved > LEAST_SAVING * written else 0.0

    @property
    def has_custom_derivatives(self) -> bool:
        """Whether the derivative must be taken from ``original``."""
        return bool(self.custom_derivatives)


def capture(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    fold_constants: bool = False,
    strict: bool = False,
    numerics: Numerics = Numerics.REASSOCIATE,
    arrays: Mapping[str, Any] | None = None,
) -> Captured:
    """Capture ``fn(*args, **kwargs)``.

    Args:
        fn: a JAX-traceable function.
        args: arrays, numbers, ``jax.ShapeDtypeStruct`` or trees of them; only their types matter.
        kwargs: keyword arguments, likewise.
        static_argnums: positions of arguments that are part of the program, as in ``jax.jit``.
        static_argnames: their names.
        fold_constants: closed-over arrays never change: structure in their values may be used.
        strict: a primitive without an op is an error.
        numerics: class of simplification that may be made while capturing.
        arrays: name -> closed-over array, where it has one.

    Returns:
        The graph and what belongs to it.

    Raises:
        ArgumentError: the arguments do not fit the function.
        ShapeError: an argument has a symbolic dimension.
        UnsupportedOpError: a primitive without an op, under ``strict``.
    """
    arguments = Arguments.flatten(fn, args, kwargs, static_argnums, static_argnames)
    traced = trace(fn, arguments)
    names = {id(array): name for name, array in (arrays or {}).items()}
    shared = Shared(fold_constants=fold_constants, strict=strict, numerics=numerics, array_names=names)
    graph = _graph(Scope(shared), traced, arguments.names)
    return Captured(
        graph=graph,
        arguments=arguments,
        in_tree=arguments.tree,
        out_tree=traced.out_tree,
        constants=tuple(shared.constants),
        leaf_names=arguments.names,
        tracebacks=shared.places.tracebacks,
        jaxpr=traced.jaxpr,
        original=_original(traced.jaxpr, shared.constants),
        donated_invars=traced.donated,
        custom_derivatives=tuple(shared.custom_derivatives),
        has_checkpoint=shared.has_checkpoint,
    )


def _graph(scope: Scope, traced: Trace, names: Sequence[str]) -> Graph:
    jaxpr = traced.jaxpr.jaxpr
    for name, var in zip(names, jaxpr.invars, strict=True):
        if not all(isinstance(n, int) for n in getattr(var.aval, "shape", ())):
            raise ShapeError(f"{name}: want sizes that are numbers, got {var.aval}; give the shapes of one real call")
    inputs = [scope.new_input(tensor_type(v.aval), name) for v, name in zip(jaxpr.invars, names, strict=True)]
    outputs = run(scope, jaxpr, traced.jaxpr.consts, [scope.squeezed(x) for x in inputs])
    scope.sources = ()
    true = [scope.true(x, atom.aval) for x, atom in zip(outputs, jaxpr.outvars, strict=True)]
    weak = [tensor_type(atom.aval).weak for atom in jaxpr.outvars]
    return scope.emitter.build(true, scope.effects, weak, scope.shared.precision)


def _original(jaxpr: Any, constants: Sequence[Any]) -> Callable[..., list[Any]]:
    """The traced program as a flat function of leaves and constants; nested constants stay inside."""
    count = len(jaxpr.jaxpr.invars)
    place = {id(array): i for i, array in enumerate(constants)}
    own = [place[id(array)] for array in jaxpr.consts]
    kept = _without_donation(jaxpr.jaxpr)

    def original(*operands: Any) -> list[Any]:
        leaves, extra = operands[:count], operands[count:]
        closed = jex.ClosedJaxpr(kept, [extra[i] for i in own])
        results: list[Any] = jex.jaxpr_as_fun(closed)(*leaves)
        return results

    return original


def _without_donation(jaxpr: Any) -> Any:
    """The jaxpr with calls that leave their arguments intact: it is run several times with the same ones."""
    eqns = []
    for eqn in jaxpr.eqns:
        flags = eqn.params.get("donated_invars")
        keep = not flags or not any(flags)
        eqns.append(eqn if keep else eqn.replace(params={**eqn.params, "donated_invars": (False,) * len(flags)}))
    return jaxpr.replace(eqns=eqns)
