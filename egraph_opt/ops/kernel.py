# SPDX-License-Identifier: Apache-2.0
"""A kernel as an operation: a named piece of program that may run by code of its own.

The node holds what it computes as a sub-graph, so it can always be opened: types, values in double precision, costs
and derivatives are those of the sub-graph. Which code runs it is a lowering, looked up by name when it is lowered;
where there is none, or its condition fails on the device at hand, the sub-graph runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.ops.layout import f32
from egraph_opt.ops.op import Example, Op, Trait, define, get_op

Types = Sequence[TensorType]
Static = Mapping[str, Any]
Run = Callable[[Graph], Callable[[Sequence[Any]], list[Any]]]

KERNEL = "kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """One way to run a kernel.

    Args:
        name: of the way, such as "chunked".
        function: ``function(*arrays, **static) -> array``.
        devices: platforms it runs on; none for all.
        when: ``when(types, static) -> bool``: for which operands it may be used.
        seconds: ``seconds(types, static, device) -> float`` [s]; None for what the sub-graph costs if nothing of it
            but operands and result is stored.
        temporary_bytes: ``temporary_bytes(types, static) -> float`` [byte]: most that it holds at once beside operands
            and result; None for what the sub-graph holds.
        differentiable: whether JAX can differentiate ``function``; else derivatives are those of the sub-graph.
        vjp: ``vjp(arrays, cotangent, **static) -> cotangents``; None where the above says all.
    """

    name: str
    function: Callable[..., Any]
    devices: tuple[str, ...] = ()
    when: Callable[[Types, Static], bool] | None = None
    seconds: Callable[[Types, Static, Any], float] | None = None
    temporary_bytes: Callable[[Types, Static], float] | None = None
    differentiable: bool = False
    vjp: Callable[..., Any] | None = None

    def fits(self, platform: str, types: Types, static: Static) -> bool:
        """Whether it may run these operands on this platform."""
        if self.devices and platform not in self.devices:
            return False
        return self.when is None or bool(self.when(types, static))


_LOWERINGS: dict[tuple[str, str], Lowering] = {}


def install(kernel: str, lowering: Lowering) -> None:
    """Let nodes of a kernel run by a lowering; one of the same name is replaced."""
    _LOWERINGS[kernel, lowering.name] = lowering


def withdraw(kernel: str) -> None:
    """Forget all lowerings of a kernel: its nodes run as their sub-graphs."""
    for key in [key for key in _LOWERINGS if key[0] == kernel]:
        del _LOWERINGS[key]


def lowering_of(kernel: str, name: str) -> Lowering | None:
    """A lowering by the kernel's and its own name."""
    return _LOWERINGS.get((kernel, name))


def differentiated(lowering: Lowering, body: Callable[..., Any], static: Static) -> Callable[..., Any]:
    """The lowering as a function of arrays with the derivative that its record says.

    Args:
        lowering: what runs.
        body: the same function of the same arrays in plain JAX.
        static: keywords of the lowering.
    """

    def run(*arrays: Any) -> Any:
        return lowering.function(*arrays, **static)

    if lowering.differentiable:
        return run
    function = jax.custom_jvp(run)

    @function.defjvp
    def tangent(primals: Any, tangents: Any) -> Any:
        return function(*primals), jax.jvp(body, primals, tangents)[1]

    if lowering.vjp is None:
        return function
    vjp = lowering.vjp
    reverse = jax.custom_vjp(function)
    reverse.defvjp(
        lambda *arrays: (function(*arrays), arrays), lambda arrays, cotangent: tuple(vjp(arrays, cotangent, **static))
    )
    return reverse


def _infer(types: Types, *, body: Graph, **attrs: Any) -> tuple[TensorType, ...]:
    del attrs
    want = [t.strong() for t in body.input_types]
    if want != [t.strong() for t in types]:
        raise ShapeError(f"kernel: want ({', '.join(map(str, want))}), got ({', '.join(map(str, types))})")
    return tuple(t.strong() for t in body.output_types)


def _lower(*operands: Any, name: str, lowering: str, static: Any, body: Graph, run: Run) -> Any:
    plain = run(body)

    def opened(*arrays: Any) -> Any:
        return plain(arrays)[0]

    record = lowering_of(name, lowering)
    keywords = dict(static)
    if record is None or not record.fits(jax.default_backend(), body.input_types, keywords):
        return opened(*operands)
    return differentiated(record, opened, keywords)(*operands)


def _flops(types: Types, results: Types, *, body: Graph, **attrs: Any) -> float:
    del types, results, attrs
    return body_flops(body)


def body_flops(body: Graph) -> float:
    """Arithmetic of the sub-graph [flop]."""
    return sum(
        get_op(node.op).flops([body.nodes[q].types[0] for q in node.operands], node.types, **node.kwargs)
        for node in body.nodes
        if node.op not in ("input", "constant", "result")
    )


def _example() -> Graph:
    build = Builder()
    x = build.input(f32(2, 3))
    return build.build([build.add("tanh", [x], (), f32(2, 3))])


define(
    Op(
        name=KERNEL,
        arity=None,
        attrs=("name", "lowering", "static", "body"),
        infer=_infer,
        lower=_lower,
        flops=_flops,
        nested=True,
        traits=frozenset({Trait.EXPENSIVE}),
        examples=(
            Example((f32(2, 3),), (("name", "example"), ("lowering", "none"), ("static", ()), ("body", _example()))),
        ),
        source="https://docs.jax.dev/en/latest/pallas/index.html",
        doc="a recognised piece of program, run by a lowering of its name, else as its sub-graph",
    )
)
