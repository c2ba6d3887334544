# SPDX-License-Identifier: Apache-2.0
"""What matching a rule fixes: a size for each name, and the order in which operands were found.

A binding has a text form, ``n=4 k=5|b=10``, in which it goes from one attribute function to the next.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from egraph_opt.errors import GraphError
from egraph_opt.ir.spec import LETTERS, canonical

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@dataclass(frozen=True, slots=True)
class Binding:
    """What a match fixed.

    Args:
        sizes: of the names.
        orders: of named leaves and of the result (``~``): the pattern's dimension that stands at each place.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @staticmethod
    @functools.cache
    def parse(text: str) -> Binding:
        """Read the text form."""
        sizes, _, orders = text.partition("|")
        pairs = [item.split("=") for item in sizes.split()]
        turned = [item.split("=") for item in orders.split()]
        return Binding({k: int(n) for k, n in pairs}, {k: tuple(map(int, digits)) for k, digits in turned})

    def __str__(self) -> str:
        sizes = " ".join(f"{k}={n}" for k, n in sorted(self.sizes.items()))
        orders = " ".join(f"{k}={''.join(map(str, order))}" for k, order in sorted(self.orders.items()))
        return f"{sizes}|{orders}"

    def join(self, other: Binding) -> Binding | None:
        """Both together; None where they contradict each other."""
        if any(other.sizes.get(k, n) != n for k, n in self.sizes.items()):
            return None
        return Binding({**self.sizes, **other.sizes}, {**self.orders, **other.orders})

    def value(self, expression: str) -> float | int | None:
        """An arithmetic expression of names and numbers; None where a name is unknown."""
        return _evaluate(_parsed(expression), self.sizes)

    def size(self, expression: str) -> int | None:
        """An expression that is a size; None where it is no whole number >= 0 or a name is unknown."""
        found = self.value(expression)
        return int(found) if found is not None and found == int(found) and found >= 0 else None

    def fill(self, text: str) -> str | None:
        """Text with ``{expression}`` replaced by sizes; None where one is unknown."""
        parts = re.split(r"\{([^}]*)\}", text)
        values = [self.size(part) for part in parts[1::2]]
        if None in values:
            return None
        parts[1::2] = map(str, values)
        return "".join(parts)

    def spec(self, text: str) -> str | None:
        """The spec of letters with named sizes: ``ab,bc->ac;n,k,m|1/k``."""
        letters, names, factor = split_pattern(text)
        words, output = _words(letters)
        order = list(dict.fromkeys("".join(words) + output))
        sizes = [self.size(name) for name in names]
        scale = self.value(factor)
        if scale is None:
            return None
        known = {c: n for c, n in zip(order, sizes, strict=True) if n is not None}
        return canonical(words, output, known, scale) if len(known) == len(order) else None

    def turn(self, name: str, dims: str, back: bool = False) -> str | None:
        """Transpose from the order in which a leaf was found to the pattern's; ``back``: the other way round."""
        sizes = [self.size(d) for d in dims.split(",")] if dims else []
        order = self.orders.get(name, tuple(range(len(sizes))))
        if None in sizes or sorted(order) != list(range(len(sizes))):
            return None
        plain = LETTERS[: len(sizes)]
        found = "".join(plain[i] for i in order)
        table = {c: n for c, n in zip(plain, sizes, strict=True) if n is not None}
        return canonical([plain], found, table) if back else canonical([found], plain, table)


def split_pattern(text: str) -> tuple[str, list[str], str]:
    """Letters, sizes and factor of ``ab,bc->ac;n,k,m|1/k``, the factor being 1 where none is written."""
    body, _, scale = text.partition("|")
    letters, _, sizes = body.partition(";")
    return letters, sizes.split(",") if sizes else [], scale or "1"


def _words(letters: str) -> tuple[list[str], str]:
    left, _, output = letters.partition("->")
    return left.split(","), output


@functools.cache
def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise GraphError(f"{expression!r} is no arithmetic expression; want e.g. 'n*k+1'") from None


def _evaluate(node: ast.expr, sizes: Mapping[str, int]) -> float | int | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.Name):
        return sizes.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _evaluate(node.operand, sizes)
        return None if inner is None else -inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _evaluate(node.left, sizes), _evaluate(node.right, sizes)
        if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
            return None
        return _OPERATORS[type(node.op)](left, right)  # type: ignore[no-any-return]
    raise GraphError(f"{ast.unparse(node)!r} is no arithmetic expression; want e.g. 'n*k+1'")
