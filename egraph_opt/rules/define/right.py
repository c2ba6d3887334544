# SPDX-License-Identifier: Apache-2.0
"""The right side of a rule as a term: specs and attributes are made from the sizes that the left side bound."""

from __future__ import annotations

from dataclasses import dataclass, field

from egraph_opt.ir import Spec
from egraph_opt.rules.define.left import Left
from egraph_opt.rules.define.side import Side


@dataclass(slots=True)
class Right:
    """A right side.

    Args:
        term: what is made.
        facts: attribute functions that compute its specs and texts.
        needs_binding: whether any of them reads the sizes.
        needs_dtype: whether any of them reads the element type.
    """

    term: str = ""
    facts: list[str] = field(default_factory=list)
    needs_binding: bool = False
    needs_dtype: bool = False


def write_right(side: Side, left: Left, dtype: str) -> Right:
    """The right side that goes with one pattern of the left.

    Args:
        side: the right side.
        left: the pattern, with its free orders.
        dtype: element type of the capture that stands for ``?dtype``.

    Raises:
        RuleError: something in it cannot be written as a rule.
    """
    right = Right()
    writer = _Writer(side, left, dtype, right)
    right.term = writer.visit(side.root)
    if left.turned_back:
        back = writer.fact(f'(turn-back {left.binding} "{side.dims(side.root)}")', "u")
        right.term = f"(Einsum1 {back} {right.term})"
    return right


class _Writer:
    def __init__(self, side: Side, left: Left, dtype: str, right: Right) -> None:
        self._side, self._left, self._dtype, self._right = side, left, dtype, right
        self._known: dict[str, str] = {}

    def fact(self, call: str, kind: str, binding: bool = True) -> str:
        """Variable that holds what an attribute function gives; equal calls share one."""
        if call not in self._known:
            self._known[call] = variable = f"?{kind}{len(self._known) + 1}"
            self._right.facts.append(f"(= {variable} {call})")
            self._right.needs_binding |= binding
        return self._known[call]

    def visit(self, n: int) -> str:
        """Term of a node."""
        side, m = self._side, self._left.binding
        node, other = side.first.nodes[n], side.second.nodes[n]
        if node.op == "input":
            return self._variable(n)
        operands = [self.visit(q) for q in node.operands]
        if node.op == "einsum":
            first, second = Spec.parse(node.attr("spec")), Spec.parse(other.attr("spec"))
            sizes = ",".join(side.expression(first.sizes[c], second.sizes[c]) for c in first.sizes)
            factor = side.factor(first.scale, second.scale)
            letters = f"{','.join(first.inputs)}->{first.output};{sizes}"
            spec = letters if factor in ("1", "1.0") else f"{letters}|{factor}"
            return f'(Einsum{len(operands)} {self.fact(f"""(make-spec {m} "{spec}")""", "r")} {" ".join(operands)})'
        if node.op == "add":
            return f"{'(Add ' * (len(operands) - 1)}{operands[0]} {') '.join(operands[1:])})"
        if node.op == "constant":
            return self._constant(n)
        constructor, text = side.text(n)
        parts = [constructor, *operands]
        if text is not None:
            parts.insert(1, self.fact(f'(fill {m} "{text}")', "v") if "{" in text else f'"{text}"')
        return f"({' '.join(parts)})"

    def _variable(self, n: int) -> str:
        name = self._side.name(n)
        group = self._left.turned.get(name)
        if group is None:
            return f"?{name}"
        turn = self.fact(f'(turn {self._left.binding} "{group}" "{self._side.dims(n)}")', "o")
        return f"(Einsum1 {turn} ?{name})"

    def _constant(self, n: int) -> str:
        number, depends = self._side.number(n)
        dtype = self._side.first.nodes[n].type.dtype
        follows = dtype == self._dtype
        self._right.needs_dtype |= follows
        word = "?dtype" if follows else f'"{dtype}"'
        if depends:
            return f'(Constant {self.fact(f"""(number-of {word} {self._left.binding} "{number}")""", "c")})'
        if not follows:
            return f'(Constant "{dtype} {number}")'
        return f'(Constant {self.fact(f"""(number ?dtype "{number}")""", "c", False)})'
