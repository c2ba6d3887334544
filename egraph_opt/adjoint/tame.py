# SPDX-License-Identifier: Apache-2.0
"""Which tensors are finite for finite arguments: a mask may become a factor of those, since zero times them is zero.

Sums and products are taken to stay in range, as wherever they are regrouped; poles and exponentials are not.
"""

from __future__ import annotations

import math

from egraph_opt.ir import Builder, Node
from egraph_opt.ir.attrs import Array
from egraph_opt.ir.spec import Spec
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.ops import Trait, get_op

EXPONENTIALS = ("exp", "exp2", "expm1")
"""Total functions that stay small where their argument is not positive."""

STEEP = (*EXPONENTIALS, "sinh", "cosh")
"""Total functions that overflow for moderate arguments."""

PLAIN = (
    *("input", "einsum", "add", "iota", "max", "min", "select_n", "reduce_max", "reduce_min", "reshape", "slice"),
    *("concatenate", "rev", "sign", "convert_element_type", "stop_gradient", "copy"),
)
"""Operations, beside total functions, that make finite tensors of finite ones, as far as sums and products do."""

DEEP = 12
"""How far down signs are looked for."""


class Tame:
    """What is known of the nodes of a builder, worked out when asked.

    Args:
        builder: holds the nodes.
    """

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._known: dict[int, bool] = {}

    def __call__(self, number: int) -> bool:
        """Whether a tensor is finite for finite arguments, as far as its sums and products do not overflow."""
        stack = [number]
        while stack:
            top = stack[-1]
            node = self._builder.nodes[top]
            missing = [q for q in node.operands if q not in self._known]
            if top in self._known:
                stack.pop()
            elif missing and self._is_float(node):
                stack += missing
            else:
                stack.pop()
                self._known[top] = not self._is_float(node) or self._is_finite(node)
        return self._known[number]

    @staticmethod
    def _is_float(node: Node) -> bool:
        dtype = node.types[0].dtype
        return is_floating(dtype) or is_complex(dtype)

    def _is_finite(self, node: Node) -> bool:
        """The same of a node of floats, its operands being known."""
        if node.op == "constant":
            value = node.attr("value")
            return not isinstance(value, Array) and math.isfinite(abs(value))
        if not all(self._known[q] or self._is_beyond(q, node.op) for q in node.operands):
            return False
        if node.op == "integer_pow":
            return bool(node.attr("y") >= 0)
        if node.op in STEEP:
            return node.op in EXPONENTIALS and self._has_sign(node.operands[0], -1)
        return node.op in PLAIN or Trait.TOTAL in get_op(node.op).traits

    def _is_beyond(self, number: int, op: str) -> bool:
        """Whether it is the infinity that a maximum or minimum never takes."""
        node = self._builder.nodes[number]
        sign = {"max": -1, "min": 1}.get(op)
        return sign is not None and node.op == "constant" and node.attr("value") == sign * math.inf

    def _has_sign(self, number: int, sign: int, depth: int = 0) -> bool:
        """Whether nothing in a tensor has the other sign."""
        node = self._builder.nodes[number]
        if depth > DEEP:
            return False
        if node.op == "constant":
            value = node.attr("value")
            return isinstance(value, int | float) and value * sign >= 0
        if node.op == "einsum":
            spec = Spec.parse(node.attr("spec"))
            if len(node.operands) == 1:
                return self._has_sign(node.operands[0], sign if spec.scale > 0 else -sign, depth + 1)
            return sign > 0 and node.operands[0] == node.operands[1] and spec.inputs[0] == spec.inputs[1]
        if node.op in ("abs", "exp", "logistic"):
            return sign > 0
        if node.op in ("max", "min"):
            enough = any if (node.op == "max") == (sign > 0) else all
            return enough(self._has_sign(q, sign, depth + 1) for q in node.operands)
        if node.op == "add":
            below = (
                sign < 0 and len(node.operands) == 2 and any(map(self._is_below, node.operands, node.operands[::-1]))
            )
            return below or all(self._has_sign(q, sign, depth + 1) for q in node.operands)
        if node.op == "select_n" and len(node.operands) == 3:
            predicate, *cases = node.operands
            return all(
                self._has_sign(q, sign, depth + 1) or self._decides(predicate, q, bool(case), sign)
                for case, q in enumerate(cases)
            )
        return False

    def _decides(self, predicate: int, number: int, case: bool, sign: int) -> bool:
        """Whether a tensor has the sign where the predicate is ``case``: it is compared with zero there."""
        node = self._builder.nodes[predicate]
        if node.op not in ("gt", "ge", "lt", "le"):
            return False
        left, right = (self._builder.nodes[q] for q in node.operands)
        zero = right if node.operands[0] == number else left if node.operands[1] == number else None
        if zero is None or zero.op != "constant" or zero.attr("value") != 0:
            return False
        positive = (node.op in ("gt", "ge")) == (zero is right)
        return (positive == case) == (sign > 0)

    def _is_below(self, x: int, shift: int) -> bool:
        """Whether ``shift`` is minus the maximum of ``x``, broadcast."""
        node = self._builder.nodes[shift]
        if node.op != "einsum" or len(node.operands) != 1 or Spec.parse(node.attr("spec")).scale != -1:
            return False
        number = node.operands[0]
        places = Spec.parse(node.attr("spec"))
        for _ in range(DEEP):
            node = self._builder.nodes[number]
            if node.op == "stop_gradient":
                number = node.operands[0]
            elif node.op == "max":  # with minus infinity
                number = max(node.operands)
            elif node.op == "select_n":  # zero where the maximum is not finite
                number = node.operands[2]
            else:
                break
        kept = [axis for axis in range(len(self._builder.nodes[x].type.shape)) if axis not in self._axes(node)]
        matched = [places.output.index(c) for c in places.inputs[0]] == kept and places.has_distinct_output
        return node.op == "reduce_max" and node.operands[0] == x and matched

    @staticmethod
    def _axes(node: Node) -> tuple[int, ...]:
        return tuple(node.attr("axes")) if node.op == "reduce_max" else ()
