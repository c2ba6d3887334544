# SPDX-License-Identifier: Apache-2.0
"""One side of a rule made of functions: the same graph at two sets of sizes, read as expressions of their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from egraph_opt.engine.words import head
from egraph_opt.errors import RuleError
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.attrs import format_attr
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.define.sizes import ALLOWED, SMALL, Sizes


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a rule, captured at two sets of sizes.

    Args:
        first: graph at the first sizes.
        second: the same graph at the second ones.
        sizes: their names.
    """

    first: Graph
    second: Graph
    sizes: Sizes

    def __post_init__(self) -> None:
        """Refuse what rules cannot speak of.

        Raises:
            RuleError: an operation has several results, is a loop or a branch, or has no op.
        """
        for node in self.first.nodes:
            if (why := _unspeakable(node)) is not None:
                raise RuleError(f"{why} cannot stand in a rule")

    @property
    def root(self) -> int:
        """Number of the result."""
        return self.first.outputs[0]

    @property
    def is_free_of_rank(self) -> bool:
        """Whether the side is elementwise operations without attributes: then it is the same for every rank."""
        return all(
            node.op in ("input", "add")
            or (node.op == "constant" and not self.number(n)[1])
            or (Trait.ELEMENTWISE in get_op(node.op).traits and self.text(n)[1] is None)
            for n, node in enumerate(self.first.nodes)
        )

    @property
    def used(self) -> set[str]:
        """Names of the variables that are read."""
        read = {self.root, *(q for node in self.first.nodes for q in node.operands)}
        return {self.name(n) for n in self.first.inputs if n in read}

    @property
    def alike(self) -> Sequence[str]:
        """Facts that hold all tensors to one shape: a result without some of them has the shape all the same."""
        tensors = [self.name(n) for n in self.first.inputs if self.rank(n)]
        scalars = [self.name(n) for n in self.first.inputs if not self.rank(n)]
        facts = [f"(= ?shape (shape ?{name}))" for name in tensors] if len(tensors) > 1 else []
        return [*facts, *(f'(= "scalar" (shape ?{name}))' for name in scalars if tensors)]

    def is_elementwise(self, n: int) -> bool:
        """Whether the node is an operation on each element alone."""
        return Trait.ELEMENTWISE in get_op(self.first.nodes[n].op).traits

    def rank(self, n: int) -> int:
        """Number of dimensions of a node."""
        return len(self.first.nodes[n].type.shape)

    def name(self, n: int) -> str:
        """Name of the input that a node is."""
        index = self.first.nodes[n].attr("index")
        return str(self.first.names[index])

    def dims(self, n: int) -> str:
        """Sizes of a node's dimensions, as expressions."""
        shapes = (graph.nodes[n].type.shape for graph in (self.first, self.second))
        return ",".join(self.expression(a, b) for a, b in zip(*shapes, strict=True))

    def expression(self, a: int, b: int) -> str:
        """A size as an expression.

        Raises:
            RuleError: it is none of the named sizes.
        """
        found = self.sizes.expression(a, b)
        if found is None:
            sizes = ", ".join(f"{n}={size}" for n, size in self.sizes.at().items())
            allowed = f"a product, a sum or a difference of sizes, or one with 1 to {SMALL}, as in n*k, n-k+1, 2*n"
            raise RuleError(f"a size of {a} where {sizes} is no simple expression; want {allowed}")
        return found

    def factor(self, a: float, b: float) -> str:
        """A factor as an expression.

        Raises:
            RuleError: it is no number times or over sizes.
        """
        found = self.sizes.factor(a, b)
        if found is None:
            sizes = ", ".join(f"{n}={size}" for n, size in self.sizes.at().items())
            raise RuleError(f"a factor of {a:.6g} where {sizes} is no simple expression; want {ALLOWED}")
        return found

    def number(self, n: int) -> tuple[str, bool]:
        """Value of a scalar constant, as text or as an expression of sizes, and whether it is the latter.

        Raises:
            RuleError: it is an array, or no simple expression.
        """
        first, second = self.first.nodes[n], self.second.nodes[n]
        if first.type.shape:
            raise RuleError("an array of numbers cannot stand in a rule; make it of sizes, as jnp.eye does")
        a, b = (_real(node.attr("value")) for node in (first, second))
        if repr(a) == repr(b):
            return format_attr(a), False
        if a == int(a) and b == int(b) and (found := self.sizes.expression(int(a), int(b))):
            return found, True
        return self.factor(a, b), True

    def text(self, n: int) -> tuple[str, str | None]:
        """Constructor of a node and its text, with expressions in braces; None for an op without one.

        Raises:
            RuleError: rules cannot speak of the node.
        """
        node, other = self.first.nodes[n], self.second.nodes[n]
        heads = head(node), head(other)
        if heads[0] is None or heads[1] is None:
            raise RuleError(f"operation {node.op!r} as it is used here cannot stand in a rule")
        if not heads[0][1]:
            return heads[0][0], None
        found = self.sizes.text(heads[0][1][0], heads[1][1][0])
        if found is None:
            raise RuleError(f"{node.op}[{heads[0][1][0]}]: its attributes are no simple expressions of the sizes")
        return heads[0][0], found


def _unspeakable(node: Node) -> str | None:
    """What a node is called, if it is of a kind that no rule is about."""
    if node.op in ("scan", "while"):
        return f"a loop ({node.op})"
    if node.op == "cond":
        return "a branch (cond)"
    if node.op == "opaque":
        return f"the primitive {node.attr('name')!r}, which has no op,"
    return f"{node.op!r}, an operation with several results," if len(node.types) > 1 else None


def _real(value: Any) -> Any:
    return value.real if isinstance(value, complex) and value.imag == 0 else value
