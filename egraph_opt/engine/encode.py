# SPDX-License-Identifier: Apache-2.0
"""Graph to e-graph: constructors, and rows that a bulk load turns into e-nodes.

Ops that rules speak of have a constructor of their own (``Tanh x``, ``Einsum2 spec x y``; see ``words``). All others
are ``Call<n>`` with a key into a table of calls here, so the e-graph knows a handful of constructors whatever the
program holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from egraph_opt.engine.compile import Constructor
from egraph_opt.engine.session import Row
from egraph_opt.engine.words import ADD, EINSUM, head
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ops.declared import ASSUME


@dataclass(frozen=True, slots=True)
class Call:
    """A node the rules do not look into."""

    op: str
    attrs: tuple[tuple[str, Any], ...]
    types: tuple[TensorType, ...]
    arity: int

    @property
    def is_leaf_or_effect(self) -> bool:
        """Whether operands do not determine the value: an input, or an op with side effects."""
        return not self.arity or dict(self.attrs).get("effect") is not None

    def is_fixed(self, inputs: Collection[int]) -> bool:
        """Whether this is a leaf whose value stays the same while the inputs at these positions do."""
        if self.arity or dict(self.attrs).get("effect") is not None:
            return False
        return self.op != "input" or dict(self.attrs)["index"] in inputs


class Encoder:
    """Rows for one e-graph.

    Args:
        mentioned: constructors that some rule reads or makes; other ops become calls.
    """

    def __init__(self, mentioned: Iterable[str]) -> None:
        self._spoken = {*mentioned, ADD, *EINSUM.values()}
        self._keys: dict[Call, str] = {}
        self.calls: dict[str, Call] = {}
        self.constructors: dict[str, Constructor] = {}
        self.next_number = 0

    def rows(self, graph: Graph) -> tuple[dict[str, list[Row]], list[int]]:
        """Rows of all nodes by constructor, ``(number, arguments...)``, and the number of each node."""
        tables: dict[str, list[Row]] = {}
        numbers: list[int] = []
        for node in graph.nodes:
            operands = [numbers[q] for q in node.operands]
            if node.op == "add":
                total = operands[0]
                for term in operands[1:]:
                    total = self.row(tables, ADD, (), (total, term))
                numbers.append(total)
            elif node.op == ASSUME:
                numbers.append(operands[0])  # what is stated is a fact of the class
            else:
                name, key = self.head(node)
                numbers.append(self.row(tables, name, key, operands))
        return tables, numbers

    def head(self, node: Node) -> tuple[str, tuple[str, ...]]:
        """Constructor and text arguments of a node that is no sum."""
        found = head(node)
        if found is not None and found[0] in self._spoken:
            return found
        return f"Call{len(node.operands)}", (self._key(Call(node.op, node.attrs, node.types, len(node.operands))),)

    def row(self, tables: dict[str, list[Row]], name: str, text: Sequence[str], operands: Sequence[int]) -> int:
        """Append the row of one e-node under a fresh number."""
        if name not in self.constructors:
            self.constructors[name] = Constructor(name, ("String",) * len(text) + ("T",) * len(operands))
        number = self.next_number
        self.next_number += 1
        tables.setdefault(name, []).append((number, *text, *operands))
        return number

    def _key(self, call: Call) -> str:
        if call not in self._keys:
            self._keys[call] = key = f"{call.op}#{len(self._keys)}"
            self.calls[key] = call
        return self._keys[call]


def declarations(constructors: Mapping[str, Constructor]) -> str:
    """Declare to egglog the constructors and of their provenance tables."""
    lines = []
    for constructor in constructors.values():
        sorts = " ".join(constructor.arguments)
        lines.append(f"(constructor {constructor.name} ({sorts}) T)")
        lines.append(f"(function why.{constructor.name} ({sorts}) String :merge old)")
    return "\n".join(lines)


def loaders(constructors: Mapping[str, Constructor]) -> str:
    """A plain relation per constructor and the rule that turns its rows into e-nodes."""
    lines = []
    for name, constructor in constructors.items():
        sorts = " ".join("i64" if sort == "T" else sort for sort in constructor.arguments)
        arguments = [f"a{i}" for i in range(len(constructor.arguments))]
        tensors = [a for a, sort in zip(arguments, constructor.arguments, strict=True) if sort == "T"]
        facts = " ".join(f"(= x{a} (node {a}))" for a in tensors)
        term = f"({name} {' '.join(f'x{a}' if a in tensors else a for a in arguments)})"
        lines.append(f"(relation load.{name} (i64 {sorts}))")
        # Stamped as made by no rule, so that one which finds it again does not count as its maker.
        stamp = f'(set (why.{term[1:-1]}) "")'
        lines.append(f"(rule ((load.{name} n {' '.join(arguments)}) {facts})")
        lines.append(f"      ((set (node n) {term}) {stamp}) :ruleset load)")
    return "\n".join(lines)
