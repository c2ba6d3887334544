# SPDX-License-Identifier: Apache-2.0
"""The record that declares an operation: everything the package knows about it stands in one place.

From it derive the e-graph constructor and its decoder, the capture table, the lowering, the cost, the documentation
table and the tests. Every field without a default must be given; forgetting one is an error at import.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from egraph_opt.ir import Attrs, TensorType
from egraph_opt.ir.attrs import freeze

Types = Sequence[TensorType]
Infer = Callable[..., tuple[TensorType, ...]]
Lower = Callable[..., Any]
Flops = Callable[..., float]


class Trait(enum.Enum):
    """Properties that several rules ask for; generated rule families are made per trait."""

    ELEMENTWISE = "acts on each element alone; rank-0 operands broadcast"
    COMMUTATIVE = "the two operands may be exchanged"
    ASSOCIATIVE = "the grouping of three operands does not matter over the reals"
    IDEMPOTENT = "f(x, x) = x"
    INVOLUTION = "f(f(x)) = x"
    MONOTONE = "x <= y implies f(x) <= f(y)"
    INCREASING = "x < y implies f(x) < f(y), and no bound above is approached so that large numbers become equal"
    TOTAL = "a finite number for every real number, as far as it does not overflow"
    ZERO_TO_ZERO = "f(0) = 0"
    LINEAR = "linear in each operand"
    REDUCTION = "folds some axes of one operand"
    LAYOUT = "moves elements, computes nothing"
    EXPENSIVE = "not worth computing twice: contraction, convolution, factorisation, control flow"
    LEAF = "has no operands"


@dataclass(frozen=True, slots=True)
class Example:
    """Operand types and attributes for which an operation is valid; tests are generated from it."""

    operands: tuple[TensorType, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One tensor operation.

    Args:
        name: snake_case, JAX's own name where it has one; the e-graph constructor is its PascalCase.
        arity: number of operands; None when it varies.
        attrs: names of the static attributes, in order.
        infer: ``infer(operand_types, **attrs) -> result types``; raises ``ShapeError`` or ``DTypeError``.
        lower: ``lower(*arrays, **attrs) -> array`` (or a sequence of arrays for several results), plain ``jax.lax``.
        flops: ``flops(operand_types, result_types, **attrs)`` arithmetic operations [flop] without transcendental ones.
        transcendentals: evaluations of exp, log, tanh, pow, division ... per result element, weighted so that one
            exponential counts 1.
        captures: names of the jaxpr primitives this operation stands for one to one; ``from_params`` turns their
            parameters into attributes of the same names.
        fixed: parameters that are no attributes because the operation stands for one value of them only.
        ignored: parameters that are no attributes because the Graph holds elsewhere what they say.
        nested: whether ``lower`` takes the keyword ``run``, which makes a function of lists of a sub-graph.
        precise: whether ``lower`` takes the keyword ``precision`` (of matrix products, ``Graph.precision``).
        traits: see ``Trait``.
        examples: at least one.
        source: where the operation is specified.
    """

    name: str
    arity: int | None
    attrs: tuple[str, ...] = ()
    infer: Infer
    lower: Lower
    flops: Flops
    transcendentals: float = 0.0
    captures: tuple[str, ...] = ()
    fixed: tuple[tuple[str, Any], ...] = ()
    ignored: tuple[str, ...] = ()
    nested: bool = False
    precise: bool = False
    traits: frozenset[Trait] = frozenset()
    examples: tuple[Example, ...]
    source: str
    doc: str = field(default="")

    @property
    def constructor(self) -> str:
        """Name in the e-graph."""
        return "".join(part.capitalize() for part in self.name.replace("-", "_").split("_"))

    @property
    def has_text(self) -> bool:
        """Whether attributes are in use, by the examples; some of JAX's are None everywhere."""
        return any(value is not None for example in self.examples for _, value in example.attrs)

    def from_params(self, params: Mapping[str, Any]) -> Attrs | None:
        """Attributes, in the order of the record, of a captured equation with these parameters.

        Returns:
            ``None`` when a parameter has a value, or a name, that the operation does not stand for: the equation then
            stays opaque.
        """
        fixed = dict(self.fixed)
        for name, value in params.items():
            if name in fixed and value is not fixed[name] and value != fixed[name]:
                return None
            if name not in fixed and name not in self.ignored and name not in self.attrs:
                return None
        return tuple((name, freeze(params[name])) for name in self.attrs if name in params)


_OPS: dict[str, Op] = {}
_CAPTURES: dict[str, Op] = {}


def define(op: Op) -> Op:
    """Register an operation.

    Raises:
        ValueError: the name, the constructor or a captured primitive is taken, or there is no example.
    """
    if op.name in _OPS:
        raise ValueError(f"operation {op.name!r} is declared twice")
    if any(other.constructor == op.constructor for other in _OPS.values()):
        raise ValueError(f"operation {op.name!r}: constructor {op.constructor} is taken")
    if not op.examples and op.arity != 0:
        raise ValueError(f"operation {op.name!r} has no example")
    for primitive in op.captures:
        if primitive in _CAPTURES:
            other = _CAPTURES[primitive].name
            raise ValueError(f"primitive {primitive!r} is captured by {other!r} and by {op.name!r}")
        _CAPTURES[primitive] = op
    _OPS[op.name] = op
    return op


def all_ops() -> Mapping[str, Op]:
    """Every declared operation by name."""
    return _OPS


def get_op(name: str) -> Op:
    """The record of an operation.

    Raises:
        KeyError: no operation has this name.
    """
    return _OPS[name]


def op_of_primitive(primitive: str) -> Op | None:
    """The operation that stands one to one for a jaxpr primitive, if there is one."""
    return _CAPTURES.get(primitive)
