# SPDX-License-Identifier: Apache-2.0
"""A Graph as readable JAX source: one function with named arguments, sub-graphs as nested functions.

What is read once stands inside the expression that reads it, unless it comes from another source line; the rest gets a
name after its operation. The text imports JAX only.
"""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from collections.abc import Sequence

from egraph_opt.ir import Graph, Node, Sources, Spec, TensorType
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.sources import merge_sources, shown
from egraph_opt.lower.control_text import control_text
from egraph_opt.lower.einsum_text import product_text, signed_sum, single_text, thin_text
from egraph_opt.lower.joined_sums import joined
from egraph_opt.lower.literals import Expr, array_text, dtype_text, scalar_text, typed_text
from egraph_opt.lower.orders import ordered
from egraph_opt.lower.plan import einsum_call, negated_term, schedule
from egraph_opt.lower.templates import HELPERS, PROMOTING, text_of
from egraph_opt.ops import get_op
from egraph_opt.ops.opened import opened
from egraph_opt.ops.primitives import all_primitives

MAX_INLINE = 60
_TAKEN = {"jax", "jnp", "lax", "primitives", "complex"}
_NAMES = {
    "reshape": "flat",
    "convert_element_type": "cast",
    "select_n": "where",
    "conv_general_dilated": "conv",
    "max": "maximum",
    "min": "minimum",
    "abs": "absolute",
    "round": "rounded",
}
_LITERAL = ("float32", "float64", "int32", "bool", "bfloat16", "float16")
_CONTROL = ("scan", "while", "cond")


def to_python(graph: Graph, name: str = "optimized", names: Sequence[str] | None = None) -> str:
    """Standalone source of a function that computes the graph.

    Args:
        graph: what to compute.
        name: of the function.
        names: of its arguments; by default the graph's own, made identifiers.

    Returns:
        Text of a module. Several outputs are returned as a tuple; weak types of results are not kept, and kernels are
        written as what they compute.

    Raises:
        UnsupportedOpError: a primitive has a parameter without text, such as a callback.
    """
    graph = opened(graph)
    taken = {*_TAKEN, *HELPERS, name}
    function = _identifier(name, "optimized")
    given = names or graph.names or [f"arg{number}" for number in range(len(graph.inputs))]
    arguments = [_fresh(_identifier(text, "x"), taken) for text in given]
    block = Block(graph, taken, [Expr(text) for text in arguments], 1, graph.precision)
    for argument, type in zip(arguments, graph.input_types, strict=True):
        if type.weak:
            block.line(f"{argument} = jnp.asarray({argument})")  # it may be a Python number
    outputs = [expr.text for expr in block.write()]
    result = outputs[0] if len(outputs) == 1 else f"({', '.join(outputs)})" if outputs else "()"
    head = f"def {function}({', '.join(arguments)}):"
    lines = [head, f'    """({_types(graph.input_types)}) -> ({_types(graph.output_types)})"""']
    lines += [*block.lines, f"    return {result}"]
    body = re.sub(r"\n\n\n+", "\n\n", "\n".join(lines))
    helpers = [textwrap.dedent(inspect.getsource(get_op(op).lower)) for op in HELPERS if f"{op}(" in body]
    body = "\n\n".join([*helpers, body])
    imports = [
        text
        for text, mark in (
            ("import itertools", "itertools."),
            ("import math", "math."),
            ("from collections.abc import Sequence", "Sequence["),
            ("from typing import Any", "Any"),
            ("import jax", "jax."),
            ("import jax.numpy as jnp", "jnp."),
            ("from jax import lax", "lax."),
            ("from jax.extend.core import primitives", "primitives."),
        )
        if re.search(rf"\b{re.escape(mark)}", body)
    ]
    return "\n".join([*imports, "", "", body, ""]).lstrip("\n")


def _types(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))


def _identifier(text: str, default: str) -> str:
    plain = re.sub(r"\W+", "_", text).strip("_")
    if plain and plain[0].isdigit():
        plain = f"{default}{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) else plain or default


def _fresh(text: str, taken: set[str]) -> str:
    name, number = text, 1
    while name in taken:
        number += 1
        name = f"{text}{number}" if not text[-1].isdigit() else f"{text}_{number}"
    taken.add(name)
    return name


