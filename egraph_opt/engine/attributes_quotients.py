# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about quotients in einsums: which part is read of them, and what else may be divided."""

from __future__ import annotations

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Spec, canonical, identity

_S, _I = "String", "i64"


def _read_before(text: str, shape: str) -> Result:
    """How the diagonal of a quotient is read of what is divided, and of a divisor of some shape."""
    spec = Spec.parse(text)
    word = spec.inputs[0]
    sizes = parse_shape(shape)
    reads = spec.is_copy and len(set(word)) < len(word) and sorted(set(word)) == sorted(spec.output)
    if not reads or sizes not in ((), spec.shapes[0]):
        return None
    divisor = canonical((word,), spec.output, spec.sizes) if sizes else identity(())
    return {"x": text, "y": divisor}


def _divide_other(text: str, copied: str, position: int) -> Result:
    """How a divisor of one operand is broadcast to the other, smaller one, where that has all of its dimensions.

    Defined where the divisor depends on what is summed: else the result is what should be divided.
    """
    spec, copy = Spec.parse(text), Spec.parse(copied)
    word, other = spec.inputs[position], spec.inputs[1 - position]
    plain = copy.is_copy and copy.has_distinct_output and len(set(copy.inputs[0])) == len(copy.inputs[0])
    if not plain or len(copy.output) != len(word) or spec.count(other) >= spec.count(word):
        return None
    name = dict(zip(copy.output, word, strict=True))
    inner = "".join(name[c] for c in copy.inputs[0])
    if not set(inner) <= set(other) or set(inner) <= set(spec.output):
        return None
    return canonical((inner,), other, spec.sizes, copy.scale)


ship(
    AttributeFunction(
        "read-before",
        (_S, _S),
        ("x", "y"),
        _read_before,
        "specs that read the diagonal of a dividend, and of a divisor of some shape",
    ),
    AttributeFunction(
        "divide-other",
        (_S, _S, _I),
        ("",),
        _divide_other,
        "spec of a divisor of one operand of a contraction, broadcast to the other operand, which is smaller",
    ),
)
