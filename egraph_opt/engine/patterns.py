# SPDX-License-Identifier: Apache-2.0
"""Attribute functions for rules made of two JAX functions: match nests of einsums, bind sizes, make specs and texts.

A binding (``n=4 k=5|b=10``) goes from function to function as text; see ``ir.bindings``. The functions are generic:
what a rule means stands in its text, which may therefore be saved, read and checked like any other.
"""

from __future__ import annotations

import math

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.ir.attrs import format_attr, parse_attrs
from egraph_opt.ir.bindings import Binding
from egraph_opt.ir.nests import RESULT, TOLERANCE, match
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Spec
from egraph_opt.ir.types import is_complex, is_floating

MAX_NEST = 6
"""Largest number of einsums in one nest of a pattern."""

_S = "String"


def _nest(pattern: str, *specs: str) -> Result:
    found = match(pattern, specs)
    return None if found is None else str(found)


def _copies_plainly(text: str) -> bool:
    spec = Spec.parse(text)
    distinct = all(len(set(word)) == len(word) for word in (*spec.inputs, spec.output))
    return spec.is_copy and spec.scale == 1 and distinct and not spec.is_identity


def _bind_shape(dims: str, shape: str) -> Result:
    names, sizes = dims.split(",") if dims else [], parse_shape(shape)
    if len(names) != len(sizes):
        return None
    known: dict[str, int] = {}
    for name, size in zip(names, sizes, strict=True):
        if name.isidentifier() and known.setdefault(name, size) != size:
            return None
    binding = Binding(known)
    values = [(binding.size(name), size) for name, size in zip(names, sizes, strict=True)]
    return str(binding) if all(value in (None, size) for value, size in values) else None


def _join(first: str, second: str) -> Result:
    both = Binding.parse(first).join(Binding.parse(second))
    return None if both is None else str(both)


def _is_number(constant: str, wanted: str) -> bool:
    have, want = (dict(parse_attrs(f"value={t}"))["value"] for t in (constant.partition(" ")[2], wanted))
    if isinstance(have, complex) and have.imag == 0:
        have = have.real
    if isinstance(have, bool) or isinstance(want, bool) or not isinstance(have, int | float):
        return bool(have == want)
    return math.isclose(have, want, rel_tol=TOLERANCE) and math.copysign(1, have) == math.copysign(1, want)


def _is_value(constant: str, binding: str, expression: str) -> bool:
    wanted = Binding.parse(binding).value(expression)
    return wanted is not None and _is_number(constant, format_attr(wanted))


def _number_of(dtype: str, binding: str, expression: str) -> Result:
    value = Binding.parse(binding).value(expression)
    return None if value is None else _constant(dtype, format_attr(value))


def _constant(dtype: str, number: str) -> Result:
    value = dict(parse_attrs(f"value={number}"))["value"]
    if is_floating(dtype) or is_complex(dtype):
        return f"{dtype} {format_attr(complex(value) if is_complex(dtype) else float(value))}"
    if dtype == "bool":
        return f"{dtype} {value}" if isinstance(value, bool) else None
    return f"{dtype} {int(value)}" if math.isfinite(value) and value == int(value) else None


for _count in range(1, MAX_NEST + 1):
    ship(
        AttributeFunction(
            f"nest{_count}", (_S,) * (_count + 1), ("",), _nest, f"binding of {_count} specs that match a pattern"
        )
    )
for _function in (
    AttributeFunction("bind-shape", (_S, _S), ("",), _bind_shape, "binding of named sizes to a shape"),
    AttributeFunction("join", (_S, _S), ("",), _join, "two bindings as one, if they agree"),
    AttributeFunction(
        "make-spec", (_S, _S), ("",), lambda m, text: Binding.parse(m).spec(text), "spec from letters with named sizes"
    ),
    AttributeFunction(
        "fill", (_S, _S), ("",), lambda m, text: Binding.parse(m).fill(text), "text with sizes for `{n}` in it"
    ),
    AttributeFunction(
        "turn",
        (_S, _S, _S),
        ("",),
        lambda m, name, dims: Binding.parse(m).turn(name, dims),
        "transpose of a matched operand to the pattern's order",
    ),
    AttributeFunction(
        "turn-back",
        (_S, _S),
        ("",),
        lambda m, dims: Binding.parse(m).turn(RESULT, dims, back=True),
        "transpose of the pattern's result to the order that was matched",
    ),
    AttributeFunction(
        "copies-plainly", (_S,), (), _copies_plainly, "the einsum transposes and broadcasts, and does nothing else"
    ),
    AttributeFunction("one-of", (_S, _S), (), lambda text, words: text in words.split(), "it is one of some words"),
    AttributeFunction("is-number", (_S, _S), (), _is_number, "the scalar constant is this number"),
    AttributeFunction("is-value", (_S,) * 3, (), _is_value, "the scalar constant is this expression of sizes"),
    AttributeFunction("number-of", (_S,) * 3, ("",), _number_of, "text of a constant that is an expression of sizes"),
    AttributeFunction("number", (_S, _S), ("",), _constant, "text of a scalar constant of an element type"),
):
    ship(_function)
