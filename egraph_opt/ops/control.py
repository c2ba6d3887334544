# SPDX-License-Identifier: Apache-2.0
"""Control flow: loops and branches whose bodies are sub-graphs, held as attributes.

Operands, results, and the inputs and outputs of sub-graphs have their true shapes. ``lower`` takes the keyword ``run``,
which makes a function of a list of arrays from a sub-graph; capture builds these nodes itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from egraph_opt.errors import ShapeError
from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32, i32
from egraph_opt.ops.op import Example, Op, Trait, define, get_op

Types = Sequence[TensorType]
Run = Callable[[Graph], Callable[[Sequence[Any]], list[Any]]]

EXPENSIVE = frozenset({Trait.EXPENSIVE})


def _check_inputs(op: str, graph: Graph, types: Types) -> None:
    want = [t.strong() for t in graph.input_types]
    got = [t.strong() for t in types]
    if want != got:
        raise ShapeError(f"{op}: want ({', '.join(map(str, want))}), got ({', '.join(map(str, got))})")


def _outputs(graph: Graph) -> tuple[TensorType, ...]:
    return tuple(t.strong() for t in graph.output_types)


def _check_carry(op: str, before: Types, after: Types) -> None:
    if [t.strong() for t in before] != [t.strong() for t in after]:
        raise ShapeError(
            f"{op}: want a body that keeps ({', '.join(map(str, before))}), it makes {list(map(str, after))}"
        )


def graph_flops(graph: Graph) -> float:
    """Arithmetic of one run of a sub-graph [flop]; branches of a condition count as the dearest."""
    total = 0.0
    for node in graph.nodes:
        if node.op not in ("input", "constant", "result"):
            types = [t for q in node.operands for t in graph.nodes[q].types]
            total += get_op(node.op).flops(types, node.types, **node.kwargs)
    return total


def _infer_scan(
    types: Types, *, body: Graph, num_consts: int, num_carry: int, length: int, **attrs: Any
) -> tuple[TensorType, ...]:
    del attrs
    outer = num_consts + num_carry
    if any(t.shape[:1] != (length,) for t in types[outer:]):
        raise ShapeError(f"scan: want scanned operands of length {length}, got {', '.join(map(str, types[outer:]))}")
    _check_inputs("scan", body, [*types[:outer], *(t.with_shape(t.shape[1:]) for t in types[outer:])])
    results = _outputs(body)
    _check_carry("scan", types[num_consts:outer], results[:num_carry])
    stacked = (t.with_shape((length, *t.shape)) for t in results[num_carry:])
    return (*results[:num_carry], *stacked)


def _lower_scan(
    *operands: Any,
    body: Graph,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
    run: Run,
) -> list[Any]:
    function = run(body)
    consts = operands[:num_consts]
    outer = num_consts + num_carry

    def step(carry: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        results = function([*consts, *carry, *slices])
        return results[:num_carry], results[num_carry:]

    init, scanned = list(operands[num_consts:outer]), list(operands[outer:])
    carry, stacked = lax.scan(step, init, scanned, length=length, reverse=reverse, unroll=unroll)
    return [*carry, *stacked]


def _scan_flops(types: Types, results: Types, *, body: Graph, length: int, **attrs: Any) -> float:
    del types, results, attrs
    return length * graph_flops(body)


def _infer_while(
    types: Types, *, cond: Graph, body: Graph, cond_nconsts: int, body_nconsts: int
) -> tuple[TensorType, ...]:
    carry = types[cond_nconsts + body_nconsts :]
    _check_inputs("while: cond", cond, [*types[:cond_nconsts], *carry])
    _check_inputs("while: body", body, types[cond_nconsts:])
    if [t.strong() for t in cond.output_types] != [TensorType((), "bool")]:
        raise ShapeError(f"while: want a condition of bool[], got {', '.join(map(str, cond.output_types))}")
    _check_carry("while", carry, _outputs(body))
    return _outputs(body)


def _lower_while(*operands: Any, cond: Graph, body: Graph, cond_nconsts: int, body_nconsts: int, run: Run) -> list[Any]:
    test, step = run(cond), run(body)
    first = operands[:cond_nconsts]
    second = operands[cond_nconsts : cond_nconsts + body_nconsts]

    def proceed(carry: Any) -> Any:
        return test([*first, *carry])[0]

    def advance(carry: Any) -> Any:
        return step([*second, *carry])

    init: Any = list(operands[cond_nconsts + body_nconsts :])
    return list(lax.while_loop(proceed, advance, init))


def _while_flops(types: Types, results: Types, *, cond: Graph, body: Graph, **attrs: Any) -> float:
    del types, results, attrs
    return graph_flops(cond) + graph_flops(body)  # one trip: how many there are is not known


def _infer_cond(types: Types, *, branches: tuple[Graph, ...]) -> tuple[TensorType, ...]:
    if not types or types[0].shape or types[0].dtype not in ("int32", "bool"):
        raise ShapeError(f"cond: want an index of i32[] or bool[], got {', '.join(map(str, types[:1]))}")
    for number, branch in enumerate(branches):
        _check_inputs(f"cond: branch {number}", branch, types[1:])
        if _outputs(branch) != _outputs(branches[0]):
            raise ShapeError(f"cond: branch {number} returns other types than branch 0")
    return _outputs(branches[0])


def _lower_cond(index: Any, *operands: Any, branches: tuple[Graph, ...], run: Run) -> list[Any]:
    def choice(function: Callable[[Sequence[Any]], list[Any]], *values: Any) -> list[Any]:
        return function(values)

    calls = [functools.partial(choice, run(branch)) for branch in branches]
    if jax.typeof(index).dtype == bool:
        return list(lax.cond(index, calls[1], calls[0], *operands))
    return list(lax.switch(index, calls, *operands))


def _cond_flops(types: Types, results: Types, *, branches: tuple[Graph, ...]) -> float:
    del types, results
    return max(map(graph_flops, branches))


def _example(op: str, inputs: Types, result: TensorType, outputs: int = 1) -> Graph:
    """A body with one node that reads its last inputs."""
    build = Builder()
    numbers = [build.input(t) for t in inputs]
    node = build.add(op, numbers[-(get_op(op).arity or 2) :], (), result)
    return build.build([node] * outputs)


define(
    Op(
        name="scan",
        arity=None,
        attrs=("body", "num_consts", "num_carry", "length", "reverse", "unroll"),
        infer=_infer_scan,
        lower=_lower_scan,
        flops=_scan_flops,
        nested=True,
        traits=EXPENSIVE,
        examples=(
            Example(
                (f32(2), f32(2), f32(5, 2)),
                (
                    ("body", _example("max", (f32(2), f32(2), f32(2)), f32(2), outputs=2)),
                    ("num_consts", 1),
                    ("num_carry", 1),
                    ("length", 5),
                    ("reverse", False),
                    ("unroll", 1),
                ),
            ),
        ),
        source=LAX.format("scan"),
        doc="body: constants, carry, slices to carry, slices",
    )
)

define(
    Op(
        name="while",
        arity=None,
        attrs=("cond", "body", "cond_nconsts", "body_nconsts"),
        infer=_infer_while,
        lower=_lower_while,
        flops=_while_flops,
        nested=True,
        traits=EXPENSIVE,
        examples=(
            Example(
                (f32(), f32(), f32()),
                (
                    ("cond", _example("lt", (f32(), f32()), TensorType((), "bool"))),
                    ("body", _example("max", (f32(), f32()), f32())),
                    ("cond_nconsts", 1),
                    ("body_nconsts", 1),
                ),
            ),
        ),
        source=LAX.format("while_loop"),
        doc="operands: constants of the condition, of the body, carry",
    )
)

define(
    Op(
        name="cond",
        arity=None,
        attrs=("branches",),
        infer=_infer_cond,
        lower=_lower_cond,
        flops=_cond_flops,
        nested=True,
        traits=EXPENSIVE,
        examples=(
            Example((i32(), f32(2)), (("branches", tuple(_example(op, (f32(2),), f32(2)) for op in ("tanh", "exp"))),)),
        ),
        source=LAX.format("switch"),
        doc="operands: index of the branch, what the branches take",
    )
)
