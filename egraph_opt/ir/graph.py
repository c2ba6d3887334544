# SPDX-License-Identifier: Apache-2.0
"""The Graph: an immutable, typed, hash-consed DAG of tensor operations with several inputs and outputs.

Every stage reads and writes it: capture and extraction build one, the normaliser maps one to another, the engine
encodes it, lowering runs it. Equality is structural; source lines ride along and do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from egraph_opt.errors import GraphError
from egraph_opt.ir.attrs import freeze
from egraph_opt.ir.sources import Sources, merge_sources
from egraph_opt.ir.types import TensorType
from egraph_opt.ir.walk import topological

Attrs = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Args:
        op: name of the operation, see ``egraph_opt.ops``.
        operands: numbers of earlier nodes.
        attrs: static attributes, in the order of the op's record.
        types: type of each result; operations with several results are read through ``result`` nodes.
        sources: user source lines; no part of equality.
    """

    op: str
    operands: tuple[int, ...]
    attrs: Attrs
    types: tuple[TensorType, ...]
    sources: Sources = field(default=(), compare=False)

    @property
    def type(self) -> TensorType:
        """Type of the only result."""
        assert len(self.types) == 1, f"{self.op} has {len(self.types)} results"
        return self.types[0]

    def attr(self, name: str) -> Any:
        """Value of one attribute."""
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(f"{self.op} has no attribute {name!r}")

    @property
    def kwargs(self) -> dict[str, Any]:
        """Attributes as a dictionary."""
        return dict(self.attrs)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in topological order, and which of them are inputs, outputs and effects.

    Args:
        nodes: operands before users.
        inputs: numbers of the input nodes, in call order.
        outputs: numbers of the returned nodes; one node may be returned twice.
        effects: numbers of the nodes that must run in this order whatever reads them.
        names: a readable name of each input.
        weak_outputs: for each output, whether it carries JAX's weak type.
        precision: least matrix-product precision the program asked for anywhere (None, "high", "highest").
    """

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    effects: tuple[int, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    weak_outputs: tuple[bool, ...] = ()
    precision: str | None = None

    is_attribute = True

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        """Types of the inputs."""
        return tuple(self.nodes[i].type for i in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs, weak marks included."""
        weak = self.weak_outputs or (False,) * len(self.outputs)
        return tuple(
            TensorType(t.shape, t.dtype, w)
            for t, w in zip((self.nodes[i].type for i in self.outputs), weak, strict=True)
        )

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def op_counts(self) -> Counter[str]:
        """How often each operation occurs, sub-graphs not counted."""
        return Counter(node.op for node in self.nodes)

    def use_counts(self) -> list[int]:
        """How many operand slots, outputs and effects read each node."""
        uses = [0] * len(self.nodes)
        for node in self.nodes:
            for operand in node.operands:
                uses[operand] += 1
        for root in (*self.outputs, *self.effects):
            uses[root] += 1
        return uses

    def subgraphs(self) -> Iterator[Graph]:
        """Sub-graphs of control-flow nodes, depth first."""
        for node in self.nodes:
            for _, value in node.attrs:
                for item in value if type(value) is tuple else (value,):
                    if isinstance(item, Graph):
                        yield item
                        yield from item.subgraphs()

    def __str__(self) -> str:
        from egraph_opt.ir.text import format_graph

        return format_graph(self)

    @staticmethod
    def parse(text: str) -> Graph:
        """Read what ``str`` prints.

        Raises:
            GraphError: the text is not a graph; the message names the line.
        """
        from egraph_opt.ir.text import parse_graph

        return parse_graph(text)


class Builder:
    """Makes a Graph node by node; equal nodes are made once and share their source lines."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[int] = []
        self.names: list[str] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._sources: list[Sources] = []

    def input(self, type: TensorType, name: str = "") -> int:
        """Append an input node."""
        number = self._append(Node("input", (), (("index", len(self.inputs)),), (type,)))
        self.inputs.append(number)
        self.names.append(name or f"arg{len(self.inputs) - 1}")
        return number

    def add(
        self,
        op: str,
        operands: Sequence[int],
        attrs: Iterable[tuple[str, Any]],
        types: TensorType | Sequence[TensorType],
        sources: Sources = (),
    ) -> int:
        """Number of the node with these properties, appended when it is new."""
        kinds = (types,) if isinstance(types, TensorType) else tuple(types)
        kinds = tuple(t.strong() for t in kinds)
        frozen = tuple((name, freeze(value)) for name, value in attrs)
        key = (op, tuple(operands), frozen, kinds)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = self._append(Node(op, tuple(operands), frozen, kinds, sources))
        elif sources:
            self._sources[number] = merge_sources(self._sources[number], sources)
        return number

    def copy(self, node: Node, operands: Sequence[int]) -> int:
        """The node with other operands."""
        return self.add(node.op, operands, node.attrs, node.types, node.sources)

    def node(self, number: int) -> Node:
        """A node already made."""
        return self.nodes[number]

    def type(self, number: int) -> TensorType:
        """Type of a single-result node already made."""
        return self.nodes[number].type

    def note(self, number: int, sources: Sources) -> None:
        """Add source lines to a node already made."""
        self._sources[number] = merge_sources(self._sources[number], sources)

    def sources(self, number: int) -> Sources:
        """Source lines of a node already made."""
        return self._sources[number]

    def build(
        self,
        outputs: Sequence[int],
        effects: Sequence[int] = (),
        weak_outputs: Sequence[bool] | None = None,
        precision: str | None = None,
    ) -> Graph:
        """The Graph of what the roots need, renumbered: inputs first, then operands before users."""
        ordered = list(topological((*self.inputs, *effects, *outputs), lambda n: self.nodes[n].operands))
        position = {number: place for place, number in enumerate(ordered)}
        nodes = tuple(
            Node(
                self.nodes[n].op,
                tuple(position[q] for q in self.nodes[n].operands),
                self.nodes[n].attrs,
                self.nodes[n].types,
                self._sources[n],
            )
            for n in ordered
        )
        return Graph(
            nodes,
            tuple(position[n] for n in self.inputs),
            tuple(position[n] for n in outputs),
            tuple(position[n] for n in effects),
            tuple(self.names),
            tuple(weak_outputs) if weak_outputs is not None else (False,) * len(outputs),
            precision,
        )

    def _append(self, node: Node) -> int:
        for operand in node.operands:
            if not 0 <= operand < len(self.nodes):
                raise GraphError(f"{node.op}: operand %{operand} stands after its user")
        self.nodes.append(node)
        self._sources.append(node.sources)
        return len(self.nodes) - 1
