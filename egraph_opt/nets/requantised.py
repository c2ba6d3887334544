# SPDX-License-Identifier: Apache-2.0
"""Quantising what was dequantised already: rounding that changes nothing is left out.

A tensor of 8-bit integers has 256 values at most, whatever is computed of it element by element: all of them are
computed here, so that two nodes with equal tables are equal. Moving, cutting, joining and taking maxima makes no new
values, so a table goes through layouts and pools. No scale or zero point is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import identity
from egraph_opt.ir.types import is_floating, is_integer
from egraph_opt.normalise import normalise
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.check.evaluate import EvaluationError, evaluate

Array = np.ndarray[Any, Any]

NARROW = frozenset({"int8", "uint8"})
"""Element types whose values are all looked at."""

STEPS = frozenset(
    {"add", "div", "max", "min", "clamp", "round", "convert_element_type", "abs", "copy", "stop_gradient"}
)
"""Operations on single elements that a table goes through: those of quantising and dequantising, and activations."""

MOVES = frozenset({"reshape", "slice", "rev"})
JOINS = frozenset({"concatenate", "stack"})
POOLS = frozenset({"reduce_window_max", "reduce_max", "reduce_min"})

LARGEST = 1_024
"""Values of a table."""

MARGIN = 1 / 64
"""How far from a half a number must be that is rounded, so that nobody's last bit decides."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The values of a node, for each value that the elements of another node may have.

    Args:
        base: that node.
        values: in its order.
    """

    base: int
    values: Array


@dataclass(slots=True)
class _Tables:
    """Tables of the nodes of a graph, and which node had each table first."""

    graph: Graph
    tables: dict[int, _Table] = field(default_factory=dict)
    first: dict[tuple[int, TensorType, bytes], int] = field(default_factory=dict)

    def same(self, number: int) -> int:
        """The first node that is equal to this one."""
        node = self.graph.nodes[number]
        table = self._of(number, node) if len(node.types) == 1 else None
        if table is None:
            return number
        self.tables[number] = table
        return self.first.setdefault((table.base, node.type, table.values.tobytes()), number)

    def _of(self, number: int, node: Node) -> _Table | None:
        known = [self.tables.get(q) for q in node.operands]
        shaped = [t for t, q in zip(known, node.operands, strict=True) if self._scalar(q) is None]
        if node.operands and shaped and None not in shaped:
            made = self._computed(number, node, [t for t in shaped if t is not None])
            if made is not None:
                return made
        if node.type.dtype in NARROW and node.type.shape:
            info = np.iinfo(node.type.dtype)
            return _Table(number, np.arange(info.min, info.max + 1).astype(node.type.dtype))
        return None

    def _computed(self, number: int, node: Node, shaped: Sequence[_Table]) -> _Table | None:
        if not all(self.graph.nodes[q].type.size for q in node.operands):
            return None  # an extreme of nothing is infinite
        if node.op in MOVES:
            return _Table(number, shaped[0].values)
        if node.op in JOINS or (node.op in POOLS and _meets_no_padding(node)):
            values = np.unique(np.concatenate([t.values for t in shaped]))
            return _Table(number, values) if len(values) <= LARGEST else None
        if node.op == "einsum":
            return self._einsum(number, node, shaped)
        single = node.op in STEPS and all(t.base == shaped[0].base for t in shaped)
        if not single or not (
            node.op in ("add", "convert_element_type") or Trait.ELEMENTWISE in get_op(node.op).traits
        ):
            return None
        return self._step(node, shaped[0].base)

    def _einsum(self, number: int, node: Node, shaped: Sequence[_Table]) -> _Table | None:
        """A multiple, be it in another order or repeated, or a product of two functions of one element."""
        spec = Spec.parse(node.attr("spec"))
        if spec.summed or not spec.has_distinct_output or len(node.operands) > 2:
            return None
        one = spec.inputs[0] == spec.output
        if len(node.operands) == 2:
            if spec.inputs[1] != spec.output or not one or len(shaped) != 2 or shaped[0].base != shaped[1].base:
                return None
            return self._step(node, shaped[0].base, f"a,a->a;{len(shaped[0].values)}")
        made = self._step(node, shaped[0].base if one else number, identity(shaped[0].values.shape, spec.scale))
        return made if made is None or len(set(spec.inputs[0])) == len(spec.inputs[0]) else None

    def _step(self, node: Node, base: int, spec: str = "") -> _Table | None:
        """What an operation makes of each value."""
        given = [self.tables[q].values if (x := self._scalar(q)) is None else x for q in node.operands]
        count = next(len(x) for x in given if x.ndim)
        if node.op == "round" and not _is_clear(given[0]):
            return None
        if node.op == "convert_element_type" and not _converts_exactly(given[0], node.type.dtype):
            return None
        attrs = (("spec", spec),) if spec else node.attrs
        small = Node(node.op, node.operands, attrs, (node.type.with_shape((count,)),))
        if node.op == "add":  # whose operands have one shape
            given = [np.broadcast_to(x, (count,)) for x in given]
        try:
            return _Table(base, np.ascontiguousarray(evaluate(small, given)))
        except EvaluationError:
            return None

    def _scalar(self, number: int) -> Array | None:
        """The number that a node repeats, if it does."""
        node = self.graph.nodes[number]
        if node.op == "einsum" and len(node.operands) == 1:
            spec = Spec.parse(node.attr("spec"))
            if spec.inputs[0] or spec.scale != 1 or not spec.has_distinct_output:
                return None
            node = self.graph.nodes[node.operands[0]]
        if node.op != "constant" or node.type.shape or node.type.dtype == "bool":
            return None
        return np.asarray(node.attr("value"), np.dtype(node.type.dtype))


def _is_clear(x: Array) -> bool:
    """Whether no number is so near to a half that the last bit decides how it is rounded."""
    return bool(np.isfinite(x).all() and (np.abs(np.abs(x - np.floor(x)) - 0.5) > MARGIN).all())


def _converts_exactly(x: Array, dtype: str) -> bool:
    """Whether numbers stay what they are in another element type."""
    if is_integer(dtype):
        info = np.iinfo(dtype)
        return bool(
            np.isfinite(x).all() and (x == np.floor(x)).all() and (x >= info.min).all() and (x <= info.max).all()
        )
    return is_floating(dtype)


def _meets_no_padding(node: Node) -> bool:
    """Whether each window of a pool holds an element."""
    if node.op != "reduce_window_max":
        return True
    sizes = node.attr("window_dimensions")
    plain = all(d == 1 for name in ("base_dilation", "window_dilation") for d in node.attr(name) or ())
    return plain and all(max(pair) < n for pair, n in zip(node.attr("padding"), sizes, strict=True))


def requantised(graph: Graph) -> Graph:
    """The graph without rounding that changes nothing; the one given where there is none.

    Args:
        graph: a program in normal form.
    """
    held = {type.dtype for node in graph.nodes for type in node.types}
    if not held & NARROW or not any(node.op == "round" for node in graph.nodes):
        return graph
    tables = _Tables(graph)
    same = [tables.same(number) for number in range(len(graph.nodes))]
    if all(number == other for number, other in enumerate(same)):
        return graph
    emitter = Emitter()
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if same[number] != number and node.op != "input":
            place.append(place[same[number]])
        elif node.op == "input":
            place.append(emitter.input(node.type, names[number]))
        else:
            place.append(emitter.copy(node, [place[q] for q in node.operands]))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    new = normalise(emitter.build(*roots, graph.weak_outputs, graph.precision), Numerics.EXACT)
    return new if _rounds(new) < _rounds(graph) else graph


def _rounds(graph: Graph) -> int:
    return sum(node.op == "round" for node in graph.nodes)
