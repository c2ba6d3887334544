# SPDX-License-Identifier: Apache-2.0
"""Text that a rule writes out: specs, shapes, constants, attributes.

The e-graph compares text, so a rule must spell it as the e-graph does; what cannot be read never matches either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.words import ADD, CONSTANT, EINSUM, RESHAPE, attribute_text, constant_text, parse_constant, words
from egraph_opt.errors import EngineError, GraphError
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ir.spec import Spec, canonical
from egraph_opt.ir.types import ELEMENT_TYPES, is_complex, is_floating
from egraph_opt.ops import get_op
from egraph_opt.ops.op import Op


def literal_faults(expr: Expr) -> Iterator[tuple[int, str]]:
    """Lines and faults of the texts that stand in the terms of an expression."""
    if not isinstance(expr, Form):
        return
    for item in expr:
        yield from literal_faults(item)
    if len(expr) > 1 and isinstance(expr[0], str) and isinstance(expr[1], str) and expr[1].startswith('"'):
        fault = literal_fault(expr[0], expr[1].strip('"'))
        if fault:
            yield expr.line, fault


def literal_fault(name: str, text: str) -> str:
    """What is wrong with the text of a constructor's e-nodes, or ""; nothing is said of other heads."""
    word = words().get(name)
    if word is None or not word.constructor.has_text or name == ADD:
        return ""
    try:
        spelled = _spelled(name, text)
    except (GraphError, EngineError) as error:
        return f"{name}: {error}"
    return "" if spelled == text else f'{name}: "{text}" never occurs; it is spelled "{spelled}"'


def _spelled(name: str, text: str) -> str:
    """The text as the e-graph spells it."""
    if name in EINSUM.values():
        return _spec(name, text)
    if name == RESHAPE:
        try:
            return shape_text(parse_shape(text))
        except ValueError:
            raise GraphError(f"{text!r} is no shape; want e.g. '4,5' or 'scalar'") from None
    if name == CONSTANT:
        return _constant(text)
    return _attributes(get_op(words()[name].op), text)


def _attributes(op: Op, text: str) -> str:
    """The attributes of an operation as the e-graph spells them."""
    try:
        attrs = parse_attrs(text)
    except GraphError as error:
        raise GraphError(f'{error}; as in "{attribute_text(op.examples[0].attrs)}"') from None
    given, wanted = [key for key, _ in attrs], [key for key, _ in op.examples[0].attrs]
    for key in given:
        if key not in op.attrs:
            raise GraphError(f"there is no attribute {key!r}; want {', '.join(wanted)}")
    for key in wanted:
        if key not in given:
            raise GraphError(f"{text!r} lacks the attribute {key!r}; want {', '.join(wanted)}")
    for key, value in attrs:
        _check_kind(op, key, value)
    return attribute_text(tuple(sorted(attrs, key=lambda pair: op.attrs.index(pair[0]))))


def _check_kind(op: Op, key: str, value: Any) -> None:
    """Refuse a value of another kind than all examples of the operation have."""
    known = [dict(example.attrs)[key] for example in op.examples]
    kinds = {_kind(example) for example in known}
    if value is None or len(kinds) > 1 or "" in kinds or _kind(value) in kinds:
        return
    if kinds == {"a number"} and _kind(value) == "a whole number":
        return
    example = attribute_text(((key, known[0]),))
    raise GraphError(f"{key} is {_kind(value) or 'nothing'}; want {kinds.pop()}, as in {example}")


def _kind(value: Any) -> str:
    """What a value of an attribute is, in words; "" for None."""
    kinds = {bool: "a truth value", int: "a whole number", float: "a number", tuple: "a tuple", str: "text"}
    return "" if value is None else kinds.get(type(value), type(value).__name__)


def _spec(name: str, text: str) -> str:
    try:
        spec = Spec.parse(text)
    except ValueError:
        raise GraphError(f"{text!r} is no einsum spec; want e.g. 'ab,bc->ac;2,3,4'") from None
    if EINSUM.get(len(spec.inputs)) != name:
        raise GraphError(f"{text!r} is a spec of {len(spec.inputs)} operands")
    return canonical(spec.inputs, spec.output, spec.sizes, spec.scale)


def _constant(text: str) -> str:
    dtype, value = parse_constant(text)
    if dtype not in ELEMENT_TYPES:
        raise GraphError(f"constant {text!r}: {dtype!r} is no element type; there are {', '.join(ELEMENT_TYPES)}")
    if not isinstance(value, bool | int | float | complex):
        raise GraphError(f"constant {text!r}: want a number after the element type, as 'float32 1.0'")
    if not isinstance(value, bool) and (is_floating(dtype) or is_complex(dtype)):
        value = complex(value) if is_complex(dtype) else value if isinstance(value, complex) else float(value)
    return constant_text(dtype, value)
