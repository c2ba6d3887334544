# SPDX-License-Identifier: Apache-2.0
"""Conditions and numbers of a rule that its author gave as Python functions of the operands' types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from egraph_opt.engine.attributes import AttributeFunction, register
from egraph_opt.errors import RuleError
from egraph_opt.ir.bindings import Binding
from egraph_opt.rules.define.shapes import Shapes
from egraph_opt.rules.define.sizes import Sizes


def condition_call(name: str, when: Callable[..., Any], shapes: Shapes, binding: str, dtypes: Mapping[str, str]) -> str:
    """Register a condition; the fact that calls it.

    Args:
        name: of the rule.
        when: the condition, a function of the variables' types.
        shapes: sizes of the variables by name.
        binding: variable that holds the sizes.
        dtypes: element types that are fixed, by variable; the others are ``?dtype``.

    Raises:
        RuleError: the condition fails on types like those it will be asked about.
    """

    def call(sizes: str, dims: str, dtype: str) -> bool:
        bound = Binding.parse(sizes)
        types = []
        for item in dims.split(";"):
            variable, _, words = item.partition("=")
            shape = tuple(bound.sizes[d] for d in words.split(",") if d)
            types.append(jax.ShapeDtypeStruct(shape, dtypes.get(variable, dtype)))
        return bool(_called(name, "when", when, types))

    register(AttributeFunction(f"when-{name}", ("String",) * 3, (), call, f"condition of {name}"))
    dims = ";".join(f"{n}={','.join(shapes[n])}" for n in shapes)
    call(str(Binding(Sizes(tuple({d: None for held in shapes.values() for d in held})).at())), dims, "float32")
    free = [n for n in shapes if n not in dtypes]
    dtype = "?dtype" if free else '""'
    return f'(when-{name} {binding} "{dims}" {dtype})'


def value_at(name: str, function: Callable[..., Any], types: Sequence[Any]) -> Any:
    """A number of the right side, computed of the operands' types.

    Raises:
        RuleError: the function fails.
    """
    return _called(name, "where", function, types)


def _called(name: str, option: str, function: Callable[..., Any], types: Sequence[Any]) -> Any:
    try:
        return function(*types)
    except Exception as error:  # whatever the user's function raises is what the message says
        text = (str(error).splitlines() or [""])[0]
        raise RuleError(f"{option}= of {name!r} fails: {type(error).__name__}: {text}") from error