class Block:
    """Statements of one function body.

    Args:
        graph: what to compute.
        taken: names in use; shared by nested functions.
        inputs: text of each input.
        depth: of indentation.
        precision: of matrix products.
    """

    def __init__(self, graph: Graph, taken: set[str], inputs: Sequence[Expr], depth: int, precision: str | None):
        graph = joined(ordered(graph))
        self.graph = graph
        self.taken = taken
        self.depth = depth
        self.precision = graph.precision or precision
        self.lines: list[str] = []
        self._text: dict[int, Expr] = dict(zip(graph.inputs, inputs, strict=True))
        self._uses = graph.use_counts()
        self._thin: dict[int, Expr] = {}  # broadcasts that stand in the expression that reads them
        self._parts: dict[int, list[str]] = {}
        self._held: dict[int, Sources] = {}  # user lines of what stands in the expression that reads it
        self._users: dict[int, list[int]] = {}
        self._reads = {number: self._operands(number) for number in range(len(graph.nodes))}

    def write(self) -> list[Expr]:
        """Write the statements; the outputs."""
        live = self._live()
        for number in schedule(self.graph):
            if number in live and number not in self._text:
                self._statement(number)
        return [self.operand(number) for number in self.graph.outputs]

    def operand(self, number: int) -> Expr:
        """A node as an array of its type."""
        if self._is_scalar_constant(number):
            node = self.graph.nodes[number]
            return Expr(typed_text(node.attr("value"), node.type.dtype))
        return self._text[number]

    def fresh(self, base: str) -> str:
        """A name not in use."""
        return _fresh(base, self.taken)

    def line(self, text: str) -> None:
        """Append a line."""
        self.lines.append("    " * self.depth + text)

    def _operands(self, number: int) -> tuple[int, ...]:
        node = self.graph.nodes[number]
        if node.op == "add":
            return tuple(negated_term(self.graph, q)[0] for q in node.operands)
        return einsum_call(self.graph, node, self._uses)[1] if node.op == "einsum" else node.operands

    def _live(self) -> set[int]:
        live: set[int] = set()
        stack = [*self.graph.outputs, *self.graph.effects]
        while stack:
            number = stack.pop()
            if number not in live:
                live.add(number)
                stack.extend(self._reads[number])
                for q in self._reads[number]:
                    self._users.setdefault(q, []).append(number)
        return live

    def _statement(self, number: int) -> None:
        node = self.graph.nodes[number]
        if node.op == "result":
            held = self._parts.get(node.operands[0])
            self._text[number] = Expr(held[node.attr("index")]) if held else self._text[node.operands[0]]
            return
        if self._is_scalar_constant(number):
            return
        base = _identifier(_NAMES.get(node.op, node.attr("name") if node.op == "opaque" else node.op), "x")
        base = _einsum_name(node) if node.op == "einsum" else base
        if node.op in _CONTROL:
            self._parts[number] = [self.fresh(f"{base}{k}") for k in range(len(node.types))]
            if len(node.types) == 1:
                self._text[number] = Expr(self._parts.pop(number)[0])
            names = self._parts.get(number) or [self._text[number].text]
            control_text(self, node, names)
            return
        expr = _unpacked(node, self._expression(number, node))
        if len(node.types) != 1:
            self._parts[number] = [self.fresh(f"{base}{k}") for k in range(len(node.types))]
            self.line(f"{', '.join(self._parts[number])} = {expr.text}{self._comment(number)}")
        elif self._inlined(number, node, expr):
            self._text[number] = expr
            self._keep_thin(number, node)
            for user in self._users.get(number, ()):
                self._held[user] = merge_sources(self._held.get(user, ()), node.sources, self._held.get(number, ()))
        else:
            name = self.fresh(base)
            self._text[number] = Expr(name)
            self.line(f"{name} = {expr.text}{self._comment(number)}")

    def _comment(self, number: int) -> str:
        """User lines of a statement and of what stands in it."""
        sources = merge_sources(self.graph.nodes[number].sources, self._held.get(number, ()))
        return f"  # {shown(sources)}" if sources else ""

    def _inlined(self, number: int, node: Node, expr: Expr) -> bool:
        users = self._users.get(number, [])
        if self._is_uniform(number):
            return True
        if len(expr.text) > MAX_INLINE or number in self.graph.effects or self.graph.outputs.count(number):
            return False
        if len(users) != 1 or self.graph.nodes[users[0]].op in (*_CONTROL, "opaque"):
            return False
        theirs = self.graph.nodes[users[0]].sources
        return not node.sources or not theirs or node.sources[0] == theirs[0]

    def _is_scalar_constant(self, number: int) -> bool:
        node = self.graph.nodes[number]
        return node.op == "constant" and not node.type.shape

    def _is_uniform(self, number: int) -> bool:
        """A scalar constant that is broadcast over distinct dimensions."""
        node = self.graph.nodes[number]
        if node.op != "einsum" or not self._is_scalar_constant(node.operands[0]):
            return False
        spec = Spec.parse(node.attr("spec"))
        return len(node.operands) == 1 and len(set(spec.output)) == len(spec.output) and spec.scale == 1

    def _expression(self, number: int, node: Node) -> Expr:
        if node.op == "constant":
            return Expr(array_text(thaw(node.attr("value")), node.type.dtype))
        if node.op == "add":
            negative = [negated_term(self.graph, q)[1] for q in node.operands]
            terms = self._mixed(self._reads[number], node.type)
            return signed_sum(list(zip(terms, negative, strict=True)))
        if node.op == "einsum":
            return self._einsum(node)
        operands = self._reads[number]
        types = [self.graph.nodes[q].type for q in operands]
        if node.op in PROMOTING:
            cases = slice(1, None) if node.op == "select_n" else slice(None)
            args = [self.operand(q) for q in operands]
            args[cases] = self._mixed(operands[cases], types[-1])
        else:
            args = [self.operand(q) for q in operands]
        return text_of(node, args, types, self.precision)

    def _keep_thin(self, number: int, node: Node) -> None:
        if self._is_uniform(number) and node.type.dtype in _LITERAL:
            value = self.graph.nodes[node.operands[0]].attr("value")
            self._thin[number] = Expr(scalar_text(value, node.type.dtype))
        elif node.op == "einsum":
            spec, operands = einsum_call(self.graph, node, self._uses)
            thin = thin_text(self.operand(operands[0]), Spec.parse(spec)) if len(operands) == 1 else None
            if thin is not None:
                self._thin[number] = thin

    def _mixed(self, operands: Sequence[int], type: TensorType) -> list[Expr]:
        """Operands as they may stand beside another: constants as Python numbers, broadcasts left to the other one."""
        bare = [self._is_scalar_constant(q) for q in operands]
        full = any(q not in self._thin and self.graph.nodes[q].type.shape for q in operands)
        if all(bare) or type.dtype not in _LITERAL:
            bare = [False] * len(operands)
        texts = []
        for q, constant in zip(operands, bare, strict=True):
            if constant:
                texts.append(Expr(scalar_text(self.graph.nodes[q].attr("value"), type.dtype)))
            else:
                texts.append(self._thin[q] if q in self._thin and full else self.operand(q))
        return texts

    def _einsum(self, node: Node) -> Expr:
        text, operands = einsum_call(self.graph, node, self._uses)
        spec = Spec.parse(text)
        if len(operands) == 1:
            value = self.graph.nodes[operands[0]].attr("value") if self._is_scalar_constant(operands[0]) else None
            return single_text(self.operand(operands[0]), spec, node.type.dtype, value)
        options = {}
        if self.precision:
            options["precision"] = f'"{self.precision}"'
        if self.graph.nodes[operands[0]].type.dtype != node.type.dtype:
            options["preferred_element_type"] = dtype_text(node.type.dtype)
        x, y = self._mixed(operands, node.type) if not spec.summed else map(self.operand, operands)
        return product_text(x, y, spec, node.type.dtype, options)


def _einsum_name(node: Node) -> str:
    spec = Spec.parse(node.attr("spec"))
    if len(spec.inputs) == 2:
        return "dot" if spec.summed else "product"
    return "total" if spec.summed else "scaled" if spec.scale != 1 else "view"


def _unpacked(node: Node, expr: Expr) -> Expr:
    """Primitives that return lists are read at their only result."""
    name = node.attr("name") if node.op == "opaque" else node.op
    several = name in all_primitives() and all_primitives()[name].multiple_results
    bound = expr.text.partition("(")[0].endswith(".bind")
    return Expr(f"{expr.text}[0]") if several and bound and len(node.types) == 1 else expr
