# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of rules: a constructor for every operation whose e-nodes rules may read and make.

Most constructors are the op's name in PascalCase over its operands. An op with attributes has their text, as
``str(graph)`` prints it, before the operands: ``(ReduceMax "axes=(1,)" x)``. An op of varying arity has a constructor
for each count: ``Concatenate2``. Einsums, sums, reshapes and scalar constants have forms of their own, below.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.engine.compile import Constructor
from egraph_opt.errors import EngineError, GraphError
from egraph_opt.ir import Attrs, Node, TensorType
from egraph_opt.ir.attrs import Ref, format_attr, parse_attrs
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ops import all_ops, get_op

EINSUM = {1: "Einsum1", 2: "Einsum2"}
ADD, RESHAPE, CONSTANT = "Add", "Reshape", "Constant"
COUNTS = range(1, 9)
"""Operand counts for which an op of varying arity has a constructor."""

Types = tuple[TensorType, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """A constructor that stands for one op.

    Args:
        constructor: name and sorts.
        op: name of the op.
    """

    constructor: Constructor
    op: str


@functools.cache
def words() -> Mapping[str, Word]:
    """All constructors that rules may mention, by name."""
    table = [
        Word(Constructor(EINSUM[1], ("String", "T")), "einsum"),
        Word(Constructor(EINSUM[2], ("String", "T", "T")), "einsum"),
        Word(Constructor(ADD, ("T", "T")), "add"),
        Word(Constructor(RESHAPE, ("String", "T")), "reshape"),
        Word(Constructor(CONSTANT, ("String",)), "constant"),
    ]
    special = {word.op for word in table} | {"input", "result", "opaque", "assume"}
    for op in all_ops().values():
        if op.name in special or op.nested:
            continue
        text = ("String",) if op.has_text else ()
        if op.arity is not None:
            table.append(Word(Constructor(op.constructor, text + ("T",) * op.arity), op.name))
        else:
            table += [Word(Constructor(f"{op.constructor}{n}", text + ("T",) * n), op.name) for n in COUNTS]
    return {word.constructor.name: word for word in table}


def vocabulary() -> dict[str, Constructor]:
    """Constructors that rules may mention."""
    return {name: word.constructor for name, word in words().items()}


def head(node: Node) -> tuple[str, tuple[str, ...]] | None:
    """Constructor and text of a node that rules can speak of; None for any other, and for n-ary sums.

    A node with several results, a sub-graph, or an attribute that has no text is beyond them.
    """
    if node.op == "einsum":
        return EINSUM[len(node.operands)], (node.attr("spec"),)
    if node.op == "reshape":
        return RESHAPE, (shape_text(node.attr("shape")),)
    if node.op == "constant":
        scalar = len(node.types) == 1 and not node.type.shape
        return (CONSTANT, (constant_text(node.type.dtype, node.attr("value")),)) if scalar else None
    op = all_ops().get(node.op)
    if op is None or len(node.types) != 1:
        return None
    name = op.constructor if op.arity is not None else f"{op.constructor}{len(node.operands)}"
    if name not in words() or words()[name].op != node.op:
        return None
    if not words()[name].constructor.has_text:
        return (name, ()) if all(value is None for _, value in node.attrs) else None
    if any(_is_textless(value) for _, value in node.attrs):
        return None
    return name, (attribute_text(node.attrs),)


def attribute_text(attrs: Attrs) -> str:
    """Text of attributes, as in ``str(graph)``."""
    return ", ".join(f"{name}={format_attr(value)}" for name, value in attrs)


def constant_text(dtype: str, value: object) -> str:
    """Text of a scalar constant: ``float32 1.0``."""
    return f"{dtype} {format_attr(value)}"


def parse_constant(text: str) -> tuple[str, object]:
    """Element type and value of ``constant_text``'s form.

    Raises:
        EngineError: it is something else.
    """
    dtype, _, value = text.partition(" ")
    try:
        return dtype, dict(parse_attrs(f"value={value}"))["value"]
    except (GraphError, KeyError):
        raise EngineError(f"constant {text!r}; want an element type and a number, as 'float32 1.0'") from None


def make_node(name: str, text: str, operands: Sequence[int], types: Types) -> Node:
    """The Graph node of a constructor's e-node."""
    children = tuple(operands)
    if name in (EINSUM[1], EINSUM[2]):
        return Node("einsum", children, (("spec", text),), types)
    if name == ADD:
        return Node("add", children, (), types)
    if name == RESHAPE:
        return Node("reshape", children, (("shape", parse_shape(text)),), types)
    if name == CONSTANT:
        return Node("constant", (), (("value", parse_constant(text)[1]),), types)
    op = get_op(words()[name].op)
    attrs = _attrs(text) if text else tuple((attr, None) for attr in op.attrs)
    return Node(op.name, children, attrs, types)


def infer_word(name: str, text: str, operands: Sequence[TensorType]) -> Types | None:
    """Result types of a constructor's e-node; None when it is ill-typed, as what a wrong rule makes may be."""
    try:
        if name == CONSTANT:
            return (TensorType((), parse_constant(text)[0]),)
        op = get_op(words()[name].op)
        attrs = dict(_attrs(text)) if text else dict.fromkeys(op.attrs)
        return tuple(type_.strong() for type_ in op.infer(operands, **attrs))
    except (GraphError, EngineError, TypeError, ValueError):
        return None


@functools.cache
def _attrs(text: str) -> Attrs:
    return parse_attrs(text)


def _is_textless(value: object) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_textless, value))
    return isinstance(value, Ref)
