# SPDX-License-Identifier: Apache-2.0
"""Bands of matrices as selections by a mask: a mask is made of row and column numbers, which can be cut into blocks."""

from __future__ import annotations

from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.attrs import DType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS


def without_bands(graph: Graph, numerics: Numerics = Numerics.REASSOCIATE) -> Graph:
    """The program with every ``band_part`` as a selection; the same object where there is none."""
    if not any(node.op == "band_part" for node in graph.nodes):
        return graph
    emitter = Emitter(numerics)
    names = dict(zip(graph.inputs, graph.names or [""] * len(graph.inputs), strict=True))
    place: list[int] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "input":
            place.append(emitter.input(node.types[0], names[number]))
        elif node.op == "band_part":
            bounds = int(node.attr("lower")), int(node.attr("upper"))
            place.append(_selected(emitter, place[node.operands[0]], node.type, bounds))
            emitter.note(place[-1], node.sources)
        else:
            place.append(emitter.copy(node, [place[q] for q in node.operands]))
    roots = [place[n] for n in graph.outputs], [place[n] for n in graph.effects]
    return emitter.build(*roots, graph.weak_outputs, graph.precision)


def _selected(emitter: Emitter, x: int, type: TensorType, bounds: tuple[int, int]) -> int:
    """``x`` where its column is no further from its row than the bounds say, else zero."""
    rows, columns = type.shape[-2:]
    lower, upper = bounds
    conditions = []
    if upper < columns - 1:  # column <= row + upper
        conditions.append(("le", _numbers(emitter, columns, 0), _numbers(emitter, rows, upper)))
    if lower < rows - 1:  # column >= row - lower
        conditions.append(("ge", _numbers(emitter, columns, 0), _numbers(emitter, rows, -lower)))
    letters = LETTERS[: type.rank]
    for op, column, row in conditions:
        wide = [emitter.broadcast(n, letter, type.shape) for n, letter in ((column, letters[-1]), (row, letters[-2]))]
        mask = emitter.add(op, wide, (), TensorType(type.shape, "bool"))
        zero = emitter.constant(0, type.dtype)
        x = emitter.add("select_n", (mask, zero, x), (), type)
    return x


def _numbers(emitter: Emitter, count: int, start: int) -> int:
    """``start``, ``start + 1`` ..."""
    type = TensorType((count,), "int32")
    numbers = emitter.add("iota", (), (("dtype", DType("int32")), ("shape", (count,)), ("dimension", 0)), type)
    if not start:
        return numbers
    return emitter.add("add", (numbers, emitter.uniform(start, type)), (), type)
